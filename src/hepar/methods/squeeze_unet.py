"""The shipped model: SqueezeNet encoder, light U-Net decoder, 1.5 mm pixels, 1.46 M parameters (ours).

Works at 1.5 mm in plane whatever the scan's pixels, on a window of -40..160 HU
(that of the 8-bit slices it was trained on). Trained with balanced sampling
over patients, Dice + cross-entropy that respects union labels, augmentation
and weight averaging.
"""

from __future__ import annotations

from dataclasses import replace

from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.postprocess import FillLiverHoles, KeepLargestLiver
from hepar.preprocess import EqualizeHistogram, InPlaneGrid, MedianInPlane, Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import Augmentation, Recipe

window = Window(-40, 160)
network = CdnnSqueeze(decoder="unet")
method = DeepMethod(
    network,
    prepare=(window,),
    grid=InPlaneGrid(pixel_mm=1.5),
    clean=(KeepLargestLiver(), FillLiverHoles()),
    recipe=Recipe(
        optimizer="adamw",
        learning_rate=2e-3,
        # At the full rate the encoder's last maps grow by 10^4 within two epochs and forget ImageNet.
        encoder_share=0.1,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_updates=50,
        epochs=12,
        batch=12,
        micro_batch=12,
        loss="dice_cross_entropy",
        sampling="patient_balanced",
        slices="all",
        samples_per_epoch=1200,
        augmentation=Augmentation(),
        patch=256,
        ema=0.995,
        precision="bf16",
        validation_share=0.15,
        validate_every=2,
    ),
)
variants = {
    "slices3": replace(method, network=replace(network, slices=3)),
    "equalised": replace(method, prepare=(window, EqualizeHistogram(), MedianInPlane(3))),
}
