"""The same weights as one would run them by hand: PyTorch eager, nibabel and scipy, every slice, nothing clever.

`OnnxNetwork` reads a model's ONNX file and calls torch's own functions node by
node; batch normalisation is folded into its convolutions there, which favours
this side. `segment_plainly` is the script around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hepar.inference import Model
from hepar.preprocess import Window

BATCH = 8


class OnnxNetwork:
    """Float32 (batch, slices, y, x) to logits, as eager torch. Raises NotImplementedError for unknown nodes."""

    def __init__(self, file: Path) -> None:
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(str(file)).graph
        self.known = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
        self.given, self.wanted = graph.input[0].name, graph.output[0].name
        self.nodes: list[tuple[Callable[..., Tensor], list[str], dict[str, Any], str]] = []
        for node in graph.node:
            if node.op_type not in NODES:
                raise NotImplementedError(f"{file.name} holds a node {node.op_type}; teach it to torch_eager.NODES")
            settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            step = (NODES[node.op_type], list(node.input), settings, node.output[0])
            # What depends on weights alone is worked out once, as engines do.
            if all(name in self.known or not name for name in node.input):
                self.known[node.output[0]] = self._run(step, self.known)
            else:
                self.nodes.append(step)

    def __call__(self, grey: NDArray[np.float32]) -> NDArray[np.float32]:
        values = dict(self.known) | {self.given: torch.from_numpy(grey)}
        with torch.inference_mode():
            for step in self.nodes:
                values[step[3]] = self._run(step, values)
        return np.asarray(values[self.wanted].numpy())

    @staticmethod
    def _run(step: tuple[Callable[..., Tensor], list[str], dict[str, Any], str], values: dict[str, Tensor]) -> Tensor:
        function, names, settings, _ = step
        return function(*[values[name] if name else None for name in names], **settings)


def segment_plainly(file: Path, out: Path, model: Model, network: OnnxNetwork) -> NDArray[np.uint8]:
    """Labels (z, y, x), written to `out`. For models of one window, without smoothing; the file's slices are axial."""
    import nibabel

    image = nibabel.load(file)
    hu = np.ascontiguousarray(image.get_fdata(dtype=np.float32).T)
    spacing_mm = image.header.get_zooms()[::-1]
    grey = _windowed(hu, model)
    small = _zoomed(grey, [mm / model.pipeline.grid.pixel_mm for mm in spacing_mm[1:]])
    height, width = small.shape[1:]
    small = np.pad(small, [(0, 0), *((0, -n % model.pipeline.grid.multiple) for n in (height, width))])
    seen = model.pipeline.neighbours.of(len(hu), spacing_mm[0])
    decision = model.pipeline.decision
    labels, probability = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8)
    for start in range(0, len(hu), BATCH):
        rows = slice(start, start + BATCH)
        scores = decision.scores(network(small[seen[rows]]))[..., :height, :width]
        back = np.stack([_to_shape(one, hu.shape[1:]) for one in scores])
        labels[rows], probability[rows] = decision.labels(back), decision.tumour_probability(back)
    labels = _cleaned(labels, probability, decision.min_confidence)
    nibabel.save(nibabel.Nifti1Image(labels.T, image.affine), out)
    return labels


def _windowed(hu: NDArray[np.float32], model: Model) -> NDArray[np.float32]:
    (window,) = model.pipeline.prepare
    if not isinstance(window, Window) or model.pipeline.decision.smooth_mm or not model.pipeline.grid.pixel_mm:
        raise NotImplementedError(f"{model.card.name} is prepared or decides in another way than this script")
    share = (np.clip(hu, window.low_hu, window.high_hu) - window.low_hu) / (window.high_hu - window.low_hu)
    return np.asarray(np.floor(share * 255 + 0.5), np.float32)


def _zoomed(grey: NDArray[np.float32], factors: Sequence[float]) -> NDArray[np.float32]:
    size = [max(1, round(n * f)) for n, f in zip(grey.shape[1:], factors, strict=True)]
    return np.stack([_to_shape(one[None], size)[0] for one in grey])


