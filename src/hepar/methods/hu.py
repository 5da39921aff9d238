"""A 3D network's probability of liver, then a globally optimal surface; liver only (Hu et al. 2016).

The abstract was at hand, not the text. The network is a residual U-Net of ours
with the channels 16, 32, 64, 128 at 3 mm; the surface minimises g |grad u| +
r u by a primal-dual method, where r takes the network's word where it is sure
and global and local appearance where it is not. For given appearance that is
convex; appearance is measured anew up to ten times. How much the region weighs
and how much each appearance is chosen on inner patients of the training. No
tumours are looked for. 3D needs whole scans or slices that lie evenly; on
slices stored in -40..160 HU the window of -100..400 shows no more.
"""

from __future__ import annotations

from hepar.classical.surface_evolution import Evolution
from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.residual_unet3d import ResidualUnet3d
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.recipe import Augmentation, Recipe
from hepar.training.surface import SurfaceMethod

liver = Deep3dMethod(
    ResidualUnet3d(side=64, slice_mm=3.0, channels=(16, 32, 64, 128), blocks=(1, 1, 1, 1), deep_heads=0),
    prepare=(Window(-100, 400),),
    grid=InPlaneGrid(pixel_mm=3.0, multiple=1),
    recipe=Recipe(
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="cosine",
        epochs=60,
        batch=4,
        micro_batch=4,
        loss="dice_cross_entropy",
        sampling="patient_balanced",
        slices="all",
        samples_per_epoch=200,
        augmentation=Augmentation(),
        validation_share=0.15,
        validate_every=20,
    ),
)
method = SurfaceMethod(
    liver,
    tried=(
        Evolution(),
        Evolution(data=0.5),
        Evolution(data=1.0),
        Evolution(data=0.5, histogram=1.0, local=1.0),
        Evolution(data=0.5, histogram=0.0, local=0.0),
    ),
)

CARD = MethodCard(
    title="Automatic 3D liver segmentation based on deep learning and globally optimized surface evolution",
    authors="Hu, Wu, Peng, Liang, Kong",
    year=2016,
    kind="3D network and surface, liver only",
    input="blocks of 64 voxels of 3 mm, -100..400 HU; the surface sees HU at 2 mm",
    published=(
        Published("liver", 0.9725, "42 CTs of their own and public ones", "SLIVER07 score 80.3; no figure on LiTS"),
        Published("tumour", None, "n/a", "tumours are not looked for"),
    ),
    choices=Choices(
        documented=(
            "3D network's probability as start and prior",
            "global and local appearance, taken in adaptively",
            "globally optimised surface evolution",
        ),
        recommended=(
            "16 to 128 channels, 3 mm, Dice and cross-entropy, Adam 1e-3, 60 epochs of 50 batches of 4",
            "edges cost half from 15 HU a mm, local means over 5 mm, cubes of 2 mm",
            "weights of region and appearance on inner patients, of five choices",
            "gap of 0.001 or 400 steps, at most 10 updates, cut at one half, largest component",
        ),
    ),
    parameters=1_478_467,
)
