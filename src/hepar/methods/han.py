"""Two 2.5D U-Nets with long and short skips: liver, then liver and lesions in its slices (Han 2017).

The first network looks at 1 mm pixels of five slices 2.5 mm apart, the second
at the scan's own pixels and next slices, in the slices that the first found
liver in; the second's labels count. Lesions in which no voxel is tumour with a
probability of 0.8 become liver. Differs from the paper: pictures are never
mirrored, batches of 8, whole slices instead of pictures of 480 pixels when
segmenting, scans are not resampled along z (the nearest slices stand for those
2.5 mm apart, and every slice is labelled), unpooling repeats samples, and the
first network has a third score that is never taught. As in the paper the
second network trains on the slices that truly show liver; it is never shown a
mask. On slices stored in -40..160 HU the window of +-200 HU shows no more than
that. `all_lesions` leaves the rule of 0.8 out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hepar.inference.decision import Finding
from hepar.inference.staged import FoundLiver, StagedSegmenter, View
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.long_short_unet import LongShortUnet
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.by_heart import by_heart
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Recipe
from hepar.training.staged import StagedMethod
from hepar.volume import Volume

LEAST_PEAK = 0.8
# Less than any spacing: the next slices, wherever they lie.
NEXT_SLICES_MM = 0.1


@dataclass(frozen=True, eq=False)
class SureSegmenter(StagedSegmenter):
    """Lesions in which no voxel's tumour probability reaches `least_peak` become liver."""

    least_peak: float = LEAST_PEAK

    def inside(self, axial: Volume, liver: FoundLiver) -> Finding:
        return super().inside(axial, liver).without_faint(self.least_peak)


@dataclass(frozen=True)
class SureMethod(StagedMethod):
    """Two networks in sequence that keep lesions with a sure voxel only."""

    least_peak: float = LEAST_PEAK

    def tiny(self) -> SureMethod:
        """The same method, small enough to learn one phantom by heart."""
        return replace(self, liver=by_heart(self.liver, epochs=12), tumour=by_heart(self.tumour, epochs=12))

    def load(self, folder: Path) -> SureSegmenter:
        staged = super().load(folder)
        own = {field.name: getattr(staged, field.name) for field in fields(StagedSegmenter)}
        return SureSegmenter(**own, least_peak=self.least_peak)

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"least_peak": self.least_peak}


liver = DeepMethod(
    LongShortUnet(slices=5, step_mm=2.5),
    prepare=(Window(-200, 200),),
    grid=InPlaneGrid(pixel_mm=1.0),
    clean=(KeepLargestLiver(),),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-3,
        schedule="tenth_less",
        weight_decay=5e-4,
        epochs=50,
        batch=8,
        micro_batch=4,
        label_weights=(0.2, 1.2, 2.2),
        slices="all",
        patch=320,
    ),
    encoder_weights="none",
)
tumour = replace(
    liver,
    network=LongShortUnet(slices=5, step_mm=NEXT_SLICES_MM),
    grid=InPlaneGrid(matrix=512),
    recipe=replace(liver.recipe, slices="any_label"),
)

method = SureMethod(
    liver,
    tumour,
    View(masked=False, cropped=False, margin_mm=0.0),
    liver_seen="truth",
    teaches="all",
    joins="second",
)
variants = {"all_lesions": replace(method, least_peak=0.0)}

CARD = MethodCard(
    title="Automatic liver lesion segmentation using a deep convolutional neural network method",
    authors="Han",
    year=2017,
    kind="cascade, two models",
    input="five slices, -200..200 HU; 1 mm pixels for the liver, then the scan's own",
    published=(
        Published("liver", None, "LiTS", "not reported"),
        Published("tumour", 0.67, "LiTS, server of ISBI 2017", "0.674 in the challenge's report, first place"),
    ),
    choices=Choices(
        documented=(
            "five slices, 32 layers, long and short skips, batch normalisation, PReLU",
            "cross-entropy with weights 0.2, 1.2, 2.2",
            "SGD 1e-3, momentum 0.9, a tenth less each epoch, 50 epochs, weight decay 5e-4; crops of 320 x 320",
            "largest component of the liver after each model; lesions whose largest probability is below 0.8 dropped",
        ),
        recommended=(
            "1x1 convolutions at short skips that change channels, unpooling by repetition",
            "batches of 8, He initialisation, whole slices when segmenting, no mirrored pictures",
        ),
    ),
    parameters=2 * 28_820_803,
)
