"""Cost against slices and cases: what is fitted, what grows, and that another slab must give the same labels."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import pytest

from hepar.io import read_labels, write_volume


@pytest.fixture(scope="module")
def scaling(benchmark_named):
    return benchmark_named("scaling")


@pytest.fixture(scope="module")
def scans(benchmark_named):
    return benchmark_named("scans")


def timed(benchmark_named, seconds: dict[str, list[float]], peaks: dict[str, list[float]]):
    results = {size: {"peaks_mb": mb} for size, mb in peaks.items()}
    return benchmark_named("pairs").Timed(seconds, results)


def test_a_row_tells_time_peak_and_what_the_scan_alone_takes(scaling, benchmark_named):
    found = timed(benchmark_named, {"50": [3.0, 1.0, 2.0]}, {"50": [400.0]})
    assert scaling.table("slices", found, scaling.scan_mb(512)) == [
        {"axis": "slices", "count": 50, "median_s": 2.0, "peak_mb": 400.0, "scan_and_results_mb": 50.0, "growth_mb": ""}
    ]


def test_growth_counts_from_the_second_case_since_the_first_one_fills_caches(scaling, benchmark_named):
    found = timed(benchmark_named, {"1": [1.0], "4": [4.0]}, {"1": [400.0], "4": [400.0, 430.0, 430.0, 431.5]})
    assert [row["growth_mb"] for row in scaling.table("cases", found, None)] == ["", 1.5]


def rows(growth: float, peak: float, bend: float = 0.0) -> list[dict[str, object]]:
    by_slices = [
        {"axis": "slices", "count": n, "median_s": 2 + 0.1 * n + bend * n**3, "peak_mb": peak, "growth_mb": ""}
        for n in (50, 300, 1026)
    ]
    by_cases = [
        {"axis": "cases", "count": n, "median_s": 3.0 * n, "peak_mb": 400.0, "growth_mb": growth} for n in (1, 2, 64)
    ]
    return by_slices + by_cases


def test_lines_are_fitted_by_axis(scaling):
    lines = scaling.fits(rows(0, 900))
    assert lines["slices"]["median_s"]["slope"] == pytest.approx(0.1)
    assert lines["slices"]["median_s"]["offset"] == pytest.approx(2)
    assert lines["cases"]["median_s"]["slope"] == pytest.approx(3)
    assert lines["slices"]["peak_mb"]["slope"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("growth", "peak", "bend", "met"),
    [(0, 900, 0, [1, 1, 1]), (21, 900, 0, [1, 1, 0]), (0, 2000, 0, [0, 1, 1]), (0, 900, 1e-6, [1, 0, 1])],
)
def test_each_promise_can_be_broken(scaling, growth, peak, bend, met):
    own = rows(growth, peak, bend)
    assert list(scaling.judged(own, scaling.fits(own)).values()) == [bool(one) for one in met]


def test_other_labels_with_another_slab_stop_the_run(scaling, benchmark_named):
    one, other = {"slab": 8, "labels": "a"}, {"slab": 5, "labels": "a"}
    scaling.require_same_labels(one, other)
    with pytest.raises(benchmark_named("pairs").Disagreement, match="slabs of 8 and of 5 slices give other labels"):
        scaling.require_same_labels(one, other | {"labels": "b"})
    with pytest.raises(ValueError, match="nothing is compared"):
        scaling.require_same_labels(one, one)


def test_a_run_alone_segments_every_case_and_does_not_depend_on_the_slab(
    scaling, threshold_model, small_scan, tmp_path
):
    write_volume(small_scan[0], tmp_path / "ct.nii.gz")
    order = Namespace(
        model=threshold_model, precision="fp32", threads=1, out=tmp_path, slab=None, alone=[tmp_path / "ct.nii.gz"] * 3
    )
    one = scaling.alone(order)
    assert len(one["peaks_mb"]) == 3
    assert one["seconds"] > 0
    assert read_labels(tmp_path / "found.nii.gz").tumour.any()
    order.slab = 2
    other = scaling.alone(order)
    scaling.require_same_labels(one, other)
    assert (one["slab"], other["slab"]) == (8, 2)
    assert one["engine"].endswith("fp32")


def test_a_process_of_its_own_gets_the_settings(scaling, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(scaling, "in_own_process", lambda _, *words: seen.append(words) or {"seconds": 4.0})
    order = Namespace(model=tmp_path / "m", threads=2, precision="bf16")
    clocked = scaling.one_run(tmp_path / "ct.nii.gz", order, slab=5, cases=2)
    assert clocked.seconds == 4.0
    words = " ".join(map(str, seen[0])).replace(str(tmp_path), "X")
    assert words == "-o X --threads 2 --precision bf16 --model X/m --slab 5 --alone X/ct.nii.gz X/ct.nii.gz"


def test_a_scan_of_any_number_of_slices_is_the_same_body(scans):
    ct, truth = scans.scan(10, 64)
    finer, more = scans.scan(20, 64)
    assert ct.values.shape == (10, 64, 64)
    assert ct.values.dtype == np.int16
    assert [n * mm for n, mm in zip(finer.geometry.shape, finer.geometry.spacing_mm, strict=True)] == pytest.approx(
        [n * mm for n, mm in zip(ct.geometry.shape, ct.geometry.spacing_mm, strict=True)]
    )
    assert truth.volume_ml(1) == pytest.approx(more.volume_ml(1), rel=0.15)
    assert truth.liver.any()


def test_scans_are_the_same_each_time_and_neighbours_differ(scans):
    ct, _ = scans.scan(130, 32)
    assert np.array_equal(ct.values, scans.scan(130, 32)[0].values)
    # More slices than the phantom has: without noise of their own, some would repeat.
    assert all((low != high).mean() > 0.9 for low, high in zip(ct.values, ct.values[1:], strict=False))
