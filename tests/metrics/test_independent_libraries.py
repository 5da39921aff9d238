"""The same numbers from MONAI and medpy where definitions coincide; the reason, as a test, where they do not."""

from __future__ import annotations

import importlib.util
import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hepar.geometry import Geometry
from hepar.metrics.lesions import detection, find_lesions, match_lesions
from hepar.metrics.overlap import dice, iou, relative_volume_difference
from hepar.metrics.surface import (
    SurfaceDistances,
    assd_mm,
    hausdorff95_mm,
    hausdorff95_pooled_mm,
    mask_distances,
    mssd_mm,
    surface_dice,
)
from hepar.volume import LabelMap

needs_medpy = pytest.mark.skipif(importlib.util.find_spec("medpy") is None, reason="medpy is not installed")
needs_monai = pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI is not installed")

SEEDS = range(8)
# MONAI computes in float32.
SINGLE = 1e-5


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Two smooth random masks that overlap, some cut by the border, on an anisotropic grid."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers((9, 18, 20), (16, 30, 30)))
    spacing = tuple(rng.uniform((1, 0.5, 0.5), (5, 1.2, 1.2)).tolist())
    base, own = gaussian_filter(rng.normal(size=(3, *shape)), (0, 1, 2, 2), mode="wrap")[:2]
    truth = base > np.quantile(base, 0.8)
    found = base + 0.6 * own
    return truth, found > np.quantile(found, 0.82), Geometry.from_spacing(shape, spacing)


def pair(seed: int) -> tuple[np.ndarray, np.ndarray, Geometry, SurfaceDistances]:
    truth, found, grid = blobs(seed)
    return truth, found, grid, mask_distances(truth, found, grid)


def medpy() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from medpy.metric import binary
    return binary


