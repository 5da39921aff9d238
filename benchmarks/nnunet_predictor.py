"""nnU-Net v2's own predictor on one scan, with a 2D network of a stated number of operations and random weights.

    ENVIRONMENT/bin/python benchmarks/nnunet_predictor.py CT.nii.gz OUT_FOLDER --gflop 15.8

Runs in an environment of its own (`python -m venv ENVIRONMENT; ENVIRONMENT/bin/pip install nnunetv2`) without
hepar. A plain convolutional U-Net as nnU-Net plans it for 512 x 512 (eight stages, two convolutions each), its
width chosen so that one slice costs `--gflop`; one tile a slice, no mirroring, no worker processes, and the
scan's own spacing as the plan's, so that nothing is resampled: all in its favour. Weights do not change the time.
Prints JSON: seconds from reading to the written labels (imports and the network's building not counted), and the
network's operations.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

PATCH, STAGES, MOST_FEATURES = 512, 8, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ct", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gflop", type=float, required=True, help="Of one slice of 512 x 512.")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--side", type=int, default=PATCH, help="Pixels of a tile; smaller only to try this out.")
    order = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        # It warns about folders that prediction does not use.
        os.environ.update({f"nnUNet_{name}": scratch for name in ("raw", "preprocessed", "results")})
        with contextlib.redirect_stdout(io.StringIO()):
            facts = predicted(order)
    print(json.dumps(facts))


def predicted(order: argparse.Namespace) -> dict[str, Any]:
    import nibabel
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    if order.threads:
        torch.set_num_threads(order.threads)
    base = base_features(order.gflop, order.side)
    network = unet(base, order.side).eval()
    spacing_mm = [float(mm) for mm in nibabel.load(order.ct).header.get_zooms()[::-1]]
    plans = PlansManager(plan(spacing_mm, order.side))
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    labels = {"background": 0, "liver": 1, "tumour": 2}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    predictor.manual_initialization(
        network, plans, plans.get_configuration("2d"), [network.state_dict()], dataset, "nnUNetTrainer", None
    )
    target = str(order.out / "labels")
    started = time.perf_counter()
    predictor.predict_from_files_sequential([[str(order.ct)]], [target], save_probabilities=False, overwrite=True)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "gflop": gflop(network, order.side), "features": base, "labels": f"{target}.nii.gz"}


def base_features(target: float, side: int) -> int:
    """Channels of the first stage with which a slice's operations are closest to `target` GFLOP."""
    import torch

    with torch.device("meta"):  # sizes only: nothing is computed
        return min(range(2, 65), key=lambda base: abs(gflop(unet(base, side), side, "meta") - target))


def unet(base: int, side: int) -> Any:
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    torch.manual_seed(0)
    # As the planner: halved until four pixels are left.
    stages = min(STAGES, side.bit_length() - 2)
    features = [min(MOST_FEATURES, base * 2**stage) for stage in range(stages)]
    return PlainConvUNet(
        1, stages, features, torch.nn.Conv2d, 3, [1] + [2] * (stages - 1), 2, 3, 2, conv_bias=True,
        norm_op=torch.nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True}, deep_supervision=False,
    )  # fmt: skip


def gflop(network: Any, side: int, device: str = "cpu") -> float:
    """Of one slice: convolutions, a multiplication and its addition as two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 1, side, side, device=device))
    return float(counter.get_total_flops()) / 1e9


def plan(spacing_mm: list[float], side: int) -> dict[str, Any]:
    resampling: dict[str, Any] = {}
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        settings = {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{what}_kwargs"] = settings
    configuration = {
        "data_identifier": "nnUNetPlans_2d", "preprocessor_name": "DefaultPreprocessor", "batch_size": 12,
        "patch_size": [side, side], "median_image_size_in_voxels": [float(side)] * 2, "spacing": spacing_mm[1:],
        "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False], "batch_dice": True,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {}, "_kw_requires_import": [],
        },
    }  # fmt: skip
    intensity = {"max": 3000.0, "mean": 96.0, "median": 98.0, "min": -1000.0, "percentile_00_5": -40.0,
                 "percentile_99_5": 200.0, "std": 40.0}  # fmt: skip
    return {
        "dataset_name": "Dataset001_Liver", "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing_mm, "original_median_shape_after_transp": [300, side, side],
        "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "configurations": {"2d": configuration | resampling}, "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager", "foreground_intensity_properties_per_channel": {"0": intensity},
    }  # fmt: skip


if __name__ == "__main__":
    main()
