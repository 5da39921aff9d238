"""What a cohort's workers are told, in plain values that travel to other processes and machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hepar.errors import BadInput
from hepar.inference import Model, open_model
from hepar.inference.couinaud import open_couinaud
from hepar.inference.engine import EngineOptions
from hepar.service.batch import Job, Listener
from hepar.service.case_results import SegKind

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Every `count`-th scan, from the `number`-th on (1-based). Raises BadInput."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise BadInput(f"found shard {self.number}/{self.count}; expected 1/N to N/N")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`3/8`. Raises BadInput for anything else."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if not match:
            raise BadInput(f"found shard {text!r}; expected i/N such as 3/8")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[T]) -> list[T]:
        return list(items[self.number - 1 :: self.count])


@dataclass(frozen=True)
class CohortOrder:
    """Scans in `source`, results to the folder `out`; models by their folders, None for the shipped ones.

    A case that fails is tried `retries` times more, after all others.
    """

    source: Path
    out: Path
    model: Path | None = None
    fast: bool = False
    engine: EngineOptions = field(default_factory=EngineOptions)
    reports: bool = True
    couinaud: bool = False
    couinaud_model: Path | None = None
    shard: Shard = field(default_factory=Shard)
    retries: int = 2
    seg: SegKind = "binary"

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise BadInput(f"found {self.retries} retries; expected 0 or more")

    def opened(self) -> Model:
        """The model of livers and tumours. Raises BadModel."""
        model = open_model(self.model)
        return model.fast if self.fast else model

    def job(self, listener: Listener | None = None) -> Job:
        """Opens the models. Raises BadModel, BadInput."""
        segments = open_couinaud(self.couinaud_model) if self.couinaud or self.couinaud_model else None
        return Job(self.out, self.opened(), self.engine, self.reports, listener or Listener(), segments, self.seg)
