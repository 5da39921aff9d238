"""Vorontsov et al.: what the public program documents is what the method does."""

from __future__ import annotations

import numpy as np
import torch

from hepar import methods
from hepar.geometry import Geometry
from hepar.methods.vorontsov import CARD
from hepar.nets.encoder_decoder import parameter_count
from hepar.volume import Volume


def test_the_recipe_is_the_programs():
    halved, full = methods.get("vorontsov").phases
    assert (halved.grid.matrix, full.grid.matrix) == (256, 512)
    recipes = [(r.optimizer, r.learning_rate, r.batch, r.epochs, r.loss) for r in (halved.recipe, full.recipe)]
    assert recipes == [("rmsprop", 1e-3, 40, 200, "joint_dice"), ("rmsprop", 1e-4, 10, 20, "joint_dice")]
    assert all(r.slices == "any_label" and r.clip_norm == 10 for r in (halved.recipe, full.recipe))
    assert halved.recipe.augmentation is not None and not halved.recipe.augmentation.contrast


def test_the_network_sees_hu_by_255_cut_at_2():
    phase = methods.get("vorontsov").phases[0]
    hu = np.array([-3000, -510, -255, 0, 255, 510, 900], np.int16)
    grid = Geometry.from_spacing((1, 1, 7), (1, 1, 1))
    (window,) = phase.prepare
    grey = window(Volume(hu.reshape(1, 1, 7), grid)).values
    with torch.device("cpu"):
        seen = phase.network.build().grey(torch.from_numpy(grey)[None])
    # 8 bits are 4 HU a level.
    assert np.allclose(seen.ravel(), np.clip(hu / 255, -2, 2), atol=0.5 * 4 / 255 + 1e-6)


def test_the_card_counts_what_is_built():
    with torch.device("meta"):
        assert parameter_count(methods.get("vorontsov").phases[0].network.build()) == CARD.parameters == 2_104_898
