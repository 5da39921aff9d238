"""The paper's Dice and ASSD in every reading: each is what it says, on every grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lines import line_pair

from hepar.geometry import Geometry
from hepar.metrics.figures import figure
from hepar.metrics.overlap import dice
from hepar.metrics.pair import pair_of
from hepar.metrics.protocols import paper
from hepar.metrics.surface import assd_mm, surface_distances
from hepar.volume import LabelMap

SPECS = {spec.name: spec for spec in paper.FIGURES}


def case(spacing=(5.0, 0.8, 0.8), seed=0, turn=None):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (8, 20, 24)], indexing="ij"))
    labels = []
    for shift in (0.0, 0.1):
        inside = (grid**2).sum(0) < 0.6 + shift
        tumour = ((grid - np.array([0.1, 0.2, shift]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 0.08
        noisy = inside & (rng.random(inside.shape) > 0.02)
        labels.append(np.where(tumour, 2, noisy).astype(np.uint8))
    place = Geometry.from_spacing(labels[0].shape, spacing)
    if turn is not None:
        labels = [np.ascontiguousarray(turn[0](own)) for own in labels]
        place = turn[1]
    return [LabelMap(own, place) for own in labels]


def value(name: str, *maps) -> float:
    return figure(SPECS[name], [paper.score(pair_of(*pair)) for pair in maps]).value


def slice_by_slice(truth, found, structure: str, unit: str) -> tuple[list[float], list[float]]:
    """Dice and ASSD of each axial slice alone, the long way."""
    dices, distances = [], []
    for z in range(truth.labels.shape[0]):
        spacing = truth.geometry.spacing_mm if unit == "mm" else (1.0, 1.0, 1.0)
        masks = []
        for side in (truth, found):
            own = side.labels[z : z + 1]
            masks.append(own == 2 if structure == "tumour" else own >= 1 if structure == "liver_union" else own == 1)
        if not masks[0].any():
            continue
        dices.append(dice(*masks))
        if not masks[1].any():
            distances.append(math.inf)
            continue
        distances.append(outline_assd(*[mask[0] for mask in masks], spacing))
    return dices, distances


def outline_assd(here, there, spacing) -> float:
    from scipy.ndimage import binary_erosion
    from scipy.spatial.distance import cdist

    points = [np.argwhere(mask & ~binary_erosion(mask)) * spacing[1:] for mask in (here, there)]
    table = cdist(*points)
    return float(np.concatenate([table.min(1), table.min(0)]).mean())


@pytest.mark.parametrize("structure", ["liver_union", "liver_exclusive", "tumour"])
@pytest.mark.parametrize("unit", ["mm", "px"])
def test_per_slice_figures_are_means_over_slices_that_hold_the_structure(structure, unit):
    truth, found = case()
    dices, distances = slice_by_slice(truth, found, structure, unit)
    assert value(f"{structure}_dice_slice", (truth, found)) == pytest.approx(np.mean(dices))
    if math.inf not in distances:
        assert value(f"{structure}_assd_slice_{unit}", (truth, found)) == pytest.approx(np.mean(distances))


def test_per_case_figures_are_those_of_the_whole_volume():
    truth, found = case()
    assert value("liver_union_dice_case", (truth, found)) == dice(truth.liver, found.liver)
    assert value("tumour_dice_case", (truth, found)) == dice(truth.tumour, found.tumour)
    assert value("liver_union_assd_case_mm", (truth, found)) == pytest.approx(assd_mm(surface_distances(truth, found)))


def test_pooled_and_per_case_differ_where_cases_differ_in_size():
    small, large = ("LT..........", "L.T........."), ("LTTTTTTTTTTL", "LTTTTTTTTTTL")
    scores = [paper.score(line_pair(*own)) for own in (small, large)]
    assert figure(SPECS["tumour_dice_case"], scores).value == 0.5
    assert figure(SPECS["tumour_dice_pooled"], scores).value == pytest.approx(20 / 22)


def test_pixels_are_steps_of_the_grid_and_millimetres_are_not():
    scored = paper.score(line_pair("L.......", ".L......", spacing_mm=(5.0, 0.7, 0.7)))
    for how in ("slice", "case", "pooled"):
        assert scored.value(SPECS[f"liver_union_assd_{how}_px"]) == pytest.approx(1)
        assert scored.value(SPECS[f"liver_union_assd_{how}_mm"]) == pytest.approx(0.7)


def test_a_missed_slice_counts_with_its_diagonal():
    truth = np.zeros((2, 3, 4), np.uint8)
    truth[:, 1, 1] = 1
    found = truth.copy()
    found[1] = 0
    grid = Geometry.from_spacing(truth.shape, (2.0, 1.0, 1.0))
    scored = paper.score(pair_of(LabelMap(truth, grid), LabelMap(found, grid)))
    assert scored.terms["liver_union_assd_slice_mm"] == (pytest.approx(5), 2)
    assert scored.terms["liver_union_dice_slice"] == (1, 2)


def test_a_missed_structure_is_named_and_never_better_than_a_wrong_one():
    missed, wrong = (paper.score(line_pair("LLT.....", found)) for found in ("LL......", "LL.....T"))
    assert "tumour_assd_case_mm" in missed.missed
    assert wrong.missed == ()
    for spec in paper.FIGURES:
        here, there = missed.value(spec), wrong.value(spec)
        if spec.name.startswith("tumour"):
            assert here <= there if spec.better == "high" else here >= there, spec.name


def test_structures_that_the_truth_lacks_count_in_pooled_dice_only():
    scored = paper.score(line_pair("LLLL", "LLLT"))
    assert [name for name, term in scored.terms.items() if name.startswith("tumour") and term[1]] == [
        "tumour_dice_pooled"
    ]


def test_slices_are_axial_however_the_file_stores_them():
    truth, found = case()
    upright = paper.score(pair_of(truth, found))
    affine = truth.geometry.affine[:, [2, 0, 1, 3]]
    stored = Geometry((24, 8, 20), affine)
    turned = [LabelMap(np.ascontiguousarray(own.labels.transpose(2, 0, 1)), stored) for own in (truth, found)]
    sagittal = paper.score(pair_of(*turned))
    for spec in paper.FIGURES:
        assert sagittal.value(spec) == pytest.approx(upright.value(spec)), spec.name
