"""A stored support vector machine decides as scikit-learn's, which only fits it."""

from __future__ import annotations

import numpy as np
import pytest

from hepar.classical.kernel_machine import KernelMachine, fit_kernel_machine
from hepar.errors import BadInput, BadModel


def clouds(classes: int, count: int = 240, seed: int = 0):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, classes, count)
    kinds[:classes] = np.arange(classes)
    features = rng.normal(size=(count, 5)) + kinds[:, None] * np.array([2, 0, 1, 0, -1])
    features[:, 1] *= 50  # a feature of another size
    features[:, 3] = 7  # and one that never changes
    return features, kinds


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_decisions_are_scikit_learns(classes):
    from sklearn.svm import SVC

    features, kinds = clouds(classes)
    machine = fit_kernel_machine(features, kinds, c=10, gamma=1.0)
    sd = np.where(features.std(axis=0) > 0, features.std(axis=0), 1)
    scaled = (features - features.mean(axis=0)) / sd
    theirs = SVC(C=10, gamma=1 / 5, class_weight="balanced", decision_function_shape="ovo").fit(scaled, kinds)
    wanted = theirs.decision_function(scaled)
    # Of two classes theirs is positive for the second, ours always for the pair's first.
    wanted = -wanted[:, None] if classes == 2 else wanted
    assert np.allclose(machine.decisions(features), wanted, atol=1e-9)
    assert (machine.scores(features).argmax(axis=1) == theirs.predict(scaled)).mean() > 0.9


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_add_up_and_tell_classes_apart(classes):
    features, kinds = clouds(classes)
    machine = fit_kernel_machine(features, kinds, c=10, gamma=1.0)
    fresh, truth = clouds(classes, seed=1)
    scores = machine.scores(fresh)
    assert scores.shape == (240, classes)
    assert np.allclose(scores.sum(axis=1), 1) and scores.min() >= 0
    assert (scores.argmax(axis=1) == truth).mean() > 0.75
    assert machine.scores(fresh[:0]).shape == (0, classes)


def test_a_rare_class_weighs_as_much_as_a_common_one():
    features, kinds = clouds(2, count=600)
    rare = (kinds == 0) | (np.arange(600) % 20 == 0) | (np.arange(600) == 1)
    machine = fit_kernel_machine(features[rare], kinds[rare], c=1, gamma=0.25)
    found = machine.scores(features).argmax(axis=1)
    assert (found[kinds == 1] == 1).mean() > 0.7


def test_what_is_stored_is_arrays_and_two_numbers():
    features, kinds = clouds(3)
    machine = fit_kernel_machine(features, kinds, c=1, gamma=1.0)
    again = KernelMachine.from_parts(machine.to_json(), machine.arrays())
    assert np.array_equal(again.decisions(features), machine.decisions(features))
    assert all(array.dtype.kind == "f" for array in machine.arrays().values())
    arrays = machine.arrays()
    for broken in (
        arrays | {"mean": arrays["mean"][:3]},
        arrays | {"weights": arrays["weights"][:1]},
        {name: array for name, array in arrays.items() if name != "vectors"},
    ):
        with pytest.raises(BadModel, match="train it again"):
            KernelMachine.from_parts(machine.to_json(), broken)
    with pytest.raises(BadModel, match="lacks parts"):
        KernelMachine.from_parts({}, arrays)


@pytest.mark.parametrize("kinds", [[0, 0, 0], [0, 2, 2], [1, 1, 1]])
def test_a_class_without_tiles_is_refused(kinds):
    with pytest.raises(BadInput, match="each with tiles"):
        fit_kernel_machine(np.arange(6.0).reshape(3, 2), np.array(kinds), 1, 1)
