"""One case of one side: where its labels lie, read only when asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, GeometryMismatch
from hepar.geometry import Triple
from hepar.io.stored import Stored, require_body_spacing
from hepar.predictions.entries import Entry
from hepar.predictions.mapping import LabelMapping, mapped, whole_numbers
from hepar.predictions.names import LabelNames, is_of_another_organ, some, structure_of
from hepar.predictions.nifti_header import NiftiHeader, nifti_header
from hepar.volume import BACKGROUND, LabelMap

if TYPE_CHECKING:
    from hepar.io.dicom_seg import Segment

NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True, eq=False)
class StoredLabels:
    """A label map as a file holds it.

    `header_spacing_mm` (z, y, x) is what the header states: NIfTI's pixdim,
    which may differ from the affine; the grid's spacing in other formats.
    `sparse` says that slices without labels may be left out at the ends (DICOM SEG).
    """

    labels: LabelMap
    header_spacing_mm: Triple
    notes: tuple[str, ...] = ()
    sparse: bool = False


@dataclass(frozen=True)
class Layer:
    """A file that holds every label, or with `label` the mask of one: everything above 0 is that label."""

    entry: Entry
    label: int | None = None


@dataclass(frozen=True)
class LabelSource:
    """One case of one side, read lazily; it can be sent to another process.

    `file` is for people and names no folder. `names` are those of the data set;
    a file's own names are looked up when it is read.
    """

    case: str
    file: str
    layers: tuple[Layer, ...]
    mapping: LabelMapping | None = None
    names: LabelNames | None = None

    def read(self) -> StoredLabels:
        """Labels 0, 1, 2 on the file's grid. Raises BadInput for what cannot be read so."""
        if self.layers[0].label is not None:
            return self._read_masks()
        entry = self.layers[0].entry
        if not entry.name.lower().endswith(NIFTI) and is_dicom(entry):
            return self._read_dicom(entry)
        return self._read_volume(entry)

    def fingerprint(self) -> str:
        """Changes when a file or the reading of its labels does; holds no folder."""
        files = (f"{layer.entry.fingerprint()} {layer.label}" for layer in self.layers)
        return "; ".join(chain(files, (str(self.mapping), str(self.names))))

    def _read_volume(self, entry: Entry) -> StoredLabels:
        stored, header = _stored(entry)
        names = self.names or (header.names if header else None)
        notes = stored.notes
        if self.mapping:
            targets: dict[int, int] | None = self.mapping.resolve(names, self.file)
        else:
            targets = (names.structures() or None) if names else None
        found = mapped(stored, targets, self.file, names)
        if found.unmentioned:
            said = "not in the mapping" if self.mapping else "without a name"
            notes += (
                f"{self.file}: labels {some(map(str, found.unmentioned), 10)} are {said} and count as background",
            )
        labels = LabelMap(found.labels, stored.geometry)
        return StoredLabels(labels, header.spacing_mm if header else stored.geometry.spacing_mm, notes)

    def _read_masks(self) -> StoredLabels:
        """One file a class: where they overlap, tumour wins over liver."""
        first, header = _stored(self.layers[0].entry)
        labels = np.zeros(first.values.shape, np.uint8)
        for layer, stored in chain(((self.layers[0], first),), _others(self.layers[1:])):
            if not stored.geometry.same_grid(first.geometry):
                raise GeometryMismatch(
                    f"'{layer.entry.name}' lies on {stored.geometry}, '{self.layers[0].entry.name}' of the same case "
                    f"on {first.geometry}; all classes of a case must lie on one grid. Write them again on the scan's"
                )
            _paint(labels, stored, layer)
        spacing = header.spacing_mm if header else first.geometry.spacing_mm
        return StoredLabels(LabelMap(labels, first.geometry), spacing, first.notes)

    def _read_dicom(self, entry: Entry) -> StoredLabels:
        from hepar.io.dicom_seg import open_segmentation

        with entry.opened() as file:
            segmentation = open_segmentation(file, entry.name)
        names = LabelNames(tuple((s.number, s.label) for s in segmentation.segments), complete=False)
        if self.mapping:
            targets = self.mapping.resolve(names, self.file)
        else:
            targets = {segment.number: _structure(segment) for segment in segmentation.segments}
        if not any(targets.values()):
            raise BadInput(
                f"'{self.file}' has the segments {names.told()}; none is known as liver or tumour. Say which is which, "
                f"such as --map {segmentation.segments[0].number}=1"
            )
        labels = segmentation.labels(targets)
        require_body_spacing(self.file, labels.geometry)
        return StoredLabels(labels, labels.geometry.spacing_mm, sparse=True)


def is_dicom(entry: Entry) -> bool:
    """True for a DICOM file in the format of PS3.10: "DICM" after 128 bytes."""
    with entry.opened() as file:
        return file.read(132)[128:] == b"DICM"


def _structure(segment: Segment) -> int:
    """By the segment's code, where it has one that is known; else by its name."""
    if segment.structure is None:
        return structure_of(segment.label)
    return BACKGROUND if is_of_another_organ(segment.label) else segment.structure


def _stored(entry: Entry) -> tuple[Stored, NiftiHeader | None]:
    stored = entry.stored()
    require_body_spacing(entry.name, stored.geometry)
    return stored, nifti_header(entry) if entry.name.lower().endswith(NIFTI) else None


def _others(layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, Stored]]:
    """One at a time: a mask is let go before the next is read."""
    for layer in layers:
        yield layer, _stored(layer.entry)[0]


def _paint(labels: NDArray[np.uint8], stored: Stored, layer: Layer) -> None:
    assert layer.label is not None
    for z, numbers in enumerate(stored.values):
        inside = whole_numbers(numbers, stored, layer.entry.name) > 0
        np.maximum(labels[z], np.uint8(layer.label), out=labels[z], where=inside)
