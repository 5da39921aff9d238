"""What can be measured of a lesion in one slice, real or painted alike, to compare the two."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepar.training.synthesis.settings import HU_PER_GREY
from hepar.volume import LIVER, TUMOUR

Array = NDArray[np.float32]
# Liver this far around a lesion is what it is compared with; nearer pixels belong to its edge.
_RING_MM = (4.0, 14.0)
_BOX_MM = 18.0
_LEAST_PIXELS = 8
_PROFILE_MM = np.arange(-9.0, 9.01, 0.75)
_EDGES_MM = np.exp(np.linspace(math.log(0.6), math.log(14), 22))
_OFFSETS_MM = np.arange(-2.5, 2.51, 0.5)

FEATURES = (
    "diameter_mm",
    "contrast_hu",
    "contrast_to_noise",
    "edge_mm",
    "outline_mm",
    "noise_ratio",
    "texture_ratio",
    "core_hu",
    "rim_hu",
    "roundness",
    "to_border_mm",
)


def lesions_of(image: NDArray[np.uint8], labels: NDArray[np.uint8], pixel_mm: float) -> list[dict[str, float]]:
    """`FEATURES` of each connected tumour of at least 8 pixels with enough liver around it.

    `image` is grey 0..255 for -40..160 HU, (y, x). diameter_mm: of a disc of
    its area. contrast_hu: median inside minus median of liver 4 to 14 mm around.
    contrast_to_noise: that by the liver's pixel noise. edge_mm, outline_mm: 10-90 %
    width of the mean profile across the outline and how far its middle lies
    outside the outline (error function, least squares). noise_ratio: spread of
    pixels about their 3 x 3 mean, inside by around; texture_ratio: spread of
    these means. core_hu: deepest third minus the shallow half, rim_hu:
    brightest of the profile within 4 mm of the outline minus the liver;
    roundness: 4 pi area by perimeter squared; to_border_mm: nearest non-liver.
    """
    from scipy import ndimage

    pieces, _ = ndimage.label(labels == TUMOUR)
    border = ndimage.distance_transform_edt(labels > 0) * pixel_mm
    smooth = ndimage.uniform_filter(image.astype(np.float32), 3)
    found = []
    margin = round(_BOX_MM / pixel_mm)
    for number, place in enumerate(ndimage.find_objects(pieces), start=1):
        box = tuple(
            slice(max(0, p.start - margin), min(n, p.stop + margin)) for p, n in zip(place, labels.shape, strict=True)
        )
        mask = pieces[box] == number
        row = _one(mask, (image[box].astype(np.float32), smooth[box]), labels[box] == LIVER, pixel_mm)
        if row:
            row["to_border_mm"] = float(border[box][mask].min())
            found.append(row)
    return found


def _one(
    mask: NDArray[np.bool_], pictures: tuple[Array, Array], liver: NDArray[np.bool_], pixel_mm: float
) -> dict[str, float]:
    """Empty for a lesion that cannot be measured."""
    from scipy import ndimage

    image, smooth = pictures
    # Half a pixel: the outline runs between the pixels.
    depth = np.where(mask, ndimage.distance_transform_edt(mask) - 0.5, 0.5 - ndimage.distance_transform_edt(~mask))
    depth = depth * pixel_mm
    ring = liver & (depth < -_RING_MM[0]) & (depth > -_RING_MM[1])
    area = int(mask.sum())
    if area < _LEAST_PIXELS or ring.sum() < 60:
        return {}
    deepest = float(depth[mask].max())
    core = mask & (depth > 0.4 * deepest)
    grey, fine = image[ring], (image - smooth)
    base, noise = float(np.median(grey)), max(0.5, _spread(fine[ring]))
    contrast = float(np.median(image[core])) - base
    profile = _profile(image, depth, mask | liver)
    edge, offset = _edge(profile, base)
    deep, shallow = mask & (depth > 0.67 * deepest), mask & (depth > 0.15 * deepest) & (depth < 0.5 * deepest)
    near = profile[(np.abs(_PROFILE_MM) <= 4) & np.isfinite(profile)]
    return {
        "diameter_mm": 2 * math.sqrt(area / math.pi) * pixel_mm,
        "contrast_hu": contrast * HU_PER_GREY,
        "contrast_to_noise": contrast / max(1.0, _spread(grey)),
        "edge_mm": edge,
        "outline_mm": offset,
        "noise_ratio": _spread(fine[core]) / noise,
        "texture_ratio": _spread(smooth[core]) / max(0.5, _spread(smooth[ring])),
        "core_hu": (float(image[deep].mean()) - float(image[shallow].mean()) if shallow.any() else 0.0) * HU_PER_GREY,
        "rim_hu": (float(near.max()) - base if len(near) else 0.0) * HU_PER_GREY,
        "roundness": _roundness(mask),
    }


def _spread(values: Array) -> float:
    """Robust standard deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _profile(image: Array, depth: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean grey at each of `_PROFILE_MM`, NaN where no pixel lies."""
    step = float(_PROFILE_MM[1] - _PROFILE_MM[0])
    level = np.rint((depth[counted] - _PROFILE_MM[0]) / step).astype(int)
    ok = (level >= 0) & (level < len(_PROFILE_MM))
    count = np.bincount(level[ok], minlength=len(_PROFILE_MM))
    total = np.bincount(level[ok], image[counted][ok], minlength=len(_PROFILE_MM))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _edge(profile: NDArray[np.float64], base: float) -> tuple[float, float]:
    """10-90 % width and offset of the step that fits best; the grid's ends where there is hardly a step."""
    from scipy.special import ndtr

    seen = np.isfinite(profile)
    width, offset = np.meshgrid(_EDGES_MM, _OFFSETS_MM, indexing="ij")
    shape = ndtr((_PROFILE_MM[seen] + offset[..., None]) * 2.563 / width[..., None])
    # The height is fitted too: small blurred lesions never reach their own contrast.
    target = profile[seen] - base
    height = (shape * target).sum(-1) / (shape**2).sum(-1)
    misfit = ((target - height[..., None] * shape) ** 2).sum(-1)
    best = np.unravel_index(int(misfit.argmin()), misfit.shape)
    return float(width[best]), float(offset[best])


def _roundness(mask: NDArray[np.bool_]) -> float:
    padded = np.pad(mask, 1).astype(np.int8)
    # Crossings along the axes overestimate a curve's length by 4 / pi on average.
    steps = int(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum())
    return 4 * math.pi * float(mask.sum()) / (steps * math.pi / 4) ** 2
