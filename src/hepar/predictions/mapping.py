"""From anyone's label values to 0 background, 1 liver, 2 tumour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.io.stored import Stored
from hepar.predictions.names import LabelNames, plain, some
from hepar.volume import BACKGROUND, LABEL_NAMES, LIVER, TUMOUR

TARGETS = {"0": BACKGROUND, "1": LIVER, "2": TUMOUR, "tumor": TUMOUR, "lesion": TUMOUR} | {
    name: value for value, name in LABEL_NAMES.items()
}
EXAMPLE = "3=2,1=1 (label 3 is tumour, label 1 liver) or 'hepatic tumor=2,liver=1'"
# A label map has few labels; a table for larger values would take more memory than the scan.
MOST_VALUE = 65535
# A slope kept as float32 turns 2 into 1.9999999.
WHOLE = 1e-3


@dataclass(frozen=True)
class LabelMapping:
    """Pairs of a label's value or name, as a file has it, and 0, 1 or 2. What is not mentioned is background."""

    pairs: tuple[tuple[int | str, int], ...]

    @classmethod
    def parse(cls, text: str) -> LabelMapping:
        """From `3=2,1=1` or `hepatic tumor=2,liver=1`; the right side may be background, liver or tumour.

        Raises BadInput for anything else, for a label given twice, and where nothing becomes liver or tumour.
        """
        pairs: dict[int | str, int] = {}
        for part in text.split(","):
            name, equals, meaning = (piece.strip() for piece in part.rpartition("="))
            target = TARGETS.get(meaning.lower())
            if not (equals and name) or target is None:
                raise BadInput(
                    f"label mapping '{text}' has the part '{part.strip()}'; expected label=0, label=1 or label=2, such "
                    f"as {EXAMPLE}"
                )
            source = _source(name, text)
            if source in pairs:
                raise BadInput(f"label mapping '{text}' gives label {name} twice; give each label once")
            pairs[source] = target
        if not any(pairs.values()):
            raise BadInput(f"label mapping '{text}' makes nothing liver (1) or tumour (2); write it as {EXAMPLE}")
        return cls(tuple(pairs.items()))

    def __str__(self) -> str:
        return ",".join(f"{source}={target}" for source, target in self.pairs)

    def resolve(self, names: LabelNames | None, file: str) -> dict[int, int]:
        """Label by value for one file, whose own `names` are looked up.

        Raises BadInput for a name that the file does not know. A file that may
        leave labels out (a DICOM SEG without the tumour segment) just has none of it.
        """
        found: dict[int, int] = {}
        for source, target in self.pairs:
            if isinstance(source, int):
                found[source] = target
                continue
            values = names.values_of(source) if names else []
            if not values and (names is None or names.complete):
                has = f"it has {names.told()}" if names else "it names no labels; give numbers, such as 3=2,1=1"
                raise BadInput(f"'{file}' has no label named '{source}': {has}")
            found |= dict.fromkeys(values, target)
        return found

    def target_of(self, name: str) -> int | None:
        """What a name becomes; None when it is not mentioned."""
        wanted = plain(name)
        return next((t for source, t in self.pairs if isinstance(source, str) and plain(source) == wanted), None)


def _source(name: str, text: str) -> int | str:
    if not name.lstrip("+-").isdecimal():
        return plain(name) or name
    value = int(name)
    if not 0 <= value <= MOST_VALUE:
        raise BadInput(f"label mapping '{text}' names label {name}; labels are whole numbers from 0 to {MOST_VALUE}")
    return value


@dataclass(frozen=True, eq=False)
class Mapped:
    """Labels 0, 1, 2 (z, y, x), and the values that the mapping did not mention."""

    labels: NDArray[np.uint8]
    unmentioned: tuple[int, ...] = ()


def mapped(stored: Stored, targets: dict[int, int] | None, file: str, names: LabelNames | None = None) -> Mapped:
    """A file's values as labels, slice by slice; `targets` None accepts 0, 1, 2 as they are.

    uint8 voxels are rewritten in place, so that a whole scan costs no second copy.

    Raises BadInput for fractions, NaN, negative values and, without `targets`, for other labels.
    """
    table = _table(targets)
    values = stored.values
    in_place = values.dtype == np.uint8 and values.flags.writeable and values.flags.c_contiguous
    labels = values if in_place else np.empty(values.shape, np.uint8)
    seen = np.zeros(MOST_VALUE + 1, bool)
    for z, numbers in enumerate(values):
        whole = whole_numbers(numbers, stored, file)
        top = int(whole.max(initial=0))
        if targets is None and top > TUMOUR:
            raise _other_labels(file, np.unique(whole), z, names)
        if top > MOST_VALUE:
            raise BadInput(f"label file '{file}' holds the value {top}; labels are whole numbers up to {MOST_VALUE}")
        # A slice of background, or labels that mean what they say.
        if top == 0 and table[0] == BACKGROUND:
            labels[z] = 0
            continue
        if targets is None:
            labels[z] = whole
            continue
        index = whole.astype(np.intp)
        seen[np.flatnonzero(np.bincount(index.reshape(-1)))] = True
        labels[z] = np.take(table, index, mode="clip")
    known = set(targets or ())
    return Mapped(labels, tuple(int(v) for v in np.flatnonzero(seen) if v and int(v) not in known))


def whole_numbers(numbers: NDArray[Any], stored: Stored, file: str) -> NDArray[Any]:
    """One slice's values as unsigned or signed integers, none below 0.

    Raises BadInput for fractions, NaN, infinities and negative values.
    """
    meant = numbers if stored.unscaled else numbers * stored.slope + stored.inter
    if meant.dtype.kind == "f":
        whole = np.rint(meant)
        with np.errstate(invalid="ignore"):
            honest = bool((np.abs(meant - whole) <= WHOLE).all()) and bool(np.abs(whole).max(initial=0) < 2**31)
        if not honest:
            raise BadInput(
                f"label file '{file}' holds values that are not whole numbers; expected labels such as 0, 1, 2. Pass "
                "the label map, not the scan or a probability map"
            )
        meant = whole.astype(np.int32)
    if meant.dtype.kind == "i" and meant.min(initial=0) < 0:
        raise BadInput(
            f"label file '{file}' holds the value {meant.min()}; labels are not negative. Pass the label "
            "map, not the scan"
        )
    return meant


def _table(targets: dict[int, int] | None) -> NDArray[np.uint8]:
    """Label by value; the last entry stands for all values above."""
    table = np.zeros(max(targets or {0: 0}) + 2, np.uint8)
    for value, target in (targets or {}).items():
        table[value] = target
    return table


def _other_labels(file: str, values: Iterable[Any], z: int, names: LabelNames | None) -> BadInput:
    held = [int(value) for value in values]
    other = [value for value in held if value > TUMOUR]
    called = f" They are called {names.told()}, of which none is known as liver or tumour." if names else ""
    return BadInput(
        f"label file '{file}' holds values {some(map(str, held), 10)} on slice {z}; expected 0 background, 1 liver, "
        f"2 tumour.{called} Say which label is which: --map {other[0]}=1 makes {other[0]} liver, --map "
        f"{other[0]}=2,1=1 tumour (--map-truth for the truth)"
    )
