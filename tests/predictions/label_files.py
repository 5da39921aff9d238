"""Small label files as data sets and tools would write them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np

from hepar.geometry import Geometry

GRID = Geometry.from_spacing((4, 6, 8), (5, 2, 1), (-700, -20, -30))


def blob(liver: int = 1, tumour: int = 2, dtype=np.uint8) -> np.ndarray:
    """A liver with a tumour, lopsided along every axis."""
    values = np.zeros(GRID.shape, dtype)
    values[1:4, 1:5, 2:7] = liver
    values[2, 2:4, 3:5] = tumour
    return values


def names_extension(names: dict[int, str]) -> bytes:
    """A label table as TotalSegmentator puts it into a NIfTI header."""
    rows = "".join(
        f'<Label Key="{k}" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA[{n}]]></Label>\n' for k, n in names.items()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <VolumeInformation Index="0"> <LabelTable>\n{rows}\n'
        "</LabelTable> <VolumeType><![CDATA[Label]]></VolumeType> </VolumeInformation></CaretExtension>\n   "
    ).encode()


class Files:
    """Writes label maps below a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, name: str, values: np.ndarray | None = None, grid: Geometry = GRID, names=None) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = blob() if values is None else values
        image = nibabel.Nifti1Image(values.T, grid.to_nifti())
        if names:
            image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, names_extension(names)))
        nibabel.save(image, path)
        return path

    def text(self, name: str, content: object) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def pack(self, name: str, *members: str) -> Path:
        """A .zip of files that were saved; they are called as they lie below the folder."""
        path = self.root / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in members:
                archive.write(self.root / member, member)
        return path
