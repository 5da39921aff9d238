"""Vorontsov et al.'s two joined FCNs: the published size, two answers, and one training for both."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.joined_fcn import JoinedFcn
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.two_answers import encoded
from hepar.training.losses import joint_dice

TINY = JoinedFcn(width=0.1)


def grey(*shape: int) -> torch.Tensor:
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_it_has_exactly_the_published_number_of_parameters():
    with torch.device("meta"):
        network = JoinedFcn().build()
    assert parameter_count(network) == 2_104_898
    assert parameter_count(network.encoder) == 1_047_808
    assert parameter_count(network.decoder.body) == 1_057_024


def test_the_second_fcn_sees_the_slice_and_32_maps():
    with torch.device("meta"):
        assert JoinedFcn().build().decoder.body.stem.in_channels == 33


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (70, 131), (127, 80)])
def test_the_output_has_the_size_of_the_input(size):
    network = TINY.build().eval()
    with torch.inference_mode():
        assert network(grey(2, 1, *size)).shape == (2, 3, *size)


def test_the_tumour_answer_teaches_the_first_fcn_and_the_liver_answer_not_the_second():
    for label, reached in ((2, True), (1, False)):
        network = TINY.build()
        logits = network(grey(2, 1, 64, 64))
        score = logits[:, 2] - logits[:, 1] if label == 2 else logits[:, 1:].amax(1)
        score.sum().backward()
        assert network.encoder.stem.weight.grad.abs().sum() > 0
        second = network.decoder.body.stem.weight.grad
        assert (second is not None and bool(second.abs().sum() > 0)) == reached


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=20))
def test_the_highest_logit_is_what_both_answers_say(scores):
    liver, tumour = torch.tensor(scores, dtype=torch.float64).T[:, None, None]
    logits = encoded(liver, tumour)
    sure = (liver.abs() > 1e-6) & (tumour.abs() > 1e-6)
    expected = torch.where(tumour > 0, 2, torch.where(liver > 0, 1, 0))
    assert torch.equal(logits.argmax(1)[sure], expected[sure])
    assert torch.allclose(logits[:, 1:].amax(1), liver)
    assert torch.allclose(logits[:, 2] - logits[:, 1], tumour)


def two_scores(liver: float, tumour: float) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.full((2, 4, 4), value, requires_grad=True) for value in (liver, tumour))  # type: ignore[return-value]


@pytest.mark.parametrize("scores", [(1.0, 0.5), (0.5, 1.0), (-1.0, 2.0), (0.0, 0.0), (2.0, -3.0)])
def test_the_loss_is_the_sum_of_two_soft_dices_with_smooth_1(scores):
    liver, tumour = two_scores(*scores)
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    labels[:, 1:], labels[:, 3:] = 1, 2
    p, q = torch.sigmoid(torch.tensor(scores)).tolist()
    # 24 of 32 pixels are liver, 8 tumour.
    expected = 2 - (2 * p * 24 + 1) / (p * 32 + 24 + 1) - (2 * q * 8 + 1) / (q * 32 + 8 + 1)
    loss = joint_dice(encoded(liver, tumour), labels, torch.zeros(2, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scores", [(1.0, 0.5), (0.5, 1.0), (-1.0, 2.0), (2.0, -3.0)])
def test_neither_answers_loss_reaches_the_other_answers_score(scores):
    liver, tumour = two_scores(*scores)
    labels = torch.ones(2, 4, 4, dtype=torch.long)
    # Union labels say nothing of tumour.
    joint_dice(encoded(liver, tumour), labels, torch.ones(2, dtype=torch.bool)).backward()
    assert liver.grad.abs().sum() > 0
    assert tumour.grad.abs().max() < 1e-8


def test_settings_go_into_json_and_back_and_a_seed_builds_one_network():
    assert network_from_json(json.loads(json.dumps(network_to_json(TINY)))) == TINY
    assert asdict(TINY)["dropout"] == 0.05
    one, same, other = (TINY.build(seed).encoder.stem.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
