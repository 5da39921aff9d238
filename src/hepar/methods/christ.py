"""Two U-Nets in a cascade, liver and then tumour in its box, refined by a dense 3D CRF (Christ et al. 2016).

The second network sees the box of the liver that the first one found, enlarged
to its full size and dark beyond the liver. The field ties every voxel to those
near it and to those near it with like HU. `without_crf` leaves it out;
`as_programmed` leaves out histogram equalisation, as the authors' public
program does.

Differs from the paper: padded convolutions instead of valid ones on a mirrored
border; one box for the whole liver instead of one a slice, equalised by itself;
training images are warped as this project does it; weights of labels are fixed
instead of counted. The field's Gaussians are in mm and end at 2.5 standard
deviations, the wide one at 15 mm (the authors' wrapper defaults to 60 voxels
without an end), and its weights are chosen on patients who train no network.
Own code of the field: every kept library needs a compiler. On slices stored in
-40..160 HU the window of -100..400 shows no more.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.classical.dense_crf import DenseCrf
from hepar.inference.staged import View
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.unet import Unet
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import EqualizeHistogram, InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Augmentation, Recipe
from hepar.training.refined import RefinedMethod
from hepar.training.staged import StagedMethod

liver = DeepMethod(
    Unet(dropout=0.0),
    prepare=(Window(-100, 400), EqualizeHistogram()),
    grid=InPlaneGrid(matrix=388),
    encoder_weights="none",
    clean=(KeepLargestLiver(),),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-3,
        momentum=0.8,
        weight_decay=5e-4,
        epochs=40,
        batch=4,
        micro_batch=4,
        # Background and label count alike where a label covers 7 % of a slice.
        label_weights=(0.54, 7.0, 7.0),
        augmentation=Augmentation(),
    ),
)
# A tumour covers some 5 % of the liver's box; slices of the liver without any teach what is none.
tumour = replace(liver, clean=(), recipe=replace(liver.recipe, label_weights=(0.53, 10.0, 10.0), slices="all"))

stages = StagedMethod(liver, tumour, View(masked=True, cropped=True, margin_mm=0.0), liver_seen="found")
FIELDS = (
    DenseCrf(),
    DenseCrf(near=0.5, alike=1.5),
    DenseCrf(near=2.0, alike=6.0),
    DenseCrf(alike_hu=10.0),
    DenseCrf(near=2.0, alike=0.0),
    # Patients may say that it is best left out.
    DenseCrf(near=0.0, alike=0.0),
)

method = RefinedMethod(stages, tried=FIELDS)
plain = (Window(-100, 400),)
variants = {
    "without_crf": stages,
    "as_programmed": method.each(lambda stage: replace(stage, prepare=plain)),
}

CARD = MethodCard(
    title="Automatic liver and lesion segmentation in CT using cascaded fully convolutional neural networks and 3D "
    "conditional random fields",
    authors="Christ, Elshaer, Ettlinger, Tatavarty, Bickel, Bilic, Rempfler, Armbruster, Hofmann, D'Anastasi, Sommer, "
    "Ahmadi, Menze",
    year=2016,
    kind="cascade of two and CRF",
    input="one slice of 388 x 388, -100..400 HU, equalised; the liver's box enlarged to as much",
    published=(
        Published("liver", 0.943, "3DIRCADb, 15 CTs in 2 folds", "0.931 without the CRF"),
        Published("tumour", 0.56, "3DIRCADb, 15 CTs in 2 folds", "SD 0.26"),
        Published("tumour", 0.529, "LiTS, server of ISBI 2017", "a later entry of the authors"),
    ),
    choices=Choices(
        documented=(
            "two U-Nets of 64 to 1024 channels without batch normalisation; the second sees the found liver alone, "
            "enlarged",
            "-100..400 HU, pictures of 388 x 388, weighted cross-entropy, SGD with momentum",
            "dense 3D CRF with a spatial and an appearance kernel, mean field",
        ),
        recommended=(
            "rate 1e-3, momentum 0.8, weight decay 5e-4, batches of 4, 40 epochs; fixed weights of labels",
            "largest liver component before the box is cut",
            "Gaussians of 2 and 6 mm, 20 HU, 5 updates, at 1.5 mm; weights of six choices on a tenth of the patients",
        ),
    ),
    parameters=2 * 31_030_723,
)
