"""What two networks in sequence found, refined by a dense conditional random field around the liver.

The field works on pixels of `PIXEL_MM` in the box of the liver that was found;
what it adds to the log-odds comes back to the scan's pixels before they become
labels. `crf.json` in a run folder holds its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.classical.dense_crf import DenseCrf, messages
from hepar.errors import BadInput, BadModel
from hepar.files import write_json
from hepar.geometry import Geometry
from hepar.inference.decision import Decision, Finding
from hepar.inference.segmenter import Progress
from hepar.inference.staged import FoundLiver, StagedSegmenter, find_liver
from hepar.inference.two_pass import Box, box_around, part_of_grid
from hepar.preprocess.spatial import InPlaneGrid, InPlanePlan
from hepar.volume import LabelMap, Volume

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
FORMAT = 1
# Finer than what a Gaussian of 2 mm tells apart.
PIXEL_MM = 1.5
# How far a refined liver may reach beyond the one that was found.
MARGIN_MM = 10.0
# Slices prepared at once.
PIECE = 8
# Probabilities are whole 255ths; none of them is a certainty, and none says "either".
SUREST, EITHER = 0.5 / 255, 127.5 / 255
TWICE = Decision("liver_first")


@dataclass(frozen=True, eq=False)
class Unrefined:
    """What both networks say of an axial scan: the liver with its probability, and labels with that of tumour."""

    liver: FoundLiver
    found: Finding


@dataclass(frozen=True, eq=False)
class RefinedSegmenter:
    """`staged` finds liver and tumours, `crf` moves their borders.

    Raises BadInput where the second stage decides alone. Beside the scan, its labels and
    two bytes a voxel, memory holds the slices that the field's updates reach,
    whatever the number of slices.
    """

    staged: StagedSegmenter
    crf: DenseCrf

    def __post_init__(self) -> None:
        if self.staged.joins != "inside":
            raise BadInput(
                f"a field refines tumours inside the first stage's liver; these stages join {self.staged.joins!r}"
            )

    @property
    def name(self) -> str:
        return f"{self.staged.name}+crf"

    def segment(self, ct: Volume, progress: Progress | None = None) -> LabelMap:
        """Labels on the exact grid of `ct`."""
        return self.find(ct, progress).labels

    def find(self, ct: Volume, progress: Progress | None = None) -> Finding:
        """Labels and tumour probability, refined, on the exact grid of `ct`."""
        axial = ct.axial()
        refined = self.refine(axial, self.before(axial), self.crf)
        labels, probability = (
            np.ascontiguousarray(ct.geometry.axial().undo(values))
            for values in (refined.labels.labels, refined.tumour_probability)
        )
        if progress:
            progress(axial.geometry.shape[0], axial.geometry.shape[0])
        return Finding(LabelMap(labels, ct.geometry), probability)

    def before(self, axial: Volume) -> Unrefined:
        """Both networks' answers."""
        liver = find_liver(self.staged.liver, axial, with_probability=True)
        return Unrefined(liver, self.staged.inside(axial, liver))

    def refine(self, axial: Volume, before: Unrefined, crf: DenseCrf) -> Finding:
        """The answers after `crf`, cleaned as the first stage's are; unchanged where nothing is tied or found."""
        box = box_around(before.liver.mask, axial.geometry, MARGIN_MM)
        if box is None or not crf.ties:
            return before.found
        labels, probability = before.found.labels.labels.copy(), before.found.tumour_probability.copy()
        rows, y, x = box
        grid = part_of_grid(axial.geometry, box)
        plan = InPlaneGrid(pixel_mm=max(PIXEL_MM, *grid.spacing_mm[1:]), multiple=1).plan(grid)
        for start, told in messages(_seen(axial, before, box, plan), _spacing(grid, plan), crf):
            place = slice(rows.start + start, rows.start + start + len(told))
            scores = TWICE.scores(_logs(before, (place, y, x)) + plan.to_scan(told))
            labels[place, y, x], probability[place, y, x] = TWICE.labels(scores), TWICE.tumour_probability(scores)
        found = LabelMap(labels, axial.geometry)
        for clean in self.staged.liver.pipeline.clean:
            found = clean(found)
        return Finding(found, probability)


def bent(probability: NDArray[np.uint8], mask: Mask) -> Floats:
    """Probabilities, 0 to 1, that agree with what was decided.

    What cleaning took away is as surely background as it was surely found, and
    what it added the other way round. None is a certainty.
    """
    p = np.clip(probability.astype(np.float32) / 255, SUREST, 1 - SUREST)
    p = np.where(mask == (p > EITHER), p, 1 - p)
    return np.asarray(p, dtype=np.float32)


def save_crf(path: Path, crf: DenseCrf) -> None:
    write_json(path, {"format": FORMAT, "crf": asdict(crf)})


def load_crf(path: Path) -> DenseCrf:
    """What `save_crf` wrote. Raises BadModel when it cannot be read."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise BadModel(f"{path.name} has format {facts['format']}, this hepar reads {FORMAT}; update hepar")
        return DenseCrf(**facts["crf"])
    except (OSError, BadInput, KeyError, TypeError, ValueError) as error:
        # An OSError's own words name the folder.
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadModel(f"{path.name} is missing or damaged ({reason}); train the method again") from error


def _seen(axial: Volume, before: Unrefined, box: Box, plan: InPlanePlan) -> Iterator[tuple[int, Floats]]:
    """Log-probabilities of the three labels and HU on the field's pixels, some slices at a time."""
    rows, y, x = box
    for start in range(rows.start, rows.stop, PIECE):
        place = (slice(start, min(start + PIECE, rows.stop)), y, x)
        hu = plan.to_net(axial.values[place].astype(np.float32))
        labels = [plan.to_net(np.exp(_logs(before, place)[:, label])) for label in range(3)]
        yield start - rows.start, np.stack([*(np.log(one) for one in labels), hu], axis=1)


def _logs(before: Unrefined, place: Box) -> Floats:
    """Log-probabilities (slices, 3, y, x) of a part of the scan, from the answers to both questions."""
    assert before.liver.probability is not None
    liver = bent(before.liver.probability[place], before.liver.mask[place])
    tumour = bent(before.found.tumour_probability[place], before.found.labels.tumour[place])
    return np.stack([np.log(1 - liver), np.log(liver * (1 - tumour)), np.log(liver * tumour)], axis=1)


def _spacing(grid: Geometry, plan: InPlanePlan) -> tuple[float, float, float]:
    z_mm, y_mm, x_mm = grid.spacing_mm
    return z_mm, y_mm * plan.scales[0], x_mm * plan.scales[1]
