"""The paper's preparation (histogram equalisation, then a 3 x 3 median): hepar and four other ways to it, in turns.

    python benchmarks/preprocessing.py -o docs/benchmarks/preprocessing

Grey values 0..255 of a synthetic scan of 512 x 512. Slow programs get fewer
slices; figures are per slice. `loops` is MATLAB's rule written pixel by pixel
(`tests/golden/matlab_filters.py`): hepar must give its bytes exactly.
Equalisation is another operator in scikit-image and OpenCV, so each of them is
compared with hepar's variant of the same name; the run fails where one differs.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pairs import Disagreement, Timed, arguments, bars, in_turns, publish, require_equal, surroundings
from scans import scan

from hepar.preprocess import EqualizeHistogram, MedianInPlane, Window
from hepar.volume import Volume

Bytes = NDArray[np.uint8]
REFERENCE = Path(__file__).resolve().parents[1] / "tests" / "golden" / "matlab_filters.py"
TARGET = ("scikit-image", 60.0)
# Slices of one run of the slow ones.
FEW = {"scikit-image": 8, "scipy": 8, "loops": 1}


def main() -> None:
    order = arguments(__doc__ or "", rounds=5).parse_args()
    ct, _ = scan(4 if order.quick else 64, 64 if order.quick else 512)
    grey = Window()(ct)
    timed = measured(grey, order.rounds)
    rows = [row | {"slices_per_s": round(1 / row["median_s"], 1)} for row in timed.rows("hepar")]
    peer, least = TARGET
    result = {
        "what": "seconds a slice of histogram equalisation and median filter",
        "shape_zyx": ct.values.shape,
        **surroundings(order),
        **timed.as_json("hepar"),
        "targets_met": {f"{least:g} times {peer}": timed.times_faster("hepar", peer)["median"] >= least},
    }
    publish(order.out, result, rows, bars(rows, "program", "slices_per_s", "equalise + median, 512 x 512"))


def measured(grey: Volume, rounds: int) -> Timed:
    """Seconds a slice of every program; raises Disagreement where one gives other values than hepar."""
    values = grey.values.astype(np.uint8)
    given = {name: values[: FEW.get(name, len(values))] for name in PROGRAMS}
    programs: dict[str, Callable[[], Any]] = {n: partial(run, given[n]) for n, run in PROGRAMS.items()}
    programs = {"hepar": partial(prepared, grey), **programs}
    timed = in_turns(programs, rounds, {name: len(given.get(name, values)) for name in programs})
    for name, (variant, border) in COMPARED_WITH.items():
        ours = prepared(grey, variant, border)[: len(given[name])]
        if name == "scikit-image":
            require_rounded(ours, timed.results[name])
        else:
            require_equal(ours, timed.results[name], name)
    return timed


def prepared(grey: Volume, variant: Any = "matlab", border: Any = "zero") -> NDArray[Any]:
    return MedianInPlane(3, border)(EqualizeHistogram(variant)(grey)).values


def require_rounded(ours: NDArray[Any], shares: NDArray[np.float64]) -> None:
    """scikit-image gives shares 0..1; hepar's variant is 255 times these, rounded. Raises Disagreement."""
    worst = float(np.abs(ours - 255 * shares).max())
    if worst > 0.5 + 1e-6:
        raise Disagreement(f"scikit-image: {worst:.3f} grey values from hepar's, where rounding explains 0.5")


def _loops(grey: Bytes) -> Bytes:
    rule = runpy.run_path(str(REFERENCE))
    return np.stack([rule["medfilt2_by_sorting"](rule["histeq_by_search"](one)) for one in grey])


def _skimage(grey: Bytes) -> NDArray[np.float64]:
    from skimage.exposure import equalize_hist
    from skimage.filters import median

    square = np.ones((3, 3))
    return np.stack([median(equalize_hist(one), square, mode="constant", cval=0) for one in grey])


def _scipy(grey: Bytes) -> Bytes:
    """A look-up table and scipy's median: what a careful reader of MATLAB's manual writes."""
    from scipy.ndimage import median_filter

    equalise = EqualizeHistogram()
    return np.stack([median_filter(equalise.table(one)[one], 3, mode="constant") for one in grey])


def _opencv(grey: Bytes) -> Bytes:
    import cv2

    return np.stack([cv2.medianBlur(cv2.equalizeHist(one), 3) for one in grey])


PROGRAMS: dict[str, Callable[[Bytes], Any]] = {
    "scikit-image": _skimage,
    "scipy": _scipy,
    "OpenCV": _opencv,
    "loops": _loops,
}
# hepar's equalisation and border that must give the same.
COMPARED_WITH = {
    "scikit-image": ("skimage", "zero"),
    "scipy": ("matlab", "zero"),
    "OpenCV": ("cv2", "nearest"),
    "loops": ("matlab", "zero"),
}


if __name__ == "__main__":
    main()
