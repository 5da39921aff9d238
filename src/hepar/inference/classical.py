"""Lesions from tiles: a liver is found, its tiles are judged, and pixels take the mean score of their tiles.

What is trained lies in a folder of its own: `tiles.json` (settings and card)
and `tiles.npz` (arrays, no objects). Loading it runs no code: classifiers are
named from a fixed table, and the file's SHA-256 is checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hepar.classical.kernel_machine import KernelMachine
from hepar.classical.region_growing import GrowLiver
from hepar.classical.rough_sets import RoughRules
from hepar.classical.tile_view import TileView
from hepar.errors import BadInput, BadModel
from hepar.files import replace_whole, write_json
from hepar.inference.decision import Finding
from hepar.inference.model import ModelCard
from hepar.inference.segmenter import Progress
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

FORMAT = 1
Floats = NDArray[np.float64]


class TileClassifier(Protocol):
    """What judges tiles; class 0 is normal liver, the others are lesions."""

    @property
    def classes(self) -> int: ...

    def scores(self, features: Floats) -> Floats:
        """(n, classes), 0 to 1, of features (n, features)."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    def arrays(self) -> dict[str, Floats]: ...


CLASSIFIERS: dict[str, Any] = {kind.__name__: kind for kind in (KernelMachine, RoughRules)}


class NamedSegmenter(Protocol):
    """A segmenter that can say which model it is."""

    @property
    def name(self) -> str: ...

    def segment(self, ct: Volume) -> LabelMap: ...


@dataclass(frozen=True)
class GrownLiver:
    """Region growing as a segmenter: liver or background."""

    grow: GrowLiver

    @property
    def name(self) -> str:
        return f"grown@{_hash(json.dumps(asdict(self.grow)).encode())[:12]}"

    def segment(self, ct: Volume) -> LabelMap:
        """Labels 0 and 1 on the exact grid of `ct`."""
        grown = self.grow(ct.axial())
        return LabelMap(np.ascontiguousarray(ct.geometry.axial().undo(grown.astype(np.uint8))), ct.geometry)


@dataclass(frozen=True, eq=False)
class TileModel:
    """What a training leaves: how tiles are cut, who judges them, what the classes are called, and its hash."""

    view: TileView
    classifier: TileClassifier
    kinds: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class LesionKind:
    """One group of face-connected tumour voxels of the axial view; `share` of its voxels look most like `kind`."""

    voxels: int
    kind: str
    share: float


@dataclass(frozen=True, eq=False)
class TileSegmenter:
    """`liver` finds the liver; in it, a pixel is tumour where its tiles' mean score for lesions is above `cut`.

    Beside the scan and its labels, memory holds a byte or two a voxel and the tiles of one slice.
    """

    liver: NamedSegmenter
    model: TileModel
    cut: float = 0.5

    @property
    def name(self) -> str:
        return f"{self.liver.name}+tiles@{self.model.sha256[:12]}"

    def segment(self, ct: Volume, progress: Progress | None = None) -> LabelMap:
        """Labels on the exact grid of `ct`; `progress(slices done, slices in all)`."""
        return self.find(ct, progress).labels

    def find(self, ct: Volume, progress: Progress | None = None) -> Finding:
        """Labels and the tiles' score for lesions in 255ths, 0 beyond the liver, on the exact grid of `ct`."""
        axial = ct.axial()
        liver = self.liver.segment(axial).liver
        labels, score = liver.astype(np.uint8) * np.uint8(LIVER), np.zeros(liver.shape, np.uint8)
        for z, shares in self._marked(axial, liver, progress):
            lesion = shares.sum(axis=0) * liver[z]
            labels[z][lesion > self.cut] = TUMOUR
            score[z] = np.rint(255 * lesion)
        back = [np.ascontiguousarray(ct.geometry.axial().undo(values)) for values in (labels, score)]
        return Finding(LabelMap(back[0], ct.geometry), back[1])

    def kinds(self, ct: Volume) -> list[LesionKind]:
        """What each lesion that `segment` finds most looks like, in the order of the axial view."""
        from scipy.ndimage import label

        axial = ct.axial()
        liver = self.liver.segment(axial).liver
        kind = np.zeros(liver.shape, np.uint8)
        for z, shares in self._marked(axial, liver):
            kind[z] = (shares.argmax(axis=0) + 1) * (shares.sum(axis=0) * liver[z] > self.cut)
        parts, count = label(kind > 0)
        votes = np.zeros((count + 1, len(self.model.kinds)), np.int64)
        np.add.at(votes, (parts[kind > 0], kind[kind > 0]), 1)
        names = self.model.kinds
        return [LesionKind(int(v.sum()), names[int(v.argmax())], float(v.max() / v.sum())) for v in votes[1:]]

    def _marked(self, axial: Volume, liver: NDArray[np.bool_], progress: Progress | None = None) -> Iterator[Any]:
        """Slice and (lesion classes, y, x) mean scores of its pixels' tiles, for every slice with tiles."""
        for one in self.model.view.look(axial, liver):
            scores = self.model.classifier.scores(self.model.view.measured(one.shown))
            shape = (axial.geometry.shape[1], axial.geometry.shape[2])
            tiles = self.model.view.tiles
            yield one.z, np.stack([tiles.spread(column, one.corners, shape) for column in scores[:, 1:].T])
            if progress:
                progress(one.z + 1, len(liver))
        if progress:
            progress(len(liver), len(liver))


def save_tiles(
    folder: Path, view: TileView, classifier: TileClassifier, kinds: tuple[str, ...], card: ModelCard
) -> None:
    """Write tiles.npz, then tiles.json, which marks the folder as complete."""
    with replace_whole(folder / "tiles.npz") as temporary:
        np.savez_compressed(temporary, **classifier.arrays())  # type: ignore[arg-type]
    facts = {
        "format": FORMAT,
        "view": view.to_json(),
        "classifier": {"name": type(classifier).__name__, **classifier.to_json()},
        "kinds": list(kinds),
        "sha256": _hash((folder / "tiles.npz").read_bytes()),
        "card": asdict(card),
    }
    write_json(folder / "tiles.json", facts)


def load_tiles(folder: Path) -> TileModel:
    """What `save_tiles` wrote. Raises BadModel when something is missing, changed, damaged or unknown."""
    try:
        text = (folder / "tiles.json").read_text(encoding="utf-8")
        facts, stored = json.loads(text), (folder / "tiles.npz").read_bytes()
    except (OSError, ValueError) as error:
        raise BadModel(f"{folder.name} holds no tile model that can be read; train the method again") from error
    try:
        if facts["format"] != FORMAT:
            raise BadModel(f"{folder.name} has format {facts['format']}, this hepar reads {FORMAT}; update hepar")
        if facts["sha256"] != _hash(stored):
            raise BadModel(f"{folder.name}/tiles.npz is not the file that tiles.json describes; train it again")
        with np.load(folder / "tiles.npz", allow_pickle=False) as arrays:
            parts = {name: arrays[name] for name in arrays.files}
        kind = CLASSIFIERS[facts["classifier"]["name"]]
        classifier: TileClassifier = kind.from_parts(facts["classifier"], parts)
        kinds = tuple(str(name) for name in facts["kinds"])
        if len(kinds) != classifier.classes:
            raise BadModel(f"{folder.name} names {len(kinds)} classes for {classifier.classes}; train it again")
        return TileModel(TileView.from_json(facts["view"]), classifier, kinds, _hash(text.encode()))
    except (BadInput, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise BadModel(f"{folder.name}/tiles.json is damaged ({error}); train the method again") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
