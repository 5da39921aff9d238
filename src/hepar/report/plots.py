"""Plots of a scoreboard as SVG text to put into an HTML page.

The same numbers give the same text: no date, no random ids, no random places.
Nothing is fetched and no global figure or backend is touched. Colours are
those of Okabe and Ito (2008), which colour-blind readers can tell apart; each
method also has a marker of its own, or a place.
"""

from __future__ import annotations

import hashlib
import html
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepar.study.statistics import BlandAltman

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY, _LINE = "#51606f", "#c3ccd5"
_INCH = 3.7
_PANELS_IN_A_ROW = 3
_NAME = 44
# Beyond this ratio of largest to median, all but the outliers would be one dot on a linear axis.
_LOG_FROM = 30.0
_SETTINGS: Any = {
    "svg.hashsalt": "hepar",
    # Text stays text: small, to be copied and read aloud, in the page's own font.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    # A method may be called "$a_b$": no name is a formula.
    "text.parse_math": False,
}


def box_plots(values: Mapping[str, Sequence[float | None]], title: str, unit: str = "") -> str:
    """A box for each method with every case as a point; None and NaN are left out, the count is told.

    Box: quartiles and median; whiskers: furthest case within 1.5 box lengths;
    diamond: mean. The axis is logarithmic, and says so, where the largest value
    is more than 30 times the median and all are above 0.
    """
    kept = {name: _defined(own) for name, own in values.items()}
    every = np.concatenate([*kept.values(), np.empty(0)])
    log = bool(len(every)) and every.min() > 0 and every.max() > _LOG_FROM * np.median(every)
    with styled() as figure_of:
        figure = figure_of((_INCH, 0.75 + 0.62 * len(kept)))
        axes = figure.subplots()
        for row, (name, own) in enumerate(kept.items()):
            _box(axes, -row, own, COLOURS[row % len(COLOURS)])
            label = f"{_short(name)} (n = {len(own)})" if len(own) else f"{_short(name)}: not defined in any case"
            place = axes.text(0.0, -row + 0.3, label, transform=axes.get_yaxis_transform(), va="bottom", ha="left")
            # A long name may reach beyond the axes, but must not make them smaller.
            place.set_in_layout(False)
        axes.set(ylim=(-len(kept) + 0.65, 0.72), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color="#e8ecf0", zorder=0)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        elif not len(every):
            axes.set_xticks([])
        _title(axes, _short(title))
        axes.set_xlabel(", ".join(filter(None, (unit, "logarithmic" if log else ""))))
        counts = ", ".join(f"{name}: {len(own)} cases" for name, own in kept.items())
        return svg_text(figure, f"Box plots. {title}. {counts}")


