"""One process works on a case, however many ask; what a killed one left behind is taken over."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hepar.errors import OutputError
from hepar.service.cohort.claims import claim_path, claimed


def test_a_case_is_held_by_one_and_given_back(tmp_path):
    with claimed(tmp_path, "a") as first:
        assert first
        with claimed(tmp_path, "a") as second, claimed(tmp_path, "b") as other:
            assert not second
            assert other
        assert claim_path(tmp_path, "a").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_is_given_back_when_the_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, "a"):
        raise ZeroDivisionError
    with claimed(tmp_path, "a") as mine:
        assert mine


def test_a_claim_of_a_process_that_is_gone_is_taken_over_at_once(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    claim_path(tmp_path, "a").write_text(f"{platform.node()} {int(gone.stdout)}", encoding="utf-8")
    with claimed(tmp_path, "a") as mine:
        assert mine


@pytest.mark.parametrize("holder", ["this process", "another-machine 1", ""])
def test_other_claims_are_taken_over_when_nobody_touched_them_for_long(tmp_path, holder):
    holder = f"{platform.node()} {os.getpid()}" if holder == "this process" else holder
    path = claim_path(tmp_path, "a")
    path.write_text(holder, encoding="utf-8")
    with claimed(tmp_path, "a", stale_seconds=60) as mine:
        assert not mine
    os.utime(path, (time.time() - 61, time.time() - 61))
    with claimed(tmp_path, "a", stale_seconds=60) as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


def test_a_claim_stays_fresh_while_its_work_goes_on(tmp_path):
    with claimed(tmp_path, "a", stale_seconds=0.4):
        begun = claim_path(tmp_path, "a").stat().st_mtime_ns
        until = time.monotonic() + 10
        while claim_path(tmp_path, "a").stat().st_mtime_ns == begun:
            assert time.monotonic() < until, "nobody touches the claim"
            time.sleep(0.02)


def _take(folder: Path, gate: object, wins: object) -> None:
    gate.wait()  # type: ignore[attr-defined]
    with claimed(folder, "a", stale_seconds=3600) as mine:
        wins.put(mine)  # type: ignore[attr-defined]
        # Nobody lets go before everybody has asked.
        gate.wait()  # type: ignore[attr-defined]


@pytest.mark.parametrize("left_behind", [False, True])
def test_of_many_processes_one_gets_the_case(tmp_path, left_behind):
    """Even where a killed one's claim is in the way, and all of them see that it is stale."""
    if left_behind:
        claim_path(tmp_path, "a").write_text("another-machine 1", encoding="utf-8")
        os.utime(claim_path(tmp_path, "a"), (0, 0))
    context = multiprocessing.get_context("spawn")
    gate, wins = context.Barrier(4), context.Queue()
    takers = [context.Process(target=_take, args=(tmp_path, gate, wins)) for _ in range(4)]
    for taker in takers:
        taker.start()
    told = [wins.get(timeout=60) for _ in takers]
    for taker in takers:
        taker.join(timeout=60)
    assert sorted(told) == [False, False, False, True]


def test_threads_of_one_process_are_apart_too(tmp_path):
    told: list[bool] = []
    gate = threading.Barrier(3)

    def take() -> None:
        gate.wait()
        with claimed(tmp_path, "a") as mine:
            told.append(mine)
            gate.wait()

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False, False, True]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(OutputError, match="'gone' cannot be written to"), claimed(tmp_path / "gone", "a"):
        pass


def test_a_take_over_that_was_itself_killed_bars_the_case_for_a_while_only(tmp_path):
    path = claim_path(tmp_path, "a")
    path.write_text("another-machine 1", encoding="utf-8")
    os.utime(path, (1000, 1000))
    gate = path.with_name(f"{path.name}.{path.stat().st_mtime_ns}")
    gate.write_text("another-machine 2", encoding="utf-8")
    with claimed(tmp_path, "a", stale_seconds=60) as mine:
        assert not mine
    os.utime(gate, (2000, 2000))
    with claimed(tmp_path, "a", stale_seconds=60) as mine:
        assert not mine
    with claimed(tmp_path, "a", stale_seconds=60) as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []
