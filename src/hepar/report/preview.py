"""The paper's Fig. 2 for any slice of a scan: what preprocessing does to it."""

from __future__ import annotations

from pathlib import Path

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.preprocess import EqualizeHistogram, MedianInPlane, Window
from hepar.preprocess.intensity import Variant
from hepar.report.preprocessing_figure import preprocessing_figure
from hepar.volume import Volume


def write_preview(ct: Volume, index: int, path: Path, variant: Variant = "matlab") -> None:
    """A PNG of three panels: windowed, equalised, median filtered, each with its red zoom box.

    `index` is an axial slice counted from the feet. Raises BadInput when the
    scan has no such slice, OutputError when the picture cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise OutputError(f"'{path.name}' is not a .png name; the figure is written as PNG")
    axial = ct.axial()
    count = axial.geometry.shape[0]
    if not 0 <= index < count:
        raise BadInput(f"slice {index} is not in the scan; it has slices 0 to {count - 1}")
    windowed = Window()(axial.slab(index, index + 1))
    equalised = EqualizeHistogram(variant)(windowed)
    smoothed = MedianInPlane()(equalised)
    stages = [
        ("windowed to -100..400 HU", windowed.values[0]),
        ("histogram equalised", equalised.values[0]),
        ("median filtered 3x3", smoothed.values[0]),
    ]
    figure = preprocessing_figure(stages, axial.geometry.spacing_mm[1:])
    with replace_whole(path) as temporary:
        figure.save(temporary, format="PNG")
