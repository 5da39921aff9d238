"""The corrected LiTS protocol: its empty rule, and a reason for every difference to the official figures."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import line_pair

from hepar.metrics.figures import figure
from hepar.metrics.protocols import lits, lits_codalab
from hepar.metrics.protocols.deviations import COUNTERPARTS, deviations

SPECS = {spec.name: spec for spec in lits.FIGURES}
LINES = st.text(alphabet=".LT", min_size=8, max_size=8)
# A figure over cases where something was missed; lower or higher is better as its spec says.
JUDGING = [spec for spec in lits.FIGURES if spec.better and "precision" not in spec.name]


def scored(truth: str, found: str, **geometry):
    return lits.score(line_pair(truth, found, **geometry))


def value(name: str, *cases) -> float:
    return figure(SPECS[name], list(cases)).value


def test_every_term_belongs_to_a_figure_and_every_figure_is_reached():
    terms = set(scored("LLTTLL", "LLTLLL").terms) | set(scored("LLLL", "LLTL").terms)
    assert terms == set(SPECS)


def test_a_tumour_free_case_that_is_left_alone_does_not_count_and_a_false_alarm_counts_zero():
    clean, alarm = scored("LLLL", "LLLL"), scored("LLLLLL", "LTLTLL")
    assert math.isnan(clean.value(SPECS["tumour_dice"]))
    assert value("tumour_dice", clean, alarm) == 0
    both = figure(SPECS["tumour_dice"], [clean, alarm])
    assert (both.count, both.excluded, both.missed) == (1, 1, 0)
    assert value("false_alarm_lesions", clean, alarm) == 1
    assert value("false_alarm_ml", alarm) == pytest.approx(0.002)


def test_a_missed_tumour_costs_the_diagonal_of_the_scan():
    missed = scored("LLTTLL", "LLLLLL", spacing_mm=(3.0, 4.0, 1.0))
    diagonal = math.sqrt(3**2 + 4**2 + 6**2)
    assert value("tumour_assd_mm", missed) == pytest.approx(diagonal)
    assert value("tumour_dice", missed) == value("tumour_surface_dice_2mm", missed) == 0
    assert figure(SPECS["tumour_hd95_mm"], [missed]).missed == 1
    assert figure(SPECS["liver_hd95_mm"], [missed]).missed == 0


def test_no_liver_found_is_the_largest_burden_error():
    assert value("burden_max", scored("LLTT", "....")) == 1
    assert value("burden_max", scored("LLTT", "TTTT")) == pytest.approx(0.5)


def test_burden_errors_are_absolute():
    assert value("burden_max", scored("LLLT", "LLTT")) == pytest.approx(0.25)
    assert value("burden_max", scored("LLTT", "LLLT")) == pytest.approx(0.25)


def test_rvd_has_the_textbook_sign():
    assert value("liver_rvd", scored("LLLT", "LT..")) == -0.5
    assert value("liver_rvd", scored("LT..", "LLLT")) == 1.0


@given(LINES, LINES)
def test_a_miss_is_never_better_than_any_prediction(truth, found):
    """Whatever was found, finding nothing at all gives no better figure of the same case."""
    own, nothing = scored(truth, found), scored(truth, "." * 8)
    for spec in JUDGING:
        here, there = own.value(spec), nothing.value(spec)
        if spec.name.startswith("false") or math.isnan(there):
            continue
        # Where the prediction's own number is not defined, it does not count, and the miss must not be a gain.
        if math.isnan(here):
            assert there == 0
        elif "volume" in spec.name or "rvd" in spec.name:
            # Volumes judge amounts, not places: too much can be worse than nothing.
            continue
        else:
            assert here >= there if spec.better == "high" else here <= there + 1e-9, spec.name


@given(LINES)
def test_a_copy_of_the_truth_is_perfect(truth):
    own = scored(truth, truth)
    for spec in lits.FIGURES:
        score = own.value(spec)
        if not math.isnan(score):
            assert score == (1 if spec.better == "high" else 0), spec.name
    assert own.missed == ()


@pytest.mark.parametrize(("truth", "found"), list(itertools.product(("....", "LLLL", "TTTT", "LLTT"), repeat=2)))
def test_every_combination_of_empty_masks_is_scored(truth, found):
    own = scored(truth, found)
    for structure, letters in (("liver", "LT"), ("tumour", "T")):
        here, there = (any(c in letters for c in side) for side in (truth, found))
        assert math.isnan(own.value(SPECS[f"{structure}_dice"])) == (not here and not there)
        assert math.isnan(own.value(SPECS[f"{structure}_assd_mm"])) == (not here)


def test_liver_or_tumour_truths_judge_the_liver_only():
    from dataclasses import replace

    own = lits.score(replace(line_pair("LLLL", "LLTT"), labels="liver_union"))
    assert own.value(SPECS["liver_dice"]) == 1
    assert not [name for name in own.terms if not name.startswith("liver")]


def explained(truth: str, found: str, **geometry) -> str:
    pair = line_pair(truth, found, **geometry)
    return " ".join(deviations(pair, lits_codalab.score(pair), lits.score(pair)))


def test_official_and_corrected_counts_are_explained():
    assert "official says TP −1 FP 2 FN 3, corrected TP 0 FP 1 FN 2: found lesion 1 spans true lesions 1, 2" in (
        explained("LTLLLLLLLLTL", "TTTTTTTTTTTT")
    )
    assert "2 are taken from TP for one match" in explained("LTLLLLLLLLTL", "TTTTTTTTTTTT")
    assert "has IoU 0.04, official takes 1.00 and calls it detected" in (
        explained("T" + "." * 25 + "TL", "." * 2 + "T" * 25 + "L")
    )
    assert "one hit of true lesion 1" in explained("LTTTTTTTTTL", "LTTTTLTTTTL")
    assert "crashes on a truth without lesion" in explained("LLLL", "LLLL")
    assert "no voxel of label 1" in explained("LLTTLL", "TTTTTT")
    assert "−9001" in explained("LLTTLL", "TTTTTT")
    assert "header's spacing 1 x 1 x 1 mm, the affine says 5 x 1 x 1 mm" in (
        explained("LLTT", "LLTT", spacing_mm=(5.0, 1.0, 1.0), header=(1.0, 1.0, 1.0))
    )


def test_nothing_is_said_where_both_agree():
    assert explained("LLTTLL.LTTTL", "LLTTLL.LTTTL") == ""


def test_every_counterpart_names_figures_that_exist():
    official = {spec.name for spec in lits_codalab.FIGURES}
    for here, there, reason in COUNTERPARTS:
        assert here in official
        assert there in SPECS
        assert reason


def test_a_lesion_found_above_one_half_is_found_whatever_fragments_lie_beside_it():
    truth = "L" + "T" * 100 + "L" + "T" * 40 + "L"
    found = "L" + "T" * 31 + "L" + "T" * 68 + "TT" + "T" * 30 + "L" * 11
    with_fragment = scored(truth, found[: len(truth)])
    assert with_fragment.details["detection"]["0.5"]["true_positives"] == 1
