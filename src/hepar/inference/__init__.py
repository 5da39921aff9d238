"""From a scan and a trained model to labels on the scan's own grid, in bounded memory, without torch."""

from __future__ import annotations

from pathlib import Path

from hepar.inference.decision import Decision, Finding, Lesion
from hepar.inference.engine import EXACT, EngineOptions
from hepar.inference.model import Model, ModelCard, load_segmenter, open_model, save_model, shipped_model
from hepar.inference.neighbours import Neighbours
from hepar.inference.segmenter import Pipeline, Predictor, SlabSegmenter
from hepar.volume import LabelMap, Volume

__all__ = [
    "EXACT",
    "Decision",
    "EngineOptions",
    "Finding",
    "Lesion",
    "Model",
    "ModelCard",
    "Neighbours",
    "Pipeline",
    "Predictor",
    "SlabSegmenter",
    "load_segmenter",
    "open_model",
    "save_model",
    "segment",
    "shipped_model",
]


def segment(ct: Volume | Path | str, model: Path | str | None = None, device: str = "auto") -> LabelMap:
    """Liver and tumours of one scan: 0 background, 1 liver, 2 tumour, on the scan's exact grid.

    `ct` is a Volume or anything `hepar.read` reads; `model` a model folder
    (default: the shipped model). Computes in bf16 where the device does, as
    `hepar segment`. Raises BadInput or BadModel.
    """
    from hepar.io import read

    volume = ct if isinstance(ct, Volume) else read(ct)
    return load_segmenter(model, options=EngineOptions(device)).segment(volume)
