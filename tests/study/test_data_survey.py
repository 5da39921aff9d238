"""What a look at data finds, and thinner scans thinned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.study.data_survey import look_at, survey, thinned, thinning
from hepar.volume import LabelMap, Volume


@pytest.fixture
def blob(small_scan):
    """Cases of six slices, 2 mm apart, with a liver and a tumour."""
    ct, truth = small_scan
    return lambda name: Case(name, name, lambda: ct, lambda: truth)


def test_a_scan_tells_its_grid_its_labels_and_its_values(blob):
    case = blob("a")
    facts = look_at(case)
    assert facts.geometry.spacing_mm == (2, 1, 1)
    assert facts.liver_px == case.truth.liver.sum()
    assert facts.tumour_px == case.truth.tumour.sum()
    assert (facts.liver_slices, facts.tumour_slices) == (6, 3)
    assert (facts.lowest_hu, facts.highest_hu) == (case.ct.values.min(), 220)
    assert 250 < len(facts.liver_hu) <= 500
    assert set(np.unique(facts.liver_hu)) == {150, 220}
    assert facts.stacked


def test_a_scan_stored_on_its_side_is_looked_at_in_the_axial_view(blob):
    case = blob("a")
    turned = Geometry((40, 6, 48), case.ct.geometry.affine[:, [1, 0, 2, 3]])
    ct = Volume(case.ct.values.swapaxes(0, 1).copy(), turned)
    truth = LabelMap(case.truth.labels.swapaxes(0, 1).copy(), turned)
    facts = look_at(replace(case, read_ct=lambda: ct, read_truth=lambda: truth))
    assert (facts.slices, facts.geometry.spacing_mm) == (6, (2, 1, 1))


def test_labels_of_another_grid_are_refused(blob):
    case = blob("a")
    elsewhere = LabelMap(case.truth.labels, Geometry.from_spacing(case.truth.labels.shape, (3, 1, 1)))
    with pytest.raises(BadInput, match="case a: CT and labels lie on different grids"):
        look_at(replace(case, read_truth=lambda: elsewhere))


def test_some_scans_speak_for_all(blob):
    cases = [blob(str(i)) for i in range(9)]
    seen = survey(cases, enough=4, seconds=(0, 60))
    assert (seen.cases, seen.patients, len(seen.scans)) == (9, 9, 4)
    assert seen.slices == 54
    assert seen.tumour_share == pytest.approx(cases[0].truth.tumour.sum() / cases[0].truth.liver.sum())
    assert len(survey(cases, enough=4, seconds=(0, 0)).scans) == 1
    assert len(survey(cases, enough=4).scans) == 9
    assert [seen.median(axis) for axis in range(3)] == [2, 1, 1]
    # Air was never there: soft tissue stands around this liver.
    assert seen.windowed_scans == 4


def test_lone_slices_do_not_outvote_a_scan(blob):
    case = blob("a")
    fine = Geometry.from_spacing((6, 40, 48), (2, 0.8, 0.8))
    scan = replace(
        case, read_ct=lambda: Volume(case.ct.values, fine), read_truth=lambda: LabelMap(case.truth.labels, fine)
    )
    grid = Geometry.from_spacing((1, 40, 48), (9, 3, 3))
    lone = replace(
        case,
        read_ct=lambda: Volume(case.ct.values[3:4], grid),
        read_truth=lambda: LabelMap(case.truth.labels[3:4], grid),
    )
    assert survey([lone, lone, scan]).median(1) == pytest.approx(0.8)
    assert not look_at(lone).stacked


@pytest.mark.parametrize(("step_mm", "every"), [(0.0, 1), (2.0, 1), (3.9, 1), (4.0, 2), (4.0 - 1e-6, 2), (7, 3)])
def test_slices_stay_no_closer_than_asked_or_just(step_mm, every):
    grid = Geometry.from_spacing((7, 4, 4), (2, 1, 1))
    assert thinning(grid, step_mm) == every


def test_a_thinned_scan_keeps_its_place_and_its_labels(blob):
    case = blob("a")
    less = thinned(case, 4.0)
    assert np.array_equal(less.ct.values, case.ct.values[::2])
    assert np.array_equal(less.truth.labels, case.truth.labels[::2])
    assert less.ct.geometry.same_grid(less.truth.geometry)
    assert less.ct.geometry.spacing_mm == (4, 1, 1)
    assert np.allclose(less.ct.geometry.position_mm((1, 3, 5)), case.ct.geometry.position_mm((2, 3, 5)))
    assert less.ct.values.base is None
    assert thinned(case, 0.0) is case


def test_stacks_that_know_their_places_are_left_as_they_are(blob):
    gaps = replace(blob("a"), heights_mm=(0.0, 2.0, 9.0, 11.0, 13.0, 15.0))
    assert thinned(gaps, 4.0) is gaps
    assert look_at(gaps).stacked
    assert not look_at(replace(gaps, heights_mm=(float("nan"),) * 6)).stacked
