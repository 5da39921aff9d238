"""Lesions synthesised in real livers: slices and labels in, slices and labels out. numpy and scipy only."""

from hepar.training.synthesis.painter import LesionPainter
from hepar.training.synthesis.settings import IMITATION_KINDS, LESION_KINDS, LesionSynthesis
from hepar.training.synthesis.shapes import ShapeLibrary, invented_shapes, shapes_from

__all__ = [
    "IMITATION_KINDS",
    "LESION_KINDS",
    "LesionPainter",
    "LesionSynthesis",
    "ShapeLibrary",
    "invented_shapes",
    "shapes_from",
]
