"""Synthetic CTs on disk, in LiTS's layout: volume-N.nii with segmentation-N.nii, N the anatomy's LiTS number.

`synthesis.json` beside them holds the settings; by it the LiTS reader knows
that the folder's cases are synthetic evidence. A file is whole or not there,
so an interrupted run goes on with the first anatomy that is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from hepar import files
from hepar.datasets.synthetic import CtSynthesis, synthetic_cases
from hepar.errors import BadInput
from hepar.io import write, write_volume

MARK = "synthesis.json"


def write_synthetic(organs: Path, settings: CtSynthesis, folder: Path, say: Callable[[str], None]) -> None:
    """One CT of every organ map in `organs`, with its truth.

    Raises BadInput where `organs` holds no maps, or `folder` CTs of other
    settings; OutputError where nothing can be written.
    """
    cases = synthetic_cases(organs, settings)
    files.require_writable(folder)
    mark = folder / MARK
    facts = json.loads(json.dumps(asdict(settings)))
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) != facts:
        raise BadInput(f"{folder.name} holds CTs made with other settings (see {MARK}); choose a new folder")
    files.write_json(mark, facts)
    for done, case in enumerate(cases, start=1):
        number = int(case.patient.removeprefix("lits"))
        ct, truth = folder / f"volume-{number}.nii", folder / f"segmentation-{number}.nii"
        # The truth is written last: a CT without one is not a finished case.
        if not truth.is_file():
            write_volume(case.ct, ct)
            write(case.truth, truth)
        say(f"{done} of {len(cases)}: {ct.name}")
