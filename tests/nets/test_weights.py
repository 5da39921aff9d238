"""Pretrained weights: exactly those of the file, or an error that helps; never random ones in silence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hepar.errors import BadModel
from hepar.nets import weights
from hepar.nets.cdnn_alex import CdnnAlex
from hepar.nets.cdnn_resnet18 import CdnnResnet18
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.nets.weights import load_encoder_weights

ALEX = CdnnAlex(width=0.02)
SQUEEZE = CdnnSqueeze("fcn", width=0.1)
RESNET = CdnnResnet18(width=0.05)
CAFFE_MEAN = [104.007, 116.669, 122.679]
TORCHVISION_MEAN = [123.675, 116.28, 103.53]


def filled(network, value: float = 0.25) -> dict[str, torch.Tensor]:
    """A state dict of the encoder's shapes that no initialisation gives."""
    return {key: torch.full_like(tensor, value) for key, tensor in network.encoder.state_dict().items()}


def caffe_arrays(network) -> dict[str, np.ndarray]:
    names = {own: foreign for foreign, own in network.encoder.caffe_names.items()}
    arrays = {}
    for key, tensor in filled(network).items():
        layer, kind = key.rsplit(".", 1)
        arrays[f"{names[layer]}_{kind[0]}"] = tensor.numpy()
    return arrays


def test_real_bvlc_convolutions_are_loaded_and_the_missing_layers_are_declared(shared_data: Path):
    path = shared_data / "imagenet" / "alexnet_bvlc_conv.npz"
    network = CdnnAlex("bvlc").build()
    report = load_encoder_weights(network, path)
    assert report.loaded == ("conv1", "conv2", "conv3", "conv4", "conv5")
    assert report.fresh == ("fc6", "fc7")
    assert "fc6, fc7" in report.note
    assert report.source == "alexnet_bvlc_conv.npz"
    assert network.grey.mean.tolist() == pytest.approx(CAFFE_MEAN)
    with np.load(path) as arrays:
        assert np.array_equal(network.encoder.conv2.weight.detach().numpy(), arrays["conv2_w"].astype(np.float32))
        assert np.array_equal(network.encoder.conv5.bias.detach().numpy(), arrays["conv5_b"])


def test_real_squeezenet_weights_fill_the_whole_encoder(shared_data: Path):
    path = shared_data / "imagenet" / "squeezenet_v1.1.npz"
    network = CdnnSqueeze().build()
    report = load_encoder_weights(network, path)
    assert len(report.loaded) == 25
    assert report.fresh == ()
    assert "conv10" in report.note
    with np.load(path) as arrays:
        expand = network.encoder.features[12].expand3x3.weight.detach().numpy()
        assert np.array_equal(expand, arrays["fire9_expand3x3_w"].astype(np.float32))


def test_another_squeezenet_version_is_refused_and_leaves_the_network_as_it_was(shared_data: Path):
    network = CdnnSqueeze().build()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(BadModel, match=r"features\.0\.weight has shape \(96, 3, 7, 7\).*needs \(64, 3, 3, 3\)"):
        load_encoder_weights(network, shared_data / "imagenet" / "squeezenet_v1.0.npz")
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("settings", [ALEX, SQUEEZE], ids=["alex", "squeeze"])
def test_a_converted_caffe_file_fills_the_encoder(settings, tmp_path):
    network = settings.build()
    np.savez(tmp_path / "caffe.npz", **caffe_arrays(network))
    report = load_encoder_weights(network, tmp_path / "caffe.npz")
    assert report.fresh == ()
    assert all(bool((tensor == 0.25).all()) for tensor in network.encoder.parameters())
    assert network.grey.mean.tolist() == pytest.approx(CAFFE_MEAN)


def test_a_caffe_file_as_safetensors_is_the_same(tmp_path):
    network = ALEX.build()
    save_file(
        {key: torch.from_numpy(array) for key, array in caffe_arrays(network).items()}, tmp_path / "c.safetensors"
    )
    report = load_encoder_weights(network, tmp_path / "c.safetensors")
    assert report.fresh == ()
    assert network.grey.std.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("settings", [RESNET, SQUEEZE], ids=["resnet", "squeeze"])
