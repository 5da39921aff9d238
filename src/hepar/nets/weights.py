"""ImageNet weights for the encoders: downloaded and checked, or from a file; never random without saying so.

Sources: "imagenet" (torchvision's published file, by URL and SHA-256 prefix,
kept in a cache), "none" (He initialisation stays) or a path:

- .npz of converted Caffe weights: `<layer>_w` and `<layer>_b` (or
  `<layer>.weight`, `.bias`) with layers conv1..conv5, fc6, fc7 for AlexNet and
  conv1, fire2_squeeze1x1, ... for SqueezeNet v1.1; OIHW, input BGR 0..255
  minus the channel means;
- .pth with torchvision's keys (read with `weights_only=True`);
- .safetensors with either kind of names.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol, cast
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor, nn

from hepar.errors import BadModel
from hepar.nets.encoder_decoder import EncoderDecoder
from hepar.nets.grey_input import CAFFE, TORCHVISION, Convention

TORCHVISION_URL = "https://download.pytorch.org/models/"
CACHE_VARIABLE = "HEPAR_CACHE"
Source = Literal["imagenet", "none"] | Path


@dataclass(frozen=True)
class WeightsReport:
    """Where an encoder's weights came from: layers `loaded` and layers left `fresh` (He-initialised)."""

    source: str
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    note: str


class _Encoder(Protocol):
    """What an encoder tells about itself: its published file and its layers' names in foreign files."""

    download_name: str | None
    caffe_names: dict[str, str] | None
    torchvision_names: dict[str, str] | None


def load_encoder_weights(network: EncoderDecoder, source: Source) -> WeightsReport:
    """Fill `network.encoder` from `source` and set `network.grey` to the weights' convention.

    A file may hold only some of the layers; the others stay fresh and the
    report names them. Raises BadModel when a file is missing, damaged, of
    another network, or cannot be downloaded; the network is then unchanged.
    """
    if source == "none":
        layers = tuple(_own_layers(network.encoder))
        return WeightsReport("none", (), layers, "no pretrained weights: the whole encoder is He-initialised")
    if source == "imagenet":
        tensors, name = _imagenet_file(network.encoder), cast(_Encoder, network.encoder).download_name
        report = _fill(network, tensors, f"imagenet ({name})")
        if report.fresh:
            raise BadModel(f"{name} lacks the layers {_some(report.fresh)}; delete it from {_cache_words()} and retry")
        return report
    path = Path(source)
    return _fill(network, _read_tensors(path), path.name)


