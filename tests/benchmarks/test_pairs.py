"""The arithmetic that all benchmarks share: turns, medians, ratios, lines, what is refused, and what is written."""

from __future__ import annotations

import csv
import json
import sys
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def pairs(benchmark_named):
    return benchmark_named("pairs")


def timed(pairs, **seconds: list[float]):
    return pairs.Timed(seconds, {})


def test_programs_take_turns_and_each_round_begins_with_another(pairs):
    order: list[str] = []
    programs = {name: lambda name=name: order.append(name) for name in "abc"}
    pairs.in_turns(programs, rounds=3)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"


def test_the_round_that_warms_up_does_not_count(pairs):
    calls = []
    one = pairs.in_turns({"a": lambda: calls.append(1)}, rounds=4)
    assert (len(calls), len(one.seconds["a"])) == (5, 4)
    cold = pairs.in_turns({"a": lambda: calls.append(1)}, rounds=4, warm=False)
    assert (len(calls), len(cold.seconds["a"])) == (9, 4)


def test_a_program_is_timed_by_the_wall(pairs, monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: next(clock))
    one = pairs.in_turns({"a": lambda: "result"}, rounds=1, warm=False)
    assert one.seconds == {"a": [2.5]}
    assert one.results == {"a": "result"}


def test_a_program_in_a_process_of_its_own_tells_its_seconds(pairs):
    one = pairs.in_turns({"a": lambda: pairs.Clocked("result", 42.0)}, rounds=2)
    assert one.seconds == {"a": [42.0, 42.0]}
    assert one.results == {"a": "result"}


def test_seconds_are_per_slice_where_programs_take_different_numbers_of_them(pairs):
    run = {"few": lambda: pairs.Clocked(None, 6.0), "many": lambda: pairs.Clocked(None, 6.0)}
    assert pairs.in_turns(run, 1, {"few": 2, "many": 60}).seconds == {"few": [3.0], "many": [0.1]}


def test_a_ratio_compares_the_same_round(pairs):
    # The machine is ten times slower in the second round: medians alone would say 40 / 2.
    both = timed(pairs, hepar=[1.0, 20.0, 2.0], peer=[4.0, 60.0, 40.0])
    assert both.times_faster("hepar", "peer") == {"median": 4.0, "least": 3.0, "most": 20.0}
    assert (both.median("hepar"), both.median("peer")) == (2.0, 40.0)


def test_rows_and_json_hold_medians_and_ratios(pairs):
    both = timed(pairs, hepar=[1.0, 2.0, 3.0], peer=[5.0, 10.0, 15.0])
    assert both.rows("hepar") == [
        {"program": "hepar", "median_s": 2.0, "rounds": 3, "times_as_long": 1.0},
        {"program": "peer", "median_s": 10.0, "rounds": 3, "times_as_long": 5.0},
    ]
    kept = both.as_json("hepar")
    assert kept["times_as_long"] == {"peer": {"median": 5.0, "least": 5.0, "most": 5.0}}
    assert kept["seconds"]["peer"] == [5.0, 10.0, 15.0]


@settings(deadline=None)
@given(st.floats(-5, 5), st.floats(10, 100), st.lists(st.integers(0, 50), min_size=2, max_size=8, unique=True))
def test_a_straight_line_is_found_again(slope, offset, x):
    from importlib import import_module

    fit = import_module("pairs").linear_fit(x, [1000 + slope * at + offset for at in x])
    assert fit["slope"] == pytest.approx(slope, abs=1e-6)
    assert fit["offset"] == pytest.approx(1000 + offset, rel=1e-6)
    assert fit["worst"] < 1e-9


def test_a_line_says_how_far_it_is_off(pairs):
    assert pairs.linear_fit([0, 1, 2], [1, 2, 3])["r2"] == pytest.approx(1)
    bent = pairs.linear_fit([1, 2, 3, 4], [1, 4, 9, 16])
    assert bent["r2"] == pytest.approx(1 - 4 / 129)
    assert bent["worst"] == pytest.approx(1.0)  # at 1 the line 5 x - 5 says 0
    assert pairs.linear_fit([1, 2], [3, 3])["r2"] == 1


