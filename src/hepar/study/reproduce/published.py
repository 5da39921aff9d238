"""What the paper printed: Table 1, Table 2, and what the sources behind Table 2 say.

Elmenabawy et al., "Deep joint segmentation of liver and cancerous nodules from
CT images". Dice in 0..1 (the paper prints per cent), ASSD as printed, without
unit. Nothing here is a result of hepar's.
"""

from __future__ import annotations

from dataclasses import dataclass

DATA = "LiTS, 130 scans, 4 folds"


@dataclass(frozen=True)
class PublishedArm:
    """A row of Table 1. `values` by measure: liver_dice, liver_assd, tumour_dice, tumour_assd."""

    arm: str
    preprocessing: str
    title: str
    values: dict[str, float]


@dataclass(frozen=True)
class PublishedMethod:
    """A row of Table 2: figures and split as printed, and `correction`, what the sources themselves say.

    `arm` is the arm of this study that re-runs it, None where another room of
    hepar does (`hepar methods`).
    """

    method: str
    title: str
    split: str
    liver_dice: float | None
    tumour_dice: float | None
    correction: str
    arm: tuple[str, str] | None = None


def _row(arm: str, preprocessing: str, title: str, *values: float) -> PublishedArm:
    names = ("liver_dice", "liver_assd", "tumour_dice", "tumour_assd")
    return PublishedArm(arm, preprocessing, title, dict(zip(names, values, strict=True)))


TABLE1 = (
    _row("cdnn_resnet18", "without", "ResNet18", 0.823, 4.21, 0.577, 5.76),
    _row("cdnn_resnet18", "with", "ResNet18", 0.842, 3.65, 0.614, 4.77),
    _row("cdnn_alex", "without", "CDNN-Alex", 0.885, 3.87, 0.597, 5.32),
    _row("cdnn_alex", "with", "CDNN-Alex", 0.904, 2.65, 0.624, 4.98),
)

TABLE2 = (
    PublishedMethod(
        "vorontsov", "Vorontsov et al. [8]", "105 / 15", 0.950, 0.520,
        "their code trains on 100 and tests on 15, [9] says 115/15/26; their test-server lesion Dice is .645, "
        "a .52 is in neither",
    ),
    PublishedMethod(
        "bellver", "Bellver et al. [13]", "104 / 26", 0.960, 0.430,
        "their code splits 105/26 (104 when one scan is dropped); side outputs of VGG16 with a detector, no U-Net; "
        "test-server lesion Dice .411; 96 and 43 are not in the source",
    ),
    PublishedMethod(
        "chlebus", "Chlebus et al. [11]", "99 / 30", None, 0.580,
        "30 test cases is right, and 99 + 30 = 129; detected-lesion Dice .69, test server .65; the liver came from "
        "other networks",
    ),
    PublishedMethod(
        "korabelnikov", "Korabelnikov et al. [6]", "97 / 33, 4 folds", 0.887, 0.599,
        "the paper's own re-run: the original is older than LiTS", ("korabelnikov", "without"),
    ),
    PublishedMethod(
        "cdnn_alex", "Proposed: CDNN-Alex with preprocessing", "97 / 33, 4 folds", 0.904, 0.624,
        "130 scans make folds of 33, 33, 32 and 32", ("cdnn_alex", "with"),
    ),
)  # fmt: skip
