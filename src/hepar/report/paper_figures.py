"""Figures of the paper's study that show results: Fig. 5 and the training curves.

Each is a matplotlib figure that becomes an <svg> element and a PNG. Colours can
be told apart by colour-blind readers; what is drawn on a CT is outlined too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepar.report.plots import COLOURS, styled, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIVER_COLOUR, TUMOUR_COLOUR, WARNING_COLOUR = "#009e73", "#d55e00", "#a33b00"
DPI = 150
_PANEL, _CURVES_IN_A_ROW = 1.75, 3
Labels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Drawing:
    """One figure in both forms; `said` is what a screen reader reads."""

    name: str
    svg: str
    png: bytes
    said: str


@dataclass(frozen=True, eq=False)
class ArmSlice:
    """What an arm found in the slice shown: labels (y, x), or None and in `note` why there are none.

    Beside labels a note warns of them, such as "not converged".
    """

    title: str
    labels: Labels | None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Shot:
    """The slice of Fig. 5: `grey` (y, x) 0 to 255 and `truth` (y, x) labels in display orientation, pixels (y, x) mm.

    `banner` stands above all, such as "phantom, no CT".
    """

    grey: NDArray[Any]
    truth: Labels
    pixel_mm: tuple[float, float]
    banner: str = ""


@dataclass(frozen=True)
class Curve:
    """Mean training loss of each epoch of one network."""

    title: str
    fold: int
    loss: tuple[float, ...]
    converged: bool


def figure5(shot: Shot, arms: Sequence[ArmSlice]) -> Drawing:
    """The paper's Fig. 5: CT with truth, each arm's result with its Dice, the truth; a row for liver, one for tumour.

    Results are filled, with the truth as a white line on them.
    """
    panels = [ArmSlice("slice, truth outlined", None), *arms, ArmSlice("truth", shot.truth)]
    aspect = shot.pixel_mm[0] / shot.pixel_mm[1]
    # Each row has its Dice below, the first its titles above.
    height = 0.95 * _PANEL * shot.grey.shape[0] / shot.grey.shape[1] * aspect + 0.26
    with styled() as new_figure:
        figure = new_figure((_PANEL * len(panels), 2 * height + 0.36 + (0.22 if shot.banner else 0)))
        engine: Any = figure.get_layout_engine()
        engine.set(h_pad=0.02, w_pad=0.03, hspace=0, wspace=0)
        axes = figure.subplots(2, len(panels), squeeze=False)
        for k, (panel, letter) in enumerate(zip(panels, "abcdefghijklmnop", strict=False)):
            axes[0][k].set_title(f"({letter}) {panel.title}", fontsize=7.5)
        for row, least, colour in ((0, 1, LIVER_COLOUR), (1, 2, TUMOUR_COLOUR)):
            for k, (place, panel) in enumerate(zip(axes[row], panels, strict=True)):
                _bare(place, shot.grey, aspect)
                truth = shot.truth >= least
                if k == 0:
                    _outline(place, truth, colour, 1.0)
                elif panel.labels is not None:
                    _fill(place, panel.labels >= least, colour)
                if 0 < k < len(panels) - 1:
                    _result(place, panel, truth, least)
            axes[row][0].set_ylabel(("liver", "tumour")[row], color="black")
        if shot.banner:
            figure.suptitle(shot.banner, fontsize=8.5, fontweight="bold", color=WARNING_COLOUR)
        said = f"Fig. 5. {shot.banner} Liver, then tumour: " + "; ".join(panel.title for panel in panels)
        return drawn("fig5", figure, said)


def training_curves(curves: Sequence[Curve]) -> Drawing:
    """A panel for each arm, a line for each fold; what has not converged says so and is dashed."""
    titles = list(dict.fromkeys(curve.title for curve in curves))
    columns = min(_CURVES_IN_A_ROW, max(1, len(titles)))
    rows = max(1, -(-len(titles) // columns))
    with styled() as new_figure:
        figure = new_figure((3.1 * columns, 2.1 * rows))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, title in zip(axes, titles, strict=False):
            _curves_of_arm(place, [curve for curve in curves if curve.title == title])
        for place in axes[len(titles) :]:
            place.set_visible(False)
        return drawn("curves", figure, "Training loss by epoch: " + "; ".join(titles))


def _curves_of_arm(place: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        epochs = np.arange(1, len(curve.loss) + 1)
        style, colour = "-" if curve.converged else "--", COLOURS[curve.fold % len(COLOURS)]
        place.plot(epochs, curve.loss, style, marker=".", markersize=3, color=colour, linewidth=1,
                   label=f"fold {curve.fold}")  # fmt: skip
    place.set_title(curves[0].title, fontsize=8, loc="left")
    if not all(curve.converged for curve in curves):
        place.set_title("not converged", fontsize=8, loc="right", fontweight="bold", color=WARNING_COLOUR)
    place.set_xlabel("epoch")
    place.set_ylabel("training loss")
    locator: Any = place.xaxis.get_major_locator()
    locator.set_params(integer=True)
    place.legend(fontsize=6.5, loc="upper right")


def _bare(place: Axes, grey: NDArray[Any], aspect: float) -> None:
    place.imshow(grey, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
    place.set_xticks([])
    place.set_yticks([])
    place.spines[:].set_visible(False)


def _result(place: Axes, panel: ArmSlice, truth: NDArray[np.bool_], least: int) -> None:
    """Below a panel its Dice, or why there is none; in it what must be known of it."""
    if panel.labels is None:
        place.set_xlabel(panel.note or "not run", color=WARNING_COLOUR)
        return
    _outline(place, truth, "white", 0.6)
    found = panel.labels >= least
    place.set_xlabel(f"Dice {_dice(truth, found)}", color="black", fontsize=8.5)
    notes = [panel.note] if panel.note and least == 1 else []
    notes += [] if found.any() else ["nothing found"]
    if notes:
        box = {"facecolor": "black", "alpha": 0.65, "edgecolor": "none", "pad": 1.5}
        place.text(0.03, 0.03, ", ".join(notes), transform=place.transAxes, fontsize=6.5, color="white", bbox=box)


def _fill(place: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    if not mask.any():
        return
    from matplotlib.colors import to_rgba

    tint = np.zeros((*mask.shape, 4))
    tint[mask] = to_rgba(colour, 0.55)
    place.imshow(tint, aspect=place.get_aspect(), interpolation="nearest")


def _outline(place: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    if mask.any() and not mask.all():
        place.contour(mask, levels=[0.5], colors=[colour], linewidths=width)


def _dice(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> str:
    """Of the slice shown, as the paper prints below its pictures."""
    total = np.count_nonzero(truth) + np.count_nonzero(found)
    return f"{2 * np.count_nonzero(truth & found) / total:.3f}" if total else "n/a (empty)"


def drawn(name: str, figure: Figure, said: str) -> Drawing:
    """A finished figure in both forms."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return Drawing(name, svg_text(figure, said), picture.getvalue(), said)
