"""Settings with several seeds: patients stay the unit, and the spread of seeds stands beside every mean."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from hepar.errors import BadInput
from hepar.study.crossval_text import seeds_markdown
from hepar.study.left_out import LOOSE, STACKS
from hepar.study.seeds import parse_settings, read_table, seeds_document

SETTINGS = {"base": ("b0", "b1"), "other": ("o0", "o1")}


def row(patient: str, method: str, liver: float, tumour: float | None = 0.5, **changed: Any) -> dict[str, Any]:
    told = {"group": STACKS, "patient": patient, "method": method, "truth_tumour_ml": 3.0}
    return told | {"liver_dice": liver, "tumour_dice": tumour} | changed


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"methods": sorted({one["method"] for one in rows}), "patients": list(rows)}


def grid(values: dict[str, list[float]]) -> dict[str, Any]:
    """Liver Dice of patients p0, p1, ... of each method."""
    return document(*(row(f"p{k}", method, value) for method, own in values.items() for k, value in enumerate(own)))


VALUES = {"b0": [0.9, 0.8, 0.7], "b1": [0.7, 0.8, 0.9], "o0": [0.6, 0.6, 0.6], "o1": [0.4, 0.5, 0.6]}


def of(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    found = [one for one in rows if all(one[key] == value for key, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_each_seed_has_its_mean_and_their_spread_is_the_samples():
    base = of(seeds_document(grid(VALUES), SETTINGS)["means"], setting="base", figure="liver_dice")
    assert base["seeds"] == pytest.approx([0.8, 0.8])
    assert base["sd_of_seeds"] == pytest.approx(0.0, abs=1e-12)
    other = of(seeds_document(grid(VALUES), SETTINGS)["means"], setting="other", figure="liver_dice")
    assert other["mean"] == pytest.approx(0.55)
    assert other["sd_of_seeds"] == pytest.approx(np.std([0.6, 0.5], ddof=1))


def test_a_patient_counts_once_however_many_seeds_there_are():
    two = of(seeds_document(grid(VALUES), SETTINGS)["differences"], figure="liver_dice")
    assert two["patients"] == 3
    # Patient by patient: (0.8 - 0.5, 0.8 - 0.55, 0.8 - 0.6).
    assert two["difference"] == pytest.approx(0.25)
    assert (two["low"], two["high"]) == pytest.approx((0.2, 0.3), abs=0.02)
    doubled = VALUES | {"b2": VALUES["b0"], "b3": VALUES["b1"], "o2": VALUES["o0"], "o3": VALUES["o1"]}
    more = {"base": ("b0", "b1", "b2", "b3"), "other": ("o0", "o1", "o2", "o3")}
    four = of(seeds_document(grid(doubled), more)["differences"], figure="liver_dice")
    assert four == two


def test_only_patients_that_every_seed_of_both_settings_has_are_compared():
    rows = [one for one in grid(VALUES)["patients"] if (one["patient"], one["method"]) != ("p2", "o1")]
    found = seeds_document(document(*rows), SETTINGS)
    assert of(found["differences"], figure="liver_dice")["patients"] == 2
    assert of(found["means"], setting="base", figure="liver_dice")["patients"] == 3
    assert of(found["means"], setting="other", figure="liver_dice")["patients"] == 2


def test_tumours_are_compared_where_there_are_tumours_and_loose_slices_not_at_all():
    rows = [row("p0", m, 0.9) for m in VALUES] + [row("p1", m, 0.9, None, truth_tumour_ml=0.0) for m in VALUES]
    rows += [row("p0", m, 0.1, 0.1, group=LOOSE, truth_tumour_ml=None) for m in VALUES]
    found = seeds_document(document(*rows), SETTINGS)
    assert {one["group"] for one in found["means"]} == {STACKS}
    assert of(found["means"], setting="base", figure="tumour_dice")["patients"] == 1
    assert of(found["means"], setting="base", figure="liver_dice")["patients"] == 2


def test_without_a_shared_patient_there_is_a_row_without_numbers_and_no_test():
    rows = [row("p0", m, 0.9) for m in ("b0", "o0")] + [row("p1", m, 0.9) for m in ("b1", "o1")]
    found = seeds_document(document(*rows), SETTINGS)
    base = of(found["means"], setting="base", figure="liver_dice")
    assert base["patients"] == 0
    assert math.isnan(base["mean"])
    assert found["differences"] == []
    assert "– |" in seeds_markdown(found)


def test_the_text_holds_every_seed_the_spread_and_the_empty_rule():
    text = seeds_markdown(seeds_document(grid(VALUES), SETTINGS))
    assert "| Liver Dice | LiTS-26 stacks | other | 3 | 0.600, 0.500 | 0.550 | 0.071 | both empty: left out" in text
    assert "base − other | 3 | 0.250 |" in text


@pytest.mark.parametrize(
    "texts", [["base=b0,b1"], ["base=b0", "o=o0,o1"], ["base=b0,b0", "o=o0,o1"], ["b0,b1", "o=o0,o1"],
              ["base=b0,b1", "base=o0,o1"], ["=b0,b1", "o=o0,o1"]]
)  # fmt: skip
def test_what_is_no_setting_is_refused(texts):
    with pytest.raises(BadInput, match="expected"):
        parse_settings(texts)


def test_a_method_that_the_table_lacks_is_named():
    with pytest.raises(BadInput, match="has no o9; it has b0, b1, o0, o1"):
        seeds_document(grid(VALUES), {"base": ("b0", "b1"), "other": ("o0", "o9")})


def test_the_command_leaves_text_and_numbers_beside_the_table(tmp_path, hepar_command):
    (tmp_path / "table.json").write_text(json.dumps(grid(VALUES)), encoding="utf-8")
    ended = hepar_command("study", "seeds", str(tmp_path), "--same", "base=b0,b1", "--same", "other=o0, o1")
    assert ended.code == 0
    assert json.loads((tmp_path / "seeds.json").read_text(encoding="utf-8"))["settings"]["other"] == ["o0", "o1"]
    assert (tmp_path / "seeds.md").read_text(encoding="utf-8").startswith("| figure |")


@pytest.mark.parametrize("text", [None, "{"])
def test_a_folder_without_a_table_says_how_to_make_one(tmp_path, text):
    if text:
        (tmp_path / "table.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="hepar study table"):
        read_table(tmp_path)
