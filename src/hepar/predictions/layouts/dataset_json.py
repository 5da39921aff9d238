"""nnU-Net and Medical Segmentation Decathlon: a dataset.json beside the label files names the labels.

nnU-Net version 1 and MSD: `"labels": {"0": "background", "1": "liver"}`;
version 2: `{"background": 0, "liver": 1}`, and with regions `{"liver": [1, 2],
"tumour": [2]}`. A prediction folder of nnU-Net holds dataset.json, plans.json
and predict_from_raw_data_args.json; a data set has labelsTr and labelsTs
beside it, and either of them can be given alone.
"""

from __future__ import annotations

import json
from typing import Any

from hepar.errors import BadInput
from hepar.predictions.entries import Entry
from hepar.predictions.layouts.flat import reading, without_images
from hepar.predictions.layouts.tree import Found, Tree, one_each
from hepar.predictions.names import LabelNames, case_id

LABEL_FOLDERS = ("labelsTr", "labelsTs")
OF_NNUNET = ("plans.json", "predict_from_raw_data_args.json", "dataset_fingerprint.json")


def recognises(tree: Tree) -> bool:
    if tree.is_file:
        return False
    return _account(tree) is not None or bool(tree.below(LABEL_FOLDERS)) or any(tree.file(name) for name in OF_NNUNET)


def find(tree: Tree) -> Found:
    """Raises BadInput when dataset.json cannot be understood."""
    account = _account(tree)
    told: dict[str, Any] = _parsed(account) if account else {}
    entries, notes = without_images(tree.below(LABEL_FOLDERS) or tree.top())
    names = label_names(told.get("labels"))
    known = names.structures() if names else {}
    if names and known and not tree.mapping:
        notes += (f"labels by the names in dataset.json: {reading(names.pairs, known)}",)
    # MSD and nnU-Net 1 call their channels "modality"; only nnU-Net counts as such without its other files.
    layout = "MSD" if "modality" in told and not any(tree.file(name) for name in OF_NNUNET) else "nnU-Net"
    return Found(layout, one_each((case_id(entry.name), entry) for entry in entries), names, notes)


def _account(tree: Tree) -> Entry | None:
    beside = tree.path.resolve().parent / "dataset.json"
    if tree.path.is_dir() and tree.path.resolve().name in LABEL_FOLDERS and beside.is_file():
        return Entry(beside)
    return tree.file("dataset.json")


def _parsed(account: Entry) -> dict[str, Any]:
    try:
        told = json.loads(account.text())
    except json.JSONDecodeError as error:
        raise BadInput(f"'{account.name}' is no JSON (line {error.lineno}); repair or remove it") from error
    return told if isinstance(told, dict) else {}


def label_names(labels: Any) -> LabelNames | None:
    """The `labels` of a dataset.json, whichever version; None for anything else."""
    if not isinstance(labels, dict):
        return None
    pairs: list[tuple[int, str]] = []
    for key, value in labels.items():
        if isinstance(value, str) and key.isdecimal():
            pairs.append((int(key), value))
            continue
        numbers = value if isinstance(value, list) else [value]
        pairs += [(number, key) for number in numbers if type(number) is int and number >= 0]
    return LabelNames(tuple(pairs)) if pairs else None
