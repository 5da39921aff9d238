"""`hepar series`: what a folder of DICOM holds. Translation only, as `hepar.cli`."""

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
