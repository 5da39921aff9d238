"""What can be wrong with a series, each by its name; printed, it says what was found and what was done or is to do.

A finding's `weight` is `fact` (only listed), `note` (read as it is, and said
with the volume), `repaired` (the volume was made from the files, and the note
says how) or `error` (not read). None holds anything of a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weight = Literal["fact", "note", "repaired", "error"]


@dataclass(frozen=True)
class Finding:
    """Base of all findings."""

    @property
    def weight(self) -> Weight:
        return "note"


@dataclass(frozen=True)
class MissingSlices(Finding):
    """Gaps that are multiples of the usual one. Filled between neighbours where these lie near enough."""

    count: int
    widest_mm: float
    usual_mm: float
    fillable: bool

    @property
    def weight(self) -> Weight:
        return "repaired" if self.fillable else "error"

    def __str__(self) -> str:
        found = (
            f"{self.count} missing between others (gaps of up to {self.widest_mm:.3f} mm, usual {self.usual_mm:.3f})"
        )
        if self.fillable:
            return f"slices {found}: made from the slices on both sides; labels there are estimates"
        return f"slices {found}, too far apart to make up. Export the complete series, one reconstruction only"


@dataclass(frozen=True)
class UnevenSpacing(Finding):
    """Gaps that differ. Resampled to even ones where no gap is too wide."""

    narrowest_mm: float
    widest_mm: float
    usual_mm: float
    even_mm: float
    repairable: bool

    @property
    def weight(self) -> Weight:
        return "repaired" if self.repairable else "error"

    def __str__(self) -> str:
        found = f"uneven spacing: gaps of {self.narrowest_mm:.3f} to {self.widest_mm:.3f} mm"
        if self.repairable:
            return f"{found}; resampled to slices every {self.even_mm:.3f} mm"
        wanted = f"expected {self.usual_mm:.3f} mm between all"
        return f"{found}; {wanted}. Export the complete series, one reconstruction only"


@dataclass(frozen=True)
class DuplicateSlices(Finding):
    """Files that repeat another one: same place, same pixels."""

    count: int

    @property
    def weight(self) -> Weight:
        return "repaired"

    def __str__(self) -> str:
        return f"{self.count} files repeat the slice of another (same place, same pixels); each slice was read once"


@dataclass(frozen=True)
class ConflictingSlices(Finding):
    """Different pictures of one place that nothing in their headers tells apart."""

    count: int
    positions: int

    @property
    def weight(self) -> Weight:
        return "error"

    def __str__(self) -> str:
        if self.positions == 1:
            return f"all {self.count} slices lie at one place, as those that watch a bolus arrive; expected a scan"
        return (
            f"{self.count} slices at {self.positions} positions: {self.count - self.positions} lie where another lies, "
            "with other pixels, and no header says which belong together; expected one slice per position. "
            "Export one phase or reconstruction only, without copies"
        )


@dataclass(frozen=True)
class InterleavedPhases(Finding):
    """One series that held several stacks; this is one of them."""

    part: int
    parts: int
    by: str

    @property
    def weight(self) -> Weight:
        return "repaired"

    def __str__(self) -> str:
        return f"interleaved phases or reconstructions, split by {self.by}: this is part {self.part} of {self.parts}"


@dataclass(frozen=True)
class OneSeriesPerFile(Finding):
    """Files that each claim a series of their own and form one even stack together."""

    count: int

    @property
    def weight(self) -> Weight:
        return "repaired"

    def __str__(self) -> str:
        return f"{self.count} files name a series each but form one even stack; they were read as one series"


@dataclass(frozen=True)
class GantryTilt(Finding):
    """Slices displaced in their plane in proportion to their height."""

    degrees: float
    repairable: bool = True

    @property
    def weight(self) -> Weight:
        return "repaired" if self.repairable else "error"

    def __str__(self) -> str:
        found = f"gantry tilt of {self.degrees:.1f} degrees between the slices' normal and the way from slice to slice"
        if self.repairable:
            return f"{found}: each slice was moved in its plane to a straight stack, which is wider than the slices"
        return f"{found}; a gantry tilts by 30 at most. The positions are wrong; export the series again"


@dataclass(frozen=True)
class TiltOnlyInTag(Finding):
    """GantryDetectorTilt names a tilt that the places do not show."""

    degrees: float

    def __str__(self) -> str:
        return (
            f"the header names a gantry tilt of {self.degrees:.1f} degrees but the slices lie in a straight stack; "
            "places were believed. If a converter dropped the tilt, the volume is sheared"
        )


@dataclass(frozen=True)
class OffLine(Finding):
    """Slices displaced in their plane in no proportion to their height."""

    away_mm: float

    @property
    def weight(self) -> Weight:
        return "error"

    def __str__(self) -> str:
        return (
            f"slices lie up to {self.away_mm:.2f} mm off one straight line; expected a straight stack. "
            "Export one reconstruction only"
        )


@dataclass(frozen=True)
class OtherPixelSizes(Finding):
    """Files of the same series that have another matrix, direction or pixel size."""

    count: int

    def __str__(self) -> str:
        return f"{self.count} files of the same series have another size, direction or pixel size and were left out"


@dataclass(frozen=True)
class GapsBetweenSlices(Finding):
    """Slices thinner than their distance: the scan looked at a part of the body only."""

    thickness_mm: float
    distance_mm: float

    def __str__(self) -> str:
        return (
            f"slices of {self.thickness_mm:g} mm lie {self.distance_mm:g} mm apart: what lies between was not seen, "
            "and slices may be missing regularly"
        )


@dataclass(frozen=True)
class FewerThanAnnounced(Finding):
    """ImagesInAcquisition names more slices than were found."""

    found: int
    announced: int

    def __str__(self) -> str:
        return (
            f"the header announces {self.announced} images, {self.found} were found; the series may be incomplete "
            "at an end"
        )


@dataclass(frozen=True)
class Placeless(Finding):
    """Image files of the series that do not say where they lie."""

    lacking: int
    placed: int

    @property
    def weight(self) -> Weight:
        return "error"

    def __str__(self) -> str:
        return (
            f"{self.placed + self.lacking} image files, {self.lacking} of them without a place in the patient "
            f"(ImagePositionPatient and its like missing or damaged); expected {self.placed} with a place and none "
            "without. Export the complete series again"
        )


@dataclass(frozen=True)
class Unread(Finding):
    """Files beside the slices of which not even the series is known."""

    count: int

    def __str__(self) -> str:
        return (
            f"files beside the slices that could not be read: {self.count}. If they are slices of this series, "
            "it is incomplete at an end"
        )


@dataclass(frozen=True)
class Compressed(Finding):
    """Compressed pixels, and whether they can be decoded here."""

    syntax: str
    lossy: bool
    decodable: bool

    @property
    def weight(self) -> Weight:
        if not self.decodable:
            return "error"
        return "note" if self.lossy else "fact"

    def __str__(self) -> str:
        kind = "lossy" if self.lossy else "lossless"
        if self.decodable:
            warning = "; small lesions may look different" if self.lossy else ""
            return f"pixels are compressed as {self.syntax} ({kind}){warning}"
        return f"pixels are compressed as {self.syntax}, which is not decoded here. Export the series uncompressed"


@dataclass(frozen=True)
class MissingTags(Finding):
    """Attributes that every CT has and de-identification took away; exports make their own."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"the headers lack {', '.join(self.names)} (de-identified?); what an export needs of these is made anew"


