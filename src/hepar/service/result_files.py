"""Labels that exist to files for other programs: SEG, SR, contours and captures of a DICOM scan, meshes of any."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import hepar
from hepar.errors import BadInput, OutputError
from hepar.files import require_writable
from hepar.io import find_scans, read_labels
from hepar.io.exports.marked import FIRST_LESION, LIVER, Maker, Marked
from hepar.report.liver.assessment import LiverReport, liver_report
from hepar.report.summary import SummaryInput
from hepar.service.case_results import (
    MOST_SEGMENTS,
    SEG,
    SR,
    Origin,
    findings_of,
    marked_on_slices,
    structure_numbers,
)
from hepar.service.labels_report import GIVEN

CONTOURS, CAPTURE = "_rtstruct.dcm", "_sc"


@dataclass(frozen=True, eq=False)
class Result:
    """A report of labels, the series it was read from if that is DICOM, and how its files are named."""

    report: LiverReport
    origin: Origin | None
    maker: Maker
    out: Path
    name: str

    def path(self, ending: str) -> Path:
        return self.out / f"{self.name}{ending}"

    @cached_property
    def marked(self) -> Marked:
        return marked_on_slices(self.report, self.series.reading)

    @cached_property
    def source(self) -> Any:
        from hepar.io.exports.source import source_of

        return source_of(self.series.scan.series.series, self.series.reading.slices)

    @property
    def series(self) -> Origin:
        """Raises BadInput for a scan that is no DICOM series."""
        if self.origin is None:
            raise BadInput(
                "the scan is no DICOM series, so there are no slices to refer to; give the DICOM folder or .zip, "
                "or choose stl, ply or glb"
            )
        return self.origin


def export_labels(ct: Path, labels: Path, formats: Iterable[str], out: Path) -> list[Path]:
    """Files of the `FORMATS` named, in the folder `out`, named after the label file; each was read back and compared.

    What the report holds is what they hold: no tumours where these are not
    assessed. Equal labels have equal identifiers. Raises BadInput for another
    format or a scan that a format cannot be made of, GeometryMismatch for
    labels of another grid, MissingExtra, OutputError.
    """
    chosen = list(dict.fromkeys(formats))
    unknown = [one for one in chosen if one not in FORMATS]
    if unknown or not chosen:
        raise BadInput(f"found format {', '.join(unknown) or 'none'}; expected some of {', '.join(FORMATS)}")
    require_writable(out)
    result = _result(ct, labels, out)
    return [path for one in chosen for path in FORMATS[one](result)]


def _result(ct: Path, labels: Path, out: Path) -> Result:
    scans = find_scans(ct)
    if len(scans) != 1:
        raise BadInput(f"'{ct.name}' holds {len(scans)} scans; labels are of one, name it")
    (scan,) = scans
    origin = Origin(scan.dicom, scan.dicom.reading()) if scan.dicom else None
    volume = origin.reading.volume if origin else scan.read()
    name = labels.name.removesuffix(".gz").removesuffix(".nii")
    case = SummaryInput(volume, read_labels(labels), GIVEN, name, phase=origin.phase if origin else None)
    # The file's own time, so that the same file gives the same objects.
    made = datetime.fromtimestamp(int(labels.stat().st_mtime))
    maker = Maker(hepar.__version__, GIVEN.name, hashlib.sha256(labels.read_bytes()).hexdigest(), made)
    return Result(liver_report(case), origin, maker, out, name)


def _seg(result: Result) -> list[Path]:
    _write_seg(result)
    return [result.path(SEG)]


def _write_seg(result: Result) -> Any:
    from hepar.io.exports.seg import write_seg

    return write_seg(result.marked, result.source, result.maker, result.path(SEG))


def _sr(result: Result) -> list[Path]:
    from hepar.io.exports.sr import write_sr

    # Its measurements refer to segments.
    write_sr(findings_of(result.report), _write_seg(result), result.source, result.maker, result.path(SR))
    return [result.path(SEG), result.path(SR)]


def _contours(result: Result) -> list[Path]:
    from hepar.io.exports.rtstruct import write_rtstruct

    write_rtstruct(result.marked, result.source, result.maker, result.path(CONTOURS))
    return [result.path(CONTOURS)]


def _captures(result: Result) -> list[Path]:
    from hepar.io.exports.capture import write_captures

    reading = result.series.reading
    values = reading.way.back(reading.volume.values)
    return write_captures(values, result.marked, result.source, result.maker, result.out, f"{result.name}{CAPTURE}")


def _meshes(suffix: str) -> Callable[[Result], list[Path]]:
    def write(result: Result) -> list[Path]:
        from hepar.io.exports.mesh_files import write_mesh

        surfaces = surfaces_of(result.report)
        if suffix == ".glb":
            write_mesh(surfaces, result.path(suffix))
            return [result.path(suffix)]
        paths = [result.path(f"_{one.name.lower().replace(' ', '_')}{suffix}") for one in surfaces]
        for surface, path in zip(surfaces, paths, strict=True):
            write_mesh([surface], path)
        return paths

    return write


def surfaces_of(report: LiverReport) -> Sequence[Any]:
    """Of the liver with its tumours, and of each of the largest tumours, as the report shows them.

    Raises OutputError where there is no liver.
    """
    from hepar.io.exports.mesh import GREEN, surface_of

    labels = report.shown.labels
    numbers = structure_numbers(labels)
    if not (numbers >= LIVER).any():
        raise OutputError("neither liver nor tumour was found, so there is no surface to write")
    lesions = report.lesions[:MOST_SEGMENTS]
    marked = [(numbers == FIRST_LESION + place, one.name) for place, one in enumerate(lesions)]
    liver = surface_of(np.asarray(numbers >= LIVER), labels.geometry, "Liver", GREEN)
    return [liver, *(surface_of(mask, labels.geometry, name) for mask, name in marked)]


FORMATS: dict[str, Callable[[Result], list[Path]]] = {
    "seg": _seg,
    "sr": _sr,
    "rtstruct": _contours,
    "sc": _captures,
    "stl": _meshes(".stl"),
    "ply": _meshes(".ply"),
    "glb": _meshes(".glb"),
}
