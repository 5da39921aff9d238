"""Synthetic lesions in training: into batches, from lesions that train, and remembered by the run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.methods import residual_unet
from hepar.preprocess import EqualizeHistogram, InPlaneGrid, Window
from hepar.training.painting import painter_for
from hepar.training.recipe import Recipe
from hepar.training.sampling import gather
from hepar.training.store import SliceStore, load_slices
from hepar.training.synthesis import LesionSynthesis
from hepar.volume import LabelMap, Volume

ALWAYS = Recipe(patch=96, synthesis=LesionSynthesis(share=1.0, imitation_share=0.0))


def liver_case(name: str = "a", tumour: bool = True, **more: str) -> Case:
    grid = Geometry.from_spacing((12, 128, 128), (3.0, 0.75, 0.75))
    values = np.random.default_rng(4).normal(-10, 12, grid.shape)
    labels = np.zeros(grid.shape, np.uint8)
    labels[:, 16:112, 16:112] = 1
    values[labels == 1] += 110
    if tumour:
        labels[3:9, 40:60, 40:60] = 2
    return Case(name, name, lambda: Volume(values.astype(np.int16), grid), lambda: LabelMap(labels, grid), **more)


def store_of(*cases: Case) -> SliceStore:
    return load_slices(cases, (Window(-40, 160),), InPlaneGrid(pixel_mm=1.0))


def test_a_store_knows_its_millimetres():
    assert np.allclose(store_of(liver_case()).mm, [3.0, 1.0, 3.0])


def test_painted_lesions_reach_the_batch_and_leave_the_store_alone():
    store = store_of(liver_case(tumour=False))
    before = [image.copy() for image in store.images]
    rng = np.random.default_rng
    plain, no_tumour, _ = gather(store, np.arange(12), ALWAYS, rng(1))
    painted, tumour, _ = gather(store, np.arange(12), ALWAYS, rng(1), painter_for(store, ALWAYS))
    assert (no_tumour == 2).sum() == 0
    assert ((tumour == 2).flatten(1).sum(dim=1) > 0).float().mean() > 0.7
    assert (painted[:, 0] != plain[:, 0])[tumour == 2].float().mean() > 0.8
    assert all(np.array_equal(a, b) for a, b in zip(before, store.images, strict=True))


def test_shapes_come_from_fully_labelled_stacks_that_train():
    assert len(painter_for(store_of(liver_case()), ALWAYS).real) == 1
    assert len(painter_for(store_of(liver_case(tumour=False)), ALWAYS).real) == 0
    assert len(painter_for(store_of(liver_case(labels="liver_union")), ALWAYS).real) == 0
    assert painter_for(store_of(liver_case()), Recipe()) is None


def test_slices_of_unknown_size_are_refused():
    store = replace(store_of(liver_case()), mm=np.zeros((0, 3)))
    with pytest.raises(BadInput, match="pixel size"):
        painter_for(store, ALWAYS)


def test_a_run_remembers_what_was_painted():
    row = json.loads(json.dumps(asdict(ALWAYS)))
    assert Recipe.from_json(row) == ALWAYS


def test_lesions_are_not_painted_on_equalised_images(tmp_path):
    method = residual_unet.variants["fast"]
    changed = replace(method, prepare=(Window(-40, 160), EqualizeHistogram()), recipe=ALWAYS)
    with pytest.raises(BadInput, match="drop synthesis"):
        changed.train([liver_case()], tmp_path)
