"""Figures of the paper's study: Fig. 1 and 3 as diagrams, Fig. 5, training curves.

Each is a matplotlib figure that becomes an <svg> element or a PNG. Colours can
be told apart by colour-blind readers; what is drawn on a CT is outlined too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepar.report.plots import COLOURS, styled, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIVER_COLOUR, TUMOUR_COLOUR = "#009e73", "#d55e00"
_PANEL, _CURVES_IN_A_ROW = 1.75, 3


@dataclass(frozen=True, eq=False)
class Drawing:
    """One figure in both forms; `said` is what a screen reader reads."""

    name: str
    svg: str
    png: bytes
    said: str


@dataclass(frozen=True, eq=False)
class ArmSlice:
    """What an arm found in the slice shown: labels (y, x), None where the arm was not run."""

    title: str
    labels: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Curve:
    """Mean training loss of each epoch of one network."""

    title: str
    fold: int
    loss: tuple[float, ...]
    converged: bool


@dataclass(frozen=True)
class Layer:
    """A layer of a network: what it is, and the size of what it gives."""

    name: str
    what: str
    channels: int
    size: tuple[int, int]


def figure5(
    grey: NDArray[Any], truth: NDArray[np.uint8], arms: Sequence[ArmSlice], pixel_mm: tuple[float, float]
) -> Drawing:
    """The paper's Fig. 5: CT with truth, each arm's result with its Dice, the truth; a row for liver, one for tumour.

    `grey` (y, x) 0 to 255 and `truth` (y, x) labels, in display orientation,
    cut to what is to be shown; `pixel_mm` (y, x).
    """
    panels: list[tuple[str, NDArray[np.uint8] | None]] = [("CT, truth outlined", truth)]
    panels += [(arm.title, arm.labels) for arm in arms] + [("truth", truth)]
    aspect = pixel_mm[0] / pixel_mm[1]
    height = _PANEL * grey.shape[0] / grey.shape[1] * aspect + 0.55
    with styled() as new_figure:
        figure = new_figure((_PANEL * len(panels), 2 * height))
        axes = figure.subplots(2, len(panels), squeeze=False)
        rows = (("liver", LIVER_COLOUR, truth > 0), ("tumour", TUMOUR_COLOUR, truth > 1))
        for k, (row, colour, mask) in enumerate(rows):
            for place, (title, labels) in zip(axes[k], panels, strict=True):
                place.imshow(grey, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
                place.set_xticks([])
                place.set_yticks([])
                place.spines[:].set_visible(False)
                if k == 0:
                    place.set_title(title, fontsize=7.5)
                if labels is None:
                    place.set_xlabel("not run")
                    continue
                own = labels > (0 if row == "liver" else 1)
                outlined = title.startswith("CT")
                _mark(place, own, colour, filled=not outlined)
                if title not in ("truth", "CT, truth outlined"):
                    place.set_xlabel(f"Dice {_dice(mask, own)}", color="black")
            axes[k][0].set_ylabel(row, color="black")
        said = "Fig. 5: " + "; ".join(title for title, _ in panels)
        return _drawn("fig5", figure, said)


def training_curves(curves: Sequence[Curve]) -> Drawing:
    """A panel for each arm, a line for each fold; what has not converged says so and is dashed."""
    titles = list(dict.fromkeys(curve.title for curve in curves))
    columns = min(_CURVES_IN_A_ROW, max(1, len(titles)))
    rows = -(-len(titles) // columns)
    with styled() as new_figure:
        figure = new_figure((3.1 * columns, 2.3 * max(1, rows)))
        axes = figure.subplots(max(1, rows), columns, squeeze=False).ravel()
        for place, title in zip(axes, titles, strict=False):
            mine = [curve for curve in curves if curve.title == title]
            for curve in mine:
                epochs = np.arange(1, len(curve.loss) + 1)
                style = "-" if curve.converged else "--"
                colour = COLOURS[curve.fold % len(COLOURS)]
                place.plot(epochs, curve.loss, style, marker=".", markersize=3, color=colour,
                           label=f"fold {curve.fold}", linewidth=1)  # fmt: skip
            flat = all(curve.converged for curve in mine)
            place.set_title(title + ("" if flat else "\nnot converged"), fontsize=8, loc="left")
            place.set_xlabel("epoch")
            place.set_ylabel("training loss")
            place.xaxis.get_major_locator().set_params(integer=True)
            place.legend(fontsize=6)
        for place in axes[len(titles) :]:
            place.set_visible(False)
        return _drawn("curves", figure, "Training loss by epoch: " + "; ".join(titles))


def pipeline_diagram(steps: Sequence[tuple[str, str]]) -> Drawing:
    """The paper's Fig. 1: the steps in order, each with a line of what it does."""
    with styled() as new_figure:
        figure = new_figure((1.75 * len(steps), 1.25))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, len(steps))
        axes.set_ylim(0, 1)
        for k, (name, what) in enumerate(steps):
            _box(axes, (k + 0.06, 0.08, 0.8, 0.84), f"{name}\n", what)
            if k + 1 < len(steps):
                arrow = {"arrowstyle": "->", "color": "#51606f"}
                axes.annotate("", (k + 1.06, 0.5), (k + 0.86, 0.5), arrowprops=arrow)
        return _drawn("fig1", figure, "Fig. 1: " + ", then ".join(name for name, _ in steps))


