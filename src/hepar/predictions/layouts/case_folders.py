"""One folder a case, as MONAI's SaveImage and its bundles write: CASE/CASE_seg.nii.gz, CASE/CASE_trans.nii.gz.

A case is called after its file; after its folder where the file's name is the
same in every folder (P1/pred.nii.gz, P2/pred.nii.gz).
"""

from __future__ import annotations

from collections import Counter

from hepar.predictions.entries import Entry
from hepar.predictions.layouts.flat import without_images
from hepar.predictions.layouts.tree import Found, Tree, one_each
from hepar.predictions.names import case_id, stem_of

WRITTEN = ("_seg", "_trans", "_pred", "_prediction", "_label", "_labels", "_segmentation", "_mask")
# Says what it is, not whose.
GENERIC = {
    "seg", "segmentation", "segmentations", "pred", "prediction", "predictions", "label", "labels", "mask", "output",
    "result", "truth", "gt",
}  # fmt: skip


def recognises(tree: Tree) -> bool:
    return not tree.is_file and not tree.top() and any(tree.folders_of(entry) for entry in tree.labels)


def find(tree: Tree) -> Found:
    kept: list[tuple[tuple[str, ...], Entry]] = []
    notes: list[str] = []
    for folders, files in tree.by_folder().items():
        labels = _labels(files)
        kept += [(folders, entry) for entry in labels]
    left_out = len(tree.labels) - len(kept)
    if left_out:
        notes.append(f"scans beside the label maps were left out: {left_out}")
    monai = any(stem_of(entry.name).endswith(("_trans", "_seg")) for _, entry in kept)
    layout = "MONAI (one folder a case)" if monai else "one folder a case"
    return Found(layout, one_each(named(kept)), notes=tuple(notes))


def named(files: list[tuple[tuple[str, ...], Entry]]) -> list[tuple[str, Entry]]:
    """(case, file): the file's id; the folder's where the file is alone in it and called as in others."""
    holding = Counter(folders for folders, _ in files)
    shared = Counter(_own(entry) for _, entry in files)
    cases = []
    for folders, entry in files:
        own = _own(entry)
        outer = tuple(folder for folder in folders if folder.lower() not in GENERIC)
        says_nothing = own.lower() in GENERIC or shared[own] > 1
        cases.append(("_".join(outer) if outer and holding[folders] == 1 and says_nothing else own, entry))
    return cases


def _own(entry: Entry) -> str:
    # MONAI keeps the channel that nnU-Net's images have in their names: liver_7_0000_trans.nii.gz.
    return case_id(entry.name).removesuffix("_0000")


def _labels(files: list[Entry]) -> list[Entry]:
    """Beside CASE_seg, a bare CASE is the scan that was segmented."""
    labels = without_images(files)[0]
    written = [entry for entry in labels if stem_of(entry.name).endswith(WRITTEN)]
    saved = {_own(entry) for entry in written}
    return [entry for entry in labels if entry in written or _own(entry) not in saved]
