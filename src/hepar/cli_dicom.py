"""`hepar series` and `hepar convert`: what a folder of DICOM holds, and labels as files of other kinds.

Translation only, as `hepar.cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def series(
    folder: Annotated[Path, typer.Argument(help="A folder or .zip of DICOM files, with its subfolders.")],
    json: Annotated[Path | None, typer.Option(help="Write the list to this JSON file as well.")] = None,
) -> None:
    """List the CT series of a folder, what is wrong with each, and which one `hepar segment` takes; headers only."""
    from hepar.files import write_json
    from hepar.io.series.listing import list_series
    from hepar.service.series_console import show_series

    listing = list_series(folder)
    show_series(listing)
    if json:
        write_json(json, listing.plain())


def convert(
    ct: Annotated[Path, typer.Argument(help="The CT, as for `hepar segment`; a DICOM series for DICOM formats.")],
    labels: Annotated[Path, typer.Argument(help="Its labels: 0 background, 1 liver, 2 tumour.")],
    formats: Annotated[
        list[str], typer.Option("--format", "-f", help="seg, sr, rtstruct, sc, stl, ply or glb; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the files.")] = Path("hepar-files"),
) -> None:
    """Write labels as DICOM SEG, SR, RTSTRUCT or key slices, or as meshes; each file is read back and compared."""
    from hepar.service.console import say
    from hepar.service.result_files import export_labels

    for path in export_labels(ct, labels, formats, out):
        say(f"wrote '{out.name}/{path.name}'")
