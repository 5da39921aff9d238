"""A scan with a known organ as tiles, slice by slice: what is done to the grey values, and what is counted in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.classical import texture, wavelets
from hepar.classical.tiles import Bytes, Corners, Floats, Mask, Tiles
from hepar.errors import BadInput, BadModel
from hepar.preprocess.intensity import GREYS, EqualizeHistogram, Step, Window, steps_from_json, steps_to_json
from hepar.volume import Volume

# Tiles (n, side, side) to features (n, features).
FEATURES: dict[str, Callable[[Bytes], Floats]] = {
    "texture": texture.texture_features,
    "wavelets": wavelets.wavelet_features,
}


@dataclass(frozen=True)
class SliceTiles:
    """The tiles of slice `z`: their corners (n, 2) and what they show, uint8 (n, side, side)."""

    z: int
    corners: Corners
    shown: Bytes


@dataclass(frozen=True)
class TileView:
    """From a scan and the mask of an organ to tiles and their features.

    `prepare` gives 8-bit grey. `equalise`: MATLAB's `histeq` by the grey values
    of the organ in the same slice, or in the whole scan. Raises BadInput for
    unknown names.
    """

    tiles: Tiles = field(default_factory=Tiles)
    prepare: tuple[Step, ...] = (Window(),)
    equalise: Literal["none", "slice", "scan"] = "none"
    features: Literal["texture", "wavelets"] = "texture"

    def __post_init__(self) -> None:
        if self.features not in FEATURES or self.equalise not in ("none", "slice", "scan"):
            raise BadInput(
                f"tiles are seen by {self.features!r}, equalised by {self.equalise!r}; expected "
                f"{' or '.join(FEATURES)}, and none, slice or scan"
            )

    def look(self, axial: Volume, organ: Mask) -> Iterator[SliceTiles]:
        """The tiles of every slice that has some, from low to high; one prepared slice in memory at a time."""
        table = self._table_of_scan(axial, organ) if self.equalise == "scan" else None
        for z in np.flatnonzero(organ.any(axis=(1, 2))).tolist():
            corners = self.tiles.corners(organ[z])
            if not len(corners):
                continue
            grey = self._grey(axial, z)
            if self.equalise == "slice":
                grey = EqualizeHistogram().table(grey[organ[z]])[grey]
            elif table is not None:
                grey = table[grey]
            yield SliceTiles(z, corners, self.tiles.cut(grey, organ[z], corners))

    def measured(self, shown: Bytes) -> Floats:
        """(n, features) of tiles."""
        return FEATURES[self.features](shown)

    def to_json(self) -> dict[str, Any]:
        own = {"equalise": self.equalise, "features": self.features}
        return {"tiles": asdict(self.tiles), "prepare": steps_to_json(self.prepare), **own}

    @classmethod
    def from_json(cls, facts: Any) -> TileView:
        """What `to_json` wrote. Raises BadModel for anything else."""
        try:
            return cls(Tiles(**facts["tiles"]), steps_from_json(facts["prepare"]), facts["equalise"], facts["features"])
        except (BadInput, KeyError, TypeError) as error:
            raise BadModel(f"stored tiles have unusable settings ({error}); train the model again") from error

    def _grey(self, axial: Volume, z: int) -> NDArray[np.uint8]:
        part = axial.slab(z, z + 1)
        for step in self.prepare:
            part = step(part)
        return np.asarray(np.clip(np.rint(part.values[0]), 0, 255), dtype=np.uint8)

    def _table_of_scan(self, axial: Volume, organ: Mask) -> NDArray[np.uint8]:
        counts = np.zeros(GREYS, np.int64)
        for z in np.flatnonzero(organ.any(axis=(1, 2))).tolist():
            counts += np.bincount(self._grey(axial, z)[organ[z]], minlength=GREYS)
        # A scan without the organ has no tiles either.
        grey = np.repeat(np.arange(GREYS, dtype=np.uint8), counts)
        return EqualizeHistogram().table(grey) if grey.size else np.arange(GREYS, dtype=np.uint8)
