"""The smallest study that must still work: phantoms, and arms that learn them."""

from __future__ import annotations

from pathlib import Path

from hepar.errors import HeparError
from hepar.metrics.figures import figure
from hepar.metrics.protocols import PROTOCOLS
from hepar.study.reproduce.results import read_study

FOREGROUND = "liver_dice"


class StudyLearnedNothing(HeparError):
    """A study ran to its end, and an arm of it does not find the foreground."""


def foreground_dice(study: Path) -> dict[str, float]:
    """By arm: mean Dice of the foreground (liver and tumour together) over the test cases of all folds."""
    spec = next(spec for spec in PROTOCOLS["lits"].figures if spec.name == FOREGROUND)
    results = read_study(study)
    arms = dict.fromkeys((cell.facts["arm"], cell.facts["preprocessing"]) for cell in results.cells)
    return {
        "/".join(key): figure(spec, results.scores(results.of_arm(*key), "all_slices", "lits")[1]).value for key in arms
    }


def require_dice(study: Path, least: float) -> None:
    """Raises StudyLearnedNothing when an arm's foreground Dice is not above `least`, or is not a number."""
    found = foreground_dice(study)
    poor = {arm: dice for arm, dice in found.items() if not dice > least}
    if poor or not found:
        told = ", ".join(f"{arm} {dice:.3f}" for arm, dice in poor.items()) or "no arm finished"
        raise StudyLearnedNothing(f"foreground Dice must be above {least}: {told}")
