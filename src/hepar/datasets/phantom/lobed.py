"""Shape family "lobed": star-shaped, lobed and notched organs in a rounder body.

The demo phantom uses it; no training phantom does.
"""

from __future__ import annotations

import numpy as np

from hepar.datasets.phantom.canvas import Floats, Place, star, tube_level


class Lobes:
    """Levels of the organs; one chance set of proportions per phantom."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._jitter = rng.uniform(-1, 1, 24)

    def cavity_mm(self, angle: Floats) -> Floats:
        """Radius of the trunk's cavity at an angle from the patient's left (0) to posterior (pi/2)."""
        j = self._jitter
        radius = 111 + 3 * j[0] + 25 * np.cos(2 * angle) + 3 * np.cos(4 * angle + 0.2 * j[1])
        # The back is flat, the epigastrium narrower than the flanks.
        return np.asarray(radius + 4 * np.sin(angle) + 2.5 * np.cos(3 * angle - 0.6 * j[2]), dtype=np.float32)

    def liver(self, p: Place) -> Floats:
        j = self._jitter
        lobes = [
            ((0.80, -0.52, 0.26), 96 + 12 * j[3], 11),  # left lobe
            ((-0.2, -0.1, 1.0), 42, 3),  # dome
            ((-0.40, 0.05, -1.0), 58 + 10 * j[4], 9),  # inferior tongue
            ((-0.5, 0.85, 0.05), 36 + 4 * j[5], 5),
            ((-0.25, -1.0, 0.0), 30, 5),
            ((0.75, 0.45, 0.45), 18, 16),  # caudate lobe
            ((0.62, 0.25, -0.62), -42, 9),  # hilum
            ((0.40, -0.85, -0.25), -22, 70),  # fissure of the round ligament
            ((0.15, -0.60, -0.85), -16, 30),  # gallbladder's bed
        ]
        return star(p, (-58.0, 2.0, 8.0), 56, lobes)

    def spleen(self, p: Place) -> Floats:
        j = self._jitter
        lobes = [
            ((-0.15, 0.9, 0.5), 30 + 4 * j[6], 6),
            ((-0.1, -0.85, -0.5), 24, 7),
            ((-1.0, -0.05, 0.0), -13, 3),
            ((0.3, -1.0, 0.3), -5, 60),  # a notch of the upper border
        ]
        return star(p, (104.0, 30.0, 30.0), 25, lobes)

    def kidney(self, p: Place, side: int) -> Floats:
        """`side` is -1 for the right kidney, 1 for the left; lobulated as many are."""
        j = self._jitter
        lobes = [
            ((0.0, 0.0, 1.0), 27 + 3 * j[7], 5),
            ((0.0, 0.1, -1.0), 27, 5),
            ((-side * 0.85, -0.5, 0.0), -14, 7),
            ((side * 0.7, 0.7, 0.45), -2.5, 40),
            ((side * 1.0, 0.0, -0.4), -2.5, 40),
        ]
        return star(p, (side * 66.0, 52.0, -46.0 + 9 * (side > 0)), 25 + j[8], lobes)

    def stomach(self, p: Place) -> Floats:
        j = self._jitter
        points = [(60, 14, 46), (68, -12, 24 + 6 * j[9]), (60, -38, -8), (24, -50, -26), (-14, -36, -22)]
        return tube_level(p, points, (34, 36, 28, 19, 9))
