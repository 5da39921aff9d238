"""Files side by side, or a single file: LiTS (segmentation-7.nii, test-segmentation-7.nii), MSD, anything else."""

from __future__ import annotations

import re
from collections import defaultdict

from hepar.errors import BadInput
from hepar.predictions.entries import Entry
from hepar.predictions.layouts.tree import Found, Tree, one_each
from hepar.predictions.names import case_id, stem_of
from hepar.predictions.nifti_header import nifti_header

LITS = re.compile(r"(test-)?(segmentation|volume)-[0-9]+\.", re.IGNORECASE)
MSD = re.compile(r"liver_[0-9]+\.nii", re.IGNORECASE)
CHANNEL = re.compile(r"^(?P<base>.+)_(?P<number>[0-9]{4})$")


def recognises(_: Tree) -> bool:
    """Takes what no other layout wants."""
    return True


def find(tree: Tree) -> Found:
    labels, notes = without_images(tree.top())
    if not tree.mapping:
        notes += _named(labels)
    return Found(_layout(tree, labels), one_each((case_id(entry.name), entry) for entry in labels), notes=notes)


def _layout(tree: Tree, labels: list[Entry]) -> str:
    if labels and all(LITS.match(entry.name) for entry in labels):
        return "LiTS"
    if labels and all(MSD.match(entry.name) for entry in labels):
        return "MSD"
    return "a single file" if tree.is_file else "a folder of label maps"


def without_images(entries: list[Entry]) -> tuple[list[Entry], tuple[str, ...]]:
    """Label files, without the scans that lie beside them, and a note of how many those were.

    Scans are LiTS's volume-7 beside segmentation-7, X_ct beside another file of
    X, and nnU-Net's X_0000, unless X is numbered with four digits (X_0001). A
    file alone is taken for labels whatever its name: reading tells.
    """
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[case_id(entry.name)].append(entry)
    kept = [e for group in groups.values() for e in ([e for e in group if not _is_scan(e.name)] or group)]
    numbered = {m["base"] for e in kept if (m := CHANNEL.match(stem_of(e.name))) and m["number"] != "0000"}
    channels = [e for e in kept if _is_channel(e.name, numbered)] if len(kept) > 1 else []
    labels = [entry for entry in kept if entry not in channels]
    left_out = len(entries) - len(labels)
    return labels, (f"scans beside the label maps were left out: {left_out}",) if left_out else ()


def _is_scan(name: str) -> bool:
    return name.lower().startswith("volume-") or stem_of(name).lower().endswith("_ct")


def _is_channel(name: str, numbered: set[str]) -> bool:
    match = CHANNEL.match(stem_of(name))
    return match is not None and match["number"] == "0000" and match["base"] not in numbered


def _named(labels: list[Entry]) -> tuple[str, ...]:
    """What the first file calls its labels, told once: TotalSegmentator's multilabel files name theirs."""
    if not labels or not labels[0].name.lower().endswith((".nii", ".nii.gz")):
        return ()
    try:
        names = nifti_header(labels[0]).names
    except BadInput:  # told when the case is read
        return ()
    known = {v: s for v, s in names.structures().items() if s} if names else {}
    if names is None or not known:
        return ()
    return (f"labels by the names in the files' headers (TotalSegmentator writes such): {reading(names.pairs, known)}",)


def reading(pairs: tuple[tuple[int, str], ...], known: dict[int, int]) -> str:
    """`5 liver -> liver`, for a note."""
    said = {1: "liver", 2: "tumour"}
    shown = [f"{value} {name} -> {said[known[value]]}" for value, name in pairs if known.get(value)]
    rest = sum(1 for value, _ in pairs if not known.get(value))
    return ", ".join(shown) + (f", {rest} others -> background" if rest else "")
