"""Chlebus et al.'s U-Net: the dossier's size, one answer, short skips that matter, any picture size."""

from __future__ import annotations

import json

import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.short_skip_unet import ShortSkipUnet
from hepar.nets.two_answers import only
from hepar.training.losses import soft_dice

TINY = ShortSkipUnet(width=0.1)


def grey(*shape: int) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_it_has_the_parameters_of_four_levels_and_of_a_short_skip_at_each():
    with torch.device("meta"):
        network = ShortSkipUnet().build()
    short = [module.short for module in network.modules() if hasattr(module, "short")]
    assert parameter_count(network) == 8_047_361
    assert len(short) == 7
    assert sum(map(parameter_count, short)) == 8_047_361 - 7_701_825


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 131), (227, 80)])
def test_the_output_has_the_size_of_the_input(size):
    with torch.inference_mode():
        assert TINY.build().eval()(grey(2, 1, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize(("answer", "label", "never"), [("liver", 1, 2), ("tumour", 2, 1)])
def test_it_answers_for_one_label_and_starts_at_one_half(answer, label, never):
    p = torch.softmax(ShortSkipUnet(answer, width=0.1).build().eval()(grey(1, 1, 32, 32)), 1)
    assert torch.equal(p[:, label], torch.full_like(p[:, label], 0.5))
    assert not p[:, never].any()


def test_other_answers_are_refused():
    with pytest.raises(BadInput, match="expected liver or tumour"):
        ShortSkipUnet("both")  # type: ignore[arg-type]


def test_the_picture_reaches_the_score_through_a_short_skip_alone():
    network = ShortSkipUnet(width=0.1, dropout=0.0).build().eval()
    torch.nn.init.ones_(network.decoder.score.weight)
    assert spread_over_the_picture(network) > 0
    for level in [*network.encoder.levels, *network.decoder.levels]:
        torch.nn.init.zeros_(level.second[-1].weight)
    assert spread_over_the_picture(network) > 0
    torch.nn.init.zeros_(network.encoder.levels[0].short.weight)
    assert spread_over_the_picture(network) == 0


def spread_over_the_picture(network: torch.nn.Module) -> float:
    with torch.inference_mode():
        return float(network(grey(1, 1, 32, 32))[:, 2, 4:-4, 4:-4].std())


def test_dropout_stands_before_each_of_the_six_convolutions_on_the_way_up():
    network = TINY.build()
    assert not any(isinstance(layer, torch.nn.Dropout) for layer in network.encoder.modules())
    drops = [layer for layer in network.decoder.modules() if isinstance(layer, torch.nn.Dropout)]
    assert [layer.p for layer in drops] == [0.5] * 6


def test_the_soft_dice_of_one_answer_is_that_of_its_sigmoid():
    score = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = 2 * (score > 0.3).long()
    p, truth = torch.sigmoid(score), labels == 2
    expected = 1 - 2 * (p * truth).sum() / (p.sum() + truth.sum())
    cost = soft_dice(only(score, 2), labels, torch.zeros(2, dtype=torch.bool))
    assert cost.item() == pytest.approx(expected.item(), abs=1e-6)


def test_settings_go_into_json_and_back_and_a_seed_builds_one_network():
    assert network_from_json(json.loads(json.dumps(network_to_json(TINY)))) == TINY
    one, same, other = (TINY.build(seed).encoder.levels[0].short.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
