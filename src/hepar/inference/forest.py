"""A random forest as plain arrays: loading one runs no code, and it answers without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadModel
from hepar.files import replace_whole

LEAF = -1


@dataclass(frozen=True, eq=False)
class Forest:
    """Binary trees in one table of nodes.

    `roots` are the trees' first nodes. A node sends a row to `left` where its
    `feature` is at most `threshold`, else to `right`; a leaf has the feature
    -1. `share` is the share of true rows among the training's rows there;
    `names` are the features', in order. Raises BadModel for tables that do not fit.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    share: NDArray[np.float64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        nodes, number = len(self.feature), np.arange(len(self.feature))
        inner = self.feature != LEAF
        tables = (self.threshold, self.left, self.right, self.share)
        # Children stand behind their parent, so every way down ends.
        sound = (
            all(table.shape == (nodes,) for table in tables)
            and len(self.roots) > 0
            and bool(((self.roots >= 0) & (self.roots < nodes)).all())
            and bool(((self.feature >= LEAF) & (self.feature < len(self.names))).all())
            and all(bool(((side > number) & (side < nodes))[inner].all()) for side in (self.left, self.right))
        )
        if not sound:
            raise BadModel("the forest's tables do not fit together; train or fetch the model again")

    def probability(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over trees of the share at the leaf that each row (row, feature) reaches.

        Features are compared in float32, as scikit-learn grew the trees.
        """
        seen = rows.astype(np.float32).astype(np.float64)
        at = np.repeat(self.roots[None], len(rows), axis=0)
        while (moving := self.feature[at] != LEAF).any():
            row, tree = np.nonzero(moving)
            node = at[row, tree]
            lower = seen[row, self.feature[node]] <= self.threshold[node]
            at[row, tree] = np.where(lower, self.left[node], self.right[node])
        return np.asarray(self.share[at].mean(axis=1))


def save_forest(forest: Forest, path: Path) -> None:
    """A compressed file of arrays."""
    tables = {field.name: np.asarray(getattr(forest, field.name)) for field in fields(Forest)}
    with replace_whole(path) as temporary:
        np.savez_compressed(temporary, **tables)  # type: ignore[arg-type]


def load_forest(path: Path) -> Forest:
    """What `save_forest` wrote. Raises BadModel where the file is missing or no forest."""
    try:
        with np.load(path, allow_pickle=False) as tables:
            rows = {field.name: tables[field.name] for field in fields(Forest)}
        return Forest(**rows | {"names": tuple(rows["names"].tolist())})
    except (OSError, ValueError, KeyError, EOFError, IndexError) as error:
        raise BadModel(f"{path.name} is missing or no forest; train or fetch the model again") from error
