"""One file a class, as TotalSegmentator writes them: CASE/liver.nii.gz, CASE/liver_lesions.nii.gz, CASE/spleen.nii.gz.

Its task `total` gives liver, `liver_lesions` the lesions, `liver_vessels`
liver_vessels and liver_tumor; its data set has CASE/segmentations/. The path
may also be one case. Where masks overlap, tumour wins.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

from hepar.errors import BadInput
from hepar.predictions.entries import Entry
from hepar.predictions.layouts.tree import Found, Tree, root_name
from hepar.predictions.names import is_class_name, some, stem_of, structure_of
from hepar.predictions.source import Layer
from hepar.volume import BACKGROUND, LIVER, TUMOUR

INNER = "segmentations"


def recognises(tree: Tree) -> bool:
    return not tree.is_file and any(is_class_name(stem_of(entry.name)) for entry in tree.labels)


def find(tree: Tree) -> Found:
    """Raises BadInput when a mapping is given by numbers, or names no class that is there."""
    if tree.mapping and any(isinstance(source, int) for source, _ in tree.mapping.pairs):
        raise BadInput(
            f"'{tree.path.name}' has one file a class, so labels have names and no numbers; map them by name, such as "
            "liver=1,liver_lesions=2"
        )
    cases: dict[str, tuple[Layer, ...]] = {}
    for folders, files in _folders(tree).items():
        layers = tuple(Layer(entry, label) for entry in files if (label := _label(tree, entry)) != BACKGROUND)
        if layers:
            cases["_".join(folders) or root_name(tree)] = layers
    if not cases:
        raise BadInput(f"no file of '{tree.path.name}' bears a name of the mapping {tree.mapping}; map classes by name")
    return Found("one file a class", {case: [layers] for case, layers in cases.items()}, notes=_notes(cases))


def _folders(tree: Tree) -> dict[tuple[str, ...], list[Entry]]:
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for folders, files in tree.by_folder().items():
        outer = folders[:-1] if folders and folders[-1].lower() == INNER else folders
        groups[outer] += files
    return groups


def _label(tree: Tree, entry: Entry) -> int:
    stem = stem_of(entry.name)
    if tree.mapping:
        return tree.mapping.target_of(stem) or BACKGROUND
    return structure_of(stem) if is_class_name(stem) else BACKGROUND


def _notes(cases: dict[str, tuple[Layer, ...]]) -> tuple[str, ...]:
    """Which classes were joined, and in how many cases one side is missing: that is scored as nothing found."""
    used: dict[int, set[str]] = {LIVER: set(), TUMOUR: set()}
    for layers in cases.values():
        for layer in layers:
            used[layer.label or LIVER].add(PurePosixPath(stem_of(layer.entry.name)).name)
    liver, tumour = (some(sorted(used[label])) or "nothing" for label in (LIVER, TUMOUR))
    notes = [f"one file a class: liver is {liver}, tumour is {tumour}"]
    for label, name in ((LIVER, "liver"), (TUMOUR, "tumour")):
        without = sum(1 for layers in cases.values() if all(layer.label != label for layer in layers))
        if without:
            notes.append(f"{without} of {len(cases)} cases have no {name} file; that counts as no {name} found")
    return tuple(notes)
