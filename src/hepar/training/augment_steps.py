"""Changes of grey values, each a small frozen setting that can be called, with the share of images it hits.

All take float32 (batch, slices, y, x) in 0..255 and a generator, give a new
tensor of that kind, and leave geometry alone. The slices of one image are
changed alike, but for noise, which CT slices do not share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hepar.errors import BadInput


class ImageStep(Protocol):
    """Anything here."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class ThickSlices:
    """Slices mixed with those beside them, as thicker ones average; the labelled slice stays the middle one.

    `alone` is the share of images whose neighbours become copies of their own
    slice, as at the end of a stack. Does nothing to single slices.
    """

    share: float = 0.2
    alone: float = 0.1

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        slices = images.shape[1]
        if slices == 1:
            return images
        picked = hit(images, self.share, generator)
        own = images[picked]
        below, above = torch.cat([own[:, :1], own[:, :-1]], 1), torch.cat([own[:, 1:], own[:, -1:]], 1)
        # At 2/3 a slice and its two neighbours count alike: three slices in one.
        mix = uniform(len(own), 0, 2 / 3, generator)
        images = images.index_copy(0, picked, (1 - mix) * own + mix / 2 * (below + above))
        lone = hit(images, self.alone, generator)
        middle = images[lone, slices // 2 : slices // 2 + 1]
        return images.index_copy(0, lone, middle.expand(-1, slices, -1, -1).contiguous())


@dataclass(frozen=True)
class WindowJitter:
    """Another window: both ends moved by up to `reach` of its width, values beyond them cut off."""

    share: float = 0.3
    reach: float = 0.15

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        picked = hit(images, self.share, generator)
        low, high = (255 * uniform(len(picked), -self.reach, self.reach, generator) for _ in range(2))
        moved = (images[picked] - low) * (255 / (255 + high - low))
        return images.index_copy(0, picked, moved.clamp(0, 255))


@dataclass(frozen=True)
class Blur:
    """A Gaussian of up to `largest_px`: smooth reconstruction kernels."""

    share: float = 0.2
    largest_px: float = 1.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        picked = hit(images, self.share, generator)
        sigma = uniform(len(picked), 0.4, max(0.4, self.largest_px), generator)
        return images.index_copy(0, picked, smoothed(images[picked], sigma.flatten()))


@dataclass(frozen=True)
class LowResolution:
    """Shrunk by up to `largest_factor`, averaging, and enlarged again linearly."""

    share: float = 0.15
    largest_factor: float = 2.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        picked = hit(images, self.share, generator)
        factors = uniform(len(picked), 1, self.largest_factor, generator).flatten().tolist()
        y, x = images.shape[-2:]
        changed = images.clone()
        for i, factor in zip(picked.tolist(), factors, strict=True):
            small = F.interpolate(images[i : i + 1], (round(y / factor), round(x / factor)), mode="area")
            changed[i : i + 1] = F.interpolate(small, (y, x), mode="bilinear", align_corners=False)
        return changed


@dataclass(frozen=True)
class GrainNoise:
    """Noise with grain, as reconstruction kernels leave it: white noise smoothed by up to `grain_px`.

    Its standard deviation is up to `sigma` of the grey scale whatever the grain.
    """

    share: float = 0.3
    sigma: float = 0.06
    grain_px: float = 1.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        picked = hit(images, self.share, generator)
        grain = uniform(len(picked), 0.5, max(0.5, self.grain_px), generator).flatten()
        sigma = 255 * uniform(len(picked), 0, self.sigma, generator)
        white = torch.randn((len(picked), *images.shape[1:]), generator=generator)
        # Smoothing by a kernel k along both axes leaves the variance (sum k^2)^2.
        left = _gaussians(grain).square().sum(dim=1).view(-1, 1, 1, 1)
        noise = smoothed(white, grain) * (sigma / left)
        return images.index_copy(0, picked, (images[picked] + noise).clamp(0, 255))


@dataclass(frozen=True)
class Levels:
    """Fewer grey levels, down to `fewest`: pictures that were stored in 8 bits under a wider window."""

    share: float = 0.15
    fewest: int = 24

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        picked = hit(images, self.share, generator)
        # Uniform in the step between levels: coarse and fine ones alike.
        step = uniform(len(picked), 1, 255 / (self.fewest - 1), generator)
        return images.index_copy(0, picked, ((images[picked] / step).round() * step).clamp(0, 255))


@dataclass(frozen=True)
class Jpeg:
    """JPEG's loss: 8x8 cosine transform, coefficients rounded to the steps of a quality `worst` to 95.

    Luminance steps of ITU-T T.81, Annex K.1, scaled by quality as the
    Independent JPEG Group does. The block grid starts anywhere, since pictures
    were cropped and resampled after they were compressed.
    """

    share: float = 0.25
    worst: float = 40

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        picked = hit(images, self.share, generator)
        if not len(picked):
            return images
        quality = uniform(len(picked), self.worst, 95, generator).flatten()
        top, left = torch.randint(8, (2,), generator=generator).tolist()
        return images.index_copy(0, picked, compressed(images[picked], quality, (top, left)))


def hit(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Numbers of the images that a step of that share hits."""
    if not 0 <= share <= 1:
        raise BadInput(f"an augmentation hits a share of {share}; expected 0 to 1")
    return torch.nonzero(torch.rand(len(images), generator=generator) < share)[:, 0]


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(count, 1, 1, 1) draws, ready to meet images."""
    return (low + (high - low) * torch.rand(count, generator=generator)).view(-1, 1, 1, 1)


def smoothed(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Each image (batch, slices, y, x) under its own Gaussian; past the border the last pixel goes on."""
    n, slices, y, x = images.shape
    if not n:
        return images
    kernels = _gaussians(sigma_px).repeat_interleave(slices, dim=0)
    reach, planes = kernels.shape[1] // 2, n * slices
    flat = images.reshape(1, planes, y, x)
    flat = F.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = F.conv2d(flat, kernels.view(planes, 1, -1, 1), groups=planes)
    return F.conv2d(flat, kernels.view(planes, 1, 1, -1), groups=planes).view(images.shape)


def _gaussians(sigma_px: Tensor) -> Tensor:
    """One row a sigma, each summing to 1, cut at 2.5 sigma of the widest."""
    reach = max(1, math.ceil(2.5 * float(sigma_px.max()))) if len(sigma_px) else 1
    rows = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma_px[:, None]) ** 2)
    return rows / rows.sum(dim=1, keepdim=True)


# ITU-T T.81, table K.1.
LUMINANCE_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def compressed(images: Tensor, quality: Tensor, start: tuple[int, int] = (0, 0)) -> Tensor:
    """Images (batch, slices, y, x) as they come back from JPEG of `quality` (batch,), 1 to 100.

    `start` is where the first whole block begins, 0 to 7 pixels from the top left.
    """
    n, slices, y, x = images.shape
    top, left = (-start[0]) % 8, (-start[1]) % 8
    padded = F.pad(images, (left, -(x + left) % 8, top, -(y + top) % 8), mode="replicate").round()
    rows, columns = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.view(n, slices, rows, 8, columns, 8).transpose(3, 4).reshape(n, -1, 64) - 128
    basis = _cosines()
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    table = torch.tensor(LUMINANCE_STEPS, dtype=torch.float32).view(1, 1, 64)
    steps = ((table * scale.view(-1, 1, 1) + 50) / 100).floor().clamp(1, 255)
    kept = (blocks @ basis.T / steps).round() * steps
    back = (kept @ basis + 128).round().clamp(0, 255)
    whole = back.view(n, slices, rows, columns, 8, 8).transpose(3, 4).reshape(padded.shape)
    return whole[..., top : top + y, left : left + x]


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8x8 blocks as (64 coefficients, 64 pixels)."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    one = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    one[0] /= math.sqrt(2)
    return torch.kron(one, one)
