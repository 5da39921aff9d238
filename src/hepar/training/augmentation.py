"""Random changes of a batch, in torch, from one generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hepar.training.recipe import Augmentation

# Grey level of 0 HU when -40..160 HU spans 0..255 (the window of the 8-bit training data).
GREY_OF_WATER = 51.0


def augment(
    images: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images float32 (batch, 1, y, x) in 0..255 and labels int64 (batch, y, x), both changed alike in place."""
    grid = _warp(images.shape, settings, generator)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    warped = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return _intensity(images, settings, generator), warped[:, 0].long()


def _uniform(count: int, reach: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * reach


def _warp(shape: torch.Size, s: Augmentation, generator: torch.Generator) -> Tensor:
    """Sampling grid (batch, y, x, 2): rotation, scale, shift and a smooth random displacement."""
    n, _, height, width = shape
    angle = _uniform(n, math.radians(s.rotate_degrees), generator)
    # A common scale and a mild change of aspect, log-symmetric so that 1.2 is as likely as 1/1.2.
    scale = torch.exp(_uniform(n, math.log1p(s.scale), generator))
    aspect = torch.exp(_uniform(n, math.log1p(s.scale) / 3, generator))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * aspect, -sin * height / width, _uniform(n, 2 * s.shift, generator)], dim=1),
            torch.stack([sin * width / height, cos / aspect, _uniform(n, 2 * s.shift, generator)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [n, 1, height, width], align_corners=False)
    if s.elastic_px:
        coarse = torch.randn((n, 2, 5, 5), generator=generator) * s.elastic_px
        # Smooth at a low resolution first: bicubic at full size costs as much as a network step.
        smooth = F.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=False)
        smooth = F.interpolate(smooth, size=(height, width), mode="bilinear", align_corners=False)
        grid = grid + torch.stack([smooth[:, 0] * 2 / width, smooth[:, 1] * 2 / height], dim=-1)
    return grid


def _intensity(images: Tensor, s: Augmentation, generator: torch.Generator) -> Tensor:
    n = len(images)
    floor = (torch.rand(n, generator=generator) < s.floor_share).view(-1, 1, 1, 1)
    images = torch.where(floor, images.clamp(min=GREY_OF_WATER), images) / 255
    gamma = torch.exp(_uniform(n, math.log1p(s.gamma), generator)).view(-1, 1, 1, 1)
    images = images.clamp(0, 1) ** gamma
    contrast = 1 + _uniform(n, s.contrast, generator).view(-1, 1, 1, 1)
    shift = _uniform(n, s.brightness, generator).view(-1, 1, 1, 1)
    images = (images - 0.5) * contrast + 0.5 + shift
    blur = (torch.rand(n, generator=generator) < s.blur_share).view(-1, 1, 1, 1)
    images = torch.where(blur, F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False), images)
    sigma = torch.rand(n, generator=generator).view(-1, 1, 1, 1) * s.noise
    images = images + torch.randn(images.shape, generator=generator) * sigma
    return images.clamp(0, 1) * 255
