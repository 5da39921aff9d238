"""From densities to a scan: couch, blur, streaks, noise, int16.

Noise of filtered back-projection has a spectrum that rises with frequency (the
ramp) and falls with the kernel's rolloff (Riederer, Pelc and Chesler 1978,
Phys Med Biol 23:446); its level grows with the attenuation on the way, so it
is higher in the middle of a large body than at its skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hepar.datasets.phantom.canvas import Floats
from hepar.datasets.synthetic.scene import Scene

AIR_HU = -1000.0
# A trunk of this equivalent radius has the drawn noise; water halves the photons every 36 mm at 120 kV.
NORMAL_RADIUS_MM, HALVED_MM = 150.0, 36.0

LEAST_BLUR_PIXELS = 0.62
REFERENCE_PIXEL_MM = 1.45


@dataclass(frozen=True)
class Scanner:
    """One scan: blur in plane and along z (sigmas in mm), noise, streaks (HU).

    `noise_hu` is the deviation in the middle of a normal body on pixels of
    `REFERENCE_PIXEL_MM`; `rolloff` (1/mm) is how far its spectrum reaches.
    """

    blur_mm: float
    slice_blur_mm: float
    noise_hu: float
    rolloff: float
    streak_hu: float
    couch: bool


def draw_scanner(rng: np.random.Generator, slice_mm: float) -> Scanner:
    """Smooth to sharp kernels; slices are thinner or thicker than they lie apart, and never above 6 mm."""
    thick_mm = min(slice_mm * float(rng.uniform(0.6, 1.25)), 6.0)
    return Scanner(
        blur_mm=float(rng.uniform(0.55, 0.95)),
        # A box of this thickness has this deviation.
        slice_blur_mm=thick_mm / np.sqrt(12),
        # In the liver this comes out as the noise of 26 LiTS scans at 256 x 256 pixels (studies/ct_synthesis).
        noise_hu=float(np.clip(rng.lognormal(np.log(15.5), 0.36), 6.5, 32)),
        rolloff=float(rng.uniform(0.18, 0.36)),
        streak_hu=float(rng.uniform(0, 5)),
        couch=bool(rng.random() < 0.85),
    )


def scan(scene: Scene, scanner: Scanner) -> NDArray[np.int16]:
    """int16 HU (z, y, x)."""
    if scanner.couch:
        _paint_couch(scene)
    hu = scene.canvas.hu
    z, y, _ = scene.canvas.spacing_mm
    # A grid cannot show edges sharper than its pixels; labels would, as stairs.
    in_plane = max(scanner.blur_mm / y, LEAST_BLUR_PIXELS)
    hu = ndimage.gaussian_filter(hu, (scanner.slice_blur_mm / z, in_plane, in_plane), truncate=3)
    _add_noise(scene, scanner, hu)
    return np.asarray(np.clip(np.rint(hu), -1024, 3071), dtype=np.int16)


def _paint_couch(scene: Scene) -> None:
    """Two thin shells of a curved couch under the back; air is what is not body."""
    torso, rng = scene.torso, scene.rng
    _, y, x = torso.axes_mm
    rows = np.flatnonzero(torso.body.any(axis=(0, 2)))
    lowest = float(y[rows[-1]]) + rng.uniform(1, 9)
    across = x - torso.axis[1]
    surface = lowest - (across / 640) ** 2 * rng.uniform(60, 200)
    level = y[:, None] - surface[None, :]
    wide = (np.abs(across) < 215)[None, :]
    thick = float(rng.uniform(18, 45))
    # Thinner than a pixel, a curved shell would become dashes.
    half = max(1.2, 0.6 * scene.canvas.spacing_mm[1])
    foam = (level > 0) & (level < thick) & wide
    shells = ((np.abs(level) < half) | (np.abs(level - thick) < half)) & wide
    outside = ~torso.body & (scene.canvas.hu < -900)
    for part, hu in ((foam, -955.0), (shells, float(rng.uniform(-250, 60)))):
        scene.canvas.hu[outside & part[None]] = hu


def _add_noise(scene: Scene, scanner: Scanner, hu: Floats) -> None:
    """Noise with the spectrum of filtered back-projection, and streaks along the rays through what is dense."""
    shape, pixel = hu.shape[1:], scene.canvas.spacing_mm[1]
    fy, fx = np.fft.fftfreq(shape[0], pixel)[:, None], np.fft.rfftfreq(shape[1], pixel)[None, :]
    frequency = np.hypot(fy, fx)
    spectrum = _noise_spectrum(frequency, scanner.rolloff)
    scale = scanner.noise_hu * _deviation(pixel, scanner.rolloff) / _deviation(REFERENCE_PIXEL_MM, scanner.rolloff)
    rays = _rays_filter(scene.rng, fy, fx)
    area = scene.torso.body.sum(axis=(1, 2)) * pixel**2
    radius = np.sqrt(np.maximum(ndimage.gaussian_filter1d(area, 3.0), 1) / np.pi)
    # Tube current follows the body, but only half of the way.
    level = np.clip(2 ** ((radius - NORMAL_RADIUS_MM) / HALVED_MM / 4), 0.6, 1.8)
    before = np.zeros(shape, np.float32)
    for z in range(len(hu)):
        white = scene.rng.standard_normal(shape, dtype=np.float32)
        noise = np.fft.irfft2(np.fft.rfft2(white) * spectrum, s=shape)
        noise = (noise / noise.std()).astype(np.float32)
        # Neighbouring slices share some of their rays.
        noise, before = 0.92 * noise + 0.39 * before, noise
        strength = _noise_map(scene, z) * np.float32(scale * level[z])
        hu[z] += noise * strength
        if scanner.streak_hu > 0.5:
            dense = np.clip(hu[z], 300, 1500) - 0.5 * np.clip(hu[z], -1000, -300)
            streaks = np.fft.irfft2(np.fft.rfft2(dense) * rays, s=shape)
            hu[z] += (streaks * (scanner.streak_hu / max(float(streaks.std()), 1.0))).astype(np.float32)


def _noise_spectrum(frequency: NDArray[Any], rolloff: float) -> NDArray[np.float64]:
    """Amplitude over frequency (1/mm): a ramp that does not begin at 0 (iterative parts, folding), with a long tail.

    On pixels of 1.45 mm neighbours correlate by 0 to 0.2, as in 26 LiTS scans at 256 x 256 pixels.
    """
    return np.asarray((0.25 + frequency) * np.exp(-frequency / rolloff))


def _deviation(pixel_mm: float, rolloff: float) -> float:
    """Relative deviation of the noise on square pixels of this size: they cut its spectrum off."""
    axis = np.fft.fftfreq(64, pixel_mm)
    return float(np.sqrt((_noise_spectrum(np.hypot(axis[:, None], axis), rolloff) ** 2).mean()) / pixel_mm)


def _noise_map(scene: Scene, z: int) -> Floats:
    """Relative noise (y, x): 1 halfway into a normal body, less at the skin and in the air."""
    depth = scene.torso.depth_mm[z]
    return np.asarray(0.45 + 0.55 * np.clip(depth / 75, 0, 1.5), dtype=np.float32)


def _rays_filter(rng: np.random.Generator, fy: NDArray[Any], fx: NDArray[Any]) -> NDArray[np.float64]:
    """A filter that leaves of a picture what lies along a few directions, without its coarse shape."""
    angle = np.arctan2(fy, fx + 1e-9)
    passed = np.zeros(np.broadcast_shapes(fy.shape, fx.shape))
    # The shoulders' and the spine's long way is from side to side: most streaks lie near it.
    for direction in np.concatenate([rng.normal(np.pi / 2, 0.25, 5), rng.uniform(0, np.pi, 4)]):
        apart = np.abs((angle - direction + np.pi / 2) % np.pi - np.pi / 2)
        passed += rng.uniform(-1, 1) * np.exp(-((apart / 0.012) ** 2))
    frequency = np.hypot(fy, fx)
    return np.asarray(passed * (1 - np.exp(-((frequency / 0.02) ** 2))) * np.exp(-((frequency / 0.2) ** 2)))
