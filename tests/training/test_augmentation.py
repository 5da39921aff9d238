"""A batch changes at random, labels go where their image goes, and nothing turns into its mirror image."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from hepar.training.augment_steps import Jpeg, ThickSlices
from hepar.training.augmentation import augment, warp
from hepar.training.recipe import NO_CHANGES, STEPS, STRONG, Augmentation, Recipe

GEOMETRY = {
    "rotation": replace(NO_CHANGES, rotate_degrees=30, warp_share=1),
    "shear": replace(NO_CHANGES, shear_degrees=20, warp_share=1),
    "scale": replace(NO_CHANGES, scale=0.4, warp_share=1),
    "shift": replace(NO_CHANGES, shift=0.15, warp_share=1),
    "elastic": replace(NO_CHANGES, elastic_px=6, warp_share=1),
    "all": replace(NO_CHANGES, rotate_degrees=20, shear_degrees=8, scale=0.2, shift=0.08, elastic_px=4, warp_share=1),
}


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int = 6, height: int = 96, width: int = 80, slices: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright liver with a darker tumour, off the middle; the labels are those of the image."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    labels = ((y - 40) ** 2 / 600 + (x - 30) ** 2 / 300 < 1).long()
    labels[(y - 45) ** 2 + (x - 26) ** 2 < 50] = 2
    grey = torch.tensor([20.0, 180.0, 100.0])[labels]
    return grey.expand(count, slices, height, width).clone(), labels.expand(count, height, width).clone()


@pytest.mark.parametrize("slices", [1, 3])
def test_with_everything_off_a_batch_is_exactly_what_it_was(slices):
    images, labels = blobs(slices=slices)
    same_images, same_labels = augment(images, labels, NO_CHANGES, dice())
    assert torch.equal(same_images, images)
    assert torch.equal(same_labels, labels)


@pytest.mark.parametrize("settings", [Augmentation(), STRONG], ids=["default", "strong"])
def test_the_batch_given_is_left_alone(settings):
    images, labels = blobs(slices=3)
    augment(images, labels, settings, dice())
    expected_images, expected_labels = blobs(slices=3)
    assert torch.equal(images, expected_images)
    assert torch.equal(labels, expected_labels)


@pytest.mark.parametrize("name", GEOMETRY)
def test_labels_go_where_their_image_goes(name):
    images, labels = blobs()
    moved, moved_labels = augment(images, labels, GEOMETRY[name], dice())
    assert (moved_labels != labels).float().mean() > 0.01
    # Read back from the grey values: only pixels on an edge may differ.
    read = torch.where(moved[:, 0] > 140, 1, torch.where(moved[:, 0] > 60, 2, 0))
    core = torch.nn.functional.max_pool2d(moved, 3, 1, 1) - -torch.nn.functional.max_pool2d(-moved, 3, 1, 1) < 1
    assert core.float().mean() > 0.6
    assert torch.equal(read[core[:, 0]], moved_labels[core[:, 0]])


def test_a_ramp_moves_by_what_the_grid_says():
    height, width = 60, 90
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    ramps = torch.stack([y, x])[None]
    settings = GEOMETRY["all"]
    moved, _ = augment(ramps, torch.zeros(1, height, width, dtype=torch.long), settings, dice(3))
    grid = warp(ramps.shape, settings, dice(3))[0]
    from_x, from_y = ((grid[..., i] + 1) * n / 2 - 0.5 for i, n in enumerate((width, height)))
    inside = (from_x > 0) & (from_x < width - 1) & (from_y > 0) & (from_y < height - 1)
    assert inside.float().mean() > 0.5
    assert torch.allclose(moved[0, 0][inside], from_y[inside], atol=1e-2)
    assert torch.allclose(moved[0, 1][inside], from_x[inside], atol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (60, 90)])
def test_rotation_keeps_lengths_also_where_images_are_not_square(height, width):
    grid = warp(torch.Size((5, 1, height, width)), GEOMETRY["rotation"], dice())
    pixels = grid * torch.tensor([width / 2, height / 2])
    for step in (pixels[:, 1:] - pixels[:, :-1], pixels[:, :, 1:] - pixels[:, :, :-1]):
        assert torch.allclose(step.norm(dim=-1), torch.ones(1), atol=1e-3)
    assert (pixels[:, 0, 1] - pixels[:, 0, 0])[:, 1].abs().max() > 0.1


def test_nothing_is_ever_mirrored():
    # The grid's own orientation: a mirror image would have a negative determinant.
    grid = warp(torch.Size((200, 1, 32, 32)), replace(STRONG, elastic_px=0), dice())
    right, down = grid[:, 0, -1] - grid[:, 0, 0], grid[:, -1, 0] - grid[:, 0, 0]
    assert (right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0] > 0).all()
    # Nor turned over: the patient's left stays on the same side.
    assert (right[:, 0] > 0).all()
    assert (down[:, 1] > 0).all()


def test_images_beyond_the_warped_share_stay_where_they_are():
    images, labels = blobs(count=100)
    settings = replace(GEOMETRY["all"], warp_share=0.4)
    _, moved = augment(images, labels, settings, dice())
    assert 0.25 < (moved != labels).flatten(1).any(dim=1).float().mean() < 0.55


def test_all_slices_of_a_stack_move_together():
    images, labels = blobs(slices=3)
    moved, _ = augment(images, labels, GEOMETRY["all"], dice())
    assert torch.equal(moved[:, 0], moved[:, 2])


@pytest.mark.parametrize("settings", [Augmentation(), STRONG], ids=["default", "strong"])
def test_values_stay_grey_and_labels_stay_where_nothing_moves(settings):
    images, labels = blobs(slices=3)
    changed, same = augment(images, labels, replace(settings, warp_share=0), dice())
    assert torch.equal(same, labels)
    assert not torch.equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize("name", STEPS)
def test_each_step_of_the_settings_takes_part(name):
    images, labels = blobs(count=60, slices=3)
    images[:, 2] = 255 - images[:, 2]  # slices that are all alike would not show that they are mixed
    changed, _ = augment(images, labels, replace(NO_CHANGES, **{name: getattr(STRONG, name)}), dice())
    assert not torch.equal(changed, images)


def test_settings_come_back_from_json():
    recipe = Recipe(augmentation=replace(STRONG, jpeg=Jpeg(share=0.5, worst=20), blur=None))
    row = json.loads(json.dumps(asdict(recipe)))
    assert Recipe.from_json(row) == recipe
    assert Augmentation(thick_slices={"share": 0.7}) == Augmentation(thick_slices=ThickSlices(0.7))
    assert Recipe.from_json({}) == Recipe()


def test_steps_are_off_by_default_and_all_on_when_strong():
    assert all(getattr(Augmentation(), name) is None for name in STEPS)
    assert all(getattr(STRONG, name) is not None for name in STEPS)
