"""A support vector machine with a Gaussian kernel: fitted by scikit-learn, evaluated here, stored as arrays.

scikit-learn is needed to fit only. What it found is support vectors and
coefficients, so a stored machine holds no code, and loading it runs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, BadModel

Floats = NDArray[np.float64]
# Rows whose kernel is computed at once: 8 MB with 4,000 support vectors.
CHUNK = 256


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """A fitted machine of `classes` 0, 1, ...: one decision for each pair of them.

    `mean` and `sd` (features) standardise; `vectors` (n, features) are
    standardised support vectors; `weights` (pairs, n) and `intercepts` (pairs)
    give for each pair (i, j), i < j, a value that is positive for i. Raises
    BadModel for arrays that do not fit together.
    """

    mean: Floats
    sd: Floats
    vectors: Floats
    weights: Floats
    intercepts: Floats
    gamma: float
    classes: int

    def __post_init__(self) -> None:
        pairs = self.classes * (self.classes - 1) // 2
        shapes = [array.shape for array in self.arrays().values()]
        count, features = self.vectors.shape if self.vectors.ndim == 2 else (-1, -1)
        if shapes != [(features,), (features,), (count, features), (pairs, count), (pairs,)] or not self.gamma > 0:
            raise BadModel(f"a kernel machine of {self.classes} classes with arrays of {shapes}; train it again")

    def decisions(self, features: Floats) -> Floats:
        """(n, pairs), in the order (0, 1), (0, 2), ..., (1, 2), ...; positive for the pair's first class."""
        scaled = (np.asarray(features, np.float64) - self.mean) / self.sd
        rows = [self._kernel(scaled[at : at + CHUNK]) @ self.weights.T for at in range(0, len(scaled), CHUNK)]
        return np.concatenate([*rows, np.zeros((0, len(self.intercepts)))]) + self.intercepts

    def scores(self, features: Floats) -> Floats:
        """(n, classes) that sum to 1: logistics of the pairs' decisions, coupled as Price et al. 1994 do.

        Not calibrated; of two classes, the likelier one has more than one half.
        """
        odds = np.full((len(features), self.classes), 2.0 - self.classes)
        for (i, j), value in zip(self.pairs(), self.decisions(features).T, strict=True):
            # 1 / logistic(v) is 1 + exp(-v); beyond 50 nothing changes any more.
            first = np.exp(-np.clip(value, -50, 50))
            odds[:, i] += 1 + first
            odds[:, j] += 1 + 1 / first
        return np.asarray((1 / odds) / (1 / odds).sum(axis=1, keepdims=True))

    def pairs(self) -> Iterator[tuple[int, int]]:
        return combinations(range(self.classes), 2)

    def arrays(self) -> dict[str, Floats]:
        names = ("mean", "sd", "vectors", "weights", "intercepts")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        return {"gamma": self.gamma, "classes": self.classes}

    @classmethod
    def from_parts(cls, facts: dict[str, Any], arrays: dict[str, Floats]) -> KernelMachine:
        """What `to_json` and `arrays` gave. Raises BadModel."""
        try:
            return cls(**arrays, gamma=float(facts["gamma"]), classes=int(facts["classes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadModel(f"a stored kernel machine lacks parts ({error}); train it again") from error

    def _kernel(self, scaled: Floats) -> Floats:
        """exp(-gamma |a - b|^2) of rows and support vectors."""
        squares = (scaled**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * scaled @ self.vectors.T
        return np.asarray(np.exp(-self.gamma * np.maximum(squares, 0)))


def fit_kernel_machine(features: Floats, kinds: NDArray[np.int64], c: float, gamma: float) -> KernelMachine:
    """A machine of classes 0 to k-1, all of which must be there; classes weigh alike, however many tiles they have.

    `gamma` is given in shares of 1 / features, for standardised features.
    Raises BadInput unless there are two classes or more.
    """
    from sklearn.svm import SVC

    classes = int(kinds.max(initial=0)) + 1
    if classes < 2 or len(np.unique(kinds)) != classes:
        raise BadInput(
            f"tiles of the classes {np.unique(kinds).tolist()}; expected 0 to {max(1, classes - 1)}, each with tiles"
        )
    mean, sd = features.mean(axis=0), features.std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    exact = gamma / features.shape[1]
    fitted = SVC(C=c, gamma=exact, class_weight="balanced", decision_function_shape="ovo", cache_size=200)
    fitted.fit((features - mean) / sd, kinds)
    weights = _weights_of_pairs(fitted.dual_coef_, fitted.n_support_, classes)
    # For two classes scikit-learn turns the sign, so that the second one is positive.
    sign = -1.0 if classes == 2 else 1.0
    return KernelMachine(mean, sd, fitted.support_vectors_, sign * weights, sign * fitted.intercept_, exact, classes)


def _weights_of_pairs(dual: Floats, counts: NDArray[np.integer], classes: int) -> Floats:
    """(pairs, n) from libsvm's (classes - 1, n): a vector of class i stands at row j - 1 for j > i, at j for j < i."""
    ends = np.cumsum(counts)
    rows = [slice(int(end - count), int(end)) for end, count in zip(ends, counts, strict=True)]
    weights = np.zeros((classes * (classes - 1) // 2, dual.shape[1]))
    for pair, (i, j) in enumerate(combinations(range(classes), 2)):
        weights[pair, rows[i]] = dual[j - 1, rows[i]]
        weights[pair, rows[j]] = dual[i, rows[j]]
    return weights
