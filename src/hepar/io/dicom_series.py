"""Which CT series a folder or .zip holds, from the headers of its files, strictly as the headers group them.

Data sets read through here: each slice has a mask, so nothing may be split,
merged or repaired. Scans of patients go through `hepar.io.series`, which diagnoses first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hepar.io.series.header import quiet_pydicom
from hepar.io.series.scanning import scan
from hepar.io.series.slices import Series, Slice

__all__ = ["Series", "Slice", "find_series", "quiet_pydicom", "shown"]


def find_series(path: Path) -> list[Series]:
    """Every CT series in a folder (with its subfolders) or a .zip, by folder and series number.

    Files of a folder that cannot be read are passed over and counted.

    Raises BadInput for a .zip that is damaged, encrypted, hostile (paths that
    lead out of it, or more data than a .zip of its size can hold).
    """
    found = scan(path)
    groups: list[list[Slice]] = []
    for one in found.slices:
        home = next((group for group in groups if one.belongs_to(group[0])), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    series = [Series("", tuple(group), found.archive, *found.lost_from(group)) for group in groups]
    series.sort(key=lambda s: (s.folder, s.number is None, s.number or 0, s.slices[0].uid))
    return [replace(s, name=shown(s, place)) for place, s in enumerate(series, start=1)]


def shown(series: Series, place: int) -> str:
    """What to call a series: by its number, else by its place in the list."""
    which = f"series {series.number}" if series.number is not None else f"series no. {place}"
    return f"DICOM {which} (CT, {len(series.slices)} slices)"
