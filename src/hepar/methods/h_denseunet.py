"""H-DenseUNet: a 2D DenseUNet, a light 3D one that sees its scores, and their maps fused (Li et al. 2018).

The 2D network learns from slices with their two neighbours, then the 3D part
and the fusion beside the frozen 2D part, then all of it; a voxel is tumour
where tumour has 0.9 of the liver's share. Layers, loss and thresholds are those
of the authors' program. Differs from the paper: no ResNet finds the liver
first, so pictures and blocks also lie beyond it, and blocks of 8 slices pass
over the whole scan; blocks have voxels of 2 x 0.767 x 0.767 mm and slices
neighbours 2 mm away, where theirs are the scan's own; no mirrored and no turned
pictures; 20, 10 and 5 epochs, since theirs ended by hand; the 2D part adds the
encoder's maps on its way up also inside the hybrid, as the paper draws it and
the program's hybrid does not; holes are filled slice by slice. In the last
phase the 2D scores' own loss counts half. Blocks need whole scans or slices
that lie evenly, and a GPU; 8-bit pictures of -40..160 HU have nothing beyond.
`slices` is the 2D network alone (the paper's first row), `small` a quarter of
all channels on pixels twice as large.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.methods._card import Choices, MethodCard, Published
from hepar.nets.dense_unet import DenseUnet
from hepar.nets.hybrid_dense_unet import HybridDenseUnet
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.hybrid import HybridMethod
from hepar.training.recipe import NO_CHANGES, Recipe

# The median of LiTS.
PIXEL_MM = 0.767

slices = DeepMethod(
    DenseUnet(),
    prepare=(Window(-200, 250),),
    grid=InPlaneGrid(pixel_mm=PIXEL_MM),
    clean=(KeepLargestLiver(), FillLiverHoles()),
    recipe=Recipe(
        optimizer="sgd",
        learning_rate=1e-3,
        momentum=0.9,
        nesterov=True,
        weight_decay=0.0,
        epochs=20,
        batch=40,
        micro_batch=10,
        label_weights=(0.78, 0.65, 8.57),
        sampling="patient_balanced",
        slices="all",
        samples_per_epoch=27_386,
        augmentation=replace(NO_CHANGES, scale=0.2, warp_share=1.0),
        patch=224,
        patch_on_label=0.7,
    ),
)
frozen = Deep3dMethod(
    HybridDenseUnet(frozen=True),
    prepare=slices.prepare,
    grid=InPlaneGrid(pixel_mm=PIXEL_MM, multiple=1),
    clean=slices.clean,
    # The program counts an epoch of blocks as a sixth of one of slices.
    recipe=replace(
        slices.recipe, epochs=10, batch=1, micro_batch=1, samples_per_epoch=4_564, patch=None, patch_on_label=0.0
    ),
)
both = replace(frozen, network=HybridDenseUnet(), recipe=replace(frozen.recipe, epochs=5, deep_supervision=0.5))

method = HybridMethod((slices, frozen, both), tumour_threshold=0.9)

SMALL = HybridDenseUnet(side=(8, 128, 128), flat=DenseUnet(width=0.25))
variants = {
    "slices": slices,
    "small": replace(
        method,
        phases=(
            replace(
                slices,
                network=SMALL.flat,
                grid=InPlaneGrid(pixel_mm=2 * PIXEL_MM),
                recipe=replace(slices.recipe, patch=128),
                encoder_weights="none",
            ),
            replace(frozen, network=replace(SMALL, frozen=True), grid=InPlaneGrid(pixel_mm=2 * PIXEL_MM, multiple=1)),
            replace(both, network=SMALL, grid=InPlaneGrid(pixel_mm=2 * PIXEL_MM, multiple=1)),
        ),
    ),
}

CARD = MethodCard(
    title="H-DenseUNet: hybrid densely connected UNet for liver and tumor segmentation from CT volumes",
    authors="Li, Chen, Qi, Dou, Fu, Heng",
    year=2018,
    kind="2D and 3D joint",
    input="three slices of 224 x 224, then blocks of 8 slices, -200..250 HU",
    published=(
        Published("liver", 0.961, "LiTS, server, 70 test cases", "per case, global 0.965; liver located first"),
        Published("tumour", 0.722, "LiTS, server, 70 test cases", "per case, global 0.824; second-hand"),
    ),
    choices=Choices(
        documented=(
            "2D: DenseNet-161 from ImageNet, up by 768, 384, 96, 96, 64; 3D: blocks of 3, 4, 12, 8 layers of 32",
            "3D sees grey and the 2D scores; maps added, one convolution of 64, dropout 0.3",
            "cross-entropy with weights 0.78, 0.65, 8.57; SGD 1e-3 with Nesterov 0.9; scale 0.8 to 1.2",
            "2D alone, 3D beside frozen 2D, all; tumour from 0.9, largest liver, holes filled",
        ),
        recommended=(
            "no liver located first; voxels of 2 x 0.767 x 0.767 mm; no mirroring",
            "20, 10 and 5 epochs; the 2D scores' own loss counts half at last",
        ),
    ),
    parameters=65_616_094,
)
