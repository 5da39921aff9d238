"""A CT series of single-frame DICOM files, in a folder or a .zip.

pydicom reads the headers, the plain voxels and RLE; ITK's GDCM decodes JPEG,
JPEG-LS and JPEG 2000. Where each slice lies is computed here
from ImagePositionPatient and ImageOrientationPatient (DICOM PS3.3 C.7.6.2),
because libraries space a series evenly without a word when slices are missing.
`read_stored` is strict, for data sets whose masks lie on the slices; scans of
patients are diagnosed and repaired by `hepar.io.series`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io.dicom_series import Series, Slice, quiet_pydicom
from hepar.io.stored import INT16, Stored, require_plausible_size, require_spacing

# Positions are decimal strings and carry their writer's rounding.
GAP_TOLERANCE = 0.01
GAP_TOLERANCE_MM = 0.01
# Tilt is set in steps of half a degree; rounded positions of a straight scan stay far below.
MOST_TILT_DEGREES = 0.5
# What decoding needs and GDCM may see. Without the rescale it gives stored values for every SOP class.
PIXEL_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelData",
)  # fmt: skip
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read_stored(series: Series) -> Stored:
    """The series in HU, z along the slice normal; int16 where the rescale keeps whole numbers in its range.

    Raises BadInput when slices are missing, doubled, uneven, tilted, without a
    place or of unequal pixel size, and when a file cannot be decoded.
    """
    ordered, geometry = arrange(series)
    # Only the cap: whether a file holds its rows and columns shows when it is decoded.
    require_plausible_size(series.name, geometry.shape, 0, 0, compressed=True)
    return Stored(hounsfield(series, ordered), geometry, notes=_notes(series))


def hounsfield(series: Series, ordered: Sequence[Slice]) -> NDArray[Any]:
    """The pixels of slices of a series, (n, y, x), rescaled: int16 where that keeps whole numbers, else float32.

    All slices are of the first one's size. Raises BadInput when a file cannot be decoded.
    """
    shape = (len(ordered), ordered[0].rows, ordered[0].columns)
    values: NDArray[Any] = np.empty(shape, dtype=np.int16)
    with tempfile.TemporaryDirectory(prefix="hepar-") as folder, series.opener() as opened:
        for z, one in enumerate(ordered):
            rescaled = _hounsfield(one, opened, Path(folder))
            if rescaled.dtype != values.dtype and values.dtype == np.int16:
                values = values.astype(np.float32)
            values[z] = rescaled
    return values


def _notes(series: Series) -> tuple[str, ...]:
    if series.unread == 0:
        return ()
    return (
        f"files beside the slices that could not be read: {series.unread}. If they are slices of this series, "
        "it is incomplete at an end",
    )


def arrange(series: Series) -> tuple[list[Slice], Geometry]:
    """The slices sorted along their normal, and their grid.

    Raises BadInput as `read_stored` does.
    """
    if series.placeless:
        count = len(series.slices)
        raise BadInput(
            f"{series.name} has {count + series.placeless} image files, {series.placeless} of them without a place "
            f"in the patient (ImagePositionPatient and its like missing or damaged); expected {count} with a place "
            "and none without. Export the complete series again"
        )
    first = series.slices[0]
    row, column = first.orientation[:3], first.orientation[3:]
    normal = np.cross(row, column)
    ordered = sorted(series.slices, key=lambda one: float(one.position_mm @ normal))
    positions = np.array([one.position_mm for one in ordered])
    spacings = np.array([one.pixel_spacing_mm for one in ordered])
    if np.ptp(spacings, axis=0).max() > 1e-4:
        raise BadInput(f"the slices of {series.name} have different pixel sizes; expected one. Export one series only")
    require_spacing(series.name, spacings[0])
    affine = np.eye(4)
    affine[:3, 0] = _step(series, ordered, positions, normal)
    affine[:3, 1] = column * first.pixel_spacing_mm[0]  # PixelSpacing: between rows first (PS3.3 10.7.1.3)
    affine[:3, 2] = row * first.pixel_spacing_mm[1]
    affine[:3, 3] = positions[0]
    return ordered, Geometry((len(ordered), first.rows, first.columns), affine)


def _step(
    series: Series, ordered: list[Slice], positions: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From one slice to the next in mm, once the positions prove to be even."""
    count = len(ordered)
    if count == 1:
        thickness = ordered[0].thickness_mm
        if not thickness > 0:
            raise BadInput(f"{series.name} has one slice without a SliceThickness; expected a series of slices")
        return np.asarray(normal * thickness)
    gaps = np.diff(positions @ normal)
    doubled = int(np.count_nonzero(gaps < GAP_TOLERANCE_MM))
    if doubled:
        raise BadInput(
            f"{series.name} has {count} slices at {count - doubled} positions: {doubled} lie where another lies; "
            "expected one slice per position. Export one phase or reconstruction only, without copies"
        )
    usual = float(np.median(gaps))
    tolerance = max(GAP_TOLERANCE * usual, GAP_TOLERANCE_MM)
    if np.abs(gaps - usual).max() > tolerance:
        missing = int(np.rint(gaps / usual - 1).clip(0).sum())
        raise BadInput(
            f"{series.name} has {count} slices with gaps of {gaps.min():.3f} to {gaps.max():.3f} mm; expected "
            f"{usual:.3f} mm between all ({missing} missing). Export the complete series, one reconstruction only"
        )
    step = (positions[-1] - positions[0]) / (count - 1)
    astray = np.linalg.norm(positions - (positions[0] + np.outer(np.arange(count), step)), axis=1).max()
    if astray > max(tolerance, 0.1):
        raise BadInput(
            f"the slices of {series.name} lie up to {astray:.2f} mm off one straight line; expected a straight "
            "stack. Export one reconstruction only"
        )
    _require_no_tilt(series, step, normal)
    return np.asarray(step)


