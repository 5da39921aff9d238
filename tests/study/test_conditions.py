"""Conditions a scan could have come under: each does what it says, and labels stay with their anatomy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.datasets.phantom import PhantomSettings, make_phantom
from hepar.geometry import Geometry
from hepar.study.conditions import (
    CONDITIONS,
    Scan,
    cut,
    eight_bits,
    grained_noise,
    half_contrast,
    half_liver,
    liver_hu,
    low_dose,
    native,
    noise_hu,
    noisier,
    oblique,
    sagittal,
    shifted,
    small_field,
    stored_otherwise,
    thick_slices,
)
from hepar.volume import LabelMap, Volume

RNG = np.random.default_rng(1)


def scan_of(values: np.ndarray, labels: np.ndarray | None = None, spacing=(2.0, 1.0, 1.0)) -> Scan:
    grid = Geometry.from_spacing(values.shape, spacing, (-50, 7, 9))
    truth = LabelMap(np.zeros(values.shape, np.uint8) if labels is None else labels.astype(np.uint8), grid)
    return Scan(Volume(values.astype(np.int16), grid), truth, truth.with_labels(np.minimum(truth.labels, 1)))


@pytest.fixture(scope="module")
def body() -> Scan:
    settings = PhantomSettings(seed=5, spacing_mm=(5, 3, 3), shape=(48, 112, 128), lesions=4, noise_hu=12)
    ct, truth = make_phantom(settings)
    return Scan(ct, truth, truth.with_labels(np.minimum(truth.labels, 1)))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_every_condition_keeps_scan_and_labels_on_one_grid_and_leaves_its_input(condition, body):
    before = body.ct.values.copy()
    changed = condition.apply(body, np.random.default_rng(3))
    again = condition.apply(body, np.random.default_rng(3))
    assert np.array_equal(body.ct.values, before)
    if condition.name == "5 mm slices":  # already thick
        assert changed is None
        return
    assert changed.ct.geometry.same_grid(changed.truth.geometry)
    assert changed.ct.geometry.same_grid(changed.found.geometry)
    assert np.array_equal(changed.ct.values, again.ct.values)
    assert changed.truth.labels.max() == 2
    # What was found goes the same way as the truth.
    assert np.array_equal(changed.found.labels, np.minimum(changed.truth.labels, 1))


@settings(deadline=None, max_examples=20)
@given(st.floats(3, 40), st.integers(0, 5))
def test_noise_is_measured_as_the_spread_of_even_tissue(sigma, seed):
    rng = np.random.default_rng(seed)
    values = 60 + sigma * rng.standard_normal((3, 96, 96))
    assert noise_hu(scan_of(values).ct) == pytest.approx(sigma, rel=0.2)


def test_edges_air_and_vessels_do_not_count_as_noise():
    rng = np.random.default_rng(0)
    values = 60 + 10 * rng.standard_normal((3, 128, 128))
    values[:, :, :40] = -1000
    values[:, ::16, 60:] += 90
    assert noise_hu(scan_of(values).ct) == pytest.approx(10, rel=0.2)
    assert noise_hu(scan_of(np.full((2, 32, 32), 50)).ct) == 0


def test_doubled_noise_is_twice_the_noise_and_the_mean_stays():
    values = 60 + 10 * np.random.default_rng(0).standard_normal((4, 128, 128))
    scan = scan_of(values)
    loud = noisier(scan, np.random.default_rng(1))
    assert loud.ct.values.std() == pytest.approx(20, rel=0.05)
    assert loud.ct.values.mean() == pytest.approx(60, abs=0.5)
    assert not np.array_equal(loud.ct.values, noisier(scan, np.random.default_rng(2)).ct.values)


def test_what_a_window_cut_off_stays_cut_off():
    values = np.clip(60 + 30 * np.random.default_rng(0).standard_normal((3, 64, 64)), -40, 160)
    values[:, :, :20] = -40  # fat
    values[:, :, 50:] = 160  # bone
    for condition in (noisier, low_dose, shifted):
        changed = condition(scan_of(values), np.random.default_rng(1)).ct.values
        assert (changed[:, :, :20] == -40).all()
        assert (changed[:, :, 50:] == 160).all()
        assert not np.array_equal(changed, scan_of(values).ct.values)
        assert changed.min() >= -40
        assert changed.max() <= 160


def test_grained_noise_has_unit_spread_and_like_neighbours_in_plane_only():
    noise = grained_noise((6, 64, 64), np.random.default_rng(0))
    assert (noise.mean(), noise.std()) == pytest.approx((0, 1), abs=1e-4)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.4
    assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.05


def test_a_low_dose_blurs_an_edge_that_noise_alone_leaves():
    values = np.zeros((2, 64, 64))
    values[:, :, 32:] = 100
    values[:, 0, 0], values[:, -1, -1] = -50, 200  # the ends of the range are held
    quiet = low_dose(scan_of(values), np.random.default_rng(0)).ct.values
    assert 20 < quiet[0, 30, 31] < 50 < quiet[0, 30, 32] < 80
    assert np.array_equal(noisier(scan_of(values), np.random.default_rng(0)).ct.values, values)


def test_thick_slices_are_means_with_the_majoritys_label_in_their_place():
    values = np.arange(7)[:, None, None] * 10 * np.ones((7, 4, 4))
    labels = np.zeros((7, 4, 4))
    labels[0:2], labels[2] = 1, 2  # two of three liver
    labels[4, 0, 0], labels[5, 0, 0] = 2, 2  # two of three tumour
    labels[3, 1, 1], labels[4, 1, 1] = 1, 2  # one of each: tumour
    thick = thick_slices(scan_of(values, labels, (1.6, 1, 1)), RNG)
    assert thick.ct.values[:, 0, 0].tolist() == [10, 40]  # the seventh slice is left out
    assert thick.ct.geometry.spacing_mm == pytest.approx((4.8, 1, 1))
    assert thick.ct.geometry.position_mm((0, 0, 0))[2] == pytest.approx(-50 + 1.6)
    assert (thick.truth.labels[0] == 1).all()
    assert (thick.truth.labels[1, 0, 0], thick.truth.labels[1, 1, 1], thick.truth.labels[1, 2, 2]) == (2, 2, 0)


def test_slices_that_are_thick_already_cannot_be_made_of_5_mm():
    values = np.zeros((6, 4, 4))
    assert thick_slices(scan_of(values, spacing=(5, 1, 1)), RNG) is None
    assert thick_slices(scan_of(values, spacing=(3.4, 1, 1)), RNG) is None
    assert thick_slices(scan_of(values, spacing=(2.5, 1, 1)), RNG).ct.values.shape == (3, 4, 4)
    assert thick_slices(scan_of(values[:1], spacing=(1, 1, 1)), RNG) is None


def test_shifts_and_greys_are_what_they_say():
    values = np.array([-1000, -150, -40, 0, 7, 100, 250, 900]).reshape(1, 1, 8) * np.ones((1, 2, 1))
    scan = scan_of(values)
    # The ends of the range are held.
    assert np.array_equal(shifted(scan, RNG).ct.values[..., 1:-1], values[..., 1:-1] + 20)
    assert np.array_equal(shifted(scan, RNG, by_hu=-20).ct.values[..., 1:-1], values[..., 1:-1] - 20)
    assert shifted(scan, RNG).ct.values[0, 0, [0, -1]].tolist() == [-1000, 900]
    grey = eight_bits(scan, RNG).ct.values[0, 0]
    assert (grey[0], grey[-1]) == (-150, 250)
    assert np.abs(grey[1:7] - values[0, 0, 1:7]).max() <= 1
    assert len(np.unique(eight_bits(scan_of(np.arange(-150, 251).reshape(1, 1, -1)), RNG).ct.values)) == 256


def contrasts() -> Scan:
    """Liver of 110 HU with a tumour of 80 and a vessel of 150; fat of -100; noise of 5 HU."""
    labels = np.zeros((2, 90, 90))
    labels[:, 10:80, 10:80] = 1
    labels[:, 20:40, 20:40] = 2
    values = np.where(labels == 0, -100.0, 110.0)
    values[labels == 2] = 80
    values[:, 50:70, 50:70] = 150
    return scan_of(values + 5 * np.random.default_rng(0).standard_normal(values.shape), labels)


def seen(scan: Scan) -> tuple[float, float, float, float]:
    """Means of liver, tumour, vessel and fat, away from edges."""
    values = scan.ct.values
    parts = (values[:, 45:48, 15:75], values[:, 25:35, 25:35], values[:, 55:65, 55:65], values[:, :6])
    return tuple(float(part.mean()) for part in parts)


def test_half_contrast_halves_what_differs_from_the_liver_and_keeps_noise_and_fat():
    scan = contrasts()
    assert liver_hu(scan) == pytest.approx(110, abs=1)
    poor = half_contrast(scan, RNG)
    assert seen(poor) == pytest.approx((110, 95, 130, -100), abs=1.5)
    assert poor.ct.values[:, 45:48, 15:75].std() == pytest.approx(5, rel=0.15)


def test_a_native_liver_has_60_hu_and_hardly_any_contrast():
    poor = native(contrasts(), RNG)
    liver, tumour, vessel, fat = seen(poor)
    assert liver == pytest.approx(60, abs=1.5)
    assert 40 < tumour < liver < vessel < 70
    assert fat == pytest.approx(-100, abs=2)


def test_what_a_scan_cannot_show_is_none():
    empty = scan_of(np.full((4, 8, 8), 60))
    for condition in (half_contrast, native, small_field, half_liver):
        assert condition(empty, RNG) is None
    poor = contrasts()
    assert native(poor.with_values(poor.ct.values - 50), RNG) is None


def test_a_small_field_ends_1_cm_beside_the_liver_and_stays_in_place():
    labels = np.zeros((4, 60, 60))
    labels[1:3, 20:30, 25:28] = 1
    scan = scan_of(np.arange(4 * 3600).reshape(4, 60, 60), labels, (2, 1, 2))
    field = small_field(scan, RNG)
    assert field.ct.values.shape == (4, 30, 13)
    assert field.ct.values[0, 0, 0] == scan.ct.values[0, 10, 20]
    assert np.allclose(field.ct.geometry.position_mm((0, 0, 0)), scan.ct.geometry.position_mm((0, 10, 20)))
    assert field.truth.liver.sum() == scan.truth.liver.sum()


def test_half_a_liver_is_its_lower_half():
    labels = np.zeros((10, 6, 6))
    labels[2:8, 2:4, 2:4] = 1
    half = half_liver(scan_of(np.zeros((10, 6, 6)), labels), RNG)
    assert half.ct.values.shape[0] == 5
    assert half.truth.liver.any(axis=(1, 2)).tolist() == [False, False, True, True, True]
    whole = cut(scan_of(np.zeros((10, 6, 6)), labels), (slice(0, 10), slice(0, 6), slice(0, 6)))
    assert whole.truth.liver.sum() == labels.sum()


@pytest.mark.parametrize("change", [partial(stored_otherwise, axes=a) for a in ((0,), (1, 2), (0, 1, 2))] + [sagittal])
def test_another_storage_shows_the_same_voxels_in_the_same_places(change, body):
    stored = change(body, RNG)
    turned = stored.ct.axial()
    assert not np.array_equal(stored.ct.values, body.ct.values)
    assert turned.geometry.same_grid(body.ct.geometry)
    assert np.array_equal(turned.values, body.ct.values)
    assert np.array_equal(stored.truth.axial().labels, body.truth.labels)


def test_an_oblique_header_turns_the_patient_and_no_voxel(body):
    turned = oblique(body, RNG)
    assert np.array_equal(turned.ct.values, body.ct.values)
    assert turned.ct.geometry.spacing_mm == pytest.approx(body.ct.geometry.spacing_mm)
    assert np.array_equal(turned.ct.axial().values, body.ct.values)
    along = turned.ct.geometry.directions[:, 0] @ body.ct.geometry.directions[:, 0]
    assert np.rad2deg(np.arccos(along)) == pytest.approx(20)
