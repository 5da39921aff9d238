"""Which ImageNet weights an arm's encoder starts from, decided once and told: never random in silence."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hepar import methods
from hepar.errors import BadModel
from hepar.files import write_json
from hepar.nets.weights import cache_folder, load_encoder_weights
from hepar.study.arms import Say
from hepar.study.reproduce.order import StudyOrder, name
from hepar.study.reproduce.plan import Arm

# Names of weight files by network.
PATTERNS = {
    "CdnnAlex": ("alexnet*.npz", "alexnet*.safetensors", "alexnet*.pth"),
    "CdnnResnet18": ("resnet18*.pth", "resnet18*.safetensors", "resnet18*.npz"),
    "CdnnSqueeze": ("squeezenet_v1.1*.npz", "squeezenet1_1*.pth", "squeezenet*.safetensors"),
}
DOWNLOAD_SECONDS = 20.0


@dataclass(frozen=True)
class Start:
    """Where an encoder starts: a file, "imagenet" or "none", and why."""

    source: str
    why: str


def starts_of(arms: Sequence[Arm], order: StudyOrder, say: Say) -> dict[str, str]:
    """Encoder source by arm name; the choice is kept in `encoders.json`, by file name, for the study's later starts.

    Raises BadModel when a file chosen earlier is gone: half the folds must not start from something else.
    """
    path = order.out / "encoders.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found: dict[str, str] = {}
    tried: dict[str, Start] = {}
    told: set[str] = set()
    for arm in arms:
        if arm.after:
            continue
        if name(arm) in kept:
            found[name(arm)] = _again(kept[name(arm)]["source"], order)
            continue
        if arm.encoder == "none":
            start = Start("none", "from scratch, as the arm asks")
        else:
            start = tried.get(arm.method) or _start(arm.method, order)
            tried[arm.method] = start
        if start.source == "none" and arm.encoder != "none" and arm.title not in told:
            told.add(arm.title)
            say(f"{arm.title}: {start.why}; its encoder starts from random weights (He)")
        found[name(arm)] = start.source
        kept[name(arm)] = {"source": Path(start.source).name, "why": start.why}
        write_json(path, kept)
    return found


def weight_folders(order: StudyOrder) -> list[Path]:
    """Where weight files are looked for: the folder named, else `imagenet` beside the data, and the cache."""
    if order.weights:
        return [Path(order.weights)]
    beside = [order.data.resolve().parent / "imagenet"] if order.data else []
    return [*beside, cache_folder()]


def _start(method: str, order: StudyOrder) -> Start:
    if order.weights == "none":
        return Start("none", "no ImageNet weights, as asked")
    if order.width != 1.0:
        return Start("none", f"ImageNet weights do not fit {order.width:g} of the channels")
    settings = methods.get(method).network
    files = [
        path
        for folder in weight_folders(order)
        for pattern in PATTERNS.get(type(settings).__name__, ())
        for path in sorted(folder.glob(pattern))
    ]
    network = settings.build(0)
    for path in files:
        try:
            report = load_encoder_weights(network, path)
            return Start(str(path), f"layers from {path.name}, fresh: {', '.join(report.fresh) or 'none'}")
        except BadModel:
            continue  # of another network, or of another variant's shape
    try:
        with _patience(DOWNLOAD_SECONDS):
            load_encoder_weights(network, "imagenet")
        return Start("imagenet", "torchvision's published weights")
    except BadModel as error:
        return Start("none", f"no ImageNet weights are at hand ({str(error).split('. ')[0].split(' (')[0]})")


def _again(source: str, order: StudyOrder) -> str:
    if source in ("none", "imagenet"):
        return source
    for folder in weight_folders(order):
        if (folder / source).is_file():
            return str(folder / source)
    raise BadModel(f"{source}, which the study began with, is not there any more; give its folder with --weights")


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A network that does not answer must not keep a study from starting."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
