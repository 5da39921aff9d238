"""Cases as hepar reads them, written as a raw data set of nnU-Net: imagesTr, labelsTr and dataset.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hepar import files
from hepar.cases import Case
from hepar.errors import BadInput
from hepar.io import write_volume
from hepar.volume import LIVER, LabelMap, Volume

DATASET = 4
NAME = f"Dataset{DATASET:03d}_Liver"
# nnU-Net's ignore label: the highest, one above the last class.
UNION = 3
LABELS = {"background": 0, "liver": 1, "tumour": 2, "ignore": UNION}


def labels_to_learn(case: Case) -> Volume:
    """The reference as nnU-Net gets it, int16 in the axial view: 0, 1, 2, and UNION where a pixel is "liver or tumour".

    A painted tumour stays a tumour in a union slice as well.
    """
    truth: LabelMap = case.truth.axial()
    labels = truth.labels.astype(np.int16)
    if case.labels == "liver_union":
        labels[labels == LIVER] = UNION
    return Volume(labels, truth.geometry)


def pack(cases: Sequence[Case], raw: Path) -> Path:
    """Writes what is not yet there of `cases` and, last, dataset.json; returns the data set's folder.

    Grey values stay as they are read. Raises BadInput where the folder holds a case that is not in `cases`: it would
    train on a test patient.
    """
    folder = raw / NAME
    wanted = {case.id for case in cases}
    there = {path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").glob("*.nii.gz")}
    if strange := sorted(there - wanted):
        raise BadInput(f"{NAME} holds {', '.join(strange[:5])}, not of this fold; give each fold a work folder")
    for case in sorted(cases, key=lambda case: case.id):
        # The label comes last and marks the case as whole.
        label = folder / "labelsTr" / f"{case.id}.nii.gz"
        if not label.is_file():
            write_volume(case.ct.axial(), folder / "imagesTr" / f"{case.id}_0000.nii.gz")
            write_volume(labels_to_learn(case), label)
    files.write_json(folder / "dataset.json", description(cases))
    return folder


def description(cases: Sequence[Case]) -> dict[str, object]:
    """dataset.json. Channel "CT" makes nnU-Net normalise by the foreground's grey values of the whole set."""
    return {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "patients": sorted({case.patient for case in cases}),
        "union_cases": sorted(case.id for case in cases if case.labels == "liver_union"),
    }
