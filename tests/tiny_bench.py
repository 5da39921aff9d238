"""Tiny benches that several tests share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hepar.study.bench.order import BenchOrder
from hepar.study.bench.study import prepare_bench, run_bench
from hepar.study.reproduce.runner import Happened, Listener

FAST = ("cheng_wei", "cdnn_squeeze", "unet")


def tiny(out: Path, **changes: Any) -> BenchOrder:
    """Four phantoms in two folds, every method shrunk, two seconds a cell."""
    order = BenchOrder(None, out, folds="2", budget_minutes=2 / 60, weights="none", phantoms=4, tiny=True, device="cpu")
    return replace(order, **changes)


def run(order: BenchOrder, *chosen: str, folds: tuple[int, ...] = (), listen: Listener = lambda _: None) -> None:
    """Everything in this process: a child would spend its seconds on imports."""
    run_bench(prepare_bench(order, chosen, folds), listen, isolated=False)


def heard_by(events: list[Happened]) -> Listener:
    return events.append
