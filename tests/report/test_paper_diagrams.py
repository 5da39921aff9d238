"""Diagrams of the paper's Fig. 1 and Fig. 3: every step and layer is named, with its size."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

from hepar.report.paper_diagrams import Layer, PipelineStep, network_diagram, pipeline_diagram

LAYERS = [Layer("conv1", "conv 11x11 /4", 96, (176, 176)), Layer("pool1", "pool 3 /2", 96, (88, 88))]


def words(svg: str) -> set[str]:
    return {re.sub(r"<[^>]*>", "", text).strip() for text in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)}


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_every_step_is_named_with_its_picture_or_the_bars_of_its_layers():
    picture = np.full((20, 30), 200, np.uint8)
    drawn = pipeline_diagram([PipelineStep("CT", "in", picture), PipelineStep("Network", "through", layers=LAYERS)])
    without = pipeline_diagram([PipelineStep("CT", "in"), PipelineStep("Network", "through")])
    assert {"CT", "in", "Network", "through"} <= words(drawn.svg)
    assert (drawn.svg.count("<image"), without.svg.count("<image")) == (1, 0)
    boxes, bars = without.svg.count("patch_"), drawn.svg.count("patch_") - without.svg.count("patch_")
    assert boxes > bars == len(LAYERS)


def test_a_layer_says_its_name_kind_channels_and_size():
    drawn = network_diagram("fig3", "Fig. 3: a network", {"encoder": LAYERS, "decoder": LAYERS[:1]})
    assert {"conv1", "pool1", "conv 11x11 /4", "176x176", "88x88", "96", "encoder", "decoder"} <= words(drawn.svg)
    assert drawn.name == "fig3"
    assert "conv1 96, pool1 96, conv1 96" in drawn.said


def test_many_layers_go_on_in_a_row_of_their_own():
    short, long = (network_diagram("fig3", "Fig. 3", {"encoder": LAYERS[:1] * count}).png for count in (11, 12))
    assert size(short)[0] == size(long)[0]
    assert size(long)[1] > 1.5 * size(short)[1]


def test_the_same_layers_give_the_same_drawing():
    first, second = (network_diagram("fig3", "Fig. 3", {"encoder": LAYERS}) for _ in range(2))
    assert first.svg == second.svg
    assert first.png == second.png
