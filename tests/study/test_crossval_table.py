"""The cross-validation's tables: patients as units, subsets by burden, counts with exact intervals, paired tests."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from hepar.geometry import Geometry
from hepar.metrics.pair import pair_of
from hepar.metrics.protocols import lits
from hepar.service.referee import facts
from hepar.study.crossval_table import (
    ALL_SCANS,
    BUT,
    EVERYBODY,
    SIZES,
    TUMOUR,
    FoldCase,
    crossval_document,
    patient_rows,
    size_of,
)
from hepar.study.crossval_text import figures_csv, markdown, patients_csv
from hepar.study.left_out import LOOSE, STACKS, UNION, VOLUMES
from hepar.study.statistics import bootstrap_interval, paired_test
from hepar.volume import LabelMap

GRID = Geometry.from_spacing((4, 20, 20), (5, 2, 2))


def labels(liver: int, tumours: tuple[int, ...] = ()) -> LabelMap:
    """A block of `liver` rows; a tumour of each number of voxels on a row of its own, in slice 1."""
    values = np.zeros(GRID.shape, np.uint8)
    values[:, :liver] = 1 if liver else 0
    for row, voxels in enumerate(tumours):
        values[1, 2 * row, :voxels] = 2
    return LabelMap(values, GRID)


def fold_case(patient: str, truth: LabelMap, found: LabelMap, **changed: Any) -> FoldCase:
    told = {"fold": 0, "case": f"lits512-{patient}", "group": STACKS, "method": "ours"} | changed
    status = "liver_union" if told["group"] == UNION else "full"
    pair = pair_of(truth, found, None, status)
    return FoldCase(patient=patient, scores=lits.score(pair), facts=facts(pair), **told)


# 20 mm3 a voxel.
FREE, ONE = labels(10), labels(10, (10,))
HALF = labels(5, (5,))


def figure(document: dict[str, Any], name: str, subset: str, **where: str) -> dict[str, Any]:
    wanted = {"section": STACKS, "method": "ours", "figure": name, "subset": subset} | where
    rows = [row for row in document["figures"] if all(row[key] == value for key, value in wanted.items())]
    assert len(rows) == 1
    return rows[0]


def test_means_and_medians_are_over_patients_with_the_bootstraps_own_intervals():
    found = [labels(rows) for rows in (10, 9, 5)]
    cases = [fold_case(f"p{i}", FREE, one) for i, one in enumerate(found)]
    dices = [1.0, 18 / 19, 10 / 15]
    row = figure(crossval_document(cases, ["ours"]), "liver_dice", EVERYBODY)
    assert row["mean"] == pytest.approx(np.mean(dices))
    assert row["median"] == pytest.approx(18 / 19)
    both = bootstrap_interval(dices, np.ones(3))
    assert (row["mean_low"], row["mean_high"]) == pytest.approx((both.low, both.high))
    assert (row["patients"], row["left_out"], row["missed"]) == (3, 0, 0)


def test_a_patients_slices_are_summed_before_dice_is_taken():
    cases = [fold_case("p", FREE, labels(5), group=LOOSE), fold_case("p", ONE, ONE, group=LOOSE, case="second")]
    (row,) = patient_rows(cases)
    # 800 + 1600 shared voxels of 1200 + ... : twice the shared ones over both sides' sums.
    assert row["liver_dice"] == pytest.approx(2 * (400 + 800) / (1200 + 1600))
    assert row["liver_dice"] != pytest.approx((10 / 15 + 1) / 2)
    assert "liver_assd_mm" not in row


def test_tumour_dice_counts_tumour_patients_only_and_a_miss_is_zero_and_told():
    cases = [fold_case("a", ONE, ONE), fold_case("b", ONE, FREE), fold_case("c", FREE, ONE)]
    document = crossval_document(cases, ["ours"])
    row = figure(document, "tumour_dice", TUMOUR)
    assert (row["mean"], row["patients"], row["missed"]) == (0.5, 2, 1)
    assert "one empty: 0" in row["rule"]
    # The missed tumour's distance is the scan's diagonal, not left out.
    assert figure(document, "tumour_assd_mm", TUMOUR)["mean"] == pytest.approx(np.hypot(np.hypot(40, 40), 20) / 2)


@pytest.mark.parametrize(("ml", "size"), [(0.1, 0), (1.999, 0), (2.0, 1), (20.0, 1), (20.1, 2)])
def test_size_classes_share_no_volume(ml, size):
    assert size_of(ml) == SIZES[size]


def test_subsets_by_volume_and_without_the_two_outliers():
    large = Geometry.from_spacing(GRID.shape, (50, 10, 10))  # 5 mL a voxel
    big = LabelMap(ONE.labels, large)
    cases = [fold_case("lits004", big, big), fold_case("lits039", ONE, FREE), fold_case("p", ONE, HALF)]
    document = crossval_document(cases, ["ours"])
    assert figure(document, "tumour_dice", TUMOUR)["patients"] == 3
    assert figure(document, "tumour_dice", f"{TUMOUR}, {BUT}")["mean"] == pytest.approx(10 / 15)
    assert figure(document, "tumour_dice", SIZES[0])["patients"] == 2
    assert figure(document, "tumour_dice", SIZES[2])["mean"] == 1
    assert not [row for row in document["figures"] if row["subset"] == SIZES[1]]
    assert [figure(document, "liver_dice", who)["patients"] for who in (EVERYBODY, BUT)] == [3, 1]


def lesion(document: dict[str, Any], name: str, subset: str = EVERYBODY, overlap: str = "any") -> dict[str, Any]:
    wanted = {"section": STACKS, "figure": name, "subset": subset, "overlap": overlap}
    (row,) = (row for row in document["lesions"] if all(row[key] == value for key, value in wanted.items()))
    return row


def test_lesions_are_pooled_and_small_ones_counted_apart():
    three, found = labels(10, (10, 10, 10)), labels(10, (10, 4))
    document = crossval_document([fold_case("a", three, found), fold_case("b", FREE, ONE)], ["ours"])
    assert lesion(document, "lesion_recall")["value"] == pytest.approx(2 / 3)
    assert lesion(document, "lesion_precision")["value"] == pytest.approx(2 / 3)
    assert lesion(document, "lesion_f1")["value"] == pytest.approx(4 / 6)
    assert lesion(document, "lesion_recall", overlap="half")["value"] == pytest.approx(1 / 3)
    small_name = "small_lesion_recall"
    small = lesion(document, small_name)
    assert (small["top"], small["bottom"]) == (2, 3)
    assert lesion(document, "lesion_recall", SIZES[0])["patients"] == 1
    large = LabelMap(ONE.labels, Geometry.from_spacing(GRID.shape, (50, 10, 10)))
    small = lesion(
        crossval_document([fold_case("a", three, found), fold_case("b", large, large)], ["ours"]), small_name
    )
    assert (small["top"], small["bottom"]) == (2, 3)


def test_false_alarms_are_counts_of_tumour_free_patients_with_the_exact_interval():
    two = labels(10, (3, 3))
    cases = [fold_case("a", FREE, two), fold_case("b", FREE, FREE), fold_case("c", ONE, two)]
    (row,) = crossval_document(cases, ["ours"])["false_alarms"]
    assert (row["patients"], row["scans"], row["lesions"], row["per_scan"]) == (2, 2, 2, 1.0)
    assert (row["low"], row["high"]) == pytest.approx((0.2422 / 2, 7.2247 / 2), abs=1e-3)
    assert row["ml_per_scan"] == pytest.approx(6 * 0.02 / 2)


def test_a_scan_that_four_folds_tested_weighs_as_one_patient():
    many = [fold_case("w", ONE, ONE if k < 3 else FREE, group=VOLUMES, case="ircad", fold=k) for k in range(4)]
    document = crossval_document([*many, fold_case("a", ONE, FREE)], ["ours"])
    assert document["sections"] == [STACKS, VOLUMES, ALL_SCANS]
    row = figure(document, "tumour_dice", TUMOUR, section=ALL_SCANS)
    assert (row["patients"], row["mean"]) == (2, pytest.approx(6 / 7 / 2))
    (recall,) = (
        r for r in document["lesions"]
        if (r["section"], r["figure"], r["overlap"], r["subset"]) == (ALL_SCANS, "lesion_recall", "any", EVERYBODY)
    )  # fmt: skip
    assert recall["value"] == pytest.approx(0.75 / 2)


def two_methods() -> list[FoldCase]:
    cases = []
    for number, rows in enumerate((10, 9, 8, 7, 6, 5, 4)):
        cases.append(fold_case(f"p{number}", ONE, labels(10, (10 - number,))))
        cases.append(fold_case(f"p{number}", ONE, labels(rows - 1, (2,)), method="peer"))
    return cases


def test_methods_are_compared_patient_by_patient_with_the_paired_tests():
    document = crossval_document(two_methods(), ["ours", "peer"])
    liver, tumour = document["comparisons"]
    values = {m: [r["tumour_dice"] for r in document["patients"] if r["method"] == m] for m in ("ours", "peer")}
    test = paired_test(np.array(values["ours"]), np.array(values["peer"]))
    assert (tumour["figure"], tumour["first"], tumour["second"]) == ("tumour_dice", "ours", "peer")
    assert (tumour["difference"], tumour["wilcoxon_p"]) == (test.mean_difference, test.wilcoxon_p)
    assert tumour["patients"] == 7
    assert liver["wilcoxon_holm"] == pytest.approx(2 * liver["wilcoxon_p"])


def test_a_patient_in_stacks_and_volumes_is_one_patient_of_all_scans():
    cases = two_methods() + [
        fold_case("p0", ONE, ONE if method == "ours" else FREE, group=VOLUMES, method=method, case="w")
        for method in ("ours", "peer")
    ]
    rows = crossval_document(cases, ["ours", "peer"])["comparisons"]
    assert {row["patients"] for row in rows if row["section"] == ALL_SCANS} == {7}


def test_only_shared_patients_are_compared_and_missing_cases_are_told():
    document = crossval_document(two_methods()[:-1], ["ours", "peer"])
    assert {row["patients"] for row in document["comparisons"]} == {6}
    assert document["without"] == [{"method": "peer", "fold": 0, "case": "lits512-p6"}]


def test_union_labels_judge_the_liver_alone():
    document = crossval_document([fold_case("p", ONE, HALF, group=UNION)], ["ours"])
    assert [(row["figure"], row["subset"]) for row in document["figures"]] == [("liver_dice", EVERYBODY)]
    assert document["lesions"] == document["false_alarms"] == []


def test_the_text_says_the_empty_rule_beside_every_mean_and_holds_every_section():
    cases = [*two_methods(), fold_case("f", FREE, ONE), fold_case("u", ONE, ONE, group=UNION)]
    document = crossval_document(cases, ["ours", "peer"])
    text = markdown(document)
    assert lits.EMPTY_RULE in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {STACKS}", f"## {UNION}", "## Cases without a prediction", "## Patients",
    ]  # fmt: skip
    means = [line for line in text.splitlines() if "; median " in line]
    assert means
    assert all("both empty: left out" in line or "no truth: left out" in line for line in means)
    widths = {}
    for block in text.split("\n\n"):
        if block.startswith("| "):
            widths[block[:20]] = {line.count("|") for line in block.splitlines()}
    assert all(len(own) == 1 for own in widths.values())
    assert "− peer" in text
    assert "nan" not in text


def test_an_interval_over_fewer_than_five_patients_is_not_shown():
    def liver(count: int) -> str:
        document = crossval_document([fold_case(f"p{i}", FREE, labels(10 - i)) for i in range(count)], ["ours"])
        return next(line for line in markdown(document).splitlines() if line.startswith("| Liver Dice "))

    assert "(n 4)" in liver(4)
    assert "[" not in liver(4)
    assert "[" in liver(5)


def test_the_csv_files_hold_all_digits_and_no_nan():
    document = crossval_document([*two_methods(), fold_case("f", FREE, FREE)], ["ours", "peer"])
    rows = list(csv.DictReader(io.StringIO(patients_csv(document))))
    assert len(rows) == 15
    free = next(row for row in rows if row["patient"] == "f")
    assert (free["tumour_dice"], float(free["liver_dice"])) == ("", 1.0)
    figures = list(csv.DictReader(io.StringIO(figures_csv(document))))
    mean = next(r for r in figures if (r["figure"], r["method"], r["subset"]) == ("tumour_dice", "ours", TUMOUR))
    assert float(mean["mean"]) == figure(document, "tumour_dice", TUMOUR)["mean"]
    assert not any(math.isnan(float(row["mean"])) for row in figures if row["mean"])
