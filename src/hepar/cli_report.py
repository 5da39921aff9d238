"""`hepar report`: the liver report of any label map. Translation only, as `hepar.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    ct: Annotated[Path, typer.Argument(help="The CT, as for `hepar segment`.")],
    labels: Annotated[Path, typer.Argument(help="Its labels, whoever made them: 0 background, 1 liver, 2 tumour.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for page, picture, CSV and JSON.")] = Path("report"),
    truth: Annotated[Path | None, typer.Option(help="Reference labels to show and score beside them.")] = None,
) -> None:
    """The report of labels that exist: from another program, or corrected by hand."""
    from hepar.service.console import say
    from hepar.service.labels_report import report_labels

    say(report_labels(ct, labels, out, truth))
