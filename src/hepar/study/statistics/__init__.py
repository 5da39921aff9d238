"""Figures over patients to intervals, comparisons and ranks. Needs numpy and scipy only.

Everything resamples or flips whole patients: two scans of one patient are not
two observations. The same seed draws the same patients, so intervals of two
methods over the same cases rest on the same resamples.
"""

from __future__ import annotations

from hepar.study.statistics.agreement import BlandAltman, bland_altman
from hepar.study.statistics.bootstrap import Interval, bootstrap_interval
from hepar.study.statistics.paired import PairedTest, holm, paired_test, smallest_possible_p, with_holm
from hepar.study.statistics.ranks import RankStability, rank_stability

__all__ = [
    "BlandAltman",
    "Interval",
    "PairedTest",
    "RankStability",
    "bland_altman",
    "bootstrap_interval",
    "holm",
    "paired_test",
    "rank_stability",
    "smallest_possible_p",
    "with_holm",
]
