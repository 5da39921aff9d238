"""Are the values Hounsfield units?

Air is -1000 HU and soft tissue about 40, so a CT has two humps 1000 apart
wherever its zero lies. Measured shares of voxels in both bands tell units that
are right from stored values without their intercept of -1024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.doctor.findings import Finding, Remedy
from hepar.doctor.reading import Reading

AIR_HU, TISSUE_HU = (-1100, -900), (-150, 150)
# What CT scanners add to keep stored values above zero.
OFFSET = 1024
# Real scans have 0.5 to 0.9 of their voxels in the two bands; below, nothing is said for sure.
LEAST_SHARE, LEAD = 0.3, 0.1
# Scanners fill the corners outside their round field of view with a value far below air.
PADDING_BELOW, PADDING_SHARE = -1100, 0.005
# Above, nothing of the range below fat is left: the values were windowed.
WINDOWED_ABOVE = -500
SPAN_SHARE = 0.8
EACH = "each slice spans 0..255: stretched by its own extremes, or cut to a window that nobody noted"
SAMPLED_VOXELS = 4_000_000


@dataclass(frozen=True)
class Scale:
    """How values relate to HU: `add_hu` brings them there; `known` is False where that cannot be said.

    `low` and `high` are where values were cut off (a window), infinite where they were not.
    """

    add_hu: int = 0
    known: bool = True
    low: float = -np.inf
    high: float = np.inf

    @property
    def has_air(self) -> bool:
        return self.known and self.low <= AIR_HU[0]


def scale_of(reading: Reading) -> tuple[Scale, list[Finding]]:
    """The scale of a case's values, and what is wrong with them. NaN voxels count as missing."""
    values, case = reading.values, reading.id
    if values is None:
        return Scale(known=False), []
    if reading.subject.slices:
        return _slices_scale(reading)
    findings = []
    broken = _not_finite(values)
    if broken:
        message = "some voxels are not a number or infinite"
        detail = f"{broken:,} of {values.size:,} voxels"
        findings.append(Finding(case, "nan", "error", message, detail, "none: nobody knows what stood there"))
    sample = _sample(values)
    low, high = float(sample.min()), float(sample.max())
    if low >= 0 and high <= 255:
        how = EACH if _spans_each(values) else f"{low:g}..{high:g}"
        return Scale(known=False), [*findings, _eight_bit(case, how)]
    findings += _padding(case, sample)
    if low > WINDOWED_ABOVE and high < 1000 and _share(sample, TISSUE_HU) > LEAST_SHARE:
        message = "the values were cut to a window: what lay outside is lost"
        findings.append(Finding(case, "windowed", "note", message, f"{low:g}..{high:g} HU"))
        return Scale(low=low, high=high), findings
    scale, wrong = _humps(case, sample)
    return scale, findings + wrong


def _slices_scale(reading: Reading) -> tuple[Scale, list[Finding]]:
    window = reading.subject.window_hu
    assert reading.values is not None
    if window is None:
        how = EACH if _spans_each(reading.values) else "slices.json is missing"
        return Scale(known=False), [_eight_bit(reading.id, how)]
    message = f"8-bit slices of a window, {window[0]:g}..{window[1]:g} HU: what lay outside is lost"
    return Scale(low=window[0], high=window[1]), [Finding(reading.id, "windowed", "note", message)]


def _eight_bit(case: str, how: str) -> Finding:
    message = "8-bit grey values, not Hounsfield units: windows in HU and thresholds mean nothing here"
    return Finding(case, "not-hu", "error", message, how, "none: get the CT itself")


def _humps(case: str, sample: NDArray[Any]) -> tuple[Scale, list[Finding]]:
    """Compare the shares of air and tissue as they stand with those of values that lack their intercept."""
    standing = _share(sample, AIR_HU) + _share(sample, TISSUE_HU)
    moved = _share(sample + OFFSET, AIR_HU, TISSUE_HU), _share(sample - OFFSET, AIR_HU, TISSUE_HU)
    best = max(standing, *moved)
    if best < LEAST_SHARE:
        message = "neither air near -1000 nor soft tissue near 40 stands out: the values may not be Hounsfield units"
        detail = f"{sample.min():g}..{sample.max():g}, median {np.median(sample):g}"
        return Scale(known=False), [Finding(case, "not-hu", "warning", message, detail, "none: get the CT itself")]
    if standing >= best - LEAD:
        return Scale(), []
    add = OFFSET if moved[0] == best else -OFFSET
    message = f"the values lie {-add:+d} HU off: the scanner's intercept was left out or added twice"
    detail = f"{sample.min():g}..{sample.max():g}"
    finding = Finding(case, "hu-offset", "error", message, detail, f"add {add:+d} to every value", Remedy(add_hu=add))
    return Scale(add_hu=add), [finding]


def _share(sample: NDArray[Any], *bands: tuple[int, int]) -> float:
    inside = sum(np.count_nonzero((sample >= low) & (sample <= high)) for low, high in bands)
    return float(inside / max(sample.size, 1))


def _padding(case: str, sample: NDArray[Any]) -> list[Finding]:
    low = float(sample.min())
    share = float(np.mean(sample == low))
    if low >= PADDING_BELOW or share < PADDING_SHARE:
        return []
    message = "a value below air fills the outside of the field of view; windows hide it, means do not"
    return [Finding(case, "padding", "note", message, f"{low:g} in {share:.0%} of the voxels")]


def _sample(values: NDArray[Any]) -> NDArray[np.float32]:
    """Evenly spread voxels as one row, finite ones only."""
    step = max(1, int(np.ceil((values.size / SAMPLED_VOXELS) ** (1 / 2))))
    # In plane only: every slice has its say.
    part = values[:, ::step, ::step].astype(np.float32).ravel()
    part = part[np.isfinite(part)]
    return part if part.size else np.zeros(1, np.float32)


def _not_finite(values: NDArray[Any]) -> int:
    if values.dtype.kind != "f":
        return 0
    return sum(int(np.count_nonzero(~np.isfinite(part))) for part in values)


def _spans_each(values: NDArray[Any]) -> bool:
    """True when most slices reach from 0 to 255, as scaling each slice by its own extremes leaves them."""
    return float(np.mean([part.min() == 0 and part.max() == 255 for part in values])) >= SPAN_SHARE


def in_hu(values: NDArray[Any], scale: Scale) -> NDArray[Any]:
    """Values with the offset undone; not-a-number voxels as air."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=-1000.0, posinf=3000.0, neginf=-1000.0)
    return values + np.asarray(scale.add_hu, values.dtype) if scale.add_hu else values
