"""One lesion: what it looks like, and how it is blended into the scan.

new = old + alpha * (contrast profile + texture - part of the vessels): the
liver's own pixels stay below the lesion, so the noise is the scan's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepar.training.synthesis.canvas import Canvas
from hepar.training.synthesis.sections import Box, cut, smooth_noise
from hepar.training.synthesis.settings import HU_PER_GREY, WINDOW_FLOOR_HU, LesionSynthesis
from hepar.volume import LIVER, TUMOUR

Array = NDArray[np.float32]
_DARKEST_HU, _BRIGHTEST_HU = 2.0, 45.0
# In a liver darker than this the same tumour may stand out brightly.
_FATTY_HU, _BRIGHT_IN_FAT = 50.0, 0.35
# A lesion is made this many times stronger at most.
_STRONGER = 2.5
_ROSE_PIXELS = 25.0


@dataclass(frozen=True, eq=False)
class Lesion:
    """Where it lies (pixels, and mm below the labelled slice), how large, of which shape and looks.

    `contrast` is in grey levels against the liver, negative when darker.
    """

    y: float
    x: float
    z_mm: float
    radius_mm: float
    field: Array
    turn: NDArray[np.float64]
    kind: str
    contrast: float
    edge_mm: float
    bulges_mm: float = 0.0
    calcified: bool = False


def lognormal(pair: tuple[float, float], rng: np.random.Generator) -> float:
    """Log-normal with these 10th and 90th percentiles, cut at their halved and doubled span."""
    low, high = math.log(pair[0]), math.log(pair[1])
    spread = (high - low) / 2.563
    return math.exp(float(np.clip(rng.normal((low + high) / 2, spread), low - 2 * spread, high + 2 * spread)))


def draw_contrast(kind: str, liver_grey: float, settings: LesionSynthesis, rng: np.random.Generator) -> float:
    """Grey levels against the liver; a cyst is water whatever lies around it."""
    if kind == "cystic":
        return (rng.uniform(-3, 22) - WINDOW_FLOOR_HU) / HU_PER_GREY - liver_grey
    fatty = liver_grey < (_FATTY_HU - WINDOW_FLOOR_HU) / HU_PER_GREY
    if kind == "subtle":
        hu = -lognormal(settings.subtle_hu, rng)
    elif kind == "hyperdense" or (kind == "hypodense" and fatty and rng.random() < _BRIGHT_IN_FAT):
        hu = rng.uniform(15, 45)
    else:
        hu = -lognormal(settings.contrast_hu, rng)
    return float(hu / HU_PER_GREY)


def paint(canvas: Canvas, lesion: Lesion, settings: LesionSynthesis, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Paints all channels; gives the pixels of the labelled slice that are the lesion's, (y, x) of the whole image."""
    reach = lesion.radius_mm * 2.1 + lesion.edge_mm
    box = canvas.grid.box(lesion.y, lesion.x, reach)
    depth = _depth(canvas, lesion, box, rng)
    covered = depth > -lesion.edge_mm
    box, depth = _tight(box, depth, covered)
    here = np.zeros(canvas.labels.shape, dtype=bool)
    if not depth.size:
        return here
    allowed = _allowed(canvas, lesion, box)
    patch, grey = canvas.patch(box), canvas.liver_grey(box)
    alpha = _alpha(depth, lesion.edge_mm)
    inside = canvas.same_tissue(patch, allowed, grey)
    change = _profile(canvas, lesion, depth, box, rng)
    seen = (alpha[canvas.middle] >= 0.5) & allowed
    stronger = _visible(canvas, (alpha * inside * change)[canvas.middle][seen], settings)
    if not stronger:
        return here
    change = _plausible(stronger * change + _texture(canvas, lesion, box, settings, rng), lesion, grey)
    standing_out = _vessels(patch, grey, canvas.liver.spread)
    # Vessels shine through; a fissure or an earlier lesion does not, or two dark ones would add up.
    kept = 0.0 if lesion.bulges_mm else settings.vessels_kept
    change -= np.where(standing_out > 0, 1 - kept, 1) * standing_out
    new = canvas.full_range(patch, rng) + alpha * inside * change
    # Where the window cuts a bright liver off, or vessels cross, less may be seen than was meant.
    shown = (np.clip(new, 0, 255) - patch)[canvas.middle][seen]
    if shown.size and abs(float(shown.mean())) < 0.6 * settings.least_hu / HU_PER_GREY:
        return here
    canvas.put(box, new)
    here[box] = seen
    return here


def mark(canvas: Canvas, pixels: NDArray[np.bool_]) -> None:
    """The lesion's pixels become tumour."""
    canvas.labels[pixels] = TUMOUR


def _visible(canvas: Canvas, change: Array, settings: LesionSynthesis) -> float:
    """The factor that makes a lesion visible in the labelled slice, from 1; 0 where that takes too much.

    A label without anything to see would teach guessing. A lesion that only its neighbours show is left alone.
    """
    if not change.size:
        return 1.0
    # Few pixels must differ more to be seen in noise (Rose 1973: contrast by noise by root of the area).
    noise = canvas.liver.noise * math.sqrt(1 + _ROSE_PIXELS / change.size)
    least = max(settings.least_hu / HU_PER_GREY, settings.least_to_noise * noise)
    factor = least / max(1e-6, float(np.abs(change).mean()))
    return 0.0 if factor > _STRONGER else max(1.0, factor)


