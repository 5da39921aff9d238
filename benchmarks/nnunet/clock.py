"""A training's clock over several pieces, and the learning rate that ends with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hepar import files

Times = tuple[float, float]


def this_process() -> Times:
    """Seconds of the wall clock, and those that processors worked for this process."""
    return time.monotonic(), time.process_time()


@dataclass
class Clock:
    """Counts seconds of training up to `limit_s`; a piece of it ends after `piece_s` wall seconds.

    `counts` says which seconds fill the limit: those of the wall clock, or those that processors worked, which are
    fewer on a machine that others use too. What comes after the last checkpoint of a killed piece is lost to
    training, and not counted.
    """

    limit_s: float
    piece_s: float = float("inf")
    counts: Literal["wall", "worked"] = "wall"
    now: Callable[[], Times] = this_process
    before: Times = (0.0, 0.0)
    started: Times | None = field(default=None, init=False)

    def start(self) -> None:
        self.started = self.now()

    @property
    def here(self) -> Times:
        """Seconds of this piece."""
        if self.started is None:
            return 0.0, 0.0
        wall, worked = self.now()
        return wall - self.started[0], worked - self.started[1]

    @property
    def wall_s(self) -> float:
        return self.before[0] + self.here[0]

    @property
    def worked_s(self) -> float:
        return self.before[1] + self.here[1]

    @property
    def spent_s(self) -> float:
        return self.wall_s if self.counts == "wall" else self.worked_s

    @property
    def share(self) -> float:
        """Of the whole time, 0 to 1."""
        return min(1.0, self.spent_s / self.limit_s)

    @property
    def over(self) -> bool:
        return self.spent_s >= self.limit_s

    @property
    def piece_over(self) -> bool:
        return self.over or self.here[0] >= self.piece_s

    def save(self, path: Path) -> None:
        files.write_json(path, {"wall_s": self.wall_s, "worked_s": self.worked_s})

    def resume(self, path: Path) -> None:
        """Takes over the seconds of earlier pieces."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        self.before = (kept["wall_s"], kept["worked_s"])


def poly_rate(initial: float, share: float) -> float:
    """nnU-Net's schedule, with the share of the time in the place of the share of the epochs."""
    return float(initial * (1 - share) ** 0.9)


def iterations_per_epoch(seconds_each: float, epoch_s: float = 120.0) -> int:
    """As many as fit into `epoch_s`, at least 2: an epoch is a step of the rate, and all that a kill loses."""
    return max(2, round(epoch_s / seconds_each))
