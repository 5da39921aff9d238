"""DenseUNet: the encoder that ImageNet's weights fit, the maps that are added, sizes, its start, what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.dense_unet import DenseLayer, DenseUnet, Transition, doubled
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.weights import load_encoder_weights

TINY = DenseUnet().tiny()


def woken(settings: DenseUnet, seed: int = 0):
    """The network with scores that say something: its head starts at zero."""
    network = settings.build(seed)
    torch.nn.init.normal_(network.decoder.score.weight, 0, 0.5, generator=torch.Generator().manual_seed(1))
    return network.eval()


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return DenseUnet().build()


def test_the_encoder_is_densenet_161(full):
    """torchvision's has 28,681,000 parameters, 2,209,000 of them in the classifier."""
    assert parameter_count(full.encoder) == 28_681_000 - (2208 * 1000 + 1000)
    assert full.encoder.out_channels == (96, 384, 768, 2112, 2208)
    convolutions = [m for m in full.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 161 - 1


def test_167_layers_have_weights(full):
    """The published name counts the encoder's 160 convolutions, five on the way up, the 1x1 line and the scores."""
    assert sum(isinstance(m, torch.nn.Conv2d) for m in full.modules()) == 167


def test_the_way_up_has_the_published_channels(full):
    convolutions = [up[0] for up in full.decoder.ups]
    assert [c.out_channels for c in convolutions] == [768, 384, 96, 96, 64]
    assert [c.in_channels for c in convolutions] == [2208, 768, 384, 96, 96]
    assert (full.decoder.line.in_channels, full.decoder.line.out_channels) == (2112, 2208)
    added = sum(p.numel() for up in full.decoder.ups for p in up.parameters())
    assert parameter_count(full) == 26_472_000 + added + (2112 * 2208 + 2208) + (64 * 3 + 3) == 49_527_843


def test_layers_are_named_as_in_torchvisions_file(full):
    names = full.encoder.torchvision_names
    assert names["features.conv0"] == "conv0"
    assert names["features.denseblock1.denselayer1.norm.1"] == "denseblock1.denselayer1.norm1"
    assert names["features.denseblock3.denselayer36.conv.2"] == "denseblock3.denselayer36.conv2"
    assert names["features.transition2.norm"] == "transition2.norm"
    assert "features.norm5" in names
    assert len(names) == 3 + 78 * 4 + 3 * 2
    assert len(set(names.values())) == len(names)


def test_weights_of_torchvisions_kind_fill_the_whole_encoder(tmp_path):
    source, target = TINY.build(seed=1), TINY.build(seed=2)
    theirs = {own: name for name, own in source.encoder.torchvision_names.items()}
    published = {}
    for key, value in source.encoder.state_dict().items():
        layer, _, kind = key.rpartition(".")
        if kind != "num_batches_tracked":
            published[f"{theirs[layer]}.{kind}"] = value
    torch.save(published | {"classifier.weight": torch.zeros(10, 4)}, tmp_path / "dense.pth")
    report = load_encoder_weights(target, tmp_path / "dense.pth")
    assert report.fresh == ()
    there = target.encoder.state_dict()
    assert all(torch.equal(value, there[key]) for key, value in source.encoder.state_dict().items())
    assert not torch.equal(source.decoder.line.weight, target.decoder.line.weight)


def test_a_layer_keeps_what_it_got_and_adds_its_own():
    layer = DenseLayer(6, 4, dims=2).eval()
    maps = torch.rand(2, 6, 5, 7)
    with torch.inference_mode():
        found = layer(maps)
    assert found.shape == (2, 10, 5, 7)
    assert torch.equal(found[:, :6], maps)
    assert layer.conv1.out_channels == 4 * 4


@pytest.mark.parametrize(("size", "half"), [((4, 6), (2, 3)), ((5, 7), (3, 4)), ((1, 2), (1, 1))])
def test_a_transition_takes_the_mean_of_what_is_there(size, half):
    transition = Transition(4, dims=2).eval()
    torch.nn.init.ones_(transition.conv.weight)
    with torch.inference_mode():
        found = transition(torch.ones(1, 4, *size))
    assert found.shape == (1, 2, *half)
    # An odd end is no darker: padding takes no part in a mean.
    assert torch.allclose(found, torch.full_like(found, found.max().item()))


def test_a_transition_of_blocks_leaves_z_alone():
    assert Transition(4, dims=3).eval()(torch.rand(1, 4, 3, 5, 6)).shape == (1, 2, 3, 3, 3)


def test_doubling_repeats_samples_and_cuts_what_is_too_much():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert doubled(maps, (3, 2)).tolist() == [[[[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]]]
    assert doubled(maps, (2, 4)).tolist() == [[[[1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0]]]]
    assert doubled(maps, (2, 2)) is maps


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (32, 96)])
def test_logits_have_the_size_of_the_picture(size):
    with torch.inference_mode():
        assert TINY.build().eval()(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


def test_scores_are_made_of_the_last_maps():
    network = woken(TINY)
    grey = torch.rand(1, 3, 33, 40) * 255
    with torch.inference_mode():
        maps, scores = network.maps_and_scores(grey)
        assert maps.shape == (1, network.last, 33, 40)
        assert torch.equal(network.decoder.score(maps), scores)
        assert torch.allclose(network(grey), scores)


def test_neighbours_count_and_a_lone_slice_is_its_own_neighbours():
    network = woken(TINY)
    middle, other = torch.rand(1, 1, 32, 32) * 255, torch.rand(1, 1, 32, 32) * 255
    with torch.inference_mode():
        alone = network(middle)
        assert torch.allclose(alone, network(middle.repeat(1, 3, 1, 1)))
        assert not torch.allclose(alone, network(torch.cat([middle, middle, other], 1)))
        assert not torch.allclose(alone, network(torch.cat([other, middle, middle], 1)))


@pytest.mark.parametrize("stage", range(4))
def test_every_skip_is_added(stage):
    """Encoder maps of each stride reach the scores by themselves, not only through coarser ones."""
    network = woken(TINY)
    with torch.inference_mode():
        features = list(network.encoder(network.grey(torch.rand(1, 3, 64, 64) * 255)))
        before = network.decoder(tuple(features), (64, 64))
        features[stage] = features[stage] + 1
        assert not torch.allclose(before, network.decoder(tuple(features), (64, 64)), atol=1e-4)


def test_the_first_loss_is_that_of_three_even_classes():
    logits = TINY.build()(torch.rand(2, 1, 32, 32) * 255)
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(2, 32, 32).long())
    assert loss.item() == pytest.approx(math.log(3))


def test_dropout_stands_once_before_the_last_maps():
    drops = [m for m in DenseUnet(layers=(1, 1, 1, 1), width=0.1).build().modules() if isinstance(m, torch.nn.Dropout)]
    assert [m.p for m in drops] == [0.3]
    assert not [m for m in TINY.build().modules() if isinstance(m, torch.nn.Dropout)]


def test_weights_start_from_the_seed():
    one, same, other = (TINY.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_settings_survive_json():
    row = network_to_json(TINY)
    assert network_from_json(row) == TINY
    assert network_from_json(row | {"layers": list(TINY.layers)}) == TINY
    assert network_from_json(row | {"growth": 16}) != TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (6, 12, 36)}, "expected four numbers above 0"),
        ({"layers": (6, 12, 0, 24)}, "expected four numbers above 0"),
        ({"slices": 5}, "5 slices .* expected 3"),
        ({"step_mm": 0}, "a step above 0 mm"),
    ],
)
def test_settings_that_build_nothing_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        replace(TINY, **change)
