"""Plots as SVG: every case is there, the words are right, nothing comes from outside and nothing global changes."""

from __future__ import annotations

import math
import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hepar.report.plots import bland_altman_plot, box_plots, froc_plot, reliability_plot
from hepar.study.statistics import bland_altman

RNG = np.random.default_rng(3)
DICE = {"ours": RNG.beta(8, 3, 25).tolist(), "theirs": [*RNG.beta(6, 3, 23).tolist(), None, math.nan]}
TRUTH = RNG.lognormal(7.2, 0.2, 20)
AGREEMENT = {"ours": bland_altman(TRUTH, TRUTH + RNG.normal(-20, 30, 20)), "theirs": bland_altman(TRUTH, 1.1 * TRUTH)}
FROC = {
    "ours": {
        "false_positives_per_scan": [0, 0.3, 2.0],
        "sensitivity": [0.1, 0.5, 0.8],
        "mean_sensitivity": 0.4321,
    },
    "nobody": {"false_positives_per_scan": [0, 1.0], "sensitivity": [None, None], "mean_sensitivity": math.nan},
}
RELIABILITY = {
    "ours": {"confidence": [0.1, None, 0.9], "frequency": [0.2, None, 0.8], "ece": 0.1234},
    "empty": {"confidence": [math.nan], "frequency": [math.nan], "ece": None},
}
PLOTS = {
    "box": lambda: box_plots(DICE, "Tumour Dice"),
    "bland-altman": lambda: bland_altman_plot(AGREEMENT, "Liver volume", "mL"),
    "froc": lambda: froc_plot(FROC),
    "reliability": lambda: reliability_plot(RELIABILITY),
}


def words(svg: str) -> str:
    """Every text of a drawing that is well-formed."""
    return " | ".join("".join(node.itertext()) for node in ET.fromstring(svg).iter("text"))


def marks(svg: str, colour: str) -> int:
    """Points drawn in a colour."""
    return len(re.findall(rf'<use [^>]*style="fill: {colour}', svg))


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_one_well_formed_drawing_that_needs_nothing_from_outside(name):
    svg = PLOTS[name]()
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    assert ET.fromstring(svg).get("role") == "img"
    assert not re.search(r"https?:|<style|<script|@import|<image|DOCTYPE|<!--", svg)
    assert {match[:4] for match in re.findall(r"url\(#?", svg)} <= {"url("}
    assert "DejaVu" not in svg


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_numbers_give_the_same_drawing(name):
    assert PLOTS[name]() == PLOTS[name]()


def test_references_resolve_and_ids_are_unique_over_all_drawings_of_a_page():
    page = [draw() for draw in PLOTS.values()]
    for svg in page:
        ids = re.findall(r'\bid="([^"]+)"', svg)
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(ids)
    every = [found for svg in page for found in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(every) == len(set(every)) > 100


def test_nothing_global_is_touched():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    for draw in PLOTS.values():
        draw()
    assert dict(mpl.rcParams) == before
    assert mpl.rcParams["svg.hashsalt"] is None
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_every_defined_case_is_a_point_and_the_count_is_told():
    svg = box_plots(DICE, "Tumour Dice")
    assert "ours (n = 25)" in words(svg)
    assert "theirs (n = 23)" in words(svg)
    assert marks(svg, "#0072b2") == 25
    assert marks(svg, "#d55e00") == 23
    assert "Tumour Dice" in words(svg)


def test_a_method_without_a_value_says_so():
    assert "b: not defined in any case" in words(box_plots({"a": [0.5, 0.6], "b": [None]}, "Dice"))
    assert "a: not defined in any case" in words(box_plots({"a": []}, "Dice"))


def test_points_lie_where_their_values_are():
    svg = box_plots({"a": [10, 20, 40]}, "Volume", "mL")
    x = [float(v) for v in re.findall(r'<use [^>]*? x="([\d.]+)"[^>]*style="fill: #0072b2', svg)]
    assert (x[2] - x[0]) / (x[1] - x[0]) == pytest.approx(3)


def test_the_axis_turns_logarithmic_for_the_penalty_of_a_miss_and_says_so():
    assert "mm, logarithmic" in words(box_plots({"a": [1, 2, 3, 600]}, "ASSD", "mm"))
    assert "logarithmic" not in words(box_plots({"a": [1, 2, 3, 60]}, "ASSD", "mm"))
    assert "logarithmic" not in words(box_plots({"a": [0, 1, 2, 3, 600]}, "ASSD", "mm"))


def test_bland_altman_tells_bias_interval_and_limits_of_each_method():
    own = AGREEMENT["ours"]
    said = words(bland_altman_plot(AGREEMENT, "Liver volume", "mL")).replace("−", "-")
    assert "ours (n = 20)" in said
    assert f"bias {own.bias:.0f} mL [{own.bias_interval.low:.0f}, {own.bias_interval.high:.0f}]" in said
    assert f"limits {own.lower:.0f} to {own.upper:.0f}" in said
    assert "found - reference (mL)" in said


def test_differences_of_shares_are_percentage_points():
    said = words(bland_altman_plot(AGREEMENT, "Burden", "%"))
    assert "found − reference (percentage points)" in said
    assert re.search(r"bias \S+ points", said)


def test_bland_altman_of_one_case_or_none_has_points_and_no_limits():
    svg = bland_altman_plot({"one": bland_altman([5], [6]), "none": bland_altman([], [])}, "Volume", "mL")
    assert words(svg).count("limits need two cases or more") == 2
    assert marks(svg, "#0072b2") == 1
    assert "<svg" in bland_altman_plot({}, "Volume", "mL")


def test_many_methods_wrap_into_rows():
    few, many = ({str(n): AGREEMENT["ours"] for n in range(count)} for count in (3, 7))
    sizes = [ET.fromstring(bland_altman_plot(own, "Volume", "mL")).get("viewBox").split() for own in (few, many)]
    assert sizes[0][2] == sizes[1][2]
    assert float(sizes[1][3]) > 2 * float(sizes[0][3])


def test_curves_tell_their_summary_beside_the_name():
    assert "ours (mean 0.432)" in words(froc_plot(FROC))
    assert "nobody (mean not defined)" in words(froc_plot(FROC))
    assert "ours (ECE 0.123)" in words(reliability_plot(RELIABILITY))
    assert "empty (ECE not defined)" in words(reliability_plot(RELIABILITY))


@pytest.mark.parametrize("name", ["$a_b$", "$\\frac{", "<script>alert(1)</script>", 'id="x" & --', "肝臓", "n" * 200])
def test_any_name_is_shown_as_it_is_and_never_as_a_formula_or_markup(name):
    found = {name: AGREEMENT["ours"]}
    for svg in (
        box_plots({name: [0.1, 0.2]}, name),
        bland_altman_plot(found, name, "mL"),
        froc_plot({name: FROC["ours"]}),
        reliability_plot({name: RELIABILITY["ours"]}),
    ):
        assert name[:25] in words(svg)
        assert "<script" not in svg
        assert name[:25] in ET.fromstring(svg).get("aria-label")