def bland_altman_plot(agreement: Mapping[str, BlandAltman], title: str, unit: str) -> str:
    """A panel for each method on shared axes: difference against mean, bias with its interval, limits of agreement."""
    columns = min(max(len(agreement), 1), _PANELS_IN_A_ROW)
    rows = -(-max(len(agreement), 1) // columns)
    with styled() as figure_of:
        figure = figure_of((_INCH * columns, 0.4 + 2.6 * rows))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, (place, (name, own)) in zip(panels, enumerate(agreement.items()), strict=False):
            _agreement_panel(panel, own, COLOURS[place % len(COLOURS)])
            _title(panel, f"{_short(name)} (n = {len(own.difference)})\n{_agreement_words(own, unit)}", size=8)
        for panel in panels[len(agreement) :]:
            panel.set_visible(False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        figure.supxlabel(f"mean of reference and found ({unit})", fontsize=8, color=_GREY)
        # A difference of 5 % and 4 % is one point, not one percent.
        difference = "percentage points" if unit == "%" else unit
        figure.supylabel(f"found − reference ({difference})", fontsize=8, color=_GREY)
        words = "; ".join(f"{name}: {_agreement_words(own, unit)}" for name, own in agreement.items())
        return svg_text(figure, f"Bland-Altman plots. {title}. {words}")


def froc_plot(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """Sensitivity over false lesions a scan, 1/8 to 8 or as far as the curves go.

    Each curve holds the sequences `false_positives_per_scan` and `sensitivity`,
    both growing, and `mean_sensitivity`, as `hepar.metrics.froc.Froc` has them.
    """
    with styled() as figure_of:
        figure = figure_of((_INCH * 1.35, 3.2))
        axes = figure.subplots()
        furthest = 8.0
        for place, (name, curve) in enumerate(curves.items()):
            # Everything left of 1/8 is drawn on it: a logarithmic axis has no zero.
            x = np.maximum(np.asarray(curve["false_positives_per_scan"], np.float64), 1 / 8)
            y = np.asarray([math.nan if v is None else v for v in curve["sensitivity"]], np.float64)
            furthest = max(furthest, float(x.max(initial=0)))
            label = f"{_short(name, 30)} (mean {_digits(curve.get('mean_sensitivity'), 3)})"
            look = COLOURS[place % len(COLOURS)], ("-", "--", "-.", ":")[place % 4]
            # Nothing more is found beyond the lowest threshold.
            x, y = np.append(x, 1e3), np.append(y, y[-1:] if len(y) else math.nan)
            axes.plot(x, y, drawstyle="steps-post", color=look[0], linestyle=look[1], label=label)
        axes.set_xscale("log", base=2)
        axes.set(xlim=(1 / 8, furthest), ylim=(0, 1.02))
        axes.xaxis.set_major_formatter("{x:g}")
        return _curves(figure, axes, "FROC", "false lesions a scan (logarithmic)", "sensitivity for lesions")


def reliability_plot(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """How often a voxel of some probability was right; on the diagonal it was as often as promised.

    Each curve holds `confidence` and `frequency`, one number a bin (None or NaN
    where it is empty), and `ece`, as `hepar.metrics.calibration` has them.
    """
    with styled() as figure_of:
        figure = figure_of((_INCH * 1.35, 3.2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_LINE, linestyle="--", label="perfect")
        for place, (name, curve) in enumerate(curves.items()):
            pairs = zip(curve["confidence"], curve["frequency"], strict=True)
            points = np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)
            points = points[np.isfinite(points).all(axis=1)]
            look: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
            label = f"{_short(name, 30)} (ECE {_digits(curve.get('ece'), 3)})"
            axes.plot(*points.T, markersize=4, label=label, **look)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        return _curves(figure, axes, "Reliability", "mean probability in the bin", "share of voxels where it was right")


def _box(axes: Axes, place: int, values: NDArray[np.float64], colour: str) -> None:
    if not len(values):
        return
    line = {"color": "#1c2733", "linewidth": 1.0}
    axes.boxplot(
        [values],
        positions=[place],
        orientation="horizontal",
        widths=0.36,
        showfliers=False,
        showmeans=True,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": "#1c2733", "linewidth": 2.2},
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": "#1c2733"},
        zorder=3,
    )
    # Multiples of the golden ratio spread points evenly without chance.
    spread = (np.arange(len(values)) * 0.6180339887498949 % 1 - 0.5) * 0.3
    axes.plot(values, place + spread, "o", color=colour, markersize=3.2, alpha=0.6, markeredgewidth=0, zorder=2)


def _agreement_panel(axes: Axes, own: BlandAltman, colour: str) -> None:
    axes.axhline(0, color=_LINE, linewidth=0.8, zorder=1)
    axes.plot(own.mean, own.difference, "o", color=colour, markersize=3.6, alpha=0.7, markeredgewidth=0, zorder=3)
    if math.isfinite(own.lower):
        axes.axhspan(own.bias_interval.low, own.bias_interval.high, color="#1c2733", alpha=0.12, linewidth=0, zorder=1)
        axes.axhline(own.bias, color="#1c2733", linewidth=1.2, zorder=2)
        for limit in (own.lower, own.upper):
            axes.axhline(limit, color="#1c2733", linewidth=0.9, linestyle="--", zorder=2)


def _agreement_words(own: BlandAltman, unit: str) -> str:
    if not math.isfinite(own.lower):
        return "limits need two cases or more"
    digits = 2 if max(abs(own.lower), abs(own.upper)) < 10 else 0
    bias, low, high, lower, upper = (
        _digits(v, digits) for v in (own.bias, own.bias_interval.low, own.bias_interval.high, own.lower, own.upper)
    )
    return f"bias {bias} {'points' if unit == '%' else unit} [{low}, {high}], limits {lower} to {upper}"


def _curves(figure: Figure, axes: Axes, title: str, x: str, y: str) -> str:
    _title(axes, title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#e8ecf0", zorder=0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7.5, framealpha=0.85, edgecolor=_LINE)
    names = ", ".join(str(label) for label in axes.get_legend_handles_labels()[1])
    return svg_text(figure, f"{title}. {names}")


@contextmanager
def styled() -> Iterator[Callable[[tuple[float, float]], Figure]]:
    """Our settings for the time of a `with`, and new figures (width, height in inches) that belong to nobody else."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        yield lambda size: Figure(figsize=size, layout="constrained", facecolor="none")


def _title(axes: Axes, title: str, size: float = 9.5) -> None:
    axes.set_title(title, loc="left", fontsize=size, fontweight="bold" if size > 9 else "normal")


def svg_text(figure: Figure, said: str) -> str:
    """The figure as one <svg> element; `said` is what a screen reader reads."""
    text = io.StringIO()
    with warnings.catch_warnings():
        # A name in letters that matplotlib's own font lacks is measured a little wrong; the browser has the letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}, transparent=True
        )
    drawing = text.getvalue()
    drawing = re.sub(r"<!--.*?-->", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    # The style sheet would reach beyond this drawing, so its one rule moves to the root, from which it is inherited.
    drawing = re.sub(r"<style.*?</style>", "", drawing, flags=re.DOTALL)
    tag = hashlib.sha256(drawing.encode()).hexdigest()[:8]
    drawing = re.sub(r"<[^<>]*>", lambda match: _own_ids(match.group(), tag), drawing)
    root = f'<svg role="img" aria-label="{html.escape(said)}" style="stroke-linejoin: round; stroke-linecap: butt" '
    return drawing.replace("<svg ", root, 1).rstrip()


def _own_ids(element: str, tag: str) -> str:
    """Ids must be unique on a page of many drawings; names of XML dialects mean nothing in HTML."""
    element = re.sub(r'\bid="', f'id="{tag}-', element)
    element = re.sub(r'\b(?:xlink:)?href="#', f'href="#{tag}-', element).replace("url(#", f"url(#{tag}-")
    element = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", element)
    return re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", element)


def _defined(values: Sequence[float | None]) -> NDArray[np.float64]:
    numbers = np.array([math.nan if value is None else value for value in values], np.float64)
    return numbers[np.isfinite(numbers)]


def _short(name: str, most: int = _NAME) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _digits(value: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return "not defined"
    return f"{value:.{digits}f}".replace("-", "−")
