"""Methods without epochs: a liver is found, features of its tiles are measured, a classifier of tiles is fitted."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import hepar
from hepar.cases import Case, Fold
from hepar.classical.region_growing import GrowLiver
from hepar.classical.tile_view import TileView
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import ModelCard
from hepar.inference.classical import (
    GrownLiver,
    NamedSegmenter,
    TileClassifier,
    TileSegmenter,
    load_tiles,
    save_tiles,
)
from hepar.training.by_heart import by_heart
from hepar.training.cascade import liver_only
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener, Tick
from hepar.training.run_folder import DATA_LICENCE, claim, training_facts
from hepar.training.tile_tables import CaseTiles, TileTable, read_tiles, tiles_of, write_tiles

log = logging.getLogger("hepar")
LIBRARIES = ("scikit-learn", "scikit-image", "PyWavelets")
TWO_KINDS = ("normal", "tumour")
# However many cases there are, each may show this many tiles with and without tumour.
LEAST_TILES = 200


class TileLearner(Protocol):
    """Settings of a classifier; a frozen dataclass."""

    def fit(self, table: TileTable, folds: Sequence[Fold], seed: int) -> tuple[TileClassifier, dict[str, Any]]: ...


@dataclass(frozen=True)
class TileRecipe:
    """At most `tiles` tiles teach the classifier; what it chooses it chooses on `folds` inner folds over patients.

    A tile with a share of `lesion_share` tumour or more is a lesion's, one with
    less, but some, teaches nothing. Raises BadInput for numbers out of range.
    """

    tiles: int = 20_000
    folds: int = 3
    lesion_share: float = 0.5
    seed: int = 2018

    def __post_init__(self) -> None:
        if self.tiles < 2 or self.folds < 0 or not 0 < self.lesion_share <= 1:
            raise BadInput(
                f"{self.tiles} tiles, {self.folds} folds, lesions from a share of {self.lesion_share}; expected 2 "
                "tiles or more, no negative folds, and a share above 0 up to 1"
            )


@dataclass(frozen=True)
class TiledMethod:
    """Who finds the liver, how it is cut into tiles, and who learns to tell them apart: one value, one method.

    `liver` is a network that this method trains on livers with their tumours,
    or region growing, which learns nothing. `kinds` names the classes, normal
    liver first. With more than one kind of lesion, `lesion_kinds` says each
    patient's, as (patient, kind). Raises BadInput for kinds that nobody names.
    """

    liver: DeepMethod | GrowLiver
    view: TileView
    learner: TileLearner
    recipe: TileRecipe = field(default_factory=TileRecipe)
    kinds: tuple[str, ...] = TWO_KINDS
    lesion_kinds: tuple[tuple[str, str], ...] = ()
    cut: float = 0.5

    def __post_init__(self) -> None:
        unknown = {kind for _, kind in self.lesion_kinds} - set(self.kinds[1:])
        if len(self.kinds) < 2 or unknown:
            raise BadInput(f"lesions of the kinds {sorted(unknown)}; expected kinds of {', '.join(self.kinds[1:])}")

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> TiledMethod:
        """With the liver's network changed; nothing where there is none."""
        return replace(self, liver=change(self.liver)) if isinstance(self.liver, DeepMethod) else self

    def tiny(self) -> TiledMethod:
        """The same method, small enough to learn one phantom of 6 mm pixels by heart."""
        small = replace(self.view.tiles, side=4, stride=2)
        return replace(self.each(by_heart), view=replace(self.view, tiles=small))

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> TileSegmenter:
        """Train on `cases`; `folder` receives run.json, the tiles of each case, the classifier in model/, and liver/.

        Called again on the same folder it goes on with the first case whose
        tiles are missing; what has finished is kept. Cases whose labels do not
        tell tumour from liver train the liver's network only. Raises BadInput
        when the folder holds another training, or a class has no tile.
        """
        able = self._require_usable(cases)
        run = self._facts(cases)
        claim(folder, run)
        if json.loads((folder / "run.json").read_text(encoding="utf-8"))["finished"]:
            return self.load(folder)
        finder = self._finder(cases, folder, listen, device)
        found = self._tables(able, finder, folder / "tiles", listen)
        started = time.monotonic()
        table = self._pooled(able, found).drawn(self.recipe.tiles, self.recipe.seed)
        counts = dict(zip(self.kinds, table.counts(len(self.kinds)), strict=True))
        if not all(counts.values()):
            raise BadInput(f"tiles to learn from: {counts}; expected some of each. Give cases with (larger) tumours")
        folds = table.folds(self.recipe.folds, self.recipe.seed)
        classifier, facts = self.learner.fit(table, folds, self.recipe.seed)
        save_tiles(folder / "model", self.view, classifier, self.kinds, self._card(folder, cases))
        seconds = sum(one.seconds for one in found) + time.monotonic() - started
        self._finish(folder, run, {"tiles": counts, "classifier": facts}, seconds)
        return self.load(folder)

    def load(self, folder: Path) -> TileSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        finder = GrownLiver(self.liver) if isinstance(self.liver, GrowLiver) else self.liver.load(folder / "liver")
        return TileSegmenter(finder, load_tiles(folder / "model"), self.cut)

    def to_json(self) -> dict[str, Any]:
        liver = self.liver.to_json() if isinstance(self.liver, DeepMethod) else {"grown": asdict(self.liver)}
        return {
            "liver": liver,
            "view": self.view.to_json(),
            "learner": {"learner": type(self.learner).__name__, **asdict(self.learner)},  # type: ignore[call-overload]
            "tiles": asdict(self.recipe),
            "kinds": list(self.kinds),
            "lesion_kinds": [list(pair) for pair in self.lesion_kinds],
            "cut": self.cut,
        }

    def _require_usable(self, cases: Sequence[Case]) -> list[Case]:
        """The cases that can teach tiles. Raises BadInput without any, for one given twice, and for unknown kinds."""
        if not cases:
            raise BadInput("no cases to train on; check the data folder and the patients left out")
        twice = sorted(name for name, count in Counter(case.id for case in cases).items() if count > 1)
        if twice:
            raise BadInput(f"cases {', '.join(twice[:5])} occur twice; give every case of every data set its own id")
        able = [case for case in cases if case.labels == "full"]
        if not able:
            raise BadInput("no training case tells tumour from liver; tiles need labels 0, 1 and 2")
        if len(self.kinds) > 2 and not {case.patient for case in able} <= dict(self.lesion_kinds).keys():
            raise BadInput(
                f"lesions are to be told apart as {', '.join(self.kinds[1:])}, but labels do not say which is which; "
                "give lesion_kinds for every patient"
            )
        return able

    def _facts(self, cases: Sequence[Case]) -> dict[str, Any]:
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        return run | {
            "versions": run["versions"] | _installed(LIBRARIES),
            "evidence": sorted({case.evidence for case in cases}),
        }

    def _finder(self, cases: Sequence[Case], folder: Path, listen: Listener, device: str) -> NamedSegmenter:
        if isinstance(self.liver, GrowLiver):
            return GrownLiver(self.liver)
        livers = [replace(case, read_truth=partial(liver_only, case)) for case in cases]
        return self.liver.train(livers, folder / "liver", listen, device)

    def _tables(self, cases: Sequence[Case], finder: NamedSegmenter, folder: Path, listen: Listener) -> list[CaseTiles]:
        """The tiles of each case, from the file where an earlier start left them."""
        most = max(LEAST_TILES, 2 * self.recipe.tiles // len(cases))
        found = []
        started = time.monotonic()
        for done, case in enumerate(cases, start=1):
            path = folder / f"{case.id.replace('/', '_')}.npz"
            if not (path.exists() and read_tiles(path)[1:] == (case.id, finder.name)):
                began = time.monotonic()
                features, shares = tiles_of(case, finder, self.view, most, self.recipe.seed)
                write_tiles(path, CaseTiles(features, shares, time.monotonic() - began), case.id, finder.name)
            tiles, owner, _ = read_tiles(path)
            assert owner == case.id, f"the tiles of {owner} were handed to {case.id}"
            found.append(tiles)
            left = (time.monotonic() - started) / done * (len(cases) - done)
            # There is no loss before the classifier is fitted.
            listen(Tick(0, 1, done / len(cases), math.nan, left, {}))
        if without := sum(not len(one.shares) for one in found):
            log.warning("no liver is found in %d of %d training cases", without, len(cases))
        return found

    def _pooled(self, cases: Sequence[Case], found: Sequence[CaseTiles]) -> TileTable:
        """All tiles that are clearly normal or clearly a lesion's."""
        named = dict(self.lesion_kinds)
        kinds = [
            one.kinds(self.kinds.index(named[case.patient]) if named else 1, self.recipe.lesion_share)
            for case, one in zip(cases, found, strict=True)
        ]
        patients = [np.full(len(own), case.patient) for case, own in zip(cases, kinds, strict=True)]
        table = TileTable(
            np.concatenate([one.features for one in found]), np.concatenate(kinds), np.concatenate(patients)
        )
        return table.part(table.kinds >= 0)

    def _card(self, folder: Path, cases: Sequence[Case]) -> ModelCard:
        patients = {case.patient for case in cases if case.evidence == "real"}
        return ModelCard(
            name=folder.name,
            description=f"{type(self.learner).__name__} on {self.view.features} of tiles, trained by hepar",
            licence=DATA_LICENCE,
            trained_on=f"{len(patients)} real patients, listed in run.json",
            limits=hepar.DISCLAIMER,
        )

    def _finish(self, folder: Path, run: dict[str, Any], facts: dict[str, Any], seconds: float) -> None:
        """Write the final run.json; `seconds` went into tiles and classifier."""
        own: dict[str, Any] = {"inner_validation_patients": [], "updates": 0, "minutes_training": 0.0}
        stages = {}
        if isinstance(self.liver, DeepMethod):
            stage = json.loads((folder / "liver" / "run.json").read_text(encoding="utf-8"))
            stages = {"stages": {"liver": stage}}
            own = {name: stage[name] for name in own}
        minutes = {"minutes_training": round(own["minutes_training"] + seconds / 60, 2)}
        write_json(folder / "run.json", run | {"finished": True} | own | minutes | facts | stages)


def _installed(libraries: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
