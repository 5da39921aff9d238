"""NIfTI-1 and NIfTI-2 in one file, .nii or .nii.gz (https://nifti.nimh.nih.gov).

nibabel knows the header, isal the compression. The file's axis order is kept:
its first index is our last, so the stored bytes are our (z, y, x) array as
they stand. The grid is that of nibabel: the sform, else the qform, else the
voxel size; a header in metres or micrometres is taken to mm.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.geometry import Geometry
from hepar.io.stored import Stored, byte_chunks, require_plausible_size, require_spacing

GZIP_MAGIC = b"\x1f\x8b"
# Codes of the NIfTI standard that are one real number per voxel.
DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
COLOUR = {128: "RGB", 2304: "RGBA"}
MM = 2
# Code in the lowest three bits of xyzt_units: name, and mm in one of it. Without a code it is mm.
OTHER_UNITS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}
NO_PLACE = "the header does not say how the patient lies (sform and qform codes 0): left and right are a guess"


def read_stored(path: Path) -> Stored:
    """The voxels and grid of a .nii or .nii.gz.

    Raises BadInput for anything that is not one whole real-valued 3D grid.
    """
    from isal.igzip_lib import IsalError

    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP_MAGIC
            held = path.stat().st_size
        with _opened(path, compressed) as file:
            header = _header(file, path.name)
            values = _allocated(header, path.name, held, compressed)
            _fill(file, values, int(header["vox_offset"]), path.name)
    except PermissionError as error:
        raise BadInput(f"'{path.name}' cannot be read ({_reason(error)}); check its rights") from error
    # isal's stub calls its exception class an instance.
    except (EOFError, OSError, cast(type[Exception], IsalError)) as error:
        raise BadInput(
            f"'{path.name}' is truncated or damaged ({_reason(error)}); copy or download it again"
        ) from error
    slope, inter = _scaling(header, path.name)
    geometry = Geometry.from_nifti(values.shape[::-1], _affine(header, path.name))
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return Stored(native, geometry, slope, inter, _notes(header))


def write_voxels(values: NDArray[Any], geometry: Geometry, path: Path) -> None:
    """Write uint8, int16 or float32 voxels (z, y, x), compressed when `path` ends in .gz.

    sform and qform both name the grid (code 1, scanner), so that every viewer
    overlays it on the scan; a sheared grid has the sform only, as a quaternion
    cannot express it. Raises OutputError; nothing half-written is left behind.
    """
    header = _new_header(values, geometry)
    with replace_whole(path) as growing, growing.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            from isal import igzip

            # No name and no time in the gzip header: equal labels make equal files.
            with igzip.IGzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                _write(cast(BinaryIO, packed), header, values)
        else:
            _write(file, header, values)


def _opened(path: Path, compressed: bool) -> BinaryIO:
    if not compressed:
        return path.open("rb")
    from isal import igzip

    return cast(BinaryIO, igzip.open(path, "rb"))


def _header(file: BinaryIO, name: str) -> Any:
    """The header as stored: nibabel would silently repair a spacing of zero."""
    import nibabel

    block = file.read(348)
    kind = nibabel.Nifti1Header
    if block[4:8] in (b"n+2\0", b"ni2\0"):
        kind, block = nibabel.Nifti2Header, block + file.read(540 - 348)
    if len(block) < kind.template_dtype.itemsize:
        raise BadInput(f"'{name}' has {len(block)} bytes, too few for a NIfTI header; copy or download it again")
    header = kind(block, check=False)
    magic = bytes(header["magic"].item())[:3]
    if magic in (b"ni1", b"ni2"):
        raise BadInput(f"'{name}' is the header of a NIfTI pair (.hdr and .img); convert it to one .nii or .nii.gz")
    if magic not in (b"n+1", b"n+2"):
        raise BadInput(f"'{name}' does not begin with a NIfTI header; expected NIfTI-1 or NIfTI-2 in one file")
    return header


def _allocated(header: Any, name: str, held: int, compressed: bool) -> NDArray[Any]:
    """Room for the voxels, (z, y, x) in the file's byte order, once the header is believed."""
    code = int(header["datatype"])
    if code not in DTYPES:
        what = COLOUR.get(code, f"data of NIfTI type {code}")
        raise BadInput(
            f"'{name}' holds {what}; expected one real number per voxel. Export the CT itself, not a picture"
        )
    dtype = np.dtype(DTYPES[code]).newbyteorder(header.endianness)
    shape = _shape_ijk(header, name)
    offset = float(header["vox_offset"])
    if not (math.isfinite(offset) and 0 <= offset < 2**31):
        raise BadInput(
            f"the header of '{name}' lets the voxels start at byte {offset}; it is damaged. Convert it again"
        )
    # Compressed headers count as well; 1032 times the file covers both.
    room = held if compressed else held - max(int(offset), header.template_dtype.itemsize)
    require_plausible_size(name, shape, dtype.itemsize, max(room, 0), compressed=compressed)
    return np.empty(shape[::-1], dtype=dtype)


