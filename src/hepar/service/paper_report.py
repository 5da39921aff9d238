"""A study of the paper as one offline page, with its tables and figures as files beside it.

    write_paper(Path("study"), Path("paper"), data=Path("LITS"))

`data` brings the CTs for Fig. 2 and Fig. 5; without it a study of phantoms
makes its phantoms again, and one of real CT goes without those two figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hepar
from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import replace_whole, write_text
from hepar.io import read_labels
from hepar.preprocess import EqualizeHistogram, MedianInPlane, Window
from hepar.report.paper_figures import (
    ArmSlice,
    Curve,
    Drawing,
    Layer,
    figure5,
    network_diagram,
    pipeline_diagram,
    training_curves,
)
from hepar.report.paper_page import Shown, paper_page
from hepar.study.reproduce.arm_results import MEASURES, ArmResult
from hepar.study.reproduce.documents import PaperDocuments, paper_documents
from hepar.study.reproduce.protocol import data_cases
from hepar.study.reproduce.published import TABLE1
from hepar.study.reproduce.writing import write_tables
from hepar.volume import Volume

Arms = Mapping[tuple[str, str], ArmResult]
# Of the picture around the liver, in mm.
MARGIN_MM = 25.0
PIPELINE = (
    ("CT slice", "grey values in HU"),
    ("Preprocessing", "window, histogram\nequalisation, median 3x3"),
    ("Encoder, decoder", "CDNN-Alex or\nCDNN-ResNet18"),
    ("Softmax", "a pixel at a time,\nthree labels"),
    ("Label map", "background, liver,\ntumour"),
)


@dataclass(frozen=True, eq=False)
class Example:
    """The slice that Fig. 2 and 5 show, and by which rule it was chosen."""

    case: Case
    index: int
    rule: str


def write_paper(study: Path, out: Path, data: Path | None = None) -> Path:
    """Tables, figures and `index.html` in `out`; gives the page. Raises BadInput when `study` is none."""
    documents = paper_documents(study)
    written = write_tables(documents, out)
    drawings = [pipeline_diagram(PIPELINE), *_network(), training_curves(_curves(documents))]
    example = _example(documents, _cases(documents, data))
    if example:
        drawings += _pictures(documents, example)
    for drawing in drawings:
        with replace_whole(out / f"{drawing.name}.png") as temporary:
            temporary.write_bytes(drawing.png)
        if drawing.svg:
            write_text(out / f"{drawing.name}.svg", _standing_alone(drawing.svg))
    rule = example.rule if example else "no CT at hand: give --data, and the study's predictions must still be there"
    shown = Shown(drawings, rule, [path.name for path in written], hepar.__version__)
    write_text(out / "index.html", paper_page(documents, shown))
    return out / "index.html"


def _cases(documents: PaperDocuments, data: Path | None) -> dict[str, Case]:
    """The study's cases by id; none where no CT is at hand. Raises BadInput for data that lack them."""
    order: dict[str, Any] = documents.facts["order"]
    phantoms = int(order.get("phantoms") or 0)
    if data is None and not phantoms:
        return {}
    found = {case.id: case for case in data_cases(data, phantoms, "full", int(order.get("seed") or 0))}
    if not set(documents.facts["cases"]) & found.keys():
        raise BadInput("the data hold none of the study's cases; give the folder that it was made with")
    return found


