"""Tables of a bench from made-up cells: figures, costs, the third column, and what was not run."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

import invented_bench as invented
from hepar import methods
from hepar.errors import BadInput
from hepar.metrics.protocols.lits import EMPTY_RULE
from hepar.study.bench.document import bench_document
from hepar.study.bench.results import read_bench
from hepar.study.bench.third_column import differences
from hepar.study.bench.writing import (
    COST_HEAD,
    HEAD,
    figure_text,
    interval_text,
    markdown,
    ours_text,
    parameters_text,
    updates_text,
    write_tables,
)
from hepar.study.reproduce.published import TABLE2


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    """Two folds of one method, one of another, a liver-only one, a variant, a failed one; the rest not run."""
    out = invented.write_study(tmp_path_factory.mktemp("bench"))
    invented.write_cell(out, "vorontsov", 0, pixels=1)
    invented.write_cell(out, "vorontsov", 1, pixels=2, minutes=10.5, peak_mb_training=2500.0)
    invented.write_cell(out, "cdnn_alex", 0, pixels=4, converged=True, convergence="flat", differs=[], windows_hu=[],
                        encoders={}, updates=100, updates_asked=100)  # fmt: skip
    invented.write_cell(out, "hu", 0, kind="3D network and surface, liver only")
    invented.write_cell(out, "chlebus/without_filter", 0)
    invented.write_failed(out, "gruber", "the liver stage finds no liver in any training case; train it longer")
    return out


@pytest.fixture(scope="module")
def document(bench) -> dict[str, Any]:
    return bench_document(read_bench(bench))


def row_of(document: dict[str, Any], method: str, table: str = "methods") -> dict[str, Any]:
    return next(row for row in document[table] if row["method"] == method)


def test_every_method_of_the_registry_has_a_row_and_tried_variants_too(document):
    assert [row["method"] for row in document["methods"]] == [*methods.names(), "chlebus/without_filter"]


def test_states_say_what_was_run_how_far_and_what_failed(document):
    states = {row["method"]: row["state"] for row in document["methods"]}
    assert states["vorontsov"] == "finished, not converged"
    assert states["cdnn_alex"] == "1 of 2 folds"
    assert states["gruber"].startswith("failed: the liver stage finds no liver")
    assert states["unet"] == states["bellver"] == "not run"


def test_a_dice_is_the_mean_over_the_patients_of_all_finished_folds(document, bench):
    cells = [cell for cell in read_bench(bench).cells if cell.facts["method"] == "vorontsov"]
    terms = [case["conditions"]["all_slices"]["lits"]["terms"]["liver_dice"] for cell in cells for case in cell.cases]
    found = row_of(document, "vorontsov")["figures"]["liver_dice"]
    assert found["patients"] == 4
    assert found["mean"] == pytest.approx(sum(top / bottom for top, bottom in terms) / 4)
    assert min(top / bottom for top, bottom in terms) < found["median"] < 1


def test_a_method_that_moves_labels_less_is_better_everywhere(document):
    near, far = row_of(document, "vorontsov"), row_of(document, "cdnn_alex")
    for name in ("liver_dice", "tumour_dice"):
        assert near["figures"][name]["mean"] > far["figures"][name]["mean"]
    assert near["figures"]["liver_assd_mm"]["mean"] < far["figures"]["liver_assd_mm"]["mean"]


def test_tumour_figures_are_of_patients_with_tumour(document, bench):
    # Phantom 3 has none.
    assert row_of(document, "vorontsov")["figures"]["tumour_dice"]["patients"] == 3
    cells = [cell for cell in read_bench(bench).cells if cell.facts["method"] == "vorontsov"]
    lesions = sum(case["facts"]["lesions"] for cell in cells for case in cell.cases)
    assert row_of(document, "vorontsov")["lesions"]["lesion_recall"]["bottom"] == lesions == 9


def test_a_method_that_looks_for_livers_only_has_no_tumour_figures(document):
    row = row_of(document, "hu")
    assert row["liver_only"]
    assert row["figures"].keys() == {"liver_dice", "liver_assd_mm"}
    assert row["lesions"] == {}
    told = {(one["method"], one["figure"]) for one in document["figures"]}
    assert ("hu", "liver_dice") in told
    assert ("hu", "tumour_dice") not in told
    assert "hu" not in {one["method"] for one in [*document["lesions"], *document["false_alarms"]]}
    pairs = [row for row in document["comparisons"] if "hu" in (row["first"], row["second"])]
    assert {row["figure"] for row in pairs} == {"liver_dice"}


def test_costs_are_means_over_folds_and_memory_is_the_largest(document):
    cost = row_of(document, "vorontsov")["cost"]
    assert cost["minutes"] == pytest.approx(10.0)
    assert (cost["peak_mb_training"], cost["peak_mb_segmenting"]) == (2500.0, 900.0)
    assert (cost["parameters"], cost["gflop"]) == (2_104_898, 40.5)
    assert row_of(document, "unet")["cost"].keys() == {"card_parameters"}


def test_what_a_stage_costs_is_not_known_where_one_of_them_is_not(tmp_path):
    out = invented.write_study(tmp_path)
    parts = {"liver": {"gflop": 1.0, "size": [64, 64]}, "tumour": {"gflop": None, "size": [64, 64]}}
    invented.write_cell(out, "unet", 0, gflop=parts, peak_mb_training=None)
    cost = row_of(bench_document(read_bench(out)), "unet")["cost"]
    assert math.isnan(cost["gflop"])
    assert math.isnan(cost["peak_mb_training"])
    assert cost["peak_mb_segmenting"] == 900.0


def test_table_2_keeps_the_papers_rows_with_their_correction(document):
    assert [row["title"] for row in document["table2"]] == [row.title for row in TABLE2]
    vorontsov = row_of(document, "vorontsov", "table2")
    assert [(one["structure"], one["dice"]) for one in vorontsov["published"]] == [("liver", 0.95), ("tumour", 0.52)]
    assert "105 / 15" in vorontsov["published"][0]["data"]
    assert "a .52 is in neither" in vorontsov["correction"]
    assert vorontsov["ours"]["liver"]["patients"] == 4
    assert row_of(document, "bellver", "table2")["ours"] == {"liver": None, "tumour": None}
    assert row_of(document, "bellver", "table2")["state"] == "not run"


def test_the_third_column_says_what_differs(document):
    told = row_of(document, "vorontsov", "table2")["differs"]
    assert told[0] == "4 phantoms, folds by patient: 2 folds, 2 patients train, 4 are tested"
    assert told[1] == "a budget of 10 minutes"
    assert "joint: 50 of 4000 updates (less than eight epochs)" in told
    assert "window of −510 to 510 HU not testable: the data hold −40 to 160" in told
    assert "joint: random (He): its ImageNet weights are not at hand" in told
    assert row_of(document, "cdnn_alex", "table2")["differs"] == [
        "4 phantoms, folds by patient: fold 0, 2 patients train, 2 are tested",
        "a budget of 10 minutes",
    ]


def test_differences_are_told_once_however_many_folds_say_them(bench):
    cells = [cell for cell in read_bench(bench).cells if cell.facts["method"] == "vorontsov"]
    assert differences(cells) == differences(cells[:1])
    assert len(differences(cells)) == 3


def test_a_smaller_picture_is_a_difference(tmp_path):
    out = invented.write_study(tmp_path)
    invented.write_cell(out, "unet", 0, matrix=256)
    assert "slices of at most 256 pixels a side" in differences(read_bench(out).cells)


def test_the_other_methods_stand_with_what_their_authors_published(document):
    names = [row["method"] for row in document["others"]]
    assert set(names) == {row["method"] for row in document["methods"]} - {row.method for row in TABLE2}
    han = row_of(document, "han", "others")
    assert [one["dice"] for one in han["published"] if one["structure"] == "tumour"] == [0.67]
    assert han["state"] == "not run"
    assert han["differs"] == []


def test_a_bench_without_a_cell_says_not_run_everywhere(tmp_path):
    empty = bench_document(read_bench(invented.write_study(tmp_path)))
    assert {row["state"] for row in empty["methods"]} == {"not run"}
    text = markdown(empty)
    assert text.count("not run") >= len(methods.names())
    assert "nan" not in text
    assert [path.name for path in write_tables(empty, tmp_path)] == ["bench.json", "bench.md", "bench.csv"]


def test_cells_keep_their_facts_without_settings_and_losses(document):
    cells = {cell["id"]: cell for cell in document["cells"]}
    assert cells["gruber/fold0"]["error"].startswith("the liver stage finds no liver")
    assert cells["vorontsov/fold1"]["test_patients"] == ["phantom002", "phantom003"]
    assert "settings" not in cells["vorontsov/fold1"]
    assert cells["chlebus+without_filter/fold0"]["method"] == "chlebus/without_filter"


def test_the_document_is_plain_json_and_names_its_rules(document, tmp_path):
    write_tables(document, tmp_path)
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert stored["empty_rule"] == EMPTY_RULE
    assert stored["bootstrap"] == {"draws": 2000, "seed": 2018, "unit": "patient", "level": 0.95}
    assert stored["order"]["budget_minutes"] == 10.0
    assert stored["commands"] == ["hepar study bench -o x"]
    assert any("processor time" in note for note in stored["notes"])
    assert row_of(stored, "vorontsov")["figures"]["liver_dice"]["mean"] == pytest.approx(
        row_of(document, "vorontsov")["figures"]["liver_dice"]["mean"]
    )


def table_rows(text: str, heading: str) -> dict[str, list[str]]:
    """Cells of the table below a heading, by the first one."""
    part = text.split(f"## {heading}\n\n")[1].split("\n\n", maxsplit=1)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part]
    return {row[0]: row for row in (rows[0], *rows[2:])}


def test_markdown_has_a_line_a_method_with_as_many_cells_as_heads(document):
    text = markdown(document)
    rows = table_rows(text, "Methods")
    assert rows["method"] == list(HEAD)
    assert all(len(row) == len(HEAD) for row in rows.values())
    assert rows["unet"][3:] == ["not run", *["–"] * 6]
    assert rows["hu"][5] == rows["hu"][8] == "n/a"
    assert "(n 3)" in rows["vorontsov"][5]
    assert f"Empty rule: {EMPTY_RULE}" in text
    costs = table_rows(text, "What they take")
    assert costs["method"] == list(COST_HEAD)
    assert costs.keys() == {"method", "vorontsov", "cdnn_alex", "hu", "chlebus/without_filter"}
    assert costs["vorontsov"][3] == "50 of 4000"
    assert costs["vorontsov"][-1].startswith("no: the budget ended it")
    assert costs["cdnn_alex"][3] == "100"
    assert costs["cdnn_alex"][-1] == "yes"


def test_the_third_form_of_table_2_is_a_line_a_row(document):
    rows = table_rows(markdown(document), "The paper's Table 2: published, this bench, what differs")
    vorontsov = rows["Vorontsov et al. [8] (vorontsov)"]
    assert vorontsov[1].startswith("liver 0.950 (105 / 15, as the paper prints it); tumour 0.520")
    assert "(n 4)" in vorontsov[3]
    bellver = rows["Bellver et al. [13] (bellver)"]
    assert bellver[3:6] == ["not run"] * 3


def test_csv_has_a_line_a_method_and_one_a_patient(document, tmp_path):
    write_tables(document, tmp_path)
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO((tmp_path / "bench.csv").read_text()))}
    assert rows.keys() == {row["method"] for row in document["methods"]}
    mean = row_of(document, "vorontsov")["figures"]["liver_dice"]["mean"]
    assert float(rows["vorontsov"]["figures.liver_dice.mean"]) == pytest.approx(mean)
    assert rows["vorontsov"]["folds"] == "0 1"
    assert rows["unet"]["figures.liver_dice.mean"] == ""
    patients = list(csv.DictReader(io.StringIO((tmp_path / "bench_patients.csv").read_text())))
    assert len([row for row in patients if row["method"] == "vorontsov"]) == 4


def test_another_folder_is_no_bench(tmp_path):
    with pytest.raises(BadInput, match=r"holds no study.json of a bench"):
        read_bench(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"order": {"recipe": "literal"}}))
    with pytest.raises(BadInput, match="another kind of study"):
        read_bench(tmp_path)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (None, "–"),
        ({"patients": 0}, "–"),
        ({"patients": 3, "mean": 0.5, "mean_low": 0.1, "mean_high": 0.9, "median": 0.6, "missed": 1},
         "0.500; 0.600 (n 3, 1 missed)"),
        ({"patients": 9, "mean": 0.5, "mean_low": 0.1, "mean_high": 0.9, "median": 0.6, "missed": 0},
         "0.500 [0.100, 0.900]; 0.600 (n 9)"),
    ],
)  # fmt: skip
def test_a_figure_in_words(figure, text):
    assert figure_text({"liver_dice": figure}, "liver_dice", 3) == text


def test_words_of_small_things():
    assert figure_text({}, "tumour_dice", 3) == "n/a"
    assert interval_text(math.nan, math.nan, 3, 9) == interval_text(None, None, 3, 9) == ""
    assert interval_text(0.1, 0.2, 2, 5) == " [0.10, 0.20]"
    assert interval_text(0.1, 0.2, 2, 4) == ""
    assert parameters_text(0) == "–"
    assert parameters_text(2_104_898) == "2.10 M"
    assert updates_text({"updates": 40.0, "updates_asked": 40.0}) == "40"
    assert updates_text({"updates": 39.6, "updates_asked": 400.0}) == "40 of 400"
    assert ours_text({"ours": {"liver": None}, "state": "not run"}, "liver") == "not run"
    assert ours_text({"ours": {"liver": None}, "state": "failed: x"}, "liver") == "–"


def test_pairs_are_tested_over_the_patients_that_both_have(document):
    pair = next(
        row
        for row in document["comparisons"]
        if {row["first"], row["second"]} == {"vorontsov", "cdnn_alex"} and row["figure"] == "liver_dice"
    )
    # The first fold's two; the second fold has one of them alone.
    assert pair["patients"] == 2
    better = pair["difference"] if pair["first"] == "vorontsov" else -pair["difference"]
    assert better > 0


def test_false_alarms_are_lesions_of_patients_without_any(document):
    told = {row["method"]: row for row in document["false_alarms"]}
    # Phantom 3 is tested in the second fold, and moved labels invent nothing there.
    assert told.keys() == {"vorontsov"}
    assert (told["vorontsov"]["patients"], told["vorontsov"]["lesions"]) == (1, 0)


def test_cases_come_with_fold_group_and_method(bench):
    cases = read_bench(bench).fold_cases()
    assert len(cases) == 2 * 2 + 3 * 2
    assert {case.group for case in cases} == {"whole volumes"}
    mine = [(case.fold, case.patient) for case in cases if case.method == "vorontsov"]
    assert mine == [(0, "phantom000"), (0, "phantom001"), (1, "phantom002"), (1, "phantom003")]
    assert all(case.facts["truth_liver_ml"] > 0 for case in cases)


def test_a_failed_cell_has_no_figures_and_no_costs(document):
    row = row_of(document, "gruber")
    assert set(row["figures"].values()) == {None}
    assert row["cost"] == {"card_parameters": methods.card("gruber").parameters}
    assert row["converged"] is None
    third = row_of(document, "gruber", "others")
    assert third["ours"] == {"liver": None, "tumour": None}
    assert third["state"].startswith("failed")


def test_loose_slices_have_dice_and_no_distances(tmp_path):
    out = invented.write_study(tmp_path, group="slices256")
    invented.write_cell(out, "unet", 0)
    row = row_of(bench_document(read_bench(out)), "unet")
    assert row["figures"]["liver_dice"]["patients"] == 2
    assert row["figures"]["liver_assd_mm"] is None
    assert set(row["lesions"].values()) == {None}


def test_a_method_whose_every_fold_converged_says_yes_and_one_doubt_is_enough(tmp_path):
    out = invented.write_study(tmp_path)
    invented.write_cell(out, "unet", 0, converged=True, convergence="flat")
    sure = row_of(bench_document(read_bench(out)), "unet")
    assert (sure["converged"], sure["why"], sure["state"]) == (True, "flat", "1 of 2 folds")
    invented.write_cell(out, "unet", 1)
    doubt = row_of(bench_document(read_bench(out)), "unet")
    assert (doubt["converged"], doubt["state"]) == (False, "finished, not converged")
    assert doubt["why"].startswith("the budget ended it")
