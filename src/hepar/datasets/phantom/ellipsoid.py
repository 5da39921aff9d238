"""Shape family "ellipsoid": organs from blended ellipsoids. Training phantoms use it."""

from __future__ import annotations

import numpy as np

from hepar.datasets.phantom.canvas import Floats, Place, ellipsoid, smooth_union


class Ellipsoids:
    """Levels of the organs; one chance set of proportions per phantom."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._jitter = rng.uniform(-1, 1, 24)

    def cavity_mm(self, angle: Floats) -> Floats:
        """Radius of the trunk's cavity at an angle from the patient's left (0) to posterior (pi/2)."""
        j = self._jitter
        a, b, power = 132 + 10 * j[0], 90 + 9 * j[1], 2.4 + 0.3 * j[2]
        level = (np.abs(np.cos(angle)) / a) ** power + (np.abs(np.sin(angle)) / b) ** power
        return np.asarray(level ** (-1 / power), dtype=np.float32)

    def liver(self, p: Place) -> Floats:
        j = self._jitter
        right = ellipsoid(p, (-68 + 5 * j[3], 6 + 5 * j[4], 4), (72 + 8 * j[5], 84 + 8 * j[6], 96 + 10 * j[7]), 8)
        left = ellipsoid(p, (2, -52, 28 + 8 * j[8]), (62, 34 + 5 * j[9], 42), -8)
        tip = ellipsoid(p, (42 + 12 * j[10], -56, 38), (56 + 10 * j[11], 18, 24), 12)
        whole = smooth_union(smooth_union(right, left, 18), tip, 14)
        # The visceral surface is pressed in from below and from the left.
        viscera = ellipsoid(p, (28 + 6 * j[12], 26, -72), (84, 78, 98), 0)
        return np.maximum(whole, -viscera - 4)

    def spleen(self, p: Place) -> Floats:
        j = self._jitter
        body = ellipsoid(p, (98 + 6 * j[13], 34, 26), (26 + 4 * j[14], 46 + 5 * j[15], 50 + 6 * j[16]), -28)
        hilum = ellipsoid(p, (64, 10, 22), (30, 34, 44), -28)
        return np.maximum(body, -hilum)

    def kidney(self, p: Place, side: int) -> Floats:
        """`side` is -1 for the right kidney, 1 for the left."""
        j = self._jitter
        size = 1 + 0.08 * j[17 + (side > 0)]
        centre = (side * 64.0, 50.0, -48.0 + 8 * (side > 0) + 8 * j[19])
        bean = ellipsoid(p, centre, (26 * size, 25 * size, 54 * size), side * 30)
        hilum = ellipsoid(p, (centre[0] - side * 22, centre[1] - 14, centre[2]), (14, 11, 15), side * 30)
        return np.maximum(bean, -hilum)

    def stomach(self, p: Place) -> Floats:
        j = self._jitter
        fundus = ellipsoid(p, (62 + 6 * j[20], 4, 40), (38 + 4 * j[21], 42, 36), -20)
        body = ellipsoid(p, (52, -34, 2), (34, 32 + 5 * j[22], 44), 15)
        return smooth_union(fundus, body, 22)
