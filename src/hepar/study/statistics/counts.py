"""Counts of rare events, such as false alarms: a rate with its exact interval."""

from __future__ import annotations

import math

from hepar.errors import BadInput
from hepar.study.statistics.bootstrap import NO_INTERVAL, TAILS, Interval


def poisson_interval(events: int, scans: int) -> Interval:
    """Exact 95 % interval of events a scan (Garwood 1936, Biometrika 28:437-442).

    Events are taken to come independently and equally often in every scan:
    where some scans draw many and most draw none, it is too narrow. With no
    event it runs from 0 to 3.69 over the scans. NaN without a scan.

    Raises BadInput for numbers below 0.
    """
    from scipy.stats import chi2

    if events < 0 or scans < 0:
        raise BadInput(f"found {events} events in {scans} scans; counts are 0 or more")
    if not scans:
        return NO_INTERVAL
    low = float(chi2.ppf(TAILS[0], 2 * events)) / 2 if events else 0.0
    high = float(chi2.ppf(TAILS[1], 2 * (events + 1))) / 2
    return Interval(low / scans, high / scans)


def rate(events: int, scans: int) -> float:
    """Events a scan; NaN without a scan."""
    return events / scans if scans else math.nan
