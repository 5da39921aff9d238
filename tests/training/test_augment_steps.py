"""Each change of grey values does what its name says, to the share it says, and nothing to the rest."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from hepar.errors import BadInput
from hepar.training.augment_steps import (
    Blur,
    GrainNoise,
    Jpeg,
    Levels,
    LowResolution,
    ThickSlices,
    WindowJitter,
    compressed,
    smoothed,
)

ALWAYS = {
    "window": WindowJitter(share=1),
    "blur": Blur(share=1),
    "low_resolution": LowResolution(share=1, largest_factor=3),
    "grain": GrainNoise(share=1),
    "levels": Levels(share=1),
    "jpeg": Jpeg(share=1),
    "thick_slices": ThickSlices(share=1),
}


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, slices: int = 3, size: tuple[int, int] = (50, 61)) -> torch.Tensor:
    """Smooth random images of 0..255."""
    coarse = 255 * torch.rand((count, slices, 7, 8), generator=dice(9))
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", ALWAYS)
def test_a_step_of_share_0_changes_nothing_and_one_of_share_1_every_image(name):
    images, before = pictures(), pictures()
    kind, more = type(ALWAYS[name]), {"alone": 0} if name == "thick_slices" else {}
    assert torch.equal(kind(share=0, **more)(images, dice()), images)
    changed = ALWAYS[name](images, dice())
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert (changed != images).flatten(1).any(dim=1).all()
    assert changed.min() >= 0
    assert changed.max() <= 255 + 1e-3
    # The caller's tensor stays as it was.
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ALWAYS)
def test_the_same_generator_gives_the_same_change_another_seed_another(name):
    first, same, other = (ALWAYS[name](pictures(), dice(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ALWAYS)
def test_about_the_asked_share_of_images_is_hit(name):
    images = pictures(count=200, size=(16, 16))
    more = {"alone": 0} if name == "thick_slices" else {}
    changed = type(ALWAYS[name])(share=0.3, **more)(images, dice())
    assert 0.2 < (changed != images).flatten(1).any(dim=1).float().mean() < 0.4


@pytest.mark.parametrize("name", ["window", "blur", "low_resolution", "levels", "jpeg"])
def test_slices_of_an_image_change_alike(name):
    images = pictures(slices=1).repeat(1, 3, 1, 1)
    changed = ALWAYS[name](images, dice())
    assert torch.allclose(changed[:, 0], changed[:, 2], atol=1e-3)


def test_noise_of_neighbouring_slices_is_not_the_same():
    changed = ALWAYS["grain"](torch.full((2, 3, 32, 32), 128.0), dice())
    assert not torch.allclose(changed[:, 0], changed[:, 2], atol=0.1)


def test_a_share_beyond_1_is_refused():
    with pytest.raises(BadInput, match=r"share of 1\.5"):
        Blur(share=1.5)(pictures(), dice())


def test_thick_slices_are_weighted_means_of_neighbours_with_the_middle_kept_in_the_middle():
    images = torch.tensor([0.0, 60.0, 240.0]).view(1, 3, 1, 1).expand(8, 3, 4, 4)
    mixed = ThickSlices(share=1, alone=0)(images, dice())[:, :, 0, 0]
    # The middle moves by mix * (mean of neighbours - itself) = mix * 60, the end is its own outer neighbour.
    mix = (mixed[:, 1] - 60) / 60
    assert ((mix > 0) & (mix < 0.67)).all()
    assert torch.allclose(mixed[:, 0], mix * 30, atol=1e-3)
    assert torch.allclose(mixed[:, 2], 240 - mix * 90, atol=1e-3)


def test_lone_slices_see_themselves_and_single_slices_nothing_new():
    images = pictures(slices=5)
    alone = ThickSlices(share=0, alone=1)(images, dice())
    assert torch.equal(alone, images[:, 2:3].expand(-1, 5, -1, -1))
    assert torch.equal(ThickSlices(share=1, alone=1)(images[:, :1], dice()), images[:, :1])


def test_another_window_keeps_the_order_of_grey_values():
    ramp = torch.linspace(0, 255, 64).view(1, 1, 1, 64).repeat(6, 1, 2, 1)
    changed = ALWAYS["window"](ramp, dice())
    assert (changed.diff(dim=-1) >= 0).all()
    assert (changed - ramp).abs().max() < 0.16 * 255 * 2


def test_a_gaussian_keeps_constants_and_spreads_a_point_by_its_sigma():
    flat = torch.full((2, 1, 20, 20), 77.0)
    assert torch.allclose(smoothed(flat, torch.tensor([0.5, 2.0])), flat, atol=1e-3)
    point = torch.zeros(2, 1, 41, 41)
    point[:, :, 20, 20] = 1
    offsets = torch.arange(41.0) - 20
    for spread, sigma in zip(smoothed(point, torch.tensor([1.0, 1.5])), (1.0, 1.5), strict=True):
        assert spread.sum().item() == pytest.approx(1, abs=1e-5)
        for axis in (1, 2):
            variance = (spread.sum(dim=axis)[0] * offsets**2).sum().item()
            assert variance**0.5 == pytest.approx(sigma, rel=0.06)


def test_low_resolution_takes_fine_detail_and_leaves_coarse():
    fine = 255.0 * (torch.arange(64) % 2).expand(3, 1, 64, 64).clone()
    assert LowResolution(share=1, largest_factor=3)(fine, dice(3)).std() < 0.8 * fine.std()
    coarse = pictures(size=(64, 64))
    assert (LowResolution(share=1, largest_factor=3)(coarse, dice()) - coarse).abs().mean() < 3


def test_grain_has_the_asked_strength_and_neighbouring_pixels_share_it():
    grey = torch.full((40, 1, 64, 64), 128.0)
    noise = GrainNoise(share=1, sigma=0.06, grain_px=1.5)(grey, dice()) - grey
    spread = noise.flatten(1).std(dim=1)
    # Uniform from 0 to 0.06: half of it on average.
    assert spread.mean().item() == pytest.approx(0.03 * 255, rel=0.2)
    assert spread.max() < 0.066 * 255
    loud = noise[spread > 0.02 * 255]
    beside = (loud[..., 1:] * loud[..., :-1]).mean() / (loud**2).mean()
    assert beside > 0.3


def test_levels_leave_no_more_than_they_say():
    ramp = torch.arange(256.0).view(1, 1, 16, 16).repeat(30, 1, 1, 1)
    counts = [len(torch.unique(one)) for one in Levels(share=1, fewest=24)(ramp, dice())]
    assert 24 <= min(counts) < 40
    assert max(counts) <= 256


@pytest.mark.parametrize("quality", [40, 60, 90])
def test_compression_is_that_of_a_jpeg_file(quality):
    rng = np.random.default_rng(1)
    smooth = np.kron(rng.uniform(40, 220, (6, 8)), np.ones((8, 8)))
    grey = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(grey).save(stored, "jpeg", quality=quality)
    expected = np.asarray(Image.open(stored), dtype=np.float32)
    found = compressed(torch.from_numpy(grey[None, None].astype(np.float32)), torch.tensor([float(quality)]))[0, 0]
    away = np.abs(found.numpy() - expected)
    # The library computes in whole numbers, so a coefficient half-way between two steps may go the other
    # way and colour its block of 8x8; with 64 coefficients a block this happens to every fifth.
    blocks = away.reshape(6, 8, 8, 8).max(axis=(1, 3))
    assert (blocks <= 1).mean() > 0.7
    assert np.abs(expected - grey).mean() > 4 * away.mean()


def test_compression_loses_more_at_a_lower_quality_and_blocks_start_where_asked():
    noisy = (pictures(1, 1, (40, 48)) + 20 * torch.randn((1, 1, 40, 48), generator=dice())).clamp(0, 255)
    lost = [(compressed(noisy, torch.tensor([q])) - noisy).abs().mean().item() for q in (95.0, 70.0, 40.0, 10.0)]
    assert all(a < b for a, b in pairwise(lost))
    inner = compressed(noisy[..., 3:, 5:], torch.tensor([30.0]))
    assert torch.equal(inner[..., :32, :40], compressed(noisy[..., 3:35, 5:45], torch.tensor([30.0])))
    shifted = compressed(noisy, torch.tensor([30.0]), start=(3, 5))
    assert torch.equal(shifted[..., 3:35, 5:45], inner[..., :32, :40])
    assert not torch.equal(compressed(noisy, torch.tensor([30.0])), shifted)
