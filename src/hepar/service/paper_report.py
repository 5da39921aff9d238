"""A study of the paper as one offline page, with its tables and figures as files beside it.

    write_paper(Path("study"), Path("paper"), data=Path("LITS"))

`data` brings the CTs for Fig. 2 and Fig. 5; without it a phantom stands in for
real CT, and both figures say so. Fig. 1 always shows a phantom.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import hepar
from hepar.files import replace_whole, write_text
from hepar.preprocess import EqualizeHistogram, MedianInPlane, Window
from hepar.report.paper_diagrams import Layer, PipelineStep, network_diagram, pipeline_diagram
from hepar.report.paper_figures import Curve, Drawing, figure5, training_curves
from hepar.report.paper_page import Captioned, Shown, paper_page
from hepar.report.preprocessing_figure import ZoomBox, preprocessing_figure
from hepar.service.paper_example import Example, arm_slices, example_of, shot_of, stand_in
from hepar.study.reproduce.documents import PaperDocuments, paper_documents
from hepar.study.reproduce.writing import write_tables
from hepar.volume import Volume

SIDE = 512
PAPER_WINDOW = (-100.0, 400.0)
# Of the slice's larger side that Fig. 2 enlarges.
ZOOM = 1 / 6
LABEL_COLOURS = np.array([(0, 0, 0), (0, 158, 115), (213, 94, 0)], np.uint8)
Networks = dict[str, dict[str, list[Layer]]]


def write_paper(study: Path, out: Path, data: Path | None = None) -> Path:
    """Tables, figures and `index.html` in `out`; gives the page. Raises BadInput when `study` is none."""
    documents = paper_documents(study)
    example = example_of(documents, data)
    written = write_tables(documents, out)
    figures = _figures(documents, example)
    for drawing in (figure.drawing for figure in figures):
        with replace_whole(out / f"{drawing.name}.png") as temporary:
            temporary.write_bytes(drawing.png)
        write_text(out / f"{drawing.name}.svg", _standing_alone(drawing.svg))
    shown = Shown(figures, [path.name for path in written], hepar.__version__)
    write_text(out / "index.html", paper_page(documents, shown))
    return out / "index.html"


def _figures(documents: PaperDocuments, example: Example) -> list[Captioned]:
    window = _window(documents)
    grey = Window(*window)(example.ct)
    networks, counts = _networks()
    shot, box = shot_of(example, grey)
    what = f"{example.banner[:1].upper()}{example.banner[1:]}. " if example.banner else ""
    found = [
        Captioned(
            figure5(shot, arm_slices(documents, example, box)),
            f"Fig. 5: liver above, tumour below. {what}Filled: found; white line: truth. Dice is of this slice alone. "
            f"Shown: {example.rule}.",
        ),
        Captioned(
            training_curves(_curves(documents)),
            "Training loss of each network by epoch. Dashed: not converged, supports no claim.",
        ),
        Captioned(
            _figure2(grey, example, window),
            f"Fig. 2: preprocessing; below each stage its red box enlarged, pixel by pixel. {what}Shown: "
            f"{example.rule}.",
        ),
        Captioned(
            pipeline_diagram(_pipeline(window, networks)),
            "Fig. 1: from a slice to its label map, on a phantom; score maps and label map are the phantom's truth.",
        ),
    ]
    for name, parts in networks.items():
        skips = "; pool1 and pool2 are scored too and added to the upsampled scores" if name == "CDNN-Alex" else ""
        found.append(
            Captioned(
                network_diagram(
                    "fig3" if name == "CDNN-Alex" else "fig3_resnet18",
                    f"Fig. 3: {name}, {counts[name] / 1e6:.2f} M weights, for a slice of {SIDE} x {SIDE}", parts,
                ),
                f"Fig. 3: layers of {name} as built, with channels and size of what each gives{skips}. Heights are "
                "logarithmic.",
            )
        )  # fmt: skip
    return found


def _window(documents: PaperDocuments) -> tuple[float, float]:
    """The HU window of the study's slices, or the one that the arms ask for."""
    low, high = documents.facts.get("window_hu") or PAPER_WINDOW
    return float(low), float(high)


