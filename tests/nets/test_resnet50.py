"""ResNet-50: the published count and names, and strides that dilation takes the place of."""

from __future__ import annotations

import copy

import pytest
import torch

from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.resnet50 import BLOCKS_OF_101, Resnet50Encoder


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


def test_with_more_blocks_it_is_resnet_101():
    with torch.device("meta"):
        encoder = Resnet50Encoder(blocks=BLOCKS_OF_101)
    assert parameter_count(encoder) == 44_549_160 - 2_049_000
    assert encoder.download_name.startswith("resnet101-")
    assert Resnet50Encoder(width=0.05).download_name.startswith("resnet50-")
    assert Resnet50Encoder(width=0.05, blocks=(1, 1, 1, 1)).download_name is None


@pytest.mark.parametrize("size", [(64, 96), (77, 101)])
def test_every_fourth_sample_of_the_dilated_network_is_the_published_ones(size):
    torch.manual_seed(1)
    dilated, published = Resnet50Encoder(width=0.05, dilated=True).eval(), Resnet50Encoder(width=0.05).eval()
    published.load_state_dict(dilated.state_dict())
    further = copy.deepcopy(dilated)
    further.layer4[1].conv2.dilation = further.layer4[1].conv2.padding = (2, 2)
    image = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fine, coarse, wrong = (network(image)[-1] for network in (dilated, published, further))
    assert fine.shape[-2:] == (-(-size[0] // 8), -(-size[1] // 8))
    assert torch.allclose(fine[:, :, ::4, ::4], coarse, atol=1e-5)
    assert not torch.allclose(wrong[:, :, ::4, ::4], coarse, atol=1e-3)
