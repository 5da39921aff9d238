"""VGG16 with side outputs: the published count, places of the enlarged maps, answers as logits, foreign weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from hepar.errors import BadInput
from hepar.nets.encoder_decoder import parameter_count
from hepar.nets.registry import network_from_json, network_to_json
from hepar.nets.side_outputs import NAMES, PLACES, SideOutputs, enlarged
from hepar.nets.tile_detector import TileDetector
from hepar.nets.weights import load_encoder_weights

TINY = SideOutputs(width=0.02)


def test_it_has_the_published_parameters():
    with torch.device("meta"):
        network, detector = SideOutputs().build(), TileDetector().build()
    assert parameter_count(network) == 14_714_688 + 202_816 + 399 == 14_917_903
    assert parameter_count(network.encoder) == 14_714_688
    assert parameter_count(detector) == 25_557_032 - 2_049_000 + 2049


@pytest.mark.parametrize("size", [(64, 96), (70, 53)])
def test_each_output_has_the_size_of_the_image_and_three_slices(size):
    with torch.inference_mode():
        outputs = TINY.build().supervised(torch.rand(2, 3, *size) * 255)
        logits = TINY.build()(torch.rand(2, 1, *size) * 255)
    assert sorted(outputs) == [1, 2, 4, 8, 16]
    assert {maps.shape for maps in outputs.values()} == {(2, 3, *size)}
    assert logits.shape == (2, 3, *size)


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_an_enlarged_ramp_is_the_ramp_of_the_pixels(factor):
    """A pooled sample is the mean of its pixels' places: enlarged, it must lie there again."""
    pixels = torch.arange(8.0 * factor)
    pooled = pixels.view(8, factor).mean(dim=1).expand(1, 1, 8, 8)
    found = enlarged(pooled, factor, (8 * factor, 8 * factor))[0, 0, 4 * factor]
    inner = slice(factor, 7 * factor)
    assert torch.allclose(found[inner], pixels[inner], atol=1e-4)


def test_a_score_above_zero_is_the_answers_label_and_its_sigmoid_the_probability():
    for answer, label, other in (("liver", 1, 0), ("tumour", 2, 1)):
        network = SideOutputs(answer=answer, width=0.02).build()
        torch.nn.init.zeros_(network.decoder.fuse.weight)
        for score in (1.5, -1.5):
            torch.nn.init.constant_(network.decoder.fuse.bias, score)
            with torch.inference_mode():
                logits = network(torch.zeros(1, 3, 16, 16))
            assert set(logits.argmax(dim=1).unique().tolist()) == {label if score > 0 else other}
            found = logits.softmax(dim=1)[0, label:, 0, 0].sum().item()
            assert found == pytest.approx(torch.sigmoid(torch.tensor(score)).item(), abs=1e-6)


def test_the_middle_slice_decides():
    network = TINY.build()
    torch.nn.init.zeros_(network.decoder.fuse.weight)
    with torch.no_grad():
        network.decoder.fuse.bias.copy_(torch.tensor([5.0, -5.0, 5.0]))
    with torch.inference_mode():
        assert (network(torch.zeros(1, 3, 16, 16)).argmax(dim=1) == 0).all()


def test_torchvisions_weights_find_their_layers_and_no_mean_is_subtracted(tmp_path):
    network, other = TINY.build(seed=1), TINY.build(seed=2)
    named = dict(zip(NAMES, PLACES, strict=True))
    tensors = {}
    for key, value in other.encoder.state_dict().items():
        layer, _, kind = key.rpartition(".")
        tensors[f"features.{named[layer]}.{kind}"] = value.contiguous()
    save_file(tensors, tmp_path / "vgg.safetensors")
    report = load_encoder_weights(network, tmp_path / "vgg.safetensors")
    assert not report.fresh
    assert all(torch.equal(value, other.encoder.state_dict()[k]) for k, value in network.encoder.state_dict().items())
    assert not network.grey(torch.zeros(1, 1, 4, 4)).any()
    assert torch.allclose(network.grey(torch.full((1, 1, 4, 4), 58.395))[0, 0], torch.ones(4, 4))


def test_new_layers_start_near_zero_and_the_encoder_does_not():
    network = SideOutputs(width=0.1).build()
    assert network.decoder.sides[2].weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert network.encoder.conv3_1.weight.std().item() > 1e-2


def test_settings_survive_json_and_others_are_refused():
    for settings in (SideOutputs(answer="tumour"), TileDetector(width=0.5)):
        assert network_from_json(network_to_json(settings)) == settings
    with pytest.raises(BadInput, match="expected one of liver, tumour, 3"):
        SideOutputs(answer="spleen")
    with pytest.raises(BadInput, match="for 5 slices"):
        SideOutputs(slices=5)


def test_a_detector_scores_tiles_of_any_size():
    network = TileDetector(width=0.02).build().eval()
    with torch.inference_mode():
        assert network(torch.zeros(3, 1, 80, 80)).shape == (3, 1)
        assert network(torch.zeros(2, 1, 14, 14)).shape == (2, 1)