def test_a_torchvision_file_fills_the_encoder_and_its_classifier_is_left_out(settings, tmp_path):
    network = settings.build()
    torch.save({**filled(network), "fc.weight": torch.zeros(2, 2)}, tmp_path / "tv.pth")
    report = load_encoder_weights(network, tmp_path / "tv.pth")
    assert report.fresh == ()
    assert "not used: fc" in report.note
    assert all(bool((tensor == 0.25).all()) for tensor in network.encoder.parameters())
    assert network.grey.mean.tolist() == pytest.approx(TORCHVISION_MEAN)


def test_torchvisions_flat_fully_connected_layer_becomes_a_convolution(tmp_path):
    network = CdnnAlex("owt", width=0.02).build()
    own = network.encoder.state_dict()
    names = {own_name: foreign for foreign, own_name in network.encoder.torchvision_names.items()}
    foreign = {f"{names[k.rsplit('.', 1)[0]]}.{k.rsplit('.', 1)[1]}": torch.randn(v.shape) for k, v in own.items()}
    as_convolution = foreign["classifier.1.weight"]
    foreign["classifier.1.weight"] = as_convolution.flatten(1)
    foreign["classifier.4.weight"] = foreign["classifier.4.weight"].flatten(1)
    torch.save(foreign, tmp_path / "owt.pth")
    assert load_encoder_weights(network, tmp_path / "owt.pth").fresh == ()
    assert torch.equal(network.encoder.fc6.weight, as_convolution)


def test_resnet_keys_are_torchvisions():
    keys = CdnnResnet18(width=0.02).build().encoder.state_dict().keys()
    expected = {"conv1.weight", "bn1.running_var", "layer1.1.bn2.weight", "layer2.0.downsample.0.weight"}
    assert expected | {"layer4.0.downsample.1.running_mean", "layer4.1.conv2.weight"} <= keys
    assert "layer1.0.downsample.0.weight" not in keys
    assert len(keys) == 120


def test_none_is_declared():
    network = ALEX.build()
    before = network.encoder.conv1.weight.clone()
    report = load_encoder_weights(network, "none")
    assert report.loaded == ()
    assert report.fresh[0] == "conv1"
    assert "no pretrained weights" in report.note
    assert torch.equal(network.encoder.conv1.weight, before)