def network_diagram(layers: Sequence[Layer], title: str) -> Drawing:
    """The paper's Fig. 3: a column for each layer, as high as its map is wide (logarithmic), with its sizes."""
    with styled() as new_figure:
        figure = new_figure((0.62 * len(layers) + 0.6, 2.9))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, loc="left", fontweight="bold")
        largest = max(np.log2(max(layer.size) + 1) for layer in layers)
        for k, layer in enumerate(layers):
            height = float(np.log2(max(layer.size) + 1) / largest)
            colour = _colour_of(layer.what)
            axes.add_patch(_rectangle((k + 0.12, (1 - height) / 2, 0.76, height), colour))
            axes.text(
                k + 0.5, 0.5, f"{layer.channels}\n{layer.size[0]}x{layer.size[1]}", ha="center", va="center", fontsize=6
            )
            axes.text(k + 0.5, -0.06, layer.name, ha="center", va="top", fontsize=6.5, rotation=30)
            axes.text(k + 0.5, 1.04, layer.what, ha="left", va="bottom", fontsize=6, rotation=30, color="#51606f")
        axes.set_xlim(0, len(layers) + 0.5)
        axes.set_ylim(-0.28, 1.4)
        return _drawn("fig3", figure, f"{title}: " + ", ".join(f"{la.name} {la.channels}" for la in layers))


def _colour_of(what: str) -> str:
    kinds: Mapping[str, str] = {"conv": "#cfe3f1", "pool": "#f6e3c5", "transposed": "#d5efe6", "score": "#f3d9e6"}
    return next((colour for kind, colour in kinds.items() if what.startswith(kind)), "#eceff2")


def _box(axes: Axes, place: tuple[float, float, float, float], name: str, what: str) -> None:
    axes.add_patch(_rectangle(place, "#eef3f8"))
    x, y, width, height = place
    axes.text(x + width / 2, y + 0.68 * height, name.strip(), ha="center", va="center", fontsize=8, fontweight="bold")
    axes.text(x + width / 2, y + 0.32 * height, what, ha="center", va="center", fontsize=6.5)


def _rectangle(place: tuple[float, float, float, float], colour: str) -> Any:
    from matplotlib.patches import Rectangle

    x, y, width, height = place
    return Rectangle((x, y), width, height, facecolor=colour, edgecolor="#51606f", linewidth=0.7)


def _mark(axes: Axes, mask: NDArray[np.bool_], colour: str, filled: bool) -> None:
    if not mask.any():
        return
    from matplotlib.colors import to_rgba

    if filled:
        tint = np.zeros((*mask.shape, 4))
        tint[mask] = to_rgba(colour, 0.55)
        axes.imshow(tint, aspect=axes.get_aspect(), interpolation="nearest")
    if not mask.all():
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9)


def _dice(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> str:
    """Of the slice shown, as the paper prints below its pictures."""
    total = np.count_nonzero(truth) + np.count_nonzero(found)
    return f"{2 * np.count_nonzero(truth & found) / total:.3f}" if total else "n/a (empty)"


def _drawn(name: str, figure: Figure, said: str) -> Drawing:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return Drawing(name, svg_text(figure, said), picture.getvalue(), said)
