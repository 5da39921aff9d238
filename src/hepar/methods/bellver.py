"""Liver, then lesions by VGG16 with side outputs, kept where a ResNet-50 detects one (Bellver et al. 2017).

Two networks see three consecutive slices and answer for each of them; the
lesion network sees the box of the liver that was found, dark outside. Tiles of
50 pixels on that liver are judged with 15 pixels around, and lesions outside of
what is shown of positive tiles become liver. The public program takes boxes
and masks from true labels; here training and tests see the livers that the first network found.

Differs from the paper: -150..250 HU for all scans instead of each scan's own
least and largest value in it (8-bit pictures of -40..160 HU are simply cut
narrower); the middle slice's answer counts; lesion crops have pixels of 0.75 mm
instead of the scan's own; stages are shares of the training, some 50,000
updates on LiTS; tiles cover the box's far edges and reach beyond the picture;
tiles are turned and mirrored, which the program means to do and does not
(`as_programmed` leaves it out). `crf` adds a 3D dense CRF, as a later version
does, its weights chosen on patients who train no network. `undetected` keeps
all lesions. Weights of the encoders lie at ImageNet's unit, without its mean.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.classical.dense_crf import DenseCrf
from hepar.inference.staged import View
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.side_outputs import SideOutputs
from hepar.nets.tile_detector import TileDetector
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.detected import DetectedMethod
from hepar.training.recipe import Recipe
from hepar.training.refined import RefinedMethod
from hepar.training.side_outputs import SideMethod
from hepar.training.staged import StagedMethod
from hepar.training.tile_detection import TileDetection

liver = SideMethod(
    SideOutputs(answer="liver"),
    prepare=(Window(-150, 250),),
    grid=InPlaneGrid(matrix=512),
    clean=(KeepLargestLiver(),),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-8,
        momentum=0.9,
        weight_decay=2e-4,
        epochs=10,
        batch=10,
        micro_batch=1,
        # Side outputs are supervised; `training.side_outputs` says by how much, and when.
        deep_supervision=1.0,
        slices="all",
    ),
)
tumour = replace(
    liver,
    network=SideOutputs(answer="tumour"),
    grid=InPlaneGrid(pixel_mm=0.75),
    clean=(),
    recipe=replace(liver.recipe, epochs=60),
)
detector = TileDetection(
    TileDetector(),
    prepare=(Window(-150, 250),),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-2,
        momentum=0.9,
        weight_decay=1e-4,
        epochs=20,
        batch=64,
        micro_batch=64,
        sampling="patient_balanced",
        samples_per_epoch=250 * 64,
    ),
)

stages = StagedMethod(
    liver, tumour, View(masked=True, cropped=True, margin_mm=0.0), liver_seen="found", teaches="all", joins="inside"
)

method = DetectedMethod(stages, detector)
variants = {
    "undetected": stages,
    "as_programmed": replace(method, detector=replace(detector, turned=False)),
    "crf": RefinedMethod(method, tried=(DenseCrf(), DenseCrf(near=2.0, alike=6.0), DenseCrf(near=0.0, alike=0.0))),
}

CARD = MethodCard(
    title="Detection-aided liver lesion segmentation using deep learning",
    authors="Bellver, Maninis, Pont-Tuset, Giro-i-Nieto, Torres, Van Gool",
    year=2017,
    kind="cascade and detector",
    input="three consecutive slices, -150..250 HU; tiles of 80 x 80 pixels for the detector",
    published=(
        Published("tumour", 0.411, "LiTS, server of ISBI 2017", "0.43 in Elmenabawy et al.'s Table 2 (104/26)"),
        Published("liver", 0.96, "LiTS, 104/26 after Elmenabawy et al.", "not found in a source of the authors"),
    ),
    choices=Choices(
        documented=(
            "VGG16 with side outputs, new weights near zero; three stages of supervision, rates and their factors",
            "sums of cross-entropy weighed .931/.069 for liver, .8982/.1018 for lesions, inside the liver only",
            "50-pixel tiles with 15 around where more than 625 pixels are liver; positive above 50 lesion pixels",
            "ResNet-50, batches of 64, half of them positive, 5000 updates of rate .01; positive from .33",
        ),
        recommended=("predicted boxes everywhere", "pixels of 0.75 mm for lesions", "a CRF in `crf` only"),
    ),
    parameters=2 * 14_917_903 + 23_510_081,
)
