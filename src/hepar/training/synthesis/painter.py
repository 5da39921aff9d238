"""Lesions pasted into real training slices: `LesionPainter`, called once a slice and epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput
from hepar.training.synthesis.canvas import Canvas, new_grid
from hepar.training.synthesis.imitations import IMITATIONS
from hepar.training.synthesis.lesions import Lesion, draw_contrast, lognormal, mark, paint
from hepar.training.synthesis.liver import centre, look
from hepar.training.synthesis.sections import any_turn
from hepar.training.synthesis.settings import LESION_KINDS, LesionSynthesis
from hepar.training.synthesis.shapes import ShapeLibrary, invented_shapes


@dataclass(frozen=True, eq=False)
class LesionPainter:
    """Paints into copies; `real` are shapes of real lesions, of patients that train only (`shapes_from`)."""

    settings: LesionSynthesis = field(default_factory=LesionSynthesis)
    real: ShapeLibrary | None = None

    def __call__(
        self,
        images: NDArray[Any],
        labels: NDArray[np.uint8],
        pixel_mm: float,
        step_mm: float,
        rng: np.random.Generator,
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Images uint8 or float32 (channel, y, x), grey 0..255 for -40..160 HU, labels uint8 (y, x) of the middle one.

        Channels lie `step_mm` apart, from low to high. Gives new arrays of the same types,
        or the very ones passed in where nothing was painted: too little liver, or chance.
        Painted lesions get label 2 in the place of 1 (a bulging one of 0 too);
        imitations change no label. Real tumours keep their pixels. Raises BadInput on other shapes.
        """
        if images.ndim != 3 or images.shape[1:] != labels.shape or len(images) % 2 == 0:
            raise BadInput(
                f"images are {images.shape}, labels {labels.shape}; expected an odd number of channels "
                "(channel, y, x) with labels (y, x) of the middle one"
            )
        chosen = self.settings
        lesions, imitation = rng.random() < chosen.share, rng.random() < chosen.imitation_share
        if not (lesions or imitation):
            return images, labels
        grid = new_grid(images, pixel_mm, step_mm)
        liver = look(images[len(images) // 2], labels, grid, chosen.least_liver_cm2)
        if liver is None:
            return images, labels
        canvas = Canvas(images.copy(), labels.copy(), grid, liver)
        if imitation:
            weights = np.asarray(chosen.imitations) / sum(chosen.imitations)
            IMITATIONS[int(rng.choice(len(weights), p=weights))](canvas, invented_shapes(), rng)
        if lesions:
            self._lesions(canvas, rng)
        return canvas.images, canvas.labels

    def _lesions(self, canvas: Canvas, rng: np.random.Generator) -> None:
        chosen = self.settings
        weights = np.asarray(chosen.counts) / sum(chosen.counts)
        count = 1 + int(rng.choice(len(weights), p=weights))
        # Lesions of one patient resemble each other: one kind and contrast for the slice, varied a little.
        kinds = np.asarray(chosen.kinds) / sum(chosen.kinds)
        kind = LESION_KINDS[int(rng.choice(len(kinds), p=kinds))]
        contrast = draw_contrast(kind, canvas.liver.grey, chosen, rng)
        painted: list[Lesion] = []
        for _ in range(count):
            lesion = self._draw(canvas, painted, (kind, contrast * rng.uniform(0.8, 1.2)), rng)
            if lesion is not None:
                mark(canvas, paint(canvas, lesion, chosen, rng))
                painted.append(lesion)

    def _draw(
        self, canvas: Canvas, painted: list[Lesion], looks: tuple[str, float], rng: np.random.Generator
    ) -> Lesion | None:
        chosen, grid = self.settings, canvas.grid
        low, high = chosen.diameter_range_mm
        diameter = chosen.diameter_mm * math.exp(rng.normal(0, chosen.diameter_spread))
        # No wider than the liver of this slice, and smaller ones beside the first.
        liver_mm = math.sqrt(np.count_nonzero(canvas.liver.mask)) * grid.pixel_mm
        diameter = min(max(low, diameter), high, 1.1 * liver_mm) * (0.7 if painted else 1)
        radius, satellite = 0.5 * max(low, diameter), rng.random() < chosen.satellites
        at: tuple[float, float] | None
        if painted and satellite:
            first, angle = painted[0], rng.uniform(0, 2 * math.pi)
            apart = (first.radius_mm + radius + rng.uniform(-1, 8)) / grid.pixel_mm
            at = (first.y + apart * math.sin(angle), first.x + apart * math.cos(angle))
            if not (0 <= at[0] < grid.shape[0] and 0 <= at[1] < grid.shape[1]):
                return None
        else:
            at = centre(canvas.liver, canvas.labels, radius / grid.pixel_mm, satellite, rng)
        if at is None:
            return None
        edge = min(lognormal(chosen.edge_mm, rng), 1.5 * radius)
        kind, contrast = looks
        return Lesion(
            at[0],
            at[1],
            z_mm=radius * rng.uniform(-0.85, 0.85),
            radius_mm=radius,
            field=self._field(rng),
            turn=any_turn(rng),
            kind=kind,
            contrast=contrast,
            edge_mm=min(edge, 2.0) if kind == "cystic" else edge,
            bulges_mm=rng.uniform(2, 6) if rng.random() < chosen.bulging else 0.0,
            calcified=rng.random() < chosen.calcified,
        )

    def _field(self, rng: np.random.Generator) -> Any:
        real = self.real is not None and len(self.real) > 0 and rng.random() < self.settings.real_shapes
        shapes = self.real if real and self.real is not None else invented_shapes()
        return shapes.fields[int(rng.integers(len(shapes)))]