def cache_folder() -> Path:
    """Where downloaded weights are kept: the folder named by HEPAR_CACHE, else ~/.cache/hepar."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "hepar"


def _imagenet_file(encoder: nn.Module) -> dict[str, Tensor]:
    name = cast(_Encoder, encoder).download_name
    if name is None:
        raise BadModel(
            f"ImageNet weights of AlexNet variant '{getattr(encoder, 'variant', '?')}' cannot be downloaded: "
            "torchvision publishes only 'owt'. Give the path of converted Caffe weights (.npz or .safetensors with "
            f"conv1_w, conv1_b, ..., fc7_w, fc7_b; weights {_expected_shapes(encoder)}), or choose variant 'owt'"
        )
    url, prefix = TORCHVISION_URL + name, name.removesuffix(".pth").rsplit("-", 1)[1]
    cached = cache_folder() / name
    if not cached.is_file():
        _download(url, cached, prefix)
    _check_hash(cached, prefix)
    return _read_pth(cached)


def _download(url: str, target: Path, prefix: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Writes beside the target, checks the hash, then renames; `load_state_dict_from_url`
        # does the same, but prints, and trusts a cached file unchecked.
        torch.hub.download_url_to_file(url, str(target), hash_prefix=prefix, progress=False)
    except (OSError, RuntimeError) as failure:
        reason = failure.reason if isinstance(failure, URLError) else failure
        raise BadModel(
            f"could not get ImageNet weights from {url} ({reason}). Without a network, put the file, whose SHA-256 "
            f"begins with {prefix}, into {_cache_words()} as {target.name}; or give a path to other weights, "
            "or ask for 'none'"
        ) from failure


def _check_hash(cached: Path, prefix: str) -> None:
    found = sha256(cached.read_bytes()).hexdigest()
    if not found.startswith(prefix):
        raise BadModel(
            f"{cached.name} in {_cache_words()} has SHA-256 {found[:16]}..., expected {prefix}...; "
            "delete it and fetch it again"
        )


def _cache_words() -> str:
    return f"the folder named by {CACHE_VARIABLE}" if os.environ.get(CACHE_VARIABLE) else "~/.cache/hepar"


def _read_tensors(path: Path) -> dict[str, Tensor]:
    readers = {".npz": _read_npz, ".pth": _read_pth, ".pt": _read_pth, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadModel(f"weights file {path.name}: expected .npz, .pth or .safetensors")
    if not path.is_file():
        raise BadModel(f"weights file {path.name} does not exist; check the path")
    return reader(path)


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as failure:
        raise _unreadable(path, failure) from failure


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as failure:
        raise _unreadable(path, failure) from failure
    return _state_dict(loaded, path.name)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return cast(dict[str, Tensor], load_file(path))
    except (OSError, SafetensorError) as failure:
        raise _unreadable(path, failure) from failure


def _unreadable(path: Path, failure: Exception) -> BadModel:
    return BadModel(
        f"weights file {path.name} cannot be read ({type(failure).__name__}); it is damaged or no such file"
    )


def _state_dict(loaded: object, name: str) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise BadModel(f"weights file {name} holds no state dict; expected a mapping from names to tensors")
    return {str(key): value for key, value in loaded.items()}


def _fill(network: EncoderDecoder, tensors: Mapping[str, Tensor], source: str) -> WeightsReport:
    own = network.encoder.state_dict()
    convention, named = _in_own_names(cast(_Encoder, network.encoder), own, tensors)
    matched = {key: _fitted(named[key], own[key], key, source) for key in own if key in named}
    loaded = tuple(layer for layer in _own_layers(network.encoder) if f"{layer}.weight" in matched)
    if not loaded:
        raise BadModel(
            f"{source} holds no layer of this encoder: found {_some(tuple(tensors))}, expected names such as "
            f"{_some(tuple(own))}; choose weights of the same network"
        )
    for layer in loaded:
        missing = [k for k in own if k.rpartition(".")[0] == layer and k not in matched and "num_batches" not in k]
        if missing:
            raise BadModel(f"{source} holds layer {layer} only in part: {_some(tuple(missing))} missing")
    network.encoder.load_state_dict({**own, **matched})
    network.grey.follow(convention)
    fresh = tuple(layer for layer in _own_layers(network.encoder) if layer not in loaded)
    return WeightsReport(source, loaded, fresh, _note(convention, fresh, set(named) - set(matched)))


def _in_own_names(
    encoder: _Encoder, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[Convention, dict[str, Tensor]]:
    """The tensors under the encoder's own names, by whichever layout matches more of them."""
    torchvision = {_renamed(key, encoder.torchvision_names): tensor for key, tensor in tensors.items()}
    caffe = {_renamed(_long(key), encoder.caffe_names): tensor for key, tensor in tensors.items()}
    if len(caffe.keys() & own.keys()) > len(torchvision.keys() & own.keys()):
        return CAFFE, caffe
    return TORCHVISION, torchvision


def _long(key: str) -> str:
    """`conv1_w` -> `conv1.weight`, `conv1_b` -> `conv1.bias`."""
    for short, full in (("_w", ".weight"), ("_b", ".bias")):
        if key.endswith(short):
            return key.removesuffix(short) + full
    return key


def _renamed(key: str, names: Mapping[str, str] | None) -> str:
    """`key` with its layer's own name; None: the file's names are the own names. Foreign layers are marked by '?'."""
    layer, _, kind = key.rpartition(".")
    if names is None:
        return key
    return f"{names[layer]}.{kind}" if layer in names else f"?{key}"


def _fitted(tensor: Tensor, own: Tensor, key: str, source: str) -> Tensor:
    flat_fully_connected = tensor.ndim == 2 and own.ndim == 4 and tensor.numel() == own.numel()
    if flat_fully_connected and tensor.shape[0] == own.shape[0]:
        # A fully connected layer is a convolution over its whole input (channel, y, x).
        tensor = tensor.reshape(own.shape)
    if tensor.shape != own.shape:
        raise BadModel(
            f"{source}: {key} has shape {tuple(tensor.shape)}, this encoder needs {tuple(own.shape)}; "
            "choose weights of the same network, variant and width"
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise BadModel(f"{source}: {key} holds values that are not finite; the file is damaged")
    return tensor.to(own.dtype)


def _own_layers(encoder: nn.Module) -> list[str]:
    return [key.removesuffix(".weight") for key in encoder.state_dict() if key.endswith(".weight")]


def _note(convention: Convention, fresh: tuple[str, ...], unused: set[str]) -> str:
    parts = [f"input normalised by the {convention.name} convention"]
    parts.append(f"fresh (He-initialised): {', '.join(fresh)}" if fresh else "encoder complete")
    if unused:
        parts.append(f"not used: {', '.join(sorted({key.lstrip('?').rpartition('.')[0] for key in unused}))}")
    return "; ".join(parts)


def _expected_shapes(encoder: nn.Module) -> str:
    weights = encoder.state_dict().items()
    return ", ".join(f"{key} {tuple(value.shape)}" for key, value in weights if key.endswith(".weight"))


def _some(names: tuple[str, ...], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
