"""From densities to a scan, and the figures by which synthetic and real scans are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from label_trunk import label_trunk

from hepar.datasets.synthetic.organ_map import Organ
from hepar.datasets.synthetic.realism import body_figures, liver_figures, organ_figures
from hepar.datasets.synthetic.scanner import Scanner, draw_scanner, scan
from hepar.datasets.synthetic.scene import Scene, scene_of
from hepar.datasets.synthetic.tissue import draw_tissue
from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume

QUIET = Scanner(blur_mm=0.7, slice_blur_mm=0.1, noise_hu=0.01, rolloff=0.3, streak_hu=0, couch=False)


def flat_scene(hu: float = 60.0) -> Scene:
    """A body of one density."""
    rng = np.random.default_rng(0)
    made = scene_of(label_trunk(), draw_tissue(rng, "portal"), "portal", rng)
    made.canvas.hu[made.torso.body] = hu
    return made


def test_a_scan_is_int16_hounsfield_units_of_what_was_painted():
    made = flat_scene()
    values = scan(made, QUIET)
    assert values.dtype == np.int16
    assert np.median(values[made.torso.depth_mm > 20]) == 60
    assert np.median(values[~made.torso.body]) == -1000


def test_edges_are_blurred_over_about_a_pixel():
    values = scan(flat_scene(), QUIET)
    between = (values > -900) & (values < 0)
    assert 0.005 < between.mean() < 0.2


def test_noise_grows_from_the_skin_inwards():
    made = flat_scene()
    noise = scan(made, replace(QUIET, noise_hu=15)).astype(float) - 60
    deep, shallow = made.torso.depth_mm > 70, (made.torso.depth_mm > 10) & (made.torso.depth_mm < 22)
    assert noise[deep].std() > 1.3 * noise[shallow].std()


def test_noise_has_the_level_that_was_asked_for_on_the_reference_pixel():
    levels = []
    for hu in (8, 16):
        made = flat_scene()
        deep = (made.torso.depth_mm > 60) & (made.torso.depth_mm < 80)
        levels.append(scan(made, replace(QUIET, noise_hu=hu)).astype(float)[deep].std())
    assert levels[1] == pytest.approx(2 * levels[0], rel=0.05)


def test_streaks_come_from_what_is_dense():
    streaky = replace(QUIET, streak_hu=8)
    even = scan(flat_scene(), streaky).astype(float)
    made = flat_scene()
    made.canvas.hu[made.labels == Organ.BONE] = 1200
    dense = scan(made, streaky).astype(float)
    soft = (made.torso.depth_mm > 15) & (made.labels == Organ.BODY)
    assert dense[soft].std() > 2
    assert dense[soft].std() > even[soft].std() * 0.5


def test_the_couch_lies_under_the_back_and_in_air():
    made = flat_scene()
    without = scan(flat_scene(), QUIET)
    values = scan(made, replace(QUIET, couch=True))
    differs = np.abs(values.astype(int) - without) > 20
    rows = np.nonzero(differs.any(axis=(0, 2)))[0]
    assert rows.size
    assert rows.min() > 40
    assert not differs[made.torso.depth_mm > 8].any()


def test_scanners_differ_within_what_scanners_do():
    drawn = [draw_scanner(np.random.default_rng(seed), 1.6) for seed in range(40)]
    noise = np.array([s.noise_hu for s in drawn])
    assert 11 < np.median(noise) < 17
    assert noise.min() >= 6.5
    assert {s.couch for s in drawn} == {True, False}
    assert draw_scanner(np.random.default_rng(0), 30.0).slice_blur_mm <= 6 / np.sqrt(12) + 1e-9


def sheet(noise_hu: float, smooth: bool = False, tumour_hu: float | None = None) -> tuple[Volume, LabelMap]:
    """A square liver of 100 HU with noise on 4 slices."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (4, 90, 90))
    if smooth:
        noise = gaussian_filter(noise, (0, 1, 1))
    values = (100 + noise_hu * noise / noise.std()).astype(np.float32)
    labels = np.zeros(values.shape, np.uint8)
    labels[:, 5:85, 5:85] = 1
    if tumour_hu is not None:
        labels[:, 40:50, 40:50] = 2
        values[:, 40:50, 40:50] = tumour_hu
    grid = Geometry.from_spacing(values.shape, (5, 1.5, 1.5))
    return Volume(values, grid), LabelMap(labels, grid)


def test_figures_find_level_and_noise_of_a_liver():
    figures = liver_figures(*sheet(10))
    assert figures["liver"] == pytest.approx(100, abs=0.5)
    assert figures["noise"] == pytest.approx(10, rel=0.1)
    assert figures["ahead_1"] == pytest.approx(-0.05, abs=0.05)
    assert np.isnan(figures["tumour_contrast"])


def test_figures_tell_smooth_noise_from_white():
    assert liver_figures(*sheet(10, smooth=True))["ahead_1"] > liver_figures(*sheet(10))["ahead_1"] + 0.3


def test_figures_give_a_tumours_contrast():
    assert liver_figures(*sheet(5, tumour_hu=60))["tumour_contrast"] == pytest.approx(-40, abs=1)


def test_a_scan_without_liver_has_no_figures():
    ct, truth = sheet(5)
    empty = truth.with_labels(np.zeros_like(truth.labels))
    assert all(np.isnan(value) for value in liver_figures(ct, empty).values())


def test_figures_of_the_body_count_fat_muscle_and_gas():
    organs = label_trunk()
    hu = np.full(organs.labels.shape, -1000, np.int16)
    body = organs.labels > 0
    hu[body] = 55
    hu[:, :40][body[:, :40]] = -100
    figures = body_figures(Volume(hu, organs.geometry), body, organs.labels)
    assert figures["fat"] == pytest.approx(-100, abs=2)
    assert figures["muscle"] == pytest.approx(55, abs=2)
    assert figures["fat_share"] + figures["soft_share"] == pytest.approx(1)
    assert figures["gas_share"] == 0


def test_figures_of_organs_leave_out_what_was_not_drawn():
    organs = label_trunk()
    hu = np.where(organs.labels == Organ.KIDNEY, 180, 0).astype(np.int16)
    found = organ_figures(Volume(hu, organs.geometry), organs.labels, (Organ.KIDNEY, Organ.SPLEEN))
    assert found == {"kidney": (180.0, 0.0)}