def _to_shape(planes: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """(c, y, x) to (c, *size), linear; pixel centres at half pixels."""
    from scipy.ndimage import zoom

    factors = [there / here for there, here in zip(size, planes.shape[1:], strict=True)]
    return np.stack([zoom(one, factors, order=1, mode="nearest", grid_mode=True) for one in planes])


def _cleaned(labels: NDArray[np.uint8], probability: NDArray[np.uint8], least: float) -> NDArray[np.uint8]:
    """The largest liver, without holes, and without lesions that the network doubts."""
    from scipy.ndimage import binary_fill_holes, label

    parts, count = label(labels > 0)
    if count > 1:
        labels = np.where(parts == 1 + np.bincount(parts.ravel())[1:].argmax(), labels, 0).astype(np.uint8)
    for one in labels:
        one[binary_fill_holes(one > 0) & (one == 0)] = 1
    lesions, count = label(labels == 2)
    for number in range(1, count + 1):
        where = lesions == number
        if probability[where].mean() / 255 < least:
            labels[where] = 1
    return labels


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None, **settings: Any) -> Tensor:
    return functional.conv2d(
        x, weight, bias, settings["strides"], _even(settings["pads"]), settings["dilations"], settings["group"]
    )


def _transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None, **settings: Any) -> Tensor:
    more = settings.get("output_padding", [0, 0])
    return functional.conv_transpose2d(
        x, weight, bias, settings["strides"], _even(settings["pads"]), more, settings["group"], settings["dilations"]
    )


def _pooled(x: Tensor, **settings: Any) -> Tensor:
    pads = _even(settings.get("pads", [0] * 4))
    return functional.max_pool2d(
        x, settings["kernel_shape"], settings["strides"], pads, ceil_mode=bool(settings.get("ceil_mode", 0))
    )


def _even(pads: Sequence[int]) -> list[int]:
    if list(pads[:2]) != list(pads[2:]):
        raise NotImplementedError(f"padding {list(pads)} differs between sides")
    return list(pads[:2])


def _normalised(x: Tensor, *statistics: Tensor, **settings: Any) -> Tensor:
    scale, shift, mean, variance = statistics
    return functional.batch_norm(x, mean, variance, scale, shift, eps=settings.get("epsilon", 1e-5))


def _sliced(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor | None = None) -> Tensor:
    where = [slice(None)] * x.ndim
    for i, axis in enumerate(axes.tolist()):
        stop = int(ends[i])
        where[axis] = slice(int(starts[i]), None if stop > 2**31 - 2 else stop, 1 if steps is None else int(steps[i]))
    return x[tuple(where)]


def _gathered(x: Tensor, index: Tensor, axis: int = 0) -> Tensor:
    if index.ndim == 0:
        return x.select(axis, int(index))
    return x.index_select(axis, index.ravel()).unflatten(axis, index.shape)


def _unsqueezed(x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _constant(**settings: Any) -> Tensor:
    from onnx import numpy_helper

    return torch.from_numpy(numpy_helper.to_array(settings["value"]).copy())


def _filled(shape: Tensor, **settings: Any) -> Tensor:
    return _constant(**settings).expand(shape.tolist()) if "value" in settings else torch.zeros(shape.tolist())


def _cast(x: Tensor, to: int) -> Tensor:
    from onnx import helper

    return x.to(torch.from_numpy(np.zeros(0, helper.tensor_dtype_to_np_dtype(to))).dtype)


NODES: dict[str, Callable[..., Tensor]] = {
    "BatchNormalization": _normalised,
    "Cast": _cast,
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Conv": _convolved,
    "ConvTranspose": _transposed,
    "Div": torch.div,
    "Equal": torch.eq,
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, shape.tolist())),
    "Gather": _gathered,
    "Identity": lambda x: x,
    "LeakyRelu": lambda x, alpha=0.01: functional.leaky_relu(x, alpha),
    "MaxPool": _pooled,
    "Mul": torch.mul,
    "ReduceMean": lambda x, axes, keepdims=1: x.mean(axes, bool(keepdims)),
    "Relu": functional.relu,
    "Shape": lambda x: torch.tensor(x.shape),
    "Slice": _sliced,
    "Sub": torch.sub,
    "Unsqueeze": _unsqueezed,
    "Where": torch.where,
}
