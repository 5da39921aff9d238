"""Which ImageNet weights the encoders of a bench start from; never random in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hepar.errors import BadModel
from hepar.nets.weights import load_encoder_weights
from hepar.study.bench.order import BenchOrder
from hepar.study.bench.stages import Place, Stage, is_training, rebuilt
from hepar.study.reproduce.encoders import weight_folders
from hepar.study.reproduce.order import StudyOrder

SUFFIXES = (".npz", ".pth", ".safetensors")


def with_encoders(method: Any, order: BenchOrder) -> tuple[Any, dict[str, str]]:
    """The method with weights that are at hand, and by stage what its encoder starts from.

    Trainings that ask for no ImageNet weights stay as they are. Nothing is
    downloaded: a bench that ran for hours must not hang on a server; files
    that were downloaded earlier count.
    """
    told: dict[str, str] = {}

    def start(training: Any, place: Place) -> Any:
        if getattr(training, "encoder_weights", None) != "imagenet":
            return training
        source, told[Stage(training, place).name] = _source(training.network, order)
        return replace(training, encoder_weights=source)

    return rebuilt(method, is_training, start), told


def _source(settings: Any, order: BenchOrder) -> tuple[str, str]:
    """A file that fits the network, or "none", and what a reader is told of it."""
    if order.weights == "none":
        return "none", "random (He), as asked"
    network = settings.build(0)
    # A StudyOrder knows where to look.
    folders = weight_folders(StudyOrder(order.data, order.out, weights=order.weights))
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    for path in (path for path in files if path.suffix in SUFFIXES):
        try:
            report = load_encoder_weights(network, path)
        except BadModel:
            continue  # of another network
        fresh = f", fresh: {', '.join(report.fresh)}" if report.fresh else ""
        return str(path), f"ImageNet, {path.name}{fresh}"
    return "none", "random (He): its ImageNet weights are not at hand"
