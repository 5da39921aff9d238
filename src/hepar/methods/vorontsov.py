"""Two joined FCNs, the second sees the first's features, a soft Dice for each (Vorontsov et al. 2018).

The network is the authors' public program's, to the last parameter. Differs
from it where our training loop does: pictures are 8 bits (4 HU a level) and
never mirrored, the elastic warp is our own, the Dice is pooled over
micro-batches, and the last epoch is kept instead of the best. Lesions that do
not touch the largest liver component go with what else does not; the program
keeps those in slices which that component spans. One network, not the
challenge's average of three. Where slices were stored in a window of -40..160
HU, that is all that the window of +-510 HU shows.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.joined_fcn import JoinedFcn
from hepar.postprocess import KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.phased import PhasedMethod
from hepar.training.recipe import NO_CHANGES, Recipe

halved = DeepMethod(
    JoinedFcn(),
    prepare=(Window(-510, 510),),
    grid=InPlaneGrid(matrix=256),
    clean=(KeepLargestLiver(),),
    encoder_weights="none",
    recipe=Recipe(
        optimizer="rmsprop",
        learning_rate=1e-3,
        # The program's Keras adds 5e-4 times the squared weights to the loss; the gradient of that is 1e-3 times them.
        weight_decay=1e-3,
        clip_norm=10.0,
        epochs=200,
        batch=40,
        micro_batch=10,
        loss="joint_dice",
        augmentation=replace(NO_CHANGES, rotate_degrees=15, scale=0.1, shift=0.1, elastic_px=6, warp_share=1.0),
    ),
)
full = replace(
    halved,
    grid=InPlaneGrid(matrix=512),
    recipe=replace(halved.recipe, learning_rate=1e-4, epochs=20, batch=10, micro_batch=5),
)

method = PhasedMethod((halved, full))
variants = {"halved": halved, "full_size": full}

CARD = MethodCard(
    title="Liver lesion segmentation informed by joint liver segmentation",
    authors="Vorontsov, Tang, Pal, Kadoury",
    year=2018,
    kind="2D joint, two networks",
    input="one slice of 512 x 512, +-510 HU",
    published=(
        Published("liver", 0.951, "LiTS, server of MICCAI 2017", "0.950 in Elmenabawy et al.'s Table 2 (105/15)"),
        Published("tumour", 0.661, "LiTS, server of MICCAI 2017", "0.645 at ISBI 2017, an average of three networks"),
        Published("tumour", 0.52, "LiTS, 105/15 after Elmenabawy et al.", "not found in a source of the authors"),
    ),
    choices=Choices(
        documented=(
            "network, soft Dice of both answers with smooth 1, equal weights",
            "RMSprop: 1e-3 at 256 pixels, 200 epochs of batches of 40; then 1e-4 at 512, 20 of 10; gradients up to 10",
            "slices with liver; rotation, shift, zoom, elastic warp",
            "cut at one half; largest liver component",
        ),
        recommended=("size of the elastic warp", "last epoch instead of the best", "no mirrored pictures"),
    ),
    parameters=2_104_898,
)