def _example(documents: PaperDocuments, cases: Mapping[str, Case]) -> Example | None:
    """The slice with most tumour of the patient whose tumour DSC is the median one of the proposed arm."""
    arm = documents.arms["cdnn_alex", "with"]
    measure = MEASURES[2]
    values = {
        case: scores.value(measure.spec)
        for cell in arm.cells
        for case, scores in cell.scores("all_slices", measure.protocol).items()
        if case in cases and cell.prediction(case).is_file()
    }
    known = sorted((value, case) for case, value in values.items() if not np.isnan(value))
    if not known:
        return None
    case = cases[known[len(known) // 2][1]]
    area = (case.truth.axial().labels > 1).sum(axis=(1, 2))
    rule = (
        f"{case.id}, slice {int(area.argmax()) + 1} of {len(area)}: the slice with most tumour of the patient whose "
        "tumour DSC is the median one of CDNN-Alex with preprocessing"
    )
    return Example(case, int(area.argmax()), rule)


def _pictures(documents: PaperDocuments, example: Example) -> list[Drawing]:
    """Fig. 2 and Fig. 5 of the example."""
    ct, truth = example.case.ct.axial(), example.case.truth.axial()
    box = _around(truth.labels[example.index] > 0, ct.geometry.spacing_mm)
    window = documents.facts.get("window_hu") or (-100, 400)
    piece = ct.slab(example.index, example.index + 1)
    grey = Window(*window)(piece)
    arms = [
        ArmSlice(f"{row.title}, {row.preprocessing}", _found(documents.arms[row.arm, row.preprocessing], example))
        for row in TABLE1
    ]
    cut = [ArmSlice(arm.title, None if arm.labels is None else arm.labels[box]) for arm in arms]
    spacing = (ct.geometry.spacing_mm[1], ct.geometry.spacing_mm[2])
    return [_figure2(grey, spacing), figure5(grey.values[0][box], truth.labels[example.index][box], cut, spacing)]


def _figure2(grey: Volume, spacing: tuple[float, float]) -> Drawing:
    import io

    from hepar.report.preprocessing_figure import preprocessing_figure

    equalised = EqualizeHistogram()(grey)
    stages = [
        ("windowed", grey.values[0]),
        ("histogram equalised", equalised.values[0]),
        ("median filtered 3x3", MedianInPlane()(equalised).values[0]),
    ]
    picture = io.BytesIO()
    preprocessing_figure(stages, spacing).save(picture, format="PNG")
    return Drawing("fig2", "", picture.getvalue(), "Fig. 2: windowed, equalised and filtered, with a box enlarged")


def _found(arm: ArmResult, example: Example) -> NDArray[np.uint8] | None:
    """What the arm found in the example's slice; None where it was not run or its label file is gone."""
    for cell in arm.cells:
        path = cell.prediction(example.case.id)
        if path.is_file():
            return np.asarray(read_labels(path).axial().labels[example.index])
    return None


def _around(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> tuple[slice, slice]:
    """Rows and columns of the liver with a margin."""
    box = []
    for axis in (0, 1):
        at = np.flatnonzero(mask.any(axis=1 - axis))
        more = int(MARGIN_MM / spacing_mm[1 + axis])
        box.append(slice(max(0, int(at[0]) - more), int(at[-1]) + 1 + more))
    return box[0], box[1]


def _curves(documents: PaperDocuments) -> list[Curve]:
    """Losses of every network that a finished cell trained."""
    found = []
    for arm in documents.arms.values():
        for cell in arm.cells:
            if cell.facts["trained_by"] is None:
                loss = cell.facts["loss"]
                parts = loss if isinstance(loss, dict) else {"": loss}
                title = f"{arm.title}, {arm.preprocessing}"
                found += [
                    Curve(f"{title} {part}".strip(), int(cell.facts["fold"]), tuple(own), bool(cell.facts["converged"]))
                    for part, own in parts.items()
                ]
    return found


def _network() -> list[Drawing]:
    """Fig. 3 of the real network; nothing where torch is not installed."""
    try:
        from hepar.nets.cdnn_alex import CdnnAlex
        from hepar.nets.shapes import layers_of
    except ImportError:
        return []
    layers = [Layer(*one) for one in layers_of(CdnnAlex().build(seed=0), (512, 512))]
    return [network_diagram(layers, "Fig. 3: CDNN-Alex, for a slice of 512 x 512")]


def _standing_alone(svg: str) -> str:
    """An <svg> element of a page as a file of its own."""
    return svg.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ', 1
    )
