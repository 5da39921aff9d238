"""A training in phases goes on from weights, not from the start; and what published recipes need of an update."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.nets.cdnn_squeeze import CdnnSqueeze
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.checkpoint import TrainingState
from hepar.training.deep_method import DeepMethod
from hepar.training.loop import make_optimizer, update_once
from hepar.training.losses import loss_of, soft_dice
from hepar.training.phased import PhasedMethod
from hepar.training.recipe import Recipe
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((2, 32, 32), (5, 2, 2))
PHASE = DeepMethod(
    CdnnSqueeze(width=0.05),
    prepare=(Window(0, 255),),
    grid=InPlaneGrid(matrix=32),
    recipe=Recipe(epochs=1, batch=2, micro_batch=2),
    encoder_weights="none",
)
# A second phase that learns nothing shows the weights it began with.
STILL = replace(
    PHASE, recipe=replace(PHASE.recipe, learning_rate=0.0, optimizer="rmsprop"), grid=InPlaneGrid(matrix=64)
)


@pytest.fixture(scope="module")
def case() -> Case:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:, 8:20, 8:20], labels[:, 12:15, 12:15] = 1, 2
    ct = Volume(np.choose(labels, (20, 120, 60)).astype(np.int16), GRID)
    return Case("a", "a", lambda: ct, lambda: LabelMap(labels, GRID), evidence="phantom")


def kernels(run) -> torch.Tensor:
    tensors = load_file(run / "model" / "weights.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors) if name.endswith("weight")])


def test_a_phase_begins_with_the_weights_of_the_one_before(case, tmp_path):
    method = PhasedMethod((PHASE, STILL))
    segmenter = method.train([case], tmp_path / "run")
    first, second = (kernels(tmp_path / "run" / f"phase-{number}") for number in (1, 2))
    assert torch.equal(first, second)
    STILL.train([case], tmp_path / "alone")
    assert not torch.equal(first, kernels(tmp_path / "alone"))
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert (run["finished"], run["updates"], len(run["phases"])) == (True, 2, 2)
    assert segmenter.pipeline.grid == InPlaneGrid(matrix=64)
    written = (tmp_path / "run/phase-2/checkpoint.safetensors").stat().st_mtime_ns
    ticks: list[object] = []
    again = method.train([case], tmp_path / "run", ticks.append)
    assert (ticks, again.name) == ([], segmenter.name)
    assert (tmp_path / "run/phase-2/checkpoint.safetensors").stat().st_mtime_ns == written
    with pytest.raises(BadInput, match="run holds another training"):
        PhasedMethod((PHASE,)).train([case], tmp_path / "run")


def test_phases_are_of_one_network():
    with pytest.raises(BadInput, match="phases train one network"):
        PhasedMethod((PHASE, replace(PHASE, network=CdnnSqueeze(width=0.1))))
    with pytest.raises(BadInput, match="at least one phase"):
        PhasedMethod(())
    assert (
        PhasedMethod((PHASE, STILL)).each(lambda phase: replace(phase, grid=InPlaneGrid(matrix=96))).recipe
        == STILL.recipe
    )


def step(recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's weights before and after one update by a steep loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(1, 3, 3, padding=1)
    before = layer.weight.detach().clone()
    state = TrainingState(layer, make_optimizer(layer, recipe), {}, [])
    images = torch.full((2, 1, 8, 8), 255.0)
    update_once(state, images, torch.ones(2, 8, 8, dtype=torch.long), torch.zeros(2, dtype=torch.bool), recipe)
    return before, layer.weight.detach()


def test_a_gradient_is_cut_to_the_norm_that_the_recipe_allows():
    plain = Recipe(learning_rate=1.0, momentum=0.0, weight_decay=0.0, batch=2, micro_batch=2)
    (before, free), (_, cut) = step(plain), step(replace(plain, clip_norm=0.5))
    assert (free - before).norm() > 10
    assert 0.4 < (cut - before).norm() <= 0.5 + 1e-6


def test_rmsprop_forgets_as_keras_does():
    recipe = Recipe(optimizer="rmsprop", learning_rate=0.01, weight_decay=0.0, batch=2, micro_batch=2)
    before, after = step(recipe)
    # The first step is rate / sqrt(1 - .9) whatever the gradient.
    assert torch.allclose((after - before).abs().max(), torch.tensor(0.01 / 0.1**0.5), rtol=1e-3)


def test_soft_dice_alone_is_a_loss():
    logits = torch.randn((2, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    labels, union = torch.arange(72).view(2, 6, 6) % 3, torch.tensor([False, True])
    found = loss_of(Recipe(loss="soft_dice"))(logits, labels, union)
    assert torch.equal(found, soft_dice(logits, labels, union))
    assert not torch.equal(found, loss_of(Recipe(loss="dice_cross_entropy"))(logits, labels, union))
