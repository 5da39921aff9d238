"""A cohort on one machine or several: nothing lost, nothing twice, failures tried again and listed."""

from __future__ import annotations

import csv
import json
import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hepar.errors import BadInput
from hepar.io import write_volume
from hepar.service import batch
from hepar.service.batch import Listener, Outcome
from hepar.service.cohort import local
from hepar.service.cohort.claims import claimed
from hepar.service.cohort.local import segment_cohort
from hepar.service.cohort.manifest import TABLE, note_failure, rows_of, write_table
from hepar.service.cohort.order import CohortOrder, Shard
from hepar.volume import Volume


@pytest.fixture
def order(tmp_path, threshold_model, small_scan) -> CohortOrder:
    """Five scans; other voxels in each, so that results can be told apart."""
    ct = small_scan[0]
    for number in range(5):
        values = ct.values.copy()
        values[0, 0, 0] = -1000 + number
        write_volume(Volume(values, ct.geometry), tmp_path / "in" / f"case{number}.nii")
    return CohortOrder(tmp_path / "in", tmp_path / "out", threshold_model, reports=False)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_every_case_has_a_line_with_what_went_in_and_came_out(order):
    assert statuses(segment_cohort(order)) == ["segmented"] * 5
    rows = table(order.out)
    assert [row["case"] for row in rows] == [f"case{n}" for n in range(5)]
    assert len({row["voxels"] for row in rows}) == 5
    assert {row["status"] for row in rows} == {"segmented"}
    assert all(float(row["liver_ml"]) > 0 and row["model"].startswith("threshold") for row in rows)
    assert not list(order.out.glob(".claim-*"))


def test_equal_scans_have_equal_labels_and_other_labels_another_sum(order, small_scan, tmp_path):
    segment_cohort(order)
    again = replace(order, out=tmp_path / "again")
    segment_cohort(again)
    first, second = (json.loads((o.out / "case3.json").read_text(encoding="utf-8")) for o in (order, again))
    assert first["labels"] == second["labels"]
    shifted = small_scan[1].labels.copy()
    shifted[0, 0, 0] = 1
    assert batch.label_fingerprint(small_scan[1].with_labels(shifted)) != batch.label_fingerprint(small_scan[1])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_out_every_case_once(order, count):
    done = [segment_cohort(replace(order, shard=Shard(number, count))) for number in range(1, count + 1)]
    names = [outcome.id for outcomes in done for outcome in outcomes]
    assert sorted(names) == [f"case{n}" for n in range(5)]
    assert all(outcome.status == "segmented" for outcomes in done for outcome in outcomes)
    # The last shard's table is that of the whole cohort.
    assert len(table(order.out)) == 5


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/2/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(BadInput, match="expected"):
        Shard.parse(text)
    assert Shard.parse(" 2/3") == Shard(2, 3)


def test_a_corrupt_case_is_tried_again_listed_and_stops_nothing(order):
    (order.source / "case2.nii").write_bytes(b"\x00" * 400)
    told: list[Outcome] = []
    outcomes = segment_cohort(order, Listener(ended=told.append))
    assert statuses(outcomes) == ["segmented", "segmented", "failed", "segmented", "segmented"]
    assert [one.id for one in told if one.status == "failed"] == ["case2"]
    row = table(order.out)[2]
    assert (row["case"], row["status"], row["attempts"]) == ("case2", "failed", "3")
    assert row["message"] == outcomes[2].message
    assert "case2.nii" in row["message"]


def test_a_case_that_fails_once_succeeds_in_its_second_try_and_leaves_no_trace(order, monkeypatch):
    tries: list[str] = []
    real = local.segment_one

    def shaky(scan, job, engines):
        tries.append(scan.id)
        if tries.count("case1") == 1 and scan.id == "case1":
            return Outcome("case1", "failed", "the disk was away")
        return real(scan, job, engines)

    monkeypatch.setattr(local, "segment_one", shaky)
    assert statuses(segment_cohort(order)) == ["segmented"] * 5
    # After all others, not at once: what is away for a moment has time to come back.
    assert tries == ["case0", "case1", "case2", "case3", "case4", "case1"]
    assert not list(order.out.glob("*.failed.json"))
    assert {row["status"] for row in table(order.out)} == {"segmented"}


def test_finished_cases_are_passed_over_and_what_failed_is_tried_in_the_next_run(order):
    good = (order.source / "case2.nii").read_bytes()
    (order.source / "case2.nii").write_bytes(b"\x00" * 400)
    segment_cohort(replace(order, retries=0))
    (order.source / "case2.nii").write_bytes(good)
    assert statuses(segment_cohort(order)) == ["skipped", "skipped", "segmented", "skipped", "skipped"]
    assert {row["status"] for row in table(order.out)} == {"segmented"}


def test_a_case_in_other_hands_is_waited_for_and_not_done_twice(order, monkeypatch):
    monkeypatch.setattr(local, "LOOK_AGAIN_SECONDS", 0.01)
    order.out.mkdir()
    done = threading.Event()
    seen: list[str] = []

    def ended(outcome: Outcome) -> None:
        seen.append(outcome.id)
        if len(seen) == 4:
            done.set()

    with claimed(order.out, "case0") as mine:
        assert mine
        worker = threading.Thread(target=segment_cohort, args=(order, Listener(ended=ended)))
        worker.start()
        assert done.wait(60)
        assert sorted(seen) == ["case1", "case2", "case3", "case4"]
        assert not (order.out / "case0.json").exists()
    worker.join(60)
    assert seen[-1] == "case0"
    assert (order.out / "case0.json").exists()


def _work(order: CohortOrder, told: object) -> None:
    told.put([(one.id, one.status) for one in segment_cohort(order)])  # type: ignore[attr-defined]


def test_two_processes_without_shards_share_the_work(order):
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    workers = [context.Process(target=_work, args=(order, told)) for _ in range(2)]
    for worker in workers:
        worker.start()
    results = [told.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
    made = [case for outcomes in results for case, status in outcomes if status == "segmented"]
    assert sorted(made) == [f"case{n}" for n in range(5)]
    assert all(status != "failed" for outcomes in results for _, status in outcomes)
    assert len(table(order.out)) == 5


def test_the_table_passes_over_files_that_are_no_cases(order):
    segment_cohort(order)
    (order.out / "notes.json").write_text('["mine"]', encoding="utf-8")
    (order.out / "half.json").write_text("{", encoding="utf-8")
    (order.out / "odd.failed.json").write_text("{}", encoding="utf-8")
    assert len(rows_of(order.out)) == 5


def test_a_finished_case_is_no_failure_whatever_an_older_note_says(order):
    segment_cohort(order)
    note_failure(order.out, "case1", "long ago", 1)
    assert {row["status"] for row in write_table(order.out)} == {"segmented"}


def test_a_single_label_file_leaves_no_table_beside_it(order, tmp_path):
    lone = replace(order, source=order.source / "case0.nii", out=tmp_path / "labels" / "mine.nii.gz")
    assert statuses(segment_cohort(lone)) == ["segmented"]
    assert [path.name for path in lone.out.parent.iterdir()] == ["mine.nii.gz"]


def test_negative_retries_are_refused(order):
    with pytest.raises(BadInput, match="expected 0 or more"):
        replace(order, retries=-1)
