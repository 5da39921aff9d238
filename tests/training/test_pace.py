"""How long updates take: more slices take longer, nothing is trained by measuring, batches of 1000 are not run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hepar import methods
from hepar.preprocess import InPlaneGrid
from hepar.training import pace
from hepar.training.deep_method import DeepMethod


@pytest.fixture
def method() -> DeepMethod:
    own = methods.get("cdnn_squeeze")
    recipe = replace(own.recipe, batch=4, micro_batch=2)
    return replace(own, network=replace(own.network, width=0.1), grid=InPlaneGrid(matrix=64), recipe=recipe)


def test_an_update_of_a_thousand_is_reckoned_not_run(method, monkeypatch):
    seen: list[int] = []
    update_once = pace.update_once

    def counted(state, images, labels, union, recipe):
        seen.append(len(images))
        return update_once(state, images, labels, union, recipe)

    monkeypatch.setattr(pace, "update_once", counted)
    # Each look at the clock: an update of one piece takes 3 s, of two 5 s; 2 slices are labelled in 1 s.
    looks = iter([0, 9, 0, 3, 0, 5, 0, 1])
    monkeypatch.setattr(pace, "_clock", lambda _: float(next(looks)))
    large = replace(method, recipe=replace(method.recipe, batch=1000))
    found = pace.measure_pace(large, "cpu")
    assert max(seen) == 4
    assert found == pace.Pace(update=1 + 500 * 2, slice=0.5)


def test_measuring_takes_time_and_leaves_chance_alone(method):
    before = torch.get_rng_state()
    found = pace.measure_pace(method, "cpu")
    assert 0 < found.slice < 5
    assert 0 < found.update < 20
    assert torch.equal(torch.get_rng_state(), before)
