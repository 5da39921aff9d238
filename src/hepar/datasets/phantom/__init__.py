"""Abdominal CT phantoms made by the package: deterministic, in HU, with true labels.

    ct, truth = make_phantom(DEMO)

A phantom shows what a radiologist expects between lung bases and kidneys, in
portal-venous phase: liver with branching veins, lesions of several sizes and a
cyst (a hard negative: liver, not tumour), spleen, kidneys, stomach, bowel,
great vessels, spine, ribs, body wall, table, blur and correlated noise. Results
on it are phantom evidence, never clinical.

Two shape families, "ellipsoid" and "lobed", draw body and organs from
different geometry; training uses the first, the demo the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from hepar.cases import Case
from hepar.datasets.phantom.anatomy import (
    Shapes,
    Tissue,
    paint_bowel,
    paint_great_vessels,
    paint_kidneys,
    paint_spine,
    paint_thorax,
    paint_trunk,
    paint_upper_left,
)
from hepar.datasets.phantom.canvas import Canvas, scanned
from hepar.datasets.phantom.ellipsoid import Ellipsoids
from hepar.datasets.phantom.liver import LesionPlan, paint_lesions, paint_liver
from hepar.datasets.phantom.lobed import Lobes
from hepar.errors import BadInput
from hepar.geometry import Geometry, Shape, Triple
from hepar.volume import LabelMap, Volume

Family = Literal["ellipsoid", "lobed"]
# From the lung bases to below the liver's tip.
SCAN_MM = 244.0
SMALLEST_LESION_MM, LARGEST_LESION_MM = 6.0, 56.0


@dataclass(frozen=True)
class PhantomSettings:
    """What the phantom shows; the same settings give the same voxels.

    `shape` and `spacing_mm` are (z, y, x). `lesions`: how many, None for
    0 to 8 by chance. `lesion_contrast_hu`: least and most HU below the liver.
    `enhancement` scales what contrast medium adds to vessels, spleen and
    kidneys (1: portal-venous phase). `girth` scales the body's width. The
    whole liver, its tumours included, has `liver_ml`. Raises BadInput when a
    number makes no body.
    """

    seed: int
    family: Family = "ellipsoid"
    spacing_mm: Triple = (5.0, 1.5, 1.5)
    shape: Shape = (48, 256, 256)
    lesions: int | None = None
    lesion_contrast_hu: tuple[float, float] = (20.0, 80.0)
    noise_hu: float = 12.0
    liver_hu: float = 108.0
    enhancement: float = 1.0
    liver_ml: float = 1500.0
    fat_mm: float = 18.0
    girth: float = 1.0

    def __post_init__(self) -> None:
        if self.family not in ("ellipsoid", "lobed"):
            raise BadInput(f"found the shape family {self.family!r}; use 'ellipsoid' or 'lobed'")
        if min(self.shape) < 8 or min(self.spacing_mm) <= 0:
            raise BadInput(f"a phantom of {self.shape} voxels of {self.spacing_mm} mm; use 8 or more, above 0 mm")
        if self.lesions is not None and not 0 <= self.lesions <= 40:
            raise BadInput(f"found {self.lesions} lesions; use 0 to 40, or None for a chance number")
        if not 0.7 <= self.girth <= 1.4:
            raise BadInput(f"found girth {self.girth}; use 0.7 (thin) to 1.4 (stout)")


# Its shape family is used for nothing else; training_settings draws "ellipsoid" only.
DEMO = PhantomSettings(
    seed=20_260_101,
    family="lobed",
    spacing_mm=(4.0, 1.5, 1.5),
    shape=(64, 256, 256),
    lesions=6,
    lesion_contrast_hu=(35.0, 65.0),
    noise_hu=11.0,
    liver_hu=112.0,
    liver_ml=1620.0,
    fat_mm=20.0,
)


def make_phantom(settings: PhantomSettings) -> tuple[Volume, LabelMap]:
    """The CT (int16 HU) and its truth on an axial LPS grid with its middle at the origin."""
    rng = np.random.default_rng(settings.seed)
    shapes: Shapes = Ellipsoids(rng) if settings.family == "ellipsoid" else Lobes(rng)
    tissue = _tissue(settings)
    # A stouter body is the same anatomy on a wider grid: painted in narrower millimetres.
    z, y, x = settings.spacing_mm
    painted_mm = (z, y / np.sqrt(settings.girth), x / settings.girth)
    canvas = Canvas(settings.shape, painted_mm, rng, warp_mm=4.5)
    below = paint_trunk(canvas, shapes, tissue, rng)
    paint_spine(canvas, rng)
    paint_thorax(canvas, below, tissue)
    paint_great_vessels(canvas, tissue)
    paint_kidneys(canvas, shapes, tissue)
    labels = paint_liver(canvas, shapes, tissue, settings.liver_ml / settings.girth**1.5, rng)
    paint_upper_left(canvas, shapes, tissue, rng)
    paint_bowel(canvas, rng)
    paint_lesions(canvas, labels, tissue, _lesion_plan(settings, rng), rng)
    grid = _centred_grid(settings.shape, settings.spacing_mm)
    notes = (f"phantom made by hepar (shape family {settings.family}, seed {settings.seed})",)
    return Volume(scanned(canvas, rng, settings.noise_hu), grid, notes), LabelMap(labels, grid)


def training_settings(count: int, seed: int) -> list[PhantomSettings]:
    """`count` different bodies of the family "ellipsoid": habitus, phase, liver, lesions, noise, field of view."""
    rng = np.random.default_rng(seed)
    return [_chance_body(rng) for _ in range(count)]


def cases(root: Path | None = None, *, count: int = 8, seed: int = 0) -> list[Case]:
    """`count` training phantoms as cases; each is a patient of its own. `root` is not needed and ignored."""
    del root
    return [
        phantom_case(settings, f"phantom{seed}-{number:03d}")
        for number, settings in enumerate(training_settings(count, seed))
    ]


def phantom_case(settings: PhantomSettings, name: str) -> Case:
    """One phantom as a case with the evidence label "phantom"."""
    return Case(
        id=name,
        patient=name,
        read_ct=partial(_ct, settings),
        read_truth=partial(_truth, settings),
        evidence="phantom",
    )


@lru_cache(maxsize=2)
def _made(settings: PhantomSettings) -> tuple[Volume, LabelMap]:
    return make_phantom(settings)


def _ct(settings: PhantomSettings) -> Volume:
    return _made(settings)[0]


def _truth(settings: PhantomSettings) -> LabelMap:
    return _made(settings)[1]


def _chance_body(rng: np.random.Generator) -> PhantomSettings:
    girth, fat_mm = float(rng.uniform(0.88, 1.12)), float(rng.uniform(8, 34))
    # The field of view follows the body, as at the scanner: widest girth, fat at the flanks, some air.
    field_mm = girth * 2 * (143 + 15 + 1.2 * fat_mm) + rng.uniform(25, 60)
    pixel_mm = round(float(field_mm) / 256, 3)
    least = float(rng.uniform(20, 45))
    slice_mm = float(rng.choice((4.0, 5.0, 5.0, 6.0)))
    return PhantomSettings(
        seed=int(rng.integers(1 << 31)),
        spacing_mm=(slice_mm, pixel_mm, pixel_mm),
        shape=(round(SCAN_MM / slice_mm), 256, 256),
        lesions=int(rng.integers(0, 9)),
        lesion_contrast_hu=(least, float(rng.uniform(least + 10, 80))),
        noise_hu=float(rng.uniform(8, 20)),
        liver_hu=float(rng.uniform(80, 130)),
        enhancement=float(rng.uniform(0.7, 1.25)),
        liver_ml=float(rng.uniform(1050, 2050)),
        fat_mm=fat_mm,
        girth=girth,
    )


def _tissue(settings: PhantomSettings) -> Tissue:
    e = settings.enhancement
    return Tissue(
        liver=settings.liver_hu,
        # Veins stand above the parenchyma in every phase drawn here.
        vessel=max(45 + 120 * e, settings.liver_hu + 25),
        spleen=48 + 75 * e,
        cortex=35 + 152 * e,
        medulla=32 + 108 * e,
        fat_mm=settings.fat_mm,
    )


def _lesion_plan(settings: PhantomSettings, rng: np.random.Generator) -> LesionPlan:
    """Sizes spread evenly over the logarithm, so that several lesions span all size classes."""
    count = int(rng.integers(0, 9)) if settings.lesions is None else settings.lesions
    steps = (np.arange(count) + rng.uniform(0.1, 0.9, count)) / max(count, 1)
    largest = LARGEST_LESION_MM * min(1.0, (settings.liver_ml / 1500) ** (1 / 3))
    diameters = np.sort(SMALLEST_LESION_MM * (largest / SMALLEST_LESION_MM) ** steps)[::-1]
    return LesionPlan(tuple(diameters.tolist()), settings.lesion_contrast_hu, cysts=int(rng.integers(0, 3)))


def _centred_grid(shape: Shape, spacing_mm: Triple) -> Geometry:
    origin: Sequence[float] = [-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True)]
    return Geometry.from_spacing(shape, spacing_mm, (origin[0], origin[1], origin[2]))