def _figure2(grey: Volume, example: Example, window: tuple[float, float]) -> Drawing:
    equalised = EqualizeHistogram()(grey)
    start = f"window {window[0]:g} to {window[1]:g} HU" + (f" ({example.banner})" if example.banner else "")
    stages = [
        (start.replace("-", "\N{MINUS SIGN}"), grey.values[0]),
        ("histogram equalised", equalised.values[0]),
        ("median filtered, 3 x 3", MedianInPlane()(equalised).values[0]),
    ]
    spacing = grey.geometry.spacing_mm
    picture = preprocessing_figure(stages, (spacing[1], spacing[2]), _zoom(example.truth))
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    said = f"Fig. 2. {example.banner} Stages: {', '.join(caption for caption, _ in stages)}; each with a box enlarged"
    return Drawing("fig2", _as_svg(file.getvalue(), picture.size, said), file.getvalue(), said)


def _zoom(truth: NDArray[np.uint8]) -> ZoomBox | None:
    """A box around the middle of what is tumour, or left to the figure where there is none."""
    if not (truth > 1).any():
        return None
    side = max(2, round(ZOOM * max(truth.shape)))
    row, column = (int(np.median(at)) - side // 2 for at in np.nonzero(truth > 1))
    most = [length - side for length in truth.shape]
    return ZoomBox(min(max(row, 0), most[0]), min(max(column, 0), most[1]), side)


def _as_svg(png: bytes, size: tuple[int, int], said: str) -> str:
    """A picture as an <svg> element, for whom a page or a paper wants one."""
    width, height = size
    data = base64.b64encode(png).decode()
    return (
        f'<svg role="img" aria-label="{said}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" xlink:href="data:image/png;base64,{data}"/></svg>'
    )


def _pipeline(window: tuple[float, float], networks: Networks) -> Sequence[PipelineStep]:
    case = stand_in()
    truth = case.truth.axial().labels
    index = int((truth > 1).sum(axis=(1, 2)).argmax())
    grey = Window(*window)(case.ct.axial().slab(index, index + 1))
    prepared = MedianInPlane()(EqualizeHistogram()(grey))
    labels = truth[index]
    rows, columns = (slice(at.min(), at.max() + 1) for at in np.nonzero(grey.values[0] > 0))
    scores = np.concatenate([np.pad(255 * (labels[rows, columns] == k), 2, constant_values=110) for k in range(3)])
    layers = [layer for part in next(iter(networks.values()), {}).values() for layer in part]
    span = f"{window[0]:g} to {window[1]:g} HU".replace("-", "\N{MINUS SIGN}")
    return [
        PipelineStep("CT slice", f"window {span}", grey.values[0][rows, columns].astype(np.uint8)),
        PipelineStep("Preprocessing", "histogram equalisation,\nmedian 3 x 3",
                     prepared.values[0][rows, columns].astype(np.uint8)),
        PipelineStep("Encoder, decoder", "CDNN-Alex (drawn) or\nCDNN-ResNet18", layers=layers),
        PipelineStep("Pixel classification", "softmax: background,\nliver, tumour", scores.astype(np.uint8)),
        PipelineStep("Label map", "liver and tumour\nat once", LABEL_COLOURS[labels[rows, columns]]),
    ]  # fmt: skip


def _curves(documents: PaperDocuments) -> list[Curve]:
    """Losses of every network that a finished cell trained."""
    found = []
    for arm in documents.arms.values():
        for cell in arm.cells:
            if cell.facts["trained_by"] is None:
                loss = cell.facts["loss"]
                parts = loss if isinstance(loss, dict) else {"": loss}
                steps = {"with": "with preprocessing", "without": "without preprocessing"}.get(
                    arm.preprocessing, f"{arm.preprocessing} only"
                )
                found += [
                    Curve(
                        f"{arm.title}{f' ({part})' if part else ''},\n{steps}", int(cell.facts["fold"]), tuple(own),
                        bool(cell.facts["converged"]),
                    )
                    for part, own in parts.items()
                ]  # fmt: skip
    return found


def _networks() -> tuple[Networks, dict[str, int]]:
    """Layers of the paper's two networks by part, and their weights; none where torch is not installed."""
    try:
        from hepar.nets.cdnn_alex import CdnnAlex
        from hepar.nets.cdnn_resnet18 import CdnnResnet18
        from hepar.nets.shapes import shape_of
    except ImportError:
        return {}, {}
    shapes = {"CDNN-Alex": shape_of(CdnnAlex(), (SIDE, SIDE)), "CDNN-ResNet18": shape_of(CdnnResnet18(), (SIDE, SIDE))}
    layers = {
        name: {part: [Layer(*one) for one in getattr(shape, part)] for part in ("encoder", "decoder")}
        for name, shape in shapes.items()
    }
    return layers, {name: shape.parameters for name, shape in shapes.items()}


def _standing_alone(svg: str) -> str:
    """An <svg> element of a page as a file of its own."""
    return svg.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ', 1
    )
