"""What a classifier of tiles learns from: features of tiles of many patients, drawn so that patients weigh alike."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar.cases import Case, Fold, patient_folds
from hepar.classical.tile_view import TileView
from hepar.errors import BadInput
from hepar.files import replace_whole
from hepar.inference.classical import NamedSegmenter

Floats = NDArray[np.float64]
Kinds = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CaseTiles:
    """Tiles in the liver found in a case: features (n, features), share of tumour (n,), and seconds it took."""

    features: Floats
    shares: Floats
    seconds: float

    def kinds(self, lesion: int, least_share: float) -> Kinds:
        """0 without tumour, `lesion` from a share of `least_share` tumour on, -1 in between."""
        kinds = np.where(self.shares >= least_share, lesion, -1)
        return np.where(self.shares == 0, 0, kinds).astype(np.int64)


@dataclass(frozen=True, eq=False)
class TileTable:
    """Tiles to learn from: features (n, features), class 0 (normal), 1, ... and patient of each."""

    features: Floats
    kinds: Kinds
    patients: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.kinds)

    def part(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> TileTable:
        return TileTable(self.features[keep], self.kinds[keep], self.patients[keep])

    def of(self, patients: Sequence[str]) -> TileTable:
        return self.part(np.isin(self.patients, list(patients)))

    def counts(self, classes: int) -> list[int]:
        return [int((self.kinds == kind).sum()) for kind in range(classes)]

    def folds(self, count: int, seed: int) -> list[Fold]:
        """`count` folds over patients, stratified on kind and share of lesion tiles; none for a single patient."""
        burden = {}
        for name in np.unique(self.patients).tolist():
            own = self.kinds[self.patients == name]
            burden[name] = float(own.max()) + float((own > 0).mean()) / 2
        return patient_folds(burden, min(count, len(burden)), seed) if len(burden) > 1 and count > 1 else []

    def drawn(self, limit: int, seed: int) -> TileTable:
        """At most `limit` tiles, as many of each class, and within a class patients alike as far as they go."""
        rng = np.random.default_rng(seed)
        each = max(1, limit // max(1, len(np.unique(self.kinds))))
        kept = [_alike(np.flatnonzero(self.kinds == kind), self.patients, each, rng) for kind in np.unique(self.kinds)]
        return self.part(np.sort(np.concatenate([*kept, np.zeros(0, np.int64)])))


def tiles_of(case: Case, finder: NamedSegmenter, view: TileView, most: int, seed: int) -> tuple[Floats, Floats]:
    """Features and share of tumour of the case's tiles in the liver that `finder` finds.

    At most `most` tiles without and `most` with tumour, drawn by `seed` and the
    case's id. Raises BadInput when CT and labels lie on different grids.
    """
    axial, truth = case.ct.axial(), case.truth.axial()
    if not axial.geometry.same_grid(truth.geometry):
        raise BadInput(f"case {case.id}: CT and labels lie on different grids; see `hepar evaluate --help`")
    shown, shares = [], [np.zeros(0)]
    for one in view.look(axial, finder.segment(axial).liver):
        shown.append(one.shown)
        shares.append(view.tiles.shares(truth.tumour[one.z], one.corners))
    share = np.concatenate(shares)
    rng = np.random.default_rng([seed, zlib.crc32(case.id.encode())])
    sides = [rng.permutation(np.flatnonzero(side))[:most] for side in (share == 0, share > 0)]
    kept = np.sort(np.concatenate(sides))
    tiles = np.concatenate([*shown, np.zeros((0, view.tiles.side, view.tiles.side), np.uint8)])
    return view.measured(tiles[kept]), share[kept]


def write_tiles(path: Path, found: CaseTiles, case: str, origin: str) -> None:
    """A case's tiles as a file that names the case and who found its liver."""
    with replace_whole(path) as temporary:
        np.savez_compressed(
            temporary,
            features=found.features,
            shares=found.shares,
            seconds=np.array(found.seconds),
            who=np.array([case, origin]),
        )


def read_tiles(path: Path) -> tuple[CaseTiles, str, str]:
    """What `write_tiles` wrote: the tiles, the case's id, who found its liver."""
    with np.load(path, allow_pickle=False) as arrays:
        case, origin = arrays["who"].tolist()
        return CaseTiles(arrays["features"], arrays["shares"], float(arrays["seconds"])), case, origin


def _alike(rows: Kinds, patients: NDArray[np.str_], most: int, rng: np.random.Generator) -> Kinds:
    """At most `most` of the rows: everybody's first, then everybody's second, and so on."""
    mixed = rng.permutation(rows)
    names, owner = np.unique(patients[mixed], return_inverse=True)
    turn = np.zeros(len(mixed), np.int64)
    for number in range(len(names)):
        mine = np.flatnonzero(owner == number)
        turn[mine] = np.arange(len(mine))
    return np.asarray(mixed[np.lexsort((owner, turn))[:most]])
