"""AlexNet features, a window of 4000 HU and Gaussian smoothing afterwards (Korabelnikov et al. 2016).

The original text was not at hand; this is how Elmenabawy et al. re-ran it for
their Table 2: CDNN-Alex on slices clipped to -2000..2000 HU, neither equalised
nor median-filtered, and a Gaussian of variance 0.25 afterwards. Smoothed are
the class probabilities of each slice (the paper does not say what); the kernel
is MATLAB's `imgaussfilt` of sigma 0.5, 3 x 3 pixels. The smoothing happens in
the segmenter that `load` gives; a bare model folder labels without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.inference import SlabSegmenter, load_segmenter
from hepar.inference.segmenter import Progress
from hepar.methods._card import Choices, MethodCard, Published
from hepar.methods.cdnn_alex import network
from hepar.preprocess import Window
from hepar.training.deep_method import DeepMethod
from hepar.training.recipe import LITERAL, PRACTICAL
from hepar.volume import Volume

SIGMA_PX = 0.5
# Keeps the logarithm finite; far below any probability that decides.
LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class SmoothedSegmenter(SlabSegmenter):
    """Class probabilities smoothed in each slice, `sigma_px` pixels of the scan, before the labels are decided."""

    sigma_px: float = SIGMA_PX

    def scores(self, ct: Volume, progress: Progress | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for start, logits in super().scores(ct, progress):
            yield start, np.log(np.maximum(smoothed(probabilities(logits), self.sigma_px), LEAST))


@dataclass(frozen=True)
class SmoothedMethod(DeepMethod):
    """A slice network whose probabilities are smoothed afterwards."""

    sigma_px: float = SIGMA_PX

    def load(self, folder: Path) -> SlabSegmenter:
        return smoothing(load_segmenter(folder / "model"), self.sigma_px)

    def to_json(self) -> dict[str, Any]:
        own = super().to_json()
        return own | {"clean": [f"gaussian on probabilities, sigma {self.sigma_px} px", *own["clean"]]}


def smoothing(segmenter: SlabSegmenter, sigma_px: float = SIGMA_PX) -> SmoothedSegmenter:
    """The same network, smoothed afterwards."""
    own = {field.name: getattr(segmenter, field.name) for field in fields(SlabSegmenter)}
    return SmoothedSegmenter(**own | {"name": f"{segmenter.name}, gaussian {sigma_px} px"}, sigma_px=sigma_px)


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over axis 1 of (slices, class, y, x)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def smoothed(values: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Gaussian of each (y, x) plane, edges repeated, cut off at 2 sigma as `imgaussfilt` does."""
    from scipy.ndimage import gaussian_filter1d

    for axis in (-2, -1):
        values = gaussian_filter1d(values, sigma_px, axis=axis, mode="nearest", radius=int(np.ceil(2 * sigma_px)))
    return values


method = SmoothedMethod(network, prepare=(Window(-2000, 2000),), recipe=PRACTICAL)
variants = {
    "literal": replace(method, recipe=LITERAL),
    "sigma1": replace(method, sigma_px=1.0),
    "sigma2": replace(method, sigma_px=2.0),
}

CARD = MethodCard(
    title="Liver tumor segmentation CT data based on Alexnet-like convolution neural nets",
    authors="Korabelnikov, Kolsanov, Zelter, Bychenkov, Nikonorov",
    year=2016,
    kind="2D joint",
    input="one slice of 512 x 512, +-2000 HU",
    published=(
        Published(
            "liver", 0.887, "LiTS, 130 CTs in 4 folds (97/33)", "as Elmenabawy et al. ran it again; older than LiTS"
        ),
        Published("tumour", 0.599, "LiTS, 130 CTs in 4 folds (97/33)", "the same"),
    ),
    choices=Choices(
        documented=("AlexNet's features, window of 4000 HU", "Gaussian smoothing of variance 0.25 afterwards"),
        recommended=(
            "the network and recipe of cdnn_alex",
            "smoothed are probabilities, not labels; a kernel of 3 x 3 pixels",
        ),
    ),
    parameters=56_881_577,
)
