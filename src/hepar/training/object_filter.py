"""A method whose found lesions are judged once more, by a forest that learned from lesions found out of fold.

On its own training cases a network makes few false lesions, so a filter taught
by them would learn that lesions are true. Here inner folds find the candidates
of each case with trainings that never saw its patient.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case
from hepar.files import replace_whole, write_json
from hepar.inference.candidates import FEATURES, candidates_of
from hepar.inference.filtered import FilteredSegmenter
from hepar.inference.forest import Forest, load_forest, save_forest
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import Listener
from hepar.training.out_of_fold import inner_folds, train_out_of_fold
from hepar.training.recipe import Recipe
from hepar.training.run_folder import claim, training_facts
from hepar.training.staged import StagedMethod

log = logging.getLogger("hepar")


@dataclass(frozen=True)
class FilteredMethod:
    """`stages` finds lesions; a forest of `trees` drops those it takes for false (probability of true below one half).

    A candidate is true where at least `least_overlap` of it is true tumour.
    With `inner_folds` 0 nothing is filtered. Networks are trained 1 +
    `inner_folds` times.
    """

    stages: StagedMethod
    inner_folds: int = 3
    trees: int = 256
    least_overlap: float = 0.5

    @property
    def recipe(self) -> Recipe:
        """The tumour stage's."""
        return self.stages.recipe

    def each(self, change: Callable[[DeepMethod], DeepMethod]) -> FilteredMethod:
        """Both stages changed alike."""
        return replace(self, stages=self.stages.each(change))

    def tiny(self) -> FilteredMethod:
        """The same method, small enough to learn one phantom by heart: of one patient nothing can be out of fold."""
        stages = self.stages.tiny().each(lambda stage: replace(stage, recipe=replace(stage.recipe, epochs=12)))
        return replace(self, stages=stages, inner_folds=0)

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> FilteredSegmenter:
        """Train on `cases`; `folder` receives run.json, stages/, folds/ (inner trainings), candidates/, forest.npz.

        Called again on the same folder it goes on where it stopped. Raises
        BadInput when the folder holds another training, below two patients
        to filter with, or where `stages` cannot be trained.
        """
        run = training_facts(self.to_json(), self.recipe.seed, cases)
        folds = inner_folds(cases, self.inner_folds, self.recipe.seed) if self.inner_folds else []
        claim(folder, run)
        self.stages.train(cases, folder / "stages", listen, device)
        trained = json.loads((folder / "stages" / "run.json").read_text(encoding="utf-8"))
        facts = {name: trained[name] for name in ("inner_validation_patients", "updates", "minutes_training")}
        if folds:
            finders = train_out_of_fold(self.stages, cases, folder / "folds", folds, listen, device)
            able = [case for case in cases if case.labels == "full"]
            facts["filter"] = self._grow(able, finders, folder)
            facts |= _with_inner(facts, folder / "folds")
        write_json(folder / "run.json", run | {"finished": True} | facts)
        return self.load(folder)

    def load(self, folder: Path) -> FilteredSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        forest = folder / "forest.npz"
        return FilteredSegmenter(self.stages.load(folder / "stages"), load_forest(forest) if forest.exists() else None)

    def to_json(self) -> dict[str, Any]:
        own = ("inner_folds", "trees", "least_overlap")
        return {"stages": self.stages.to_json()} | {name: getattr(self, name) for name in own}

    def _grow(self, cases: Sequence[Case], finders: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Write forest.npz unless the candidates are all of one kind; says how many there were."""
        found = [self._candidates(case, finders[case.id], folder / "candidates") for case in cases]
        features = np.concatenate([rows for rows, _ in found])
        true = np.concatenate([overlap for _, overlap in found]) >= self.least_overlap
        facts = {"candidates": len(true), "true": int(true.sum()), "used": bool(true.any() and not true.all())}
        if facts["used"]:
            save_forest(grow_forest(features, true, self.trees, self.recipe.seed), folder / "forest.npz")
        else:
            log.warning("of %(candidates)d lesions found out of fold %(true)d are true: nothing to tell apart", facts)
        return facts

    def _candidates(self, case: Case, finder: Any, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features of what `finder` finds in the case, and the share of each that is true; found once."""
        path = folder / f"{case.id.replace('/', '_')}.npz"
        who = [case.id, finder.name]
        if path.exists():
            with np.load(path, allow_pickle=False) as kept:
                if kept["who"].tolist() == who:
                    return kept["features"], kept["overlap"]
        axial = case.ct.axial()
        found = candidates_of(axial, finder.find(axial))
        overlap = found.share_in(case.truth.axial().tumour)
        with replace_whole(path) as temporary:
            np.savez_compressed(temporary, who=np.array(who), features=found.features, overlap=overlap)
        return found.features, overlap


def grow_forest(features: NDArray[np.float64], true: NDArray[np.bool_], trees: int, seed: int) -> Forest:
    """A forest that tells true rows from false ones, both of which there must be; the same for the same seed."""
    from sklearn.ensemble import RandomForestClassifier

    grown = RandomForestClassifier(trees, random_state=seed, n_jobs=1).fit(features, true)
    assert grown.classes_.tolist() == [False, True], "candidates of one kind"
    tables = [one.tree_ for one in grown.estimators_]
    roots = np.cumsum([0, *(len(tree.feature) for tree in tables[:-1])])
    inner = np.concatenate([tree.children_left for tree in tables]) >= 0
    counts = np.concatenate([tree.value[:, 0] for tree in tables])

    def behind(side: str) -> NDArray[np.int64]:
        every = np.concatenate([getattr(tree, side) + first for tree, first in zip(tables, roots, strict=True)])
        return np.where(inner, every, 0)

    return Forest(
        roots=roots.astype(np.int64),
        feature=np.where(inner, np.concatenate([tree.feature for tree in tables]), -1).astype(np.int64),
        threshold=np.concatenate([tree.threshold for tree in tables]).astype(np.float64),
        left=behind("children_left"),
        right=behind("children_right"),
        share=counts[:, 1] / counts.sum(axis=1),
        names=FEATURES,
    )


def _with_inner(facts: dict[str, Any], folds: Path) -> dict[str, Any]:
    """Updates and minutes with those of the inner trainings."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folds.glob("fold-*/run.json"))]
    return {name: round(facts[name] + sum(row[name] for row in rows), 2) for name in ("updates", "minutes_training")}
