"""Whether numbers are Hounsfield units, by what every CT of a trunk shows: air and soft tissue."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepar.io.series.findings import Finding, NotHounsfield, RescaleMade
from hepar.io.series.slices import Slice

# What scanners add to keep stored values above 0; air is then 0, water 1024.
USUAL_INTERCEPT = -1024
SAMPLES = 200_000


def looks_like(values: NDArray[Any]) -> Literal["hounsfield", "stored", "unclear"]:
    """`hounsfield`: air far below 0 and soft tissue around it. `stored`: the same, 1024 higher; nothing is below.

    `unclear`: neither, as in a windowed CT, a phantom, or another modality.
    """
    some = values.reshape(-1)[:: max(1, values.size // SAMPLES)]
    if _share(some, -2000, -700) >= 0.01 and _share(some, -150, 250) >= 0.05:
        return "hounsfield"
    air, tissue = _share(some, -100, 150), _share(some, 874, 1274)
    # Most of a scan is one or the other; numbers spread evenly are neither.
    if _share(some, -4000, -300) < 0.001 and air >= 0.05 and tissue >= 0.1 and air + tissue >= 0.6:
        return "stored"
    return "unclear"


def hounsfield_finding(values: NDArray[Any], slices: tuple[Slice, ...]) -> Finding | None:
    """What the voxels (as the headers rescale them) say against the headers; None where they agree.

    `RescaleMade` asks to add its intercept; `NotHounsfield` not to read the series.
    """
    rescaled = all(one.tags.rescaled for one in slices)
    said = all(one.tags.modality or one.tags.rescale_type.upper() == "HU" for one in slices)
    kind = looks_like(values)
    if kind == "stored":
        if not rescaled:
            return RescaleMade(USUAL_INTERCEPT)
        return NotHounsfield("air lies near 0 and soft tissue near 1024, though the headers have a rescale")
    if kind == "hounsfield" and not rescaled:
        return RescaleMade(0)
    if kind == "unclear" and not rescaled:
        return NotHounsfield("the headers have no rescale, and the values show no air and soft tissue in HU")
    if kind == "unclear" and not said:
        return NotHounsfield("no header says that this is CT, and the values show no air and soft tissue in HU")
    return None


def _share(values: NDArray[Any], low: float, high: float) -> float:
    return float(np.count_nonzero((values >= low) & (values <= high))) / max(1, values.size)
