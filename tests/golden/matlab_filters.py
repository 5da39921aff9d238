"""Makes matlab_filters.json: what MATLAB R2018a's histeq and medfilt2 give on small slices.

Written from MATLAB's rule as a search, loop by loop, and not from hepar's
closed form, so that two different programs must agree. Run it to renew the file:

    python tests/golden/matlab_filters.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".json")


def histeq_by_search(grey: np.ndarray) -> np.ndarray:
    """histeq(uint8 image): 256 bins, 64 levels, the least error that is not negative."""
    pixels = grey.size
    counts = [int(np.count_nonzero(grey == k)) for k in range(256)]
    table = []
    for k in range(256):
        reached = sum(counts[: k + 1])
        tolerance = min(counts[k] if k < 255 else 0, counts[k] if k > 0 else 0) / 2
        errors = [(j + 1) * pixels / 64 - reached + tolerance for j in range(64)]
        errors = [pixels if e < -pixels * math.sqrt(np.finfo(float).eps) else e for e in errors]
        table.append(math.floor(255 * errors.index(min(errors)) / 63 + 0.5))
    return np.array(table, np.uint8)[grey]


def medfilt2_by_sorting(grey: np.ndarray) -> np.ndarray:
    """medfilt2(image): the fifth of nine sorted values, zeros outside."""
    out = np.zeros_like(grey)
    rows, columns = grey.shape
    for r in range(rows):
        for c in range(columns):
            near = [
                int(grey[i, j]) if 0 <= i < rows and 0 <= j < columns else 0
                for i in range(r - 1, r + 2)
                for j in range(c - 1, c + 2)
            ]
            out[r, c] = sorted(near)[4]
    return out


def slices() -> dict[str, np.ndarray]:
    row, column = np.mgrid[:12, :17]
    return {
        "ramp": np.arange(0, 256, 16, dtype=np.uint8)[None],
        "square": np.arange(1, 26, dtype=np.uint8).reshape(5, 5),
        # Half air, as in CT, and a skewed rest.
        "air": np.where(column < 8, 0, (row * column * 7 + row) % 200 + 40).astype(np.uint8),
    }


def golden() -> dict[str, dict[str, list[list[int]]]]:
    return {
        name: {
            "grey": grey.tolist(),
            "histeq": histeq_by_search(grey).tolist(),
            "medfilt2": medfilt2_by_sorting(grey).tolist(),
        }
        for name, grey in slices().items()
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden()) + "\n")
