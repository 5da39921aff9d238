"""ResNet-50: the published count and names, and strides that dilation takes the place of."""

from __future__ import annotations

import pytest
import torch

from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.resnet50 import Resnet50Encoder


def test_it_has_the_published_parameters_under_their_names():
    with torch.device("meta"):
        encoder = Resnet50Encoder()
    # torchvision's 25,557,032 less the classifier's 2048 x 1000 + 1000.
    assert parameter_count(encoder) == 25_557_032 - 2_049_000
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer3.5.bn3.bias"} <= encoder.state_dict().keys()
    assert encoder.out_channels == (64, 256, 512, 1024, 2048)


@pytest.mark.parametrize(("dilated", "strides"), [(False, (2, 4, 8, 16, 32)), (True, (2, 4, 8, 8, 8))])
def test_maps_have_their_strides(dilated, strides):
    encoder = Resnet50Encoder(width=0.05, dilated=dilated).eval()
    with torch.inference_mode():
        maps = encoder(torch.zeros(1, 3, 64, 96))
    assert [m.shape[-2:] for m in maps] == [(64 // s, 96 // s) for s in strides]
    assert [m.shape[1] for m in maps] == list(encoder.out_channels)
