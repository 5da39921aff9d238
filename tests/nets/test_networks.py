"""Promises that every network keeps: sizes, parameter counts, first loss, seeds, gradients, bfloat16."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks_under_test import NETWORKS, TINY
from PIL import Image
from torch.nn import functional as F

from hepar.nets.alexnet import AlexEncoder, LocalResponseNorm
from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.encoder_decoder import EncoderDecoder, parameter_count
from hepar.nets.grey_input import CAFFE, GreyInput
from hepar.nets.upsampling import BilinearUpsampling

# A fc8 classifier of 1000 classes, which the encoders leave out.
FC8 = 4096 * 1000 + 1000


def grey_image(*shape: int, seed: int = 0) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def wake_heads(network: EncoderDecoder) -> EncoderDecoder:
    """Zero heads pass no gradient; give every zero weight a small value."""
    with torch.no_grad():
        for weight in network.decoder.parameters():
            if not weight.any():
                weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (CdnnAlex("bvlc", "fcn32s"), 56_880_515),
        (CdnnAlex("caffenet", "fcn32s"), 56_880_515),
        (CdnnAlex("bvlc", "fcn8s"), 56_881_577),
        (CdnnAlex("caffenet", "fcn8s"), 56_881_577),
        (CdnnAlex("ungrouped", "fcn8s"), 58_294_697),
        (CdnnAlex("owt", "fcn8s"), 57_016_905),
        (CdnnResnet18(), 20_219_395),
        (CdnnResnet18(skips=True), 20_219_395),
    ],
    ids=str,
)
def test_a_network_has_exactly_the_published_number_of_parameters(settings, count):
    with torch.device("meta"):
        assert parameter_count(settings.build()) == count


@pytest.mark.parametrize(
    ("variant", "count"),
    [("bvlc", 60_965_224), ("caffenet", 60_965_224), ("ungrouped", 62_378_344), ("owt", 61_100_840)],
)
def test_alexnet_with_its_classifier_has_the_original_number_of_parameters(variant, count):
    with torch.device("meta"):
        assert parameter_count(AlexEncoder(variant)) + FC8 == count


def test_the_resnet18_encoder_has_the_original_number_of_parameters():
    with torch.device("meta"):
        assert parameter_count(CdnnResnet18().build().encoder) == 11_176_512


def test_the_light_unet_stays_light():
    with torch.device("meta"):
        assert 1_400_000 < parameter_count(CdnnSqueeze().build()) < 2_500_000


def test_upsampling_kernels_are_counted_only_on_request_and_only_when_learned():
    with torch.device("meta"):
        learned, fixed = CdnnAlex().build(), CdnnAlex(learn_upsampling=False).build()
    kernels = 3 * (3 * 3 + 3 * 3 + 15 * 15)
    assert parameter_count(learned, upsampling=True) == parameter_count(learned) + kernels
    assert parameter_count(fixed, upsampling=True) == parameter_count(fixed) == parameter_count(learned)


@pytest.mark.parametrize("name", ["alex fcn8s", "alex dilated8", "resnet18", "squeeze fcn", "squeeze unet"])
def test_the_output_has_the_size_of_the_input_for_every_size_from_64_to_700(name):
    network = TINY[name].build().eval()
    with torch.inference_mode():
        for size in range(64, 383):
            other = 764 - size
            assert network(torch.zeros(1, 1, size, other)).shape == (1, 3, size, other)


@pytest.mark.parametrize("name", ["alex fcn32s", "alex literal8x", "alex caffenet", "alex owt", "resnet18 skips"])
def test_the_output_has_the_size_of_the_input_with_the_remaining_decoders(name):
    network = TINY[name].build().eval()
    with torch.inference_mode():
        # Steps of 31 meet every remainder of 32, the coarsest stride.
        for size in range(64, 700, 31):
            assert network(torch.zeros(2, 3, size, 97)).shape == (2, 3, size, 97)


@pytest.mark.parametrize("name", list(TINY))
def test_the_first_loss_is_the_logarithm_of_the_number_of_classes(name):
    logits = TINY[name].build().train()(grey_image(2, 1, 96, 80))
    truth = torch.randint(0, 3, (2, 96, 80), generator=torch.Generator().manual_seed(0))
    assert F.cross_entropy(logits, truth).item() == pytest.approx(math.log(3), abs=1e-6)
    assert F.cross_entropy(logits + torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1), truth).item() > math.log(3) + 0.01


@pytest.mark.parametrize("settings", [CdnnAlex("owt"), CdnnResnet18(), CdnnSqueeze("fcn"), CdnnSqueeze()], ids=str)
def test_the_first_loss_of_the_full_size_network_on_a_real_slice_is_ln_3(settings, shared_data: Path):
    picture = next(path for path in sorted((shared_data / "lits512").rglob("*.webp")) if "label" not in str(path))
    grey = torch.from_numpy(np.asarray(Image.open(picture).convert("L"), dtype=np.float32)[None, None, ::4, ::4].copy())
    assert grey.max() > 50
    logits = settings.build()(grey)
    assert F.cross_entropy(logits, torch.ones(1, *grey.shape[2:], dtype=torch.long)).item() == pytest.approx(
        1.0986, abs=1e-4
    )


@pytest.mark.parametrize("name", list(TINY))
def test_gradients_reach_the_first_convolution_once_the_heads_are_not_zero(name):
    network = wake_heads(replace(TINY[name], width=0.1).build())
    (network(grey_image(2, 1, 96, 96)) ** 2).mean().backward()
    first = next(network.encoder.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_zero_heads_learn_first():
    network = TINY["squeeze fcn"].build()
    F.cross_entropy(network(grey_image(2, 1, 64, 64)), torch.ones(2, 64, 64, dtype=torch.long)).backward()
    assert next(network.encoder.parameters()).grad.abs().sum() == 0
    assert network.decoder.score4.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", list(TINY))
def test_the_same_seed_builds_the_same_network_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = TINY[name].build(1), TINY[name].build(1), TINY[name].build(2)
    assert torch.equal(torch.rand(3), expected)
    first, twin, stranger = (next(network.encoder.parameters()) for network in (one, same, other))
    assert torch.equal(first, twin)
    assert not torch.equal(first, stranger)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_settings_go_into_json_and_back(name):
    settings = NETWORKS[name]
    assert type(settings)(**json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.parametrize("name", list(TINY))
def test_bfloat16_autocast_gives_float32_logits_near_the_full_precision_ones(name):
    network = wake_heads(replace(TINY[name], width=0.1).build()).eval()
    image = grey_image(1, 1, 64, 64)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(image)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()


def test_score_heads_compute_in_float32_under_autocast():
    # In bfloat16 the backward pass of this layer corrupts memory on CPUs with AMX.
    head = CdnnAlex(width=0.02).build().decoder.score_fc7
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.rand(1, head.in_channels, 4, 4)).dtype == torch.float32
        assert torch.nn.Conv2d(4, 3, 1)(torch.rand(1, 4, 4, 4)).dtype == torch.bfloat16


def test_skips_change_what_the_resnet_decoder_sees():
    without, with_skips = (wake_heads(CdnnResnet18(skips, width=0.05).build()).eval() for skips in (False, True))
    with_skips.load_state_dict(without.state_dict())
    image = grey_image(1, 1, 64, 64)
    assert not torch.allclose(without(image), with_skips(image))


def test_local_response_normalisation_equals_torchs():
    maps = 100 * torch.randn((2, 7, 5, 6), generator=torch.Generator().manual_seed(0))
    found = LocalResponseNorm()(maps)
    assert torch.allclose(found, torch.nn.LocalResponseNorm(5, 1e-4, 0.75, k=1.0)(maps), rtol=1e-5)
    assert not torch.allclose(found, torch.nn.LocalResponseNorm(5, 1e-4, 0.75, k=2.0)(maps), rtol=1e-2)


def test_bvlc_and_caffenet_differ_only_in_the_place_of_normalisation():
    bvlc, caffenet = (CdnnAlex(variant, width=0.1).build().eval() for variant in ("bvlc", "caffenet"))
    caffenet.load_state_dict(bvlc.state_dict())
    image = 40 * grey_image(1, 3, 64, 64)
    assert not torch.allclose(bvlc.encoder(image)[0], caffenet.encoder(image)[0])


def test_grey_is_repeated_and_normalised_by_the_convention():
    layer = GreyInput()
    grey = torch.full((1, 1, 2, 2), 255.0)
    torchvision = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(layer(grey)[0, :, 0, 0], torchvision, atol=1e-5)
    layer.follow(CAFFE)
    assert torch.allclose(layer(grey)[0, :, 1, 1], 255 - torch.tensor([104.007, 116.669, 122.679]))
    assert torch.equal(layer(grey), layer(grey.expand(1, 3, 2, 2)))


def test_learned_upsampling_gets_gradients_and_fixed_upsampling_does_not():
    def changed_by_a_step(learn: bool) -> bool:
        network = wake_heads(replace(TINY["alex fcn8s"], learn_upsampling=learn).build())
        kernels = [layer for layer in network.modules() if isinstance(layer, BilinearUpsampling)]
        before = [layer.weight.clone() for layer in kernels]
        optimiser = torch.optim.SGD(network.parameters(), 0.1)
        F.cross_entropy(network(grey_image(1, 1, 64, 64)), torch.ones(1, 64, 64, dtype=torch.long)).backward()
        optimiser.step()
        return any(not torch.equal(old, layer.weight) for old, layer in zip(before, kernels, strict=True))

    assert changed_by_a_step(learn=True)
    assert not changed_by_a_step(learn=False)