def monai(name: str, truth: np.ndarray, found: np.ndarray, **settings: Any) -> float:
    """One of MONAI's metrics of a single mask; its warnings are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from monai import metrics

        here, there = (torch.from_numpy(mask[None, None]) for mask in (truth, found))
        return float(getattr(metrics, name)(there, here, include_background=True, **settings))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_blobs_are_worth_comparing(seed):
    truth, found, grid, distances = pair(seed)
    assert 0.3 < dice(truth, found) < 0.95
    assert 0.05 < assd_mm(distances) < mssd_mm(distances)
    assert max(grid.spacing_mm) / min(grid.spacing_mm) > 1.1
    assert truth[[0, -1]].any() or truth[:, [0, -1]].any() or truth[..., [0, -1]].any()


@needs_medpy
@pytest.mark.parametrize("seed", SEEDS)
def test_medpy_finds_the_same_overlap(seed):
    truth, found, *_ = pair(seed)
    assert medpy().dc(found, truth) == pytest.approx(dice(truth, found), abs=1e-12)
    assert medpy().jc(found, truth) == pytest.approx(iou(truth, found), abs=1e-12)
    assert medpy().ravd(found, truth) == pytest.approx(relative_volume_difference(truth, found), abs=1e-12)


@needs_medpy
@pytest.mark.parametrize("seed", SEEDS)
def test_medpy_finds_the_same_distances(seed):
    truth, found, grid, distances = pair(seed)
    assert medpy().assd(found, truth, grid.spacing_mm) == pytest.approx(assd_mm(distances), abs=1e-9)
    assert medpy().hd(found, truth, grid.spacing_mm) == pytest.approx(mssd_mm(distances), abs=1e-9)
    assert medpy().hd95(found, truth, grid.spacing_mm) == pytest.approx(hausdorff95_pooled_mm(distances), abs=1e-9)


@needs_medpy
@pytest.mark.parametrize("seed", SEEDS)
def test_medpys_directed_distances_are_ours_one_way(seed):
    truth, found, grid, distances = pair(seed)
    assert medpy().asd(found, truth, grid.spacing_mm) == pytest.approx(distances.found_to_truth.mean(), abs=1e-9)
    assert medpy().asd(truth, found, grid.spacing_mm) == pytest.approx(distances.truth_to_found.mean(), abs=1e-9)


@needs_monai
@pytest.mark.parametrize("seed", SEEDS)
def test_monai_finds_the_same_overlap(seed):
    truth, found, *_ = pair(seed)
    assert monai("compute_dice", truth, found) == pytest.approx(dice(truth, found), abs=SINGLE)
    assert monai("compute_iou", truth, found) == pytest.approx(iou(truth, found), abs=SINGLE)


@needs_monai
@pytest.mark.parametrize("seed", SEEDS)
def test_monai_finds_the_same_distances(seed):
    truth, found, grid, distances = pair(seed)
    mm = {"spacing": grid.spacing_mm}
    assert monai("compute_average_surface_distance", truth, found, symmetric=True, **mm) == pytest.approx(
        assd_mm(distances), rel=SINGLE
    )
    assert monai("compute_hausdorff_distance", truth, found, percentile=95, **mm) == pytest.approx(
        hausdorff95_mm(distances), rel=SINGLE
    )
    assert monai("compute_hausdorff_distance", truth, found, **mm) == pytest.approx(mssd_mm(distances), rel=SINGLE)


@needs_monai
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tolerance_mm", [0.5, 1, 2, 3])
def test_monai_finds_the_same_surface_dice(seed, tolerance_mm):
    truth, found, grid, distances = pair(seed)
    theirs = monai(
        "compute_surface_dice", truth, found, class_thresholds=[float(tolerance_mm)], spacing=grid.spacing_mm
    )
    assert theirs == pytest.approx(surface_dice(distances, tolerance_mm), abs=SINGLE)


# Where definitions differ


def far_speck() -> tuple[np.ndarray, np.ndarray, Geometry]:
    """What was found lacks nothing but has a speck far off: 4 % of all surface points, 8 % of the found ones."""
    truth, found = np.zeros((2, 3, 3, 100), bool)
    truth[1, 1, :46] = True
    found[1, 1, :46] = True
    found[1, 1, 96:] = True
    return truth, found, Geometry.from_spacing(truth.shape, (3, 1, 1))


@needs_medpy
@needs_monai
def test_medpy_pools_both_directions_before_the_percentile_and_monai_takes_the_worse_one():
    truth, found, grid = far_speck()
    distances = mask_distances(truth, found, grid)
    pooled = medpy().hd95(found, truth, grid.spacing_mm)
    worse = monai("compute_hausdorff_distance", truth, found, percentile=95, spacing=grid.spacing_mm)
    assert pooled == pytest.approx(hausdorff95_pooled_mm(distances))
    assert worse == pytest.approx(hausdorff95_mm(distances))
    assert pooled == 0
    assert worse > 50


@needs_medpy
def test_medpy_stops_at_an_empty_mask_where_we_say_not_defined():
    truth, _, grid = blobs(0)
    nothing = np.zeros_like(truth)
    for here, there in ((truth, nothing), (nothing, truth), (nothing, nothing)):
        with pytest.raises(RuntimeError, match="does not contain any binary object"):
            medpy().assd(there, here, grid.spacing_mm)
        assert math.isnan(assd_mm(mask_distances(here, there, grid)))


@needs_medpy
def test_medpy_divides_nothing_by_nothing_too():
    nothing = np.zeros((2, 2, 2), bool)
    with np.errstate(invalid="ignore"):
        assert math.isnan(medpy().dc(nothing, nothing))
    assert math.isnan(dice(nothing, nothing))


@needs_monai
def test_monai_drops_an_empty_truth_from_the_mean_and_a_complete_miss_has_no_finite_distance():
    """Why `lits` puts a number on a miss: left to NaN or infinity it leaves the mean, which then improves."""
    truth, _, grid = blobs(0)
    nothing = np.zeros_like(truth)
    mm = {"spacing": grid.spacing_mm}
    for here, there in ((truth, nothing), (nothing, truth), (nothing, nothing)):
        assert not math.isfinite(monai("compute_hausdorff_distance", here, there, percentile=95, **mm))
        assert not math.isfinite(monai("compute_average_surface_distance", here, there, symmetric=True, **mm))
        assert math.isnan(hausdorff95_mm(mask_distances(here, there, grid)))


@needs_monai
def test_monai_leaves_dice_out_wherever_the_truth_is_empty_and_we_count_the_false_alarm():
    truth, _, _ = blobs(0)
    nothing = np.zeros_like(truth)
    assert math.isnan(monai("compute_dice", nothing, truth))
    assert dice(nothing, truth) == 0
    assert monai("compute_dice", truth, nothing) == dice(truth, nothing) == 0
    assert math.isnan(monai("compute_dice", nothing, nothing))
    assert math.isnan(dice(nothing, nothing))


@needs_monai
def test_neither_library_knows_oblique_or_sheared_grids():
    """They take a spacing per axis: right for turned grids, wrong for a gantry tilt."""
    truth, found, grid = blobs(1)
    sheared = grid.affine.copy()
    sheared[1, 0] = 0.8 * grid.spacing_mm[0]
    tilted = Geometry(grid.shape, sheared)
    theirs = monai("compute_average_surface_distance", truth, found, symmetric=True, spacing=tilted.spacing_mm)
    assert theirs != pytest.approx(assd_mm(mask_distances(truth, found, tilted)), rel=1e-3)


@needs_medpy
@pytest.mark.parametrize("seed", SEEDS)
def test_medpy_pairs_separate_lesions_alike(seed):
    """Sixteen fields, in each a lesion found, moved, missed or false.

    medpy divides the pairs by the found lesions in `obj_tpr`, which is our
    precision, and the unpaired true ones by all true ones in `obj_fpr`.
    """
    rng = np.random.default_rng(seed)
    truth, found = np.zeros((2, 8, 40, 40), bool)
    for n, corner in enumerate(np.ndindex(4, 4)):
        at = tuple(slice(10 * c + 2, 10 * c + 6) for c in corner)
        moved = tuple(slice(s.start + 1, s.stop + 1) for s in at)
        fate = rng.integers(4)
        truth[(slice(2, 5), *at)] = n % 3 > 0 or fate < 2
        found[(slice(2, 6), *(moved if fate else at))] = fate < 3
    grid = Geometry.from_spacing(truth.shape, (3, 1, 1))
    here, there = (find_lesions(LabelMap(mask.astype(np.uint8) * 2, grid)) for mask in (truth, found))
    counted = detection(here, there, match_lesions(here, there))
    assert counted.true_positives
    assert medpy().obj_tpr(found, truth) == pytest.approx(counted.precision)
    assert medpy().obj_fpr(found, truth) == pytest.approx(1 - counted.recall)


@needs_medpy
def test_medpy_pairs_as_many_as_it_can_and_we_for_the_best_fit():
    """One long prediction over two lesions, and a speck in the second: see `test_lesions`."""
    truth, found = np.zeros((2, 1, 1, 60), bool)
    truth[..., 10:30] = truth[..., 31:33] = True
    found[..., 8:11] = found[..., 12:32] = True
    grid = Geometry.from_spacing(truth.shape, (1, 1, 1))
    here, there = (find_lesions(LabelMap(mask.astype(np.uint8) * 2, grid)) for mask in (truth, found))
    assert detection(here, there, match_lesions(here, there)).recall == 1 / 2
    assert medpy().obj_tpr(found, truth) == 1
