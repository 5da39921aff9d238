"""Tiny benches that several tests share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hepar.study.bench.order import BenchOrder
from hepar.study.bench.study import prepare_bench, run_bench
from hepar.study.reproduce.runner import Happened, Listener

FAST = ("cheng_wei", "cdnn_squeeze", "unet")
# A user's file: no recipe, no card, nothing to wait for. `broken` fails in training, `deadly` takes its process along.
THRESHOLD = '''"""Whatever is brighter than 60 HU is liver, as nobody proposed (Nobody 2030)."""
import os
from dataclasses import dataclass
import numpy as np
from hepar.files import write_json
from hepar.training.run_folder import claim, training_facts
from hepar.volume import LabelMap

class Threshold:
    def segment(self, ct):
        return LabelMap((ct.values > 60).astype(np.uint8), ct.geometry)

@dataclass(frozen=True)
class ThresholdMethod:
    fails: str = ""

    def train(self, cases, folder, listen=lambda _: None, device="auto"):
        run = training_facts(self.to_json(), 0, cases)
        claim(folder, run)
        if self.fails == "broken":
            raise RuntimeError("no luck in /home/someone/data/x.nii")
        if self.fails == "deadly":
            os._exit(3)
        write_json(folder / "run.json", run | {"finished": True, "updates": 0, "minutes_training": 0.5})
        return self.load(folder)

    def load(self, folder):
        return Threshold()

    def to_json(self):
        return {"threshold_hu": 60, "fails": self.fails}

    def tiny(self):
        return self

method = ThresholdMethod()
variants = {name: ThresholdMethod(name) for name in ("broken", "deadly")}
'''


def own_method(folder: Path) -> Path:
    """Puts the file of `threshold` into a folder that HEPAR_METHODS may name."""
    folder.mkdir()
    (folder / "threshold.py").write_text(THRESHOLD)
    return folder


def tiny(out: Path, **changes: Any) -> BenchOrder:
    """Four phantoms in two folds, every method shrunk, two seconds a cell."""
    order = BenchOrder(None, out, folds="2", budget_minutes=2 / 60, weights="none", phantoms=4, tiny=True, device="cpu")
    return replace(order, **changes)


def run(order: BenchOrder, *chosen: str, folds: tuple[int, ...] = (), listen: Listener = lambda _: None) -> None:
    """Everything in this process: a child would spend its seconds on imports."""
    run_bench(prepare_bench(order, chosen, folds), listen, isolated=False)


def heard_by(events: list[Happened]) -> Listener:
    return events.append
