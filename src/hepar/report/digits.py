"""Numbers as a page shows them: as many digits as a reader can use, a true minus, a dash for what is not defined."""

from __future__ import annotations

import math

UNDEFINED = "–"


def number(value: float | None, unit: str = "", signed: bool = False) -> str:
    """Digits that a reader can use: 3 for shares, 2 for mm, 1 for mL, fewer for large numbers; a dash for none."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    places = {"mm": 2, "px": 2, "mL": 1}.get(unit, 3)
    size = abs(value)
    return digits(value, 0 if size >= 1000 else min(places, 1) if size >= 100 else places, signed)


def probability(value: float | None) -> str:
    """A p to three digits, never 0."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(low: float | None, high: float | None, unit: str) -> str:
    return f"[{number(low, unit)}, {number(high, unit)}]" if is_known(low) and is_known(high) else ""


def digits(value: float | None, places: int, signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return UNDEFINED
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    # -0.00 is rounding, not a direction.
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def scaled(value: float | None, factor: float) -> float:
    return math.nan if value is None else value * factor