def _plausible(change: Array, lesion: Lesion, grey: float) -> Array:
    """Tumours hold no fat: even dead ones stay near water, or a little darker than a liver that is itself so dark.

    And no rim takes up more contrast medium than `_BRIGHTEST_HU` above the liver.
    """
    if lesion.kind == "cystic":
        return change
    low = min((_DARKEST_HU - WINDOW_FLOOR_HU) / HU_PER_GREY - grey, -15 / HU_PER_GREY)
    return np.clip(change, low, 200 if lesion.calcified else _BRIGHTEST_HU / HU_PER_GREY)


def _depth(canvas: Canvas, lesion: Lesion, box: Box, rng: np.random.Generator) -> Array:
    down, right = canvas.grid.around(lesion.y, lesion.x, box)
    up = np.asarray(canvas.grid.heights_mm, np.float32) - np.float32(lesion.z_mm)
    depth = cut(lesion.field, lesion.radius_mm, lesion.turn, (up, down, right))
    # The library is small: every lesion gets a surface of its own.
    rough = smooth_noise(canvas.grid, box, max(2.0, 0.5 * lesion.radius_mm), rng)
    return depth + rough * np.float32(rng.uniform(0.02, 0.1) * lesion.radius_mm)


def _tight(box: Box, depth: Array, covered: NDArray[np.bool_]) -> tuple[Box, Array]:
    rows, columns = np.flatnonzero(covered.any(axis=(0, 2))), np.flatnonzero(covered.any(axis=(0, 1)))
    if not len(rows):
        return box, depth[:, :0, :0]
    y, x = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    tight = (slice(box[0].start + y.start, box[0].start + y.stop), slice(box[1].start + x.start, box[1].start + x.stop))
    return tight, depth[:, y, x]


def _allowed(canvas: Canvas, lesion: Lesion, box: Box) -> NDArray[np.bool_]:
    """Liver, and what was painted into it; some millimetres beyond it for a lesion that bulges."""
    from scipy import ndimage

    labels = canvas.labels[box]
    liver = np.asarray(labels == LIVER)
    if lesion.bulges_mm:
        far = ndimage.distance_transform_edt(labels == 0) * canvas.grid.pixel_mm
        liver = liver | ((labels == 0) & (far <= lesion.bulges_mm))
    return liver


def _alpha(depth: Array, edge_mm: float) -> Array:
    """Share of lesion in a pixel: 10 % to 90 % over `edge_mm`."""
    from scipy.special import ndtr

    return np.asarray(ndtr(depth * np.float32(2.563 / edge_mm)), np.float32)


def _profile(canvas: Canvas, lesion: Lesion, depth: Array, box: Box, rng: np.random.Generator) -> Array:
    """Grey levels against the liver at each depth."""
    c, radius = lesion.contrast, lesion.radius_mm
    if lesion.kind == "cystic":
        return np.full_like(depth, c)
    inner = np.clip(depth / radius, 0, 1)
    if lesion.kind == "rim":
        width = rng.uniform(0.12, 0.3) * radius + 1
        rim = abs(c) * rng.uniform(-0.2, 0.7)
        return np.asarray(c + (rim - c) * np.exp(-((depth / width) ** 2)), np.float32)
    if lesion.kind == "halo":
        width = rng.uniform(0.2, 0.4) * radius + 1
        centre = -c * rng.uniform(-0.4, 0.6)
        return np.asarray(centre + (c - centre) * np.exp(-((depth / width) ** 2)), np.float32)
    shade = c * (0.9 + rng.uniform(-0.1, 0.4) * inner)
    if lesion.kind == "necrotic":
        from scipy.special import ndtr

        start = rng.uniform(0.15, 0.45) + 0.12 * smooth_noise(canvas.grid, box, 0.4 * radius, rng)
        shade = shade + c * rng.uniform(0.5, 1.0) * ndtr((inner - start) * rng.uniform(6, 20))
    return np.asarray(shade, np.float32)


def _texture(
    canvas: Canvas, lesion: Lesion, box: Box, settings: LesionSynthesis, rng: np.random.Generator
) -> Array | np.float32:
    if lesion.kind == "cystic":
        return np.float32(0)
    amplitude = abs(lesion.contrast) * settings.texture * rng.uniform(0.3, 1.5)
    texture = smooth_noise(canvas.grid, box, rng.uniform(0.15, 0.6) * lesion.radius_mm + 1, rng) * np.float32(amplitude)
    grain = smooth_noise(canvas.grid, box, 0.0, rng) * np.float32(canvas.liver.noise * rng.uniform(0, settings.grain))
    texture = texture + grain
    if lesion.calcified:
        flecks = smooth_noise(canvas.grid, box, 1.5, rng)
        # Only the highest peaks: specks of one to three millimetres.
        texture = texture + np.clip(flecks - rng.uniform(1.8, 2.4), 0, 0.6) * np.float32(rng.uniform(150, 300))
    return np.asarray(texture, np.float32)


def _vessels(patch: Array, grey: float, spread: float) -> Array:
    """What stands out of the liver's own range: vessels mostly, fat in fissures."""
    from scipy import ndimage

    structure = ndimage.uniform_filter(patch, (1, 3, 3), mode="nearest") - np.float32(grey)
    return np.asarray(structure - np.clip(structure, -1.5 * spread, 1.5 * spread))
