"""What the text header of a MetaImage or NRRD file claims, read before ITK believes it.

A detached header may name any file of the machine as its voxels. hepar
accepts bare names in the header's own folder and nothing else: no path, no
list, no numbered pattern.

MetaImage: https://itk.org/Wiki/ITK/MetaIO/Documentation.
NRRD: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hepar.errors import BadInput
from hepar.io.stored import require_plausible_size, require_spacing

MOST_HEADER_BYTES = 1 << 20
MOST_LINE = 400
NRRD_SUFFIXES = (".nrrd", ".nhdr")

MET_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
NRRD_BYTES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "signed short int", "int16", "int16_t",
        "ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t",
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"),
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """What a header says: sizes with the fastest axis first, and the detached data file if any.

    `header_bytes` stand before voxels in the same file; `packed_bytes` is the
    size of the compressed voxels, 0 where it is not said.
    """

    shape: tuple[int, ...]
    itemsize: int
    compressed: bool
    data_file: str | None
    spacing_mm: tuple[float, ...]
    header_bytes: int
    packed_bytes: int = 0


def require_honest_header(path: Path) -> tuple[int, ...]:
    """The grid's size as the header has it, x first; axes beyond the third have one entry.

    Raises BadInput unless the header describes one 3D grid whose voxels lie
    here and fit. "Here" is the same file or a file of the same folder, given by
    bare name.
    """
    with path.open("rb") as file:
        head = file.read(MOST_HEADER_BYTES)
    nrrd = path.name.lower().endswith(NRRD_SUFFIXES)
    claim = _nrrd_claim(head, path.name) if nrrd else _metaimage_claim(head, path.name)
    _require_3d(claim.shape, path.name)
    if claim.spacing_mm:
        require_spacing(path.name, claim.spacing_mm)
    held = _voxel_file(path, claim.data_file).stat().st_size - (claim.header_bytes if claim.data_file is None else 0)
    require_plausible_size(path.name, claim.shape, claim.itemsize, held, compressed=claim.compressed)
    if claim.packed_bytes > held:
        raise BadInput(
            f"'{path.name}' should have {claim.packed_bytes:,} bytes of compressed voxels, but there are {held:,}: "
            "truncated. Copy it again"
        )
    return claim.shape


def _require_3d(shape: tuple[int, ...], name: str) -> None:
    kept = list(shape)
    while len(kept) > 3 and kept[-1] == 1:
        kept.pop()
    if len(kept) != 3 or min(kept) < 1:
        grid = " x ".join(str(n) for n in shape)
        raise BadInput(f"'{name}' has {len(kept)} dimensions ({grid}); expected a 3D scan. Pass one volume of it")


def _voxel_file(path: Path, data_file: str | None) -> Path:
    if data_file is None:
        return path
    if re.search(r"[/\\:%]", data_file) or data_file in ("", ".", "..") or not data_file.isprintable():
        raise BadInput(
            f"the header '{path.name}' names '{data_file}' as its voxels; hepar reads one data file in the header's "
            "own folder, given by bare name. Put both into one folder and name it so, or convert to one .mha or .nrrd"
        )
    voxels = path.parent / data_file
    if not voxels.is_file():
        raise BadInput(f"the header '{path.name}' names '{data_file}', which is not in its folder; copy both files")
    return voxels


def _fields(lines: list[str], separators: str) -> list[tuple[str, str]]:
    """(key without blanks in lower case, value) of each line that has a separator."""
    pairs = []
    for line in lines:
        parts = re.split(f"[{separators}]", line, maxsplit=1)
        if len(parts) == 2:
            pairs.append((re.sub(r"\s", "", parts[0]).lower(), parts[1].strip()))
    return pairs


def _metaimage_claim(head: bytes, name: str) -> Claim:
    # MetaIO takes '=' or ':' and stops at ElementDataFile, after which voxels may follow.
    found = re.search(rb"(?i)(?:^|[\r\n])\s*(ElementDataFile)\s*[=:][^\r\n]*(?:[\r\n]|$)", head)
    text = head[: found.end()] if found else b""
    lines = re.split(r"[\r\n]+", text.decode("latin-1"))
    # MetaIO overlooks a key in other letters and breaks long lines: what we read must be what it reads.
    if not found or found[1] != b"ElementDataFile" or b"\0" in text or max(map(len, lines)) > MOST_LINE:
        raise BadInput(f"'{name}' is no plain MetaImage header up to an ElementDataFile line; convert the scan again")
    try:
        fields = _unique(_fields(lines, "=:"), ("dimsize", "elementtype", "elementdatafile"))
        data_file = fields["elementdatafile"]
        if int(fields.get("elementnumberofchannels", "1")) != 1:
            raise BadInput(f"'{name}' holds colours or vectors; expected one number per voxel. Export the CT itself")
        return Claim(
            shape=tuple(int(n) for n in fields["dimsize"].split()),
            itemsize=MET_BYTES[fields["elementtype"].upper()],
            compressed=fields.get("compresseddata", "false").lower().startswith(("t", "1")),
            data_file=None if data_file.upper() == "LOCAL" else _one_file(data_file),
            spacing_mm=tuple(float(s) for s in fields.get("elementspacing", "").split()[:3]),
            header_bytes=len(text),
            packed_bytes=int(fields.get("compresseddatasize", "0")),
        )
    except (KeyError, ValueError) as error:
        raise _damaged(name, error) from error


def _nrrd_claim(head: bytes, name: str) -> Claim:
    text = re.split(rb"\r\n\r\n|\n\n|\r\r|\n\r\n", head, maxsplit=1)[0]
    if not text.startswith(b"NRRD000") or b"\0" in text:
        raise BadInput(f"'{name}' does not begin with an NRRD header; convert the scan again")
    lines = [line for line in re.split(r"[\r\n]+", text.decode("latin-1")) if not line.lstrip().startswith("#")]
    pairs = [(key, value) for key, value in _fields(lines, ":") if not value.startswith("=")]
    try:
        fields = _unique(pairs, ("sizes", "type", "encoding", "datafile"))
        encoding = fields["encoding"].lower()
        if encoding not in ("raw", "gzip", "gz"):
            raise BadInput(f"'{name}' is encoded as '{encoding}'; expected raw or gzip. Convert the scan again")
        if re.search(r"vector|color|colour|rgb", fields.get("kinds", ""), re.IGNORECASE):
            raise BadInput(f"'{name}' holds colours or vectors; expected one number per voxel. Export the CT itself")
        return Claim(
            shape=tuple(int(n) for n in fields["sizes"].split()),
            itemsize=_nrrd_bytes(fields["type"].lower()),
            compressed=encoding != "raw",
            data_file=_one_file(fields["datafile"]) if "datafile" in fields else None,
            spacing_mm=tuple(float(s) for s in fields.get("spacings", "").split()[:3]),
            header_bytes=len(text),
        )
    except (KeyError, ValueError) as error:
        raise _damaged(name, error) from error


def _unique(pairs: list[tuple[str, str]], keys: tuple[str, ...]) -> dict[str, str]:
    for key in keys:
        if sum(key == other for other, _ in pairs) > 1:
            raise ValueError(f"{key} is given twice")
    return dict(pairs)


def _one_file(data_file: str) -> str:
    # "LIST" names one file a slice; with a colon it is refused as a name that leads elsewhere.
    return "LIST:" if re.match(r"LIST\b", data_file, re.IGNORECASE) else data_file


def _nrrd_bytes(kind: str) -> int:
    for size, names in NRRD_BYTES.items():
        if kind in names:
            return size
    raise ValueError(f"type {kind}")


def _damaged(name: str, error: Exception) -> BadInput:
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    return BadInput(f"the header of '{name}' is incomplete or damaged ({what}); convert the scan again")