def _shape_ijk(header: Any, name: str) -> tuple[int, int, int]:
    rank = int(header["dim"][0])
    shape = [int(n) for n in header["dim"][1 : 1 + rank]] if 1 <= rank <= 7 else []
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) != 3 or min(shape) < 1:
        grid = " x ".join(str(n) for n in shape) or f"dim[0] = {rank}"
        raise BadInput(f"'{name}' has {len(shape)} dimensions ({grid}); expected a 3D scan. Pass one volume of it")
    require_spacing(name, np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)))
    return shape[0], shape[1], shape[2]


def _fill(file: BinaryIO, values: NDArray[Any], offset: int, name: str) -> None:
    """Read the voxels in pieces, and one byte more so that gzip checks its sum."""
    file.seek(max(offset, file.tell()))
    done = 0
    for piece in byte_chunks(values):
        start = 0
        while start < len(piece):
            got = file.readinto(piece[start:])  # type: ignore[attr-defined]
            if not got:
                raise BadInput(
                    f"'{name}' ends after {done + start:,} of {values.nbytes:,} bytes of voxels: truncated. "
                    "Copy or download it again"
                )
            start += got
        done += len(piece)
    file.read(1)


def _scaling(header: Any, name: str) -> tuple[float, float]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):  # "not scaled", says the standard
        return 1.0, 0.0
    if not math.isfinite(inter):
        raise BadInput(f"the header of '{name}' has a slope of {slope} but an intercept of {inter}; repair the header")
    return slope, inter


def _affine(header: Any, name: str) -> NDArray[np.float64]:
    """From (i, j, k) to RAS mm."""
    from nibabel.spatialimages import HeaderDataError

    # A negative size is a habit of old software; the sign belongs into the forms.
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    try:
        affine = np.array(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise BadInput(f"the header of '{name}' has an orientation that is no rotation; repair the qform") from error
    affine[:3] *= OTHER_UNITS.get(_unit(header), ("mm", 1.0))[1]
    return affine


def _unit(header: Any) -> int:
    return int(header["xyzt_units"]) & 7


def _notes(header: Any) -> tuple[str, ...]:
    notes = []
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        notes.append(NO_PLACE)
    if _unit(header) in OTHER_UNITS:
        unit, factor = OTHER_UNITS[_unit(header)]
        notes.append(
            f"the header gives places in {unit}; they were multiplied by {factor:g}. Labels are written in mm: they "
            f"lie on this scan in viewers that heed the unit, others show them {factor:g} times as large"
        )
    return tuple(notes)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _new_header(values: NDArray[Any], geometry: Geometry) -> Any:
    import nibabel

    if max(geometry.shape) > np.iinfo(np.int16).max:
        raise OutputError(f"NIfTI-1 holds up to 32767 voxels along an axis, found {geometry.shape}; crop the scan")
    affine = geometry.to_nifti()
    header = nibabel.Nifti1Header()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(geometry.shape[::-1])
    header.set_zooms(geometry.spacing_mm[::-1])
    header.set_xyzt_units(MM)
    header.set_sform(affine, 1)
    directions = geometry.directions
    if np.allclose(directions.T @ directions, np.eye(3), atol=1e-4):
        header.set_qform(affine, 1)
    header["descrip"] = b"hepar, research use only"
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header.set_slope_inter(1, 0)
    return header


def _write(file: BinaryIO, header: Any, values: NDArray[Any]) -> None:
    file.write(header.binaryblock + bytes(4))
    little = values.astype(values.dtype.newbyteorder(header.endianness), copy=False)
    for piece in byte_chunks(np.ascontiguousarray(little)):
        file.write(piece)