def test_a_file_of_another_network_is_refused(tmp_path):
    network = RESNET.build()
    torch.save({"stem.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(BadModel, match=r"other\.pth holds no layer.*found stem\.weight, expected .*conv1\.weight"):
        load_encoder_weights(network, tmp_path / "other.pth")


def test_weights_of_another_width_are_refused(tmp_path):
    np.savez(tmp_path / "wide.npz", **caffe_arrays(replace(SQUEEZE, width=0.2).build()))
    with pytest.raises(BadModel, match=r"has shape .* this encoder needs .* same network, variant and width"):
        load_encoder_weights(SQUEEZE.build(), tmp_path / "wide.npz")


def test_half_a_layer_is_refused(tmp_path):
    network = ALEX.build()
    arrays = caffe_arrays(network)
    del arrays["conv3_b"]
    np.savez(tmp_path / "half.npz", **arrays)
    with pytest.raises(BadModel, match=r"layer conv3 only in part: conv3\.bias missing"):
        load_encoder_weights(network, tmp_path / "half.npz")


def test_values_that_are_not_finite_are_refused(tmp_path):
    network = ALEX.build()
    arrays = caffe_arrays(network)
    arrays["conv1_b"][0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(BadModel, match=r"conv1\.bias holds values that are not finite"):
        load_encoder_weights(network, tmp_path / "nan.npz")


@pytest.mark.parametrize("name", ["broken.npz", "broken.pth", "broken.safetensors"])
def test_a_damaged_file_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"not weights at all" * 10)
    with pytest.raises(BadModel, match=f"{name} cannot be read"):
        load_encoder_weights(ALEX.build(), tmp_path / name)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "objects.npz", conv1_w=np.array([{"a": 1}], dtype=object))
    torch.save({"conv1.weight": Path("x")}, tmp_path / "objects.pth")
    for name in ("objects.npz", "objects.pth"):
        with pytest.raises(BadModel, match="cannot be read"):
            load_encoder_weights(ALEX.build(), tmp_path / name)


@pytest.mark.parametrize(("name", "words"), [("gone.npz", "does not exist"), ("w.h5", "expected .npz, .pth or .safe")])
def test_a_missing_or_unknown_file_is_refused(name, words, tmp_path):
    with pytest.raises(BadModel, match=words):
        load_encoder_weights(ALEX.build(), tmp_path / name)


@pytest.mark.parametrize("variant", ["bvlc", "caffenet", "ungrouped"])
def test_imagenet_weights_that_nobody_publishes_are_not_replaced_by_random_ones(variant):
    with pytest.raises(BadModel, match=f"variant '{variant}' cannot be downloaded.*converted Caffe.*conv1_w.*'owt'"):
        load_encoder_weights(replace(ALEX, variant=variant).build(), "imagenet")


def test_offline_the_error_names_url_hash_and_place(tmp_path, monkeypatch):
    def no_network(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setenv("HEPAR_CACHE", str(tmp_path))
    network = RESNET.build()
    before = network.encoder.conv1.weight.clone()
    with pytest.raises(BadModel) as error:
        load_encoder_weights(network, "imagenet")
    message = str(error.value)
    for part in (
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "no route to host",
        "begins with f37072fd",
        "the folder named by HEPAR_CACHE",
    ):
        assert part in message
    assert str(tmp_path) not in message
    assert torch.equal(network.encoder.conv1.weight, before)


def published(network, folder: Path) -> tuple[Path, str]:
    """A small file that stands for torchvision's, named like it by its own hash."""
    draft = folder / "draft.pth"
    torch.save(filled(network), draft)
    name = f"tiny-{hashlib.sha256(draft.read_bytes()).hexdigest()[:8]}.pth"
    return draft.rename(folder / name), name


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A download site on this disk and an empty cache: (network, site folder, cache folder, file name)."""
    (tmp_path / "site").mkdir()
    network = RESNET.build()
    _, name = published(network, tmp_path / "site")
    monkeypatch.setattr(type(network.encoder), "download_name", name)
    monkeypatch.setattr(weights, "TORCHVISION_URL", (tmp_path / "site").as_uri() + "/")
    monkeypatch.setenv("HEPAR_CACHE", str(tmp_path / "cache"))
    return network, tmp_path / "site", tmp_path / "cache", name


def test_imagenet_weights_are_downloaded_checked_and_kept(site, capfd):
    network, folder, cache, name = site
    report = load_encoder_weights(network, "imagenet")
    assert report.fresh == ()
    assert report.source == f"imagenet ({name})"
    assert network.encoder.conv1.weight[0, 0, 0, 0] == 0.25
    assert (cache / name).is_file()
    assert capfd.readouterr() == ("", "")
    (folder / name).unlink()
    again = RESNET.build(5)
    load_encoder_weights(again, "imagenet")
    assert torch.equal(again.encoder.conv1.weight, network.encoder.conv1.weight)


def test_a_download_with_another_hash_is_refused_and_not_kept(site):
    network, folder, cache, name = site
    (folder / name).write_bytes(b"something else")
    with pytest.raises(BadModel, match=r"could not get ImageNet weights .*hash"):
        load_encoder_weights(network, "imagenet")
    assert list(cache.iterdir()) == []


def test_a_cached_file_with_another_hash_is_refused(site):
    network, _, cache, name = site
    cache.mkdir()
    (cache / name).write_bytes(b"something else")
    with pytest.raises(BadModel, match=f"{name} in the folder named by HEPAR_CACHE has SHA-256 .*delete it"):
        load_encoder_weights(network, "imagenet")


def test_without_the_variable_the_cache_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("HEPAR_CACHE", raising=False)
    assert weights.cache_folder() == Path.home() / ".cache" / "hepar"