def _require_no_tilt(series: Series, step: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    tilt = math.degrees(math.atan2(float(np.linalg.norm(np.cross(step, normal))), float(step @ normal)))
    if tilt > MOST_TILT_DEGREES:
        raise BadInput(
            f"{series.name} was taken with gantry tilt: from slice to slice the way leads {tilt:.1f} degrees off the "
            f"slices' normal; expected up to {MOST_TILT_DEGREES}. Resample it to straight slices with the tools of "
            "the scanner or PACS, or read it with `hepar.io.read`, which does"
        )


def _hounsfield(one: Slice, opened: Callable[[Slice], BinaryIO], folder: Path) -> NDArray[Any]:
    """One slice (y, x): int16 when the rescale gives whole numbers in range, else float32."""
    stored = _decoded(one, opened, folder)
    if stored.shape != (one.rows, one.columns) or stored.dtype.kind not in "iuf":
        raise BadInput(f"a DICOM file holds pixels of shape {stored.shape}; expected {one.rows} x {one.columns} grey")
    if stored.dtype.kind != "f" and one.slope.is_integer() and one.intercept.is_integer():
        whole = stored.astype(np.int64) * int(one.slope) + int(one.intercept)
        if whole.min() >= INT16.min and whole.max() <= INT16.max:
            return whole.astype(np.int16)
    return (stored.astype(np.float64) * one.slope + one.intercept).astype(np.float32)


def _decoded(one: Slice, opened: Callable[[Slice], BinaryIO], folder: Path) -> NDArray[Any]:
    """Stored values before rescale; `folder` takes one temporary file."""
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    plain = folder / "slice.dcm"
    try:
        with quiet_pydicom(), opened(one) as file:
            data = dcmread(file, force=True)
            if data.get("SamplesPerPixel", 1) != 1:
                raise BadInput("a DICOM file holds colours; expected grey CT slices. Export the CT itself")
            syntax = _transfer_syntax(data)
            # GDCM fails on RLE slices with an odd number of pixels.
            if not syntax.is_encapsulated or syntax == RLELossless:
                return np.asarray(data.pixel_array)
            _without_rescale(data).save_as(plain, enforce_file_format=True)
    except BadInput:
        raise
    except Exception as error:  # pydicom promises no types for damaged files
        raise BadInput(
            f"a DICOM file of the series is truncated or damaged ({type(error).__name__}); export the series again"
        ) from error
    return _decompressed(plain, str(syntax.name))


def _decompressed(file: Path, syntax: str) -> NDArray[Any]:
    import SimpleITK

    from hepar.io.itk import read_image

    try:
        return np.asarray(SimpleITK.GetArrayFromImage(read_image(file))[0])
    except BadInput as error:
        raise BadInput(
            f"a DICOM file of the series, compressed as {syntax}, cannot be decoded: damaged or of a kind that GDCM "
            "does not know. Export the series uncompressed"
        ) from error


def _transfer_syntax(data: Any) -> Any:
    """As the file says, else (a file without the DICOM preamble) as pydicom could read it."""
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in data.file_meta:
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return data.file_meta.TransferSyntaxUID


def _without_rescale(data: Any) -> Any:
    """Only the pixels, still compressed: no patient data in the temporary file, no rescale for GDCM to apply."""
    from pydicom.dataset import Dataset, FileMetaDataset

    plain = Dataset()
    for tag in PIXEL_TAGS:
        if tag in data:
            plain[tag] = data[tag]
    plain.SOPClassUID = SECONDARY_CAPTURE
    plain.SOPInstanceUID = "1.2.3"
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    return plain
