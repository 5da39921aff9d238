"""DICOM SEG: a .dcm file, a folder of them, or one folder a case; other DICOM files are passed over."""

from __future__ import annotations

from hepar.errors import BadInput
from hepar.predictions.entries import Entry
from hepar.predictions.layouts.case_folders import named
from hepar.predictions.layouts.tree import Found, Tree, one_each
from hepar.predictions.names import case_id
from hepar.predictions.source import is_dicom


def recognises(tree: Tree) -> bool:
    if tree.labels:
        return False
    return any(_may_be_dicom(entry) for entry in tree.entries)


def find(tree: Tree) -> Found:
    """Raises BadInput where no file is a DICOM segmentation."""
    from hepar.io.dicom_seg import is_segmentation

    if tree.is_file:
        # What it is, if it is no segmentation, is told when it is read.
        return Found("DICOM SEG", one_each([(case_id(tree.entries[0].name), tree.entries[0])]))
    files = []
    for entry in filter(_may_be_dicom, tree.entries):
        with entry.opened() as file:
            if is_segmentation(file):
                files.append((tree.folders_of(entry), entry))
    if not files:
        raise BadInput(
            f"'{tree.path.name}' holds DICOM files, but no segmentation (SEG) among them; pass the folder of the "
            "segmentations, or label maps as .nii.gz"
        )
    return Found("DICOM SEG", one_each(named(files)))


def _may_be_dicom(entry: Entry) -> bool:
    name = entry.name.lower()
    return name.endswith(".dcm") or ("." not in name and is_dicom(entry))
