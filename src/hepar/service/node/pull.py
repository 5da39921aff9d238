"""Fetch the CT series of a study from an archive by DICOMweb into a folder that `hepar segment` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hepar.errors import BadInput
from hepar.files import replace_whole, require_writable
from hepar.service.node import web
from hepar.service.node.settings import Peer


def pull(archive: Peer, study: str, series: str | None, out: Path) -> int:
    """Write a file a slice, named by a hash; returns how many. What is there already is written anew.

    Without `series` every CT series of the study, each into a folder of its own.
    Raises BadInput where the archive has none, OutputError where it cannot be reached.
    """
    require_writable(out)
    wanted = [series] if series else web.series_of(archive, study)
    if not wanted:
        raise BadInput(f"'{archive.name}' has no CT series in that study; check its UID")
    count = 0
    for one in wanted:
        folder = out if series else out / _short(one)
        found = 0
        for data in web.slices_of(archive, study, one):
            with replace_whole(folder / f"{_short(str(data.SOPInstanceUID))}.dcm") as temporary:
                data.save_as(temporary, enforce_file_format=True)
            found += 1
        if not found:
            raise BadInput(f"'{archive.name}' has no such series; check its UID")
        count += found
    return count


def _short(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:24]