@dataclass(frozen=True)
class EmptySopClass(Finding):
    """SOPClassUID left empty."""

    count: int

    def __str__(self) -> str:
        return f"SOPClassUID is empty in {self.count} files; they were read, and are referred to, as CT Image Storage"


@dataclass(frozen=True)
class ModalityUnknown(Finding):
    """No Modality: taken for CT until the voxels say otherwise."""

    count: int

    def __str__(self) -> str:
        return f"{self.count} files do not say that they are CT; their voxels were checked instead"


@dataclass(frozen=True)
class NotHounsfield(Finding):
    """Numbers that are no Hounsfield units, by the header or by the voxels."""

    why: str

    @property
    def weight(self) -> Weight:
        return "error"

    def __str__(self) -> str:
        return f"values are no Hounsfield units: {self.why}. Export the CT's own axial reconstruction in HU"


@dataclass(frozen=True)
class RescaleMissing(Finding):
    """No rescale in the headers; reading looks at the voxels and says what it did."""

    @property
    def weight(self) -> Weight:
        return "fact"

    def __str__(self) -> str:
        return "the headers lack the rescale to Hounsfield units; reading the series will check its values"


@dataclass(frozen=True)
class RescaleMade(Finding):
    """No rescale in the headers; the voxels show which one it was."""

    intercept: float

    @property
    def weight(self) -> Weight:
        return "repaired" if self.intercept else "note"

    def __str__(self) -> str:
        found = "the headers lack the rescale to Hounsfield units"
        if self.intercept:
            return f"{found}; by the values of air and soft tissue it adds {self.intercept:g}, which was done"
        return f"{found}; air and soft tissue lie where they do in HU, so the values were left as they are"


@dataclass(frozen=True)
class BadPixelSpacing(Finding):
    """A pixel size of zero or below."""

    spacing_mm: tuple[float, float]

    @property
    def weight(self) -> Weight:
        return "error"

    def __str__(self) -> str:
        return f"a voxel spacing of {self.spacing_mm} mm; every spacing must be above 0. Export the scan again"


@dataclass(frozen=True)
class LoneSlice(Finding):
    """One slice, of which not even the thickness may be known."""

    thickness_mm: float

    @property
    def weight(self) -> Weight:
        return "note" if self.thickness_mm > 0 else "error"

    def __str__(self) -> str:
        if self.thickness_mm > 0:
            return "one slice only; its thickness was taken for the spacing"
        return "one slice without a SliceThickness; expected a series of slices"