def test_one_place_makes_no_line(pairs):
    with pytest.raises(ValueError, match=r"two different places, got \[5\]"):
        pairs.linear_fit([5, 5], [1, 2])


def test_another_result_is_refused_and_the_same_is_not(pairs):
    ours = np.arange(6).reshape(2, 3)
    pairs.require_equal(ours, ours.astype(float), "x")
    with pytest.raises(pairs.Disagreement, match="the peer: 1 of 6 values differ"):
        pairs.require_equal(ours, np.where(ours == 4, 5, ours), "the peer")
    with pytest.raises(pairs.Disagreement, match=r"shape \(3, 2\) against hepar's \(2, 3\)"):
        pairs.require_equal(ours, ours.T, "the peer")


def test_masks_must_overlap_as_much_as_asked(pairs):
    ours, theirs = np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0])
    assert pairs.require_overlap(ours, theirs, "x", 0.8) == pytest.approx(0.8)
    assert pairs.require_overlap(0 * ours, 0 * ours, "x", 1.0) == 1
    with pytest.raises(pairs.Disagreement, match=r"liver: Dice 0\.8000"):
        pairs.require_overlap(ours, theirs, "liver", 0.81)
    with pytest.raises(pairs.Disagreement):
        pairs.require_overlap(ours, 0 * ours, "liver", 0.01)


def test_peak_memory_is_this_process_own(pairs, tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  524288 kB\nVmRSS:\t  1024 kB\n")
    assert pairs.peak_mb(status) == 512
    assert pairs.peak_mb(tmp_path / "nothing") == pytest.approx(pairs.peak_mb(), rel=0.5)


def test_a_small_process_started_from_a_large_one_has_a_small_peak(pairs, tmp_path):
    script = tmp_path / "alone.py"
    script.write_text(
        f"import json, sys; sys.path.insert(0, {str(pairs.__file__.rsplit('/', 1)[0])!r})\n"
        "from pairs import peak_mb; print(json.dumps({'mb': peak_mb()}))"
    )
    large = np.ones(2**25)  # 256 MB, for a moment
    del large
    assert pairs.in_own_process(script)["mb"] < 200 < pairs.peak_mb()


def test_a_process_gives_its_last_line_and_its_failure_is_told(pairs, tmp_path):
    script = tmp_path / "child.py"
    script.write_text("import sys, json; print('chatter'); print(json.dumps({'given': sys.argv[1:]}))")
    assert pairs.in_own_process(script, "--gflop", 1.5) == {"given": ["--gflop", "1.5"]}
    script.write_text("raise SystemExit('out of memory')")
    with pytest.raises(RuntimeError, match=r"child.py ended with 1: out of memory"):
        pairs.in_own_process(script)


def test_results_tell_the_command_without_places(pairs, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/benchmarks/x.py", "-o", "/home/me/out", "--nnunet", "/env/bin/python"])
    facts = pairs.surroundings(Namespace(quick=True))
    assert facts["command"] == "python benchmarks/x.py -o OUT --nnunet python"
    assert facts["quick"] is True
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["processors"] >= 1


def test_three_files_are_written_and_a_quick_run_says_so(pairs, tmp_path, capsys):
    rows = timed(pairs, hepar=[1.0], peer=[5.0]).rows("hepar")
    drawn = []
    draw = pairs.bars(rows, "program", "median_s", "a title")
    pairs.publish(tmp_path, {"what": "x", "quick": True}, rows, lambda axes: (draw(axes), drawn.append(axes)))
    assert json.loads((tmp_path / "results.json").read_text()) == {"what": "x", "quick": True, "table": rows}
    with (tmp_path / "table.csv").open() as file:
        assert [row["times_as_long"] for row in csv.DictReader(file)] == ["1.0", "5.0"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    # The first row stands on top: bars are drawn from below.
    assert [bar.get_width() for bar in drawn[0].patches] == [5.0, 1.0]
    assert "not how fast anything is" in capsys.readouterr().out


def test_a_row_without_the_value_has_no_bar(pairs, tmp_path):
    rows = [{"program": "a", "limit_s": 2.0}, {"program": "b", "limit_s": ""}]
    pairs.publish(tmp_path, {}, rows, pairs.bars(rows, "program", "limit_s", "limits"))
    assert (tmp_path / "plot.png").is_file()
