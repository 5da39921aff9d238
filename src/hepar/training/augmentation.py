"""Random changes of a batch, in torch, from one generator. Never mirrored: see `Augmentation`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hepar.training.augment_steps import ImageStep, hit, uniform
from hepar.training.recipe import Augmentation

# Grey level of 0 HU when -40..160 HU spans 0..255 (the window of the 8-bit training data).
GREY_OF_WATER = 51.0


def augment(
    images: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images float32 (batch, slices, y, x) in 0..255 and labels int64 (batch, y, x), changed alike.

    The order is that of an image's making: where the patient lies, the
    slices' thickness and sharpness, window and noise, then how it was stored.
    Settings that are off leave their part exactly as it was.
    """
    if settings.moves:
        grid = warp(images.shape, settings, generator)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # Labels below 2^24 pass through float32 unchanged.
        moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
        labels = moved[:, 0].long()
    images = _through((settings.thick_slices, settings.blur, settings.low_resolution), images, generator)
    images = _window(images, settings, generator)
    images = _through((settings.window,), images, generator)
    if settings.noise:
        sigma = 255 * uniform(len(images), 0, settings.noise, generator)
        images = images + torch.randn(images.shape, generator=generator) * sigma
    images = images.clamp(0, 255)
    return _through((settings.grain, settings.levels, settings.jpeg), images, generator), labels


def _through(steps: tuple[ImageStep | None, ...], images: Tensor, generator: torch.Generator) -> Tensor:
    for step in steps:
        if step is not None:
            images = step(images, generator)
    return images


def warp(shape: torch.Size, s: Augmentation, generator: torch.Generator) -> Tensor:
    """Sampling grid (batch, y, x, 2): rotation, shear, scale, shift and a smooth random displacement."""
    n, _, height, width = shape
    angle, shear = (
        torch.deg2rad(uniform(n, -reach, reach, generator)).flatten() for reach in (s.rotate_degrees, s.shear_degrees)
    )
    # A common scale and a mild change of aspect, log-symmetric so that 1.2 is as likely as 1/1.2.
    reach = math.log1p(s.scale)
    scale, aspect = (torch.exp(uniform(n, -r, r, generator)).flatten() for r in (reach, reach / 3))
    shift_x, shift_y = (uniform(n, -2 * s.shift, 2 * s.shift, generator).flatten() for _ in range(2))
    cos, sin, slant = torch.cos(angle) * scale, torch.sin(angle) * scale, torch.tan(shear)
    # Rotation times shear times aspect, in pixels; grid_sample counts in halves of the image's sides.
    a, b = cos * aspect, (cos * slant - sin) / aspect
    c, d = sin * aspect, (sin * slant + cos) / aspect
    theta = torch.stack([a, b * height / width, shift_x, c * width / height, d, shift_y], dim=1).view(n, 2, 3)
    still = torch.rand(n, generator=generator) >= s.warp_share
    theta[still] = torch.eye(2, 3)
    grid = F.affine_grid(theta, [n, 1, height, width], align_corners=False)
    if s.elastic_px:
        coarse = torch.randn((n, 2, 5, 5), generator=generator) * s.elastic_px
        coarse[still] = 0
        # Smooth at a low resolution first: bicubic at full size costs as much as a network step.
        smooth = F.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=False)
        smooth = F.interpolate(smooth, size=(height, width), mode="bilinear", align_corners=False)
        grid = grid + torch.stack([smooth[:, 0] * 2 / width, smooth[:, 1] * 2 / height], dim=-1)
    return grid


def _window(images: Tensor, s: Augmentation, generator: torch.Generator) -> Tensor:
    """Values below water lost, gamma, contrast and brightness, a light blur; may leave 0..255."""
    n = len(images)
    floor = hit(images, s.floor_share, generator)
    if len(floor):
        images = images.index_copy(0, floor, images[floor].clamp(min=GREY_OF_WATER))
    if s.gamma:
        reach = math.log1p(s.gamma)
        gamma = torch.exp(uniform(n, -reach, reach, generator))
        images = 255 * (images.clamp(0, 255) / 255) ** gamma
    if s.contrast or s.brightness:
        contrast = 1 + uniform(n, -s.contrast, s.contrast, generator)
        shift = 255 * uniform(n, -s.brightness, s.brightness, generator)
        images = (images - 127.5) * contrast + 127.5 + shift
    box = hit(images, s.blur_share, generator)
    if len(box):
        images = images.index_copy(0, box, F.avg_pool2d(images[box], 3, stride=1, padding=1, count_include_pad=False))
    return images
