"""Diagrams of the paper's Fig. 1 (the steps from slice to label map) and Fig. 3 (a network's layers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepar.report.paper_figures import Drawing, drawn
from hepar.report.plots import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE, BOX = "#51606f", "#eef3f8"
# By kind of layer: encoder blues, pooling sand, decoder greens, scores pink; each also says its kind.
COLOURS: Mapping[str, str] = {"conv": "#cfe3f1", "block": "#cfe3f1", "pool": "#f6e3c5", "transposed": "#d5efe6",
                              "up-block": "#d5efe6", "unpool": "#d5efe6", "score": "#f3d9e6"}  # fmt: skip
_STEP, _LAYER, _ROW, _IN_A_ROW = 2.0, 0.98, 1.75, 11


@dataclass(frozen=True)
class Layer:
    """A layer of a network: what it is, and the size of what it gives."""

    name: str
    what: str
    channels: int
    size: tuple[int, int]

    @property
    def height(self) -> float:
        return float(np.log2(max(self.size) + 1))


@dataclass(frozen=True, eq=False)
class PipelineStep:
    """A step of Fig. 1: its name, a line or two on it, and above them a picture (y, x[, 3]) 0 to 255, or its layers."""

    name: str
    what: str
    picture: NDArray[np.uint8] | None = None
    layers: Sequence[Layer] = ()


def pipeline_diagram(steps: Sequence[PipelineStep]) -> Drawing:
    """The paper's Fig. 1: the steps in order."""
    with styled() as new_figure:
        figure = new_figure((_STEP * len(steps) - 0.2, 2.45))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, len(steps) * _STEP - 0.2)
        axes.set_ylim(0, 2.45)
        axes.set_aspect("equal")
        for k, step in enumerate(steps):
            left = k * _STEP + 0.06
            _rectangle(axes, (left, 0.04, 1.68, 2.36), BOX)
            axes.text(left + 0.84, 0.68, step.name, ha="center", va="center", fontsize=8.5, fontweight="bold")
            axes.text(left + 0.84, 0.32, step.what, ha="center", va="center", fontsize=7.5, linespacing=1.3)
            _picture(axes, step, (left + 0.09, 0.86, 1.5, 1.46))
            if k + 1 < len(steps):
                arrow = {"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", (left + _STEP, 1.6), (left + 1.68, 1.6), arrowprops=arrow)
        return drawn("fig1", figure, "Fig. 1: " + ", then ".join(step.name for step in steps))


def network_diagram(name: str, title: str, parts: Mapping[str, Sequence[Layer]]) -> Drawing:
    """The paper's Fig. 3: a box for each layer, in rows for each part of the network; heights are logarithmic.

    In a box: channels, and height x width of what the layer gives.
    """
    rows = [(part, layers[k : k + _IN_A_ROW]) for part, layers in parts.items()
            for k in range(0, len(layers), _IN_A_ROW)]  # fmt: skip
    width = max(len(layers) for _, layers in rows)
    tallest = max(layer.height for _, layers in rows for layer in layers)
    with styled() as new_figure:
        figure = new_figure((_LAYER * (width + 0.55), _ROW * len(rows) + 0.3))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, loc="left", fontweight="bold")
        axes.set_xlim(-0.55, width + 0.02)
        axes.set_ylim(-_ROW * len(rows), 0)
        for row, (part, layers) in enumerate(rows):
            middle = -_ROW * (row + 0.5)
            first = row == 0 or rows[row - 1][0] != part
            axes.text(-0.3, middle, part if first else "…", rotation=90 if first else 0, ha="center", va="center",
                      fontsize=9, color=LINE, fontweight="bold")  # fmt: skip
            for k, layer in enumerate(layers):
                _layer(axes, layer, (k, middle, 0.55 * _ROW * layer.height / tallest))
        said = ", ".join(f"{layer.name} {layer.channels}" for layers in parts.values() for layer in layers)
        return drawn(name, figure, f"{title}: {said}")


def _layer(axes: Axes, layer: Layer, place: tuple[float, float, float]) -> None:
    left, middle, height = place
    _rectangle(axes, (left + 0.07, middle - height / 2, 0.86, height), _colour_of(layer.what))
    centre: Any = {"ha": "center", "va": "center"}
    x, size = left + 0.5, f"{layer.size[0]}x{layer.size[1]}"
    axes.text(x, middle, f"{layer.channels}\n{size}", fontsize=7.5, **centre)
    axes.text(x, middle + 0.365 * _ROW, layer.name, fontsize=7.5, fontweight="bold", **centre)
    axes.text(x, middle - 0.375 * _ROW, layer.what.replace(", ", ",\n"), fontsize=7, color=LINE, **centre)


def _colour_of(what: str) -> str:
    return next((colour for kind, colour in COLOURS.items() if what.startswith(kind)), "#eceff2")


def _picture(axes: Axes, step: PipelineStep, place: tuple[float, float, float, float]) -> None:
    """The step's picture, or its layers as bars, in (left, bottom, width, height)."""
    left, bottom, width, height = place
    if step.picture is not None:
        rows, columns = step.picture.shape[:2]
        scale = min(width / columns, height / rows)
        x, y = left + width / 2 - columns * scale / 2, bottom + height / 2 - rows * scale / 2
        axes.imshow(step.picture, cmap="gray", vmin=0, vmax=255, aspect="equal", zorder=3,
                    extent=(x, x + columns * scale, y, y + rows * scale), interpolation="bilinear")  # fmt: skip
        return
    if not step.layers:
        return
    each, tallest = width / len(step.layers), max(layer.height for layer in step.layers)
    for k, layer in enumerate(step.layers):
        tall = height * layer.height / tallest
        where = (left + k * each, bottom + (height - tall) / 2, 0.8 * each, tall)
        _rectangle(axes, where, _colour_of(layer.what))


def _rectangle(axes: Axes, place: tuple[float, float, float, float], colour: str) -> Any:
    from matplotlib.patches import Rectangle

    x, y, width, height = place
    return axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=LINE, linewidth=0.7))
