"""The same evaluation by three programs: steps of one, each a name and what it takes and gives.

Dice, ASSD and 95 % Hausdorff distance of liver (with tumours) and tumour; and
lesions, matched where the program can, else only found.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRUCTURES = ("liver", "tumour")


class Watch:
    """Seconds of each named step, and the numbers that came out."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.numbers: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start
        return result


def hepar_evaluation(folder: Path) -> Watch:
    from hepar.io import read_labels
    from hepar.metrics.lesions import detection, find_lesions, match_lesions
    from hepar.metrics.overlap import counts
    from hepar.metrics.pair import pair_of
    from hepar.metrics.surface import assd_mm, hausdorff95_mm, hausdorff95_pooled_mm, mask_distances

    watch = Watch()
    truth, found = watch.time("read", lambda: [read_labels(folder / f"{name}.nii.gz") for name in ("truth", "found")])
    pair = watch.time("crop", lambda: pair_of(truth, found))
    for name in STRUCTURES:
        masks = pair.masks(name)
        watch.numbers[f"{name}_dice"] = watch.time("dice", lambda m=masks: counts(*m).dice)
        distances = watch.time("distances", lambda m=masks: mask_distances(*m, pair.scan))
        watch.numbers[f"{name}_assd_mm"] = watch.time("distances", lambda d=distances: assd_mm(d))
        watch.numbers[f"{name}_hd95_mm"] = watch.time("distances", lambda d=distances: hausdorff95_mm(d))
        watch.numbers[f"{name}_hd95_pooled_mm"] = hausdorff95_pooled_mm(distances)
    lesions = watch.time("lesions", lambda: [find_lesions(side) for side in (pair.truth, pair.found)])
    matches = watch.time("lesions", lambda: match_lesions(*lesions))
    watch.numbers |= {"true_lesions": len(lesions[0]), "found_lesions": len(lesions[1])}
    watch.numbers |= vars(detection(*lesions, matches))
    return watch


def medpy_evaluation(folder: Path) -> Watch:
    """medpy has no matching by IoU; finding the lesions is scipy's `label`, as medpy itself does it."""
    from medpy.metric import binary
    from scipy.ndimage import label

    watch = Watch()
    truth, found, spacing = watch.time("read", lambda: _nibabel(folder))
    for name, (here, there) in _masks(truth, found).items():
        watch.numbers[f"{name}_dice"] = watch.time("dice", lambda h=here, t=there: binary.dc(t, h))
        watch.numbers[f"{name}_assd_mm"] = watch.time("assd", lambda h=here, t=there: binary.assd(t, h, spacing))
        watch.numbers[f"{name}_hd95_pooled_mm"] = watch.time("hd95", lambda h=here, t=there: binary.hd95(t, h, spacing))
    watch.numbers["true_lesions"] = watch.time("lesions", lambda: label(truth == 2)[1])
    watch.numbers["found_lesions"] = watch.time("lesions", lambda: label(found == 2)[1])
    return watch


def monai_evaluation(folder: Path) -> Watch:
    """MONAI has no lesion matching; both structures go in one batch of two channels, as it wants them."""
    import torch
    from monai import metrics

    watch = Watch()
    truth, found, spacing = watch.time("read", lambda: _nibabel(folder))

    def channels(labels: NDArray[np.uint8]) -> Any:
        return torch.from_numpy(np.stack([labels >= 1, labels == 2]))[None]

    here, there = watch.time("channels", lambda: (channels(truth), channels(found)))
    whole = {"include_background": True}
    mm = whole | {"spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = {
            "dice": watch.time("dice", lambda: metrics.compute_dice(there, here, **whole)),
            "assd_mm": watch.time(
                "assd", lambda: metrics.compute_average_surface_distance(there, here, symmetric=True, **mm)
            ),
            "hd95_mm": watch.time("hd95", lambda: metrics.compute_hausdorff_distance(there, here, percentile=95, **mm)),
        }
    for measure, values in results.items():
        for name, value in zip(STRUCTURES, values[0].tolist(), strict=True):
            watch.numbers[f"{name}_{measure}"] = value
    return watch


PROGRAMS = {"hepar": hepar_evaluation, "medpy": medpy_evaluation, "monai": monai_evaluation}


def _nibabel(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, ...]]:
    """As users of both libraries read them; (z, y, x) like ours, so that numbers can be compared."""
    import nibabel

    images = [nibabel.load(folder / f"{name}.nii.gz") for name in ("truth", "found")]
    arrays = [np.ascontiguousarray(np.asarray(image.dataobj).T) for image in images]
    return arrays[0], arrays[1], tuple(float(s) for s in images[0].header.get_zooms()[::-1])


def _masks(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> dict[str, tuple[NDArray[np.bool_], ...]]:
    return {"liver": (truth >= 1, found >= 1), "tumour": (truth == 2, found == 2)}
