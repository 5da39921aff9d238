"""Did a training's loss flatten? An arm that has not converged supports no claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

# Fewer epochs than this cannot show a plateau.
LEAST_EPOCHS = 8
# Largest change of the mean loss from the third to the last quarter of the epochs.
FLAT = 0.05


@dataclass(frozen=True)
class Convergence:
    """Whether the loss is flat, and the sentence that says why."""

    converged: bool
    why: str


def convergence(losses: Sequence[float]) -> Convergence:
    """A training has converged when its loss has flattened.

    `losses` are the mean training losses of its epochs. Flat means: over at
    least 8 epochs, the mean of the last quarter of the epochs differs by less
    than 5 % from that of the quarter before it, up or down.
    """
    if len(losses) < LEAST_EPOCHS:
        return Convergence(False, f"{len(losses)} epochs are too few to tell; it takes {LEAST_EPOCHS}")
    quarter = len(losses) // 4
    before, last = fmean(losses[-2 * quarter : -quarter]), fmean(losses[-quarter:])
    change = (last - before) / before if before else 0.0
    told = f"the loss changed by {100 * change:+.1f} % from the third to the last quarter of {len(losses)} epochs"
    return Convergence(abs(change) < FLAT, told)


def of_all(networks: Sequence[Sequence[float]]) -> Convergence:
    """All networks of a method have converged, or the first that has not says why."""
    found = [convergence(losses) for losses in networks]
    return next((one for one in found if not one.converged), found[0])
