"""A liver whose segments anyone can follow: cut by planes, as a readers' rule of thumb has it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hepar.cases import Case
from hepar.datasets.couinaud import SegmentCase, SegmentTruth
from hepar.geometry import Geometry
from hepar.metrics.couinaud import SegmentMap
from hepar.volume import LabelMap, Volume


def segmented_liver(shape=(16, 60, 72), spacing_mm=(8.0, 3.0, 3.5), seed=3):
    """CT, labels with one tumour, and segments of an ellipsoid, in the axial view.

    Left to right halves of the left liver are 2 above and 3 below, then 4; of the right liver 5 and 8 lie in
    front, 6 and 7 behind, 5 and 6 below; 1 is a block behind.
    """
    z, y, x = (np.arange(n)[tuple(slice(None) if a == k else None for a in range(3))] for k, n in enumerate(shape))
    h, v, u = ((a - n / 2) / (0.42 * n) for a, n in zip((z, y, x), shape, strict=True))
    liver = h**2 + v**2 + u**2 < 1
    right = np.where(v < 0, np.where(h < 0, 5, 8), np.where(h < 0, 6, 7))
    left = np.where(h < 0, 3, 2)
    segments = np.where(u < 0, right, np.where(u < 0.4, 4, left))
    segments = np.where((v > 0.3) & (u > -0.1) & (u < 0.3), 1, segments) * liver
    labels = liver.astype(np.uint8)
    labels[shape[0] // 2, shape[1] // 3 : shape[1] // 3 + 4, shape[2] // 3 : shape[2] // 3 + 5] = 2
    rng = np.random.default_rng(seed)
    values = np.where(liver, 110, 20) + rng.integers(-20, 21, shape)
    grid = Geometry.from_spacing(shape, spacing_mm, (-300.0, 40.0, -150.0))
    ct = Volume(values.astype(np.int16), grid)
    return ct, LabelMap(labels, grid), SegmentMap(segments.astype(np.uint8), grid)


def segmented_case(name="p1", seed=3) -> SegmentCase:
    """The same as a case of a data set."""
    ct, labels, segments = segmented_liver(seed=seed)
    truth = SegmentTruth(segments, np.ones(len(labels.labels), dtype=bool))
    case = Case(f"set-{name}", name, lambda: ct, lambda: labels)
    return SegmentCase(case, partial(lambda found: found, truth))


def quadrants(batch):
    """A predictor that reads its three channels as a reader would: 1 to 8 by left, front and height.

    1 + left + 2 * behind + 4 * above; columns and rows are those of the frame.
    """
    n, _, rows, columns = batch.shape
    height = batch[:, 2] / 255 > 0.5
    left = np.broadcast_to(np.arange(columns) >= columns / 2, height.shape)
    behind = np.broadcast_to(np.arange(rows)[:, None] >= rows / 2, height.shape)
    segment = left + 2 * behind + 4 * height
    return (10.0 * (segment[:, None] == np.arange(8)[:, None, None])).astype(np.float32).reshape(n, 8, rows, columns)


def save_bands_model(folder: Path, name="bands") -> Path:
    """An ONNX model folder that anyone can follow: segment 1 to 8 by the eighth of the liver's height."""
    import torch

    from hepar.inference import ModelCard, Pipeline, save_model
    from hepar.preprocess import InPlaneGrid, Window
    from hepar.training.export import write_onnx

    network = torch.nn.Conv2d(3, 8, 1)
    middles = (torch.arange(8) + 0.5) / 8
    with torch.no_grad():
        network.weight.zero_()
        # Highest where the height is nearest: h m - m^2 / 2 = (h^2 - (h - m)^2) / 2.
        network.weight[:, 2, 0, 0] = 1000 * middles / 255
        network.bias[:] = -1000 * middles**2 / 2
    network.grey = SimpleNamespace(slices=3)
    folder.mkdir(parents=True)
    write_onnx(network.eval(), folder / "model.onnx")
    card = ModelCard(name, "eighths of the height", "free test weights", "nothing", "for tests only")
    pipeline = Pipeline((Window(-40, 160),), InPlaneGrid(matrix=32))
    save_model(folder, card, pipeline, folder / "model.onnx", {"network": "none", "classes": 8})
    return folder
