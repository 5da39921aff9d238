"""Two deep residual FCNs in a row, the answer averaged over three picture sizes (Bi et al. 2017).

Differs from the paper where it is silent: ResNet50 as first published, with
ImageNet weights, stands for "deep residual network" (`resnet101` is the next
size), at an output stride of 8; sizes are 0.75, 1 and 1.25; the second network
sees the picture and the first's probability of liver in a box 10 mm around the
liver, which the first found in its own training cases, and both labels are its
answer. Learning rates, batches and epochs are ours. Pictures are never
mirrored in training, since no scan shows that. On slices stored in -40..160 HU
the window of -160..240 shows no more than that.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.inference.staged import View
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.dilated_fcn import DilatedFcn
from hepar.nets.resnet50 import BLOCKS_OF_101
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import NO_CHANGES, Recipe
from hepar.training.staged import StagedMethod

network = DilatedFcn()
liver = DeepMethod(
    network,
    prepare=(Window(-160, 240),),
    grid=InPlaneGrid(matrix=512),
    clean=(KeepLargestLiver(), FillLiverHoles()),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="poly",
        epochs=20,
        batch=16,
        micro_batch=8,
        loss="cross_entropy",
        augmentation=replace(NO_CHANGES, scale=0.25, warp_share=1.0),
        patch=320,
    ),
)
both = replace(
    liver,
    network=replace(network, beside=True),
    # About the pixels of a scan: the box of a liver then fills one or two patches.
    grid=InPlaneGrid(pixel_mm=0.75),
    clean=(FillLiverHoles(),),
    recipe=replace(liver.recipe, slices="all"),
)

method = StagedMethod(
    liver, both, View(masked=False, cropped=True, beside=True, margin_mm=10.0), teaches="all", joins="second"
)


def made_of(network: DilatedFcn) -> StagedMethod:
    """The method with another network in both places."""
    second = replace(both, network=replace(network, beside=True))
    return replace(method, liver=replace(liver, network=network), tumour=second)


variants = {
    "resnet101": made_of(replace(network, blocks=BLOCKS_OF_101)),
    "one_size": made_of(replace(network, scales=(1.0,))),
    "scratch": method.each(lambda stage: replace(stage, encoder_weights="none")),
}

CARD = MethodCard(
    title="Automatic liver lesion detection using cascaded deep residual networks",
    authors="Bi, Kim, Kumar, Feng",
    year=2017,
    kind="cascade of two",
    input="one slice of 512 x 512, -160..240 HU; then the liver's box beside its probability",
    published=(
        Published("liver", None, "LiTS, server of ISBI 2017", "not found in a source of the authors"),
        Published("tumour", 0.645, "LiTS, server of ISBI 2017", "fourth place"),
    ),
    choices=Choices(
        documented=(
            "a cascade of residual networks from pretrained weights, cross-entropy, stochastic gradient descent",
            "window of -160..240 HU, random scale and crop",
            "answers of several picture sizes averaged, holes filled",
        ),
        recommended=(
            "ResNet50, output stride 8, bilinear enlargement by 8",
            "sizes 0.75, 1 and 1.25; patches of 320; no mirrored pictures",
            "learning rate 1e-3 falling to 0, weight decay 5e-4, batches of 16, 20 epochs a network",
            "the second network's box and channel; largest component as the liver",
        ),
    ),
    parameters=2 * 23_514_179,
)
