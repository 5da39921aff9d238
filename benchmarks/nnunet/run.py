"""The peer: nnU-Net v2, 2D, on hepar's training patients, with hepar's wall clock, judged by `hepar evaluate`.

    python benchmarks/nnunet/run.py pack ../shared/data/lits512 ../shared/data/slices256 \\
        --folds studies/folds_all.json --fold 0 --work runs/nnunet_fold0
    python benchmarks/nnunet/run.py plan  --work runs/nnunet_fold0
    python benchmarks/nnunet/run.py speed --work runs/nnunet_fold0
    python benchmarks/nnunet/run.py train --work runs/nnunet_fold0 --minutes 60
    python benchmarks/nnunet/run.py predict ../shared/data/lits512 ../shared/data/ct \\
        --folds studies/folds_all.json --fold 0 --work runs/nnunet_fold0 --references \\
        --scan ircad07 lits034 ../shared/data/dicom/ircad07_PATIENT_DICOM.zip ../shared/data/ct/ircad07_label.nii.gz
    hepar evaluate runs/nnunet_fold0/references nnunet=runs/nnunet_fold0/predictions \\
        --patients runs/nnunet_fold0/patients.csv

Needs an environment with both: `pip install nnunetv2` beside `pip install -e ".[train]"`, best one of its own. All
of nnU-Net's folders lie in the work folder. Each piece goes on where it was stopped; `train --piece-minutes` ends a
piece by itself.

**Same data.** `pack` writes the cases that `hepar train` with the same folders, folds and fold trains on: every one,
also those that hepar holds back to steer its training. Grey values are as hepar reads them (HU -40..160 in lits512,
0..255 in slices256). Where a label says "liver or tumour" (`liver_union`), the pixel carries nnU-Net's ignore label.
nnU-Net as it is would learn background alone from those cases, three of five, so its loss is given hepar's reading:
-log(p1 + p2) in the cross-entropy, nothing in the Dice term. `--union ignore` trains nnU-Net as it is.

**Same time, same device.** Wall minutes of training, one thread (`--threads`), augmentation in the same thread.
On a machine that others use as well, `--count worked` counts the minutes that the processor gave this process;
peer.json has both. nnU-Net's polynomial schedule follows the clock, so it ends at 0 when the time is up; epochs are
cut to about two minutes. Reading the plan and the first batch are not counted. On a CPU nnU-Net computes in fp32:
`speed` measures bf16 and channels-last memory too, and the fastest trains. With glibc, a quarter of the time goes
into memory given back and asked for again; MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 in the
environment keeps it.

**nnU-Net's own**: default planner (spacing, patch, batch, network, normalisation), sampling, augmentation, loss,
optimiser, prediction with overlapping tiles (step .5) and mirroring (`--no-mirroring`). All patients train (fold
"all"), and the final weights predict: nothing is chosen by looking at test patients. Test scans are clipped to
-40..160 HU, the window of hepar's network and of lits512. hepar's post-processing is not applied. The planned batch
is meant for a GPU and many hours; `--batch` takes another.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import io
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from clock import Clock, iterations_per_epoch
from packing import DATASET, NAME, pack

from hepar import files
from hepar.cases import Case, load_folds
from hepar.datasets import open_cases
from hepar.errors import BadInput
from hepar.io import read, read_labels, write
from hepar.volume import LabelMap

CONFIGURATION, PLANS = "2d", "nnUNetPlans"
WINDOW_HU = (-40, 160)
# fp32 is what nnU-Net does on a CPU by itself.
WAYS = {
    "bf16 channels_last": {"bf16": True, "channels_last": True},
    "bf16": {"bf16": True, "channels_last": False},
    "fp32": {"bf16": False, "channels_last": False},
}


def main() -> None:
    order = arguments()
    # Before torch and nnU-Net are imported, which read these once. Without processes for augmentation the training's
    # own thread augments; the planner takes the same number for threads, of which it needs one.
    settings = {
        "OMP_NUM_THREADS": order.threads,
        "nnUNet_n_proc_DA": int(order.piece is plan),
        "nnUNet_def_n_proc": 1,
    }
    for name in ("raw", "preprocessed", "results"):
        (order.work / name).mkdir(parents=True, exist_ok=True)
        settings[f"nnUNet_{name}"] = (order.work / name).resolve()
    os.environ.update({name: str(value) for name, value in settings.items()})
    order.piece(order)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    pieces = parser.add_subparsers(required=True)
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("data", type=Path, nargs="+", help="Folders of data sets.")
    data.add_argument("--folds", type=Path, required=True)
    data.add_argument("--fold", type=int, default=0)
    for piece in (pack_fold, plan, speed, train, predict):
        name = piece.__name__.removesuffix("_fold")
        parents = [data] if piece in (pack_fold, predict) else []
        mine = pieces.add_parser(name, help=(piece.__doc__ or "").splitlines()[0], parents=parents)
        mine.set_defaults(piece=piece)
        mine.add_argument("--work", type=Path, required=True, help="Folder of this fold.")
        mine.add_argument("--threads", type=int, default=1)
        if piece is train:
            mine.add_argument("--minutes", type=float, default=60.0, help="Of training in all.")
            mine.add_argument("--piece-minutes", type=float, default=float("inf"), help="Stop after these, to go on.")
            mine.add_argument("--count", choices=("wall", "worked"), default="wall", help="Which minutes count.")
            mine.add_argument("--batch", type=int, help="Instead of the planned one.")
            mine.add_argument("--union", choices=("marginal", "ignore"), default="marginal")
            mine.add_argument("--seed", type=int, default=0)
        if piece is predict:
            mine.add_argument(
                "--scan", nargs=4, action="append", default=[], metavar=("ID", "PATIENT", "CT", "LABELS"),
                help="A whole scan that no data set holds.",
            )  # fmt: skip
            mine.add_argument("--references", action="store_true", help="Write the reference labels as well.")
            mine.add_argument("--no-mirroring", action="store_true", help="A quarter of the time.")
    return parser.parse_args()


def pack_fold(order: argparse.Namespace) -> None:
    """Training cases of the fold as a raw data set of nnU-Net."""
    from hepar.study.training import TrainingOrder, training_cases

    training = TrainingOrder("residual_unet", tuple(order.data), order.work, folds=order.folds, fold=order.fold)
    cases = training_cases(training)
    pack(cases, order.work / "raw")
    union = sum(case.labels == "liver_union" for case in cases)
    print(f"{len(cases)} cases of {len({case.patient for case in cases})} patients, {union} of them liver or tumour")


def plan(order: argparse.Namespace) -> None:
    """nnU-Net's fingerprint, plan and preprocessing, for 2D."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    extract_fingerprints([DATASET], num_processes=1, check_dataset_integrity=True, clean=False)
    plan_experiments([DATASET])
    preprocess([DATASET], PLANS, (CONFIGURATION,), (1,))
    print(json.dumps(planned(order.work), indent=1))


def planned(work: Path) -> dict[str, Any]:
    """What nnU-Net chose by itself."""
    plans = _json(work / "preprocessed" / NAME / f"{PLANS}.json")
    mine = plans["configurations"][CONFIGURATION]
    network = mine["architecture"]
    return {
        "spacing_mm": mine["spacing"],
        "patch": mine["patch_size"],
        "batch": mine["batch_size"],
        "network": network["network_class_name"].rsplit(".", 1)[-1],
        "features": network["arch_kwargs"]["features_per_stage"],
        "normalisation": mine["normalization_schemes"],
        "grey": plans["foreground_intensity_properties_per_channel"]["0"],
    }


def speed(order: argparse.Namespace) -> None:
    """Seconds per iteration in fp32 and bf16 (in either memory layout): medians of 3 after one that warms up."""
    kept = order.work / "speed.json"
    measured: dict[str, Any] = _json(kept) if kept.is_file() else {"threads": order.threads, "seconds": {}, "load": {}}
    trainer = make_trainer(order.work, order.threads)
    trainer.initialize()
    trainer.network.train()
    loader, _ = trainer.get_dataloaders()
    for name in (way for way in WAYS if way not in measured["seconds"]):
        use(trainer, WAYS[name])
        watch = [stamp()]
        for _ in range(4):
            # The next batch is made in the same thread and belongs to the iteration.
            trainer.train_step(next(loader))
            watch.append(stamp())
        wall, worked = np.median(np.diff(watch, axis=0)[1:], axis=0).round(2).tolist()
        # On a busy machine wall time tells of the others as well.
        measured["seconds"][name] = {"wall": wall, "worked": worked}
        measured["load"][name] = round(os.getloadavg()[0], 1)
        measured["fastest"] = min(measured["seconds"], key=lambda way: measured["seconds"][way]["worked"])
        print(f"{name}: {wall} s an iteration, of which the processor worked {worked}", flush=True)
        files.write_json(kept, measured)


def stamp() -> tuple[float, float]:
    """Wall clock and the processor's seconds of this process."""
    return time.perf_counter(), time.process_time()


def train(order: argparse.Namespace) -> None:
    """Trains until the wall clock has run out, over as many pieces as it takes."""
    import random

    import torch
    from trainer import CLOCK, FINAL, LATEST

    lock = held(order.work / "train.lock")  # noqa: F841 (until this process ends)
    measured = _json(order.work / "speed.json")
    each_s = measured["seconds"][measured["fastest"]][order.count]
    if order.batch:
        each_s *= order.batch / planned(order.work)["batch"]
    again = (results(order.work) / LATEST).is_file()
    if (results(order.work) / FINAL).is_file():
        print("this training is finished")
        return
    clock = Clock(60 * order.minutes, 60 * order.piece_minutes, order.count)
    if again:
        clock.resume(results(order.work) / CLOCK)
    # A piece that goes on must not draw the first piece's batches again.
    random.seed(order.seed + int(clock.before[0]))
    np.random.seed(order.seed + int(clock.before[0]))  # noqa: NPY002 (nnU-Net draws from the global generators)
    torch.manual_seed(order.seed + int(clock.before[0]))
    trainer = make_trainer(order.work, order.threads, again, order.batch)
    trainer.clock = clock
    trainer.ignore_union = order.union == "ignore"
    trainer.num_iterations_per_epoch = iterations_per_epoch(each_s)
    trainer.initialize()
    use(trainer, WAYS[measured["fastest"]])
    if again:
        trainer.load_checkpoint(str(results(order.work) / LATEST))
    trainer.run_training()
    files.write_json(order.work / "peer.json", facts(order, measured, trainer))


def held(path: Path) -> Any:
    """The open file that keeps a second training out of the work folder; gone with the process, however it ends."""
    import fcntl

    file = path.open("w", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BadInput("a training already runs in this work folder; wait for its end or stop it") from error
    return file


def facts(order: argparse.Namespace, measured: dict[str, Any], trainer: Any) -> dict[str, Any]:
    """What a table of results must say of this training; no place of this machine."""
    packed = _json(order.work / "raw" / NAME / "dataset.json")
    return {
        "what": "nnU-Net v2, 2D, trained by wall clock",
        "minutes": order.minutes,
        "counted": order.count,
        "minutes_wall": round(trainer.clock.wall_s / 60, 2),
        "minutes_worked": round(trainer.clock.worked_s / 60, 2),
        "threads": order.threads,
        "seed": order.seed,
        "union": order.union,
        "memory_kept": os.environ.get("MALLOC_MMAP_MAX_") == "0",
        "epochs": trainer.current_epoch,
        "batch": trainer.batch_size,
        "iterations_per_epoch": trainer.num_iterations_per_epoch,
        "training_cases": packed["numTraining"],
        "training_patients": packed["patients"],
        "plan": planned(order.work),
        "speed": measured,
        "train_losses": [round(float(x), 4) for x in trainer.logger.get_value("train_losses", step=None)],
        "pseudo_dice": [
            [round(float(x), 4) for x in row] for row in trainer.logger.get_value("dice_per_class_or_region", step=None)
        ],
        "versions": {name: importlib.metadata.version(name) for name in ("nnunetv2", "torch", "numpy")},
    }


def make_trainer(work: Path, threads: int, again: bool = False, batch: int | None = None) -> Any:
    """nnU-Net's trainer on all packed cases, on the CPU; `again`: goes on in its folder."""
    import torch
    from trainer import TimedTrainer

    torch.set_num_threads(threads)
    plans = _json(work / "preprocessed" / NAME / f"{PLANS}.json") | {"continue_training": again}
    if batch:
        plans["configurations"][CONFIGURATION]["batch_size"] = batch
    described = _json(work / "raw" / NAME / "dataset.json")
    return TimedTrainer(plans, CONFIGURATION, "all", described, torch.device("cpu"))


def use(trainer: Any, way: dict[str, bool]) -> None:
    import torch

    trainer.bf16, trainer.channels_last = way["bf16"], way["channels_last"]
    kind = torch.channels_last if trainer.channels_last else torch.contiguous_format
    trainer.network = trainer.network.to(memory_format=kind)


def results(work: Path) -> Path:
    return work / "results" / NAME / f"TimedTrainer__{PLANS}__{CONFIGURATION}" / "fold_all"


def predict(order: argparse.Namespace) -> None:
    """Labels of the fold's test cases on their own grids, and with --references the truth beside them."""
    import torch

    cases = scans_to_test(order)
    table = io.StringIO()
    rows = [("case", "patient"), *((case.id, case.patient) for case in cases)]
    csv.writer(table, lineterminator="\n").writerows(rows)
    files.write_text(order.work / "patients.csv", table.getvalue())
    if order.references:
        for case in cases:
            write(case.truth, order.work / "references" / f"{case.id}.nii.gz")
    predictor = None
    for case in cases:
        out = order.work / "predictions" / f"{case.id}.nii.gz"
        if out.is_file():
            continue
        predictor = predictor or make_predictor(order)
        started = time.perf_counter()
        bf16 = WAYS[_json(order.work / "speed.json")["fastest"]]["bf16"]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            write(found_by(predictor, case), out)
        print(f"{case.id}: {time.perf_counter() - started:.0f} s", flush=True)


def scans_to_test(order: argparse.Namespace) -> list[Case]:
    """Fully labelled cases of the fold's test patients. Raises BadInput for a scan whose patient trains."""
    fold = load_folds(order.folds)[order.fold]
    cases = [case for root in order.data for case in open_cases(root) if case.labels == "full"]
    whole = [
        Case(id, patient, partial(read, ct), partial(read_labels, labels)) for id, patient, ct, labels in order.scan
    ]
    if training := [case.id for case in whole if case.patient in fold.train]:
        raise BadInput(f"scan {', '.join(training)} is of a training patient of fold {order.fold}")
    return fold.test_cases(cases) + whole


def make_predictor(order: argparse.Namespace) -> Any:
    """nnU-Net's predictor with the final weights."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from trainer import FINAL

    trainer = make_trainer(order.work, order.threads, again=True)
    trainer.initialize()
    trainer.set_deep_supervision_enabled(False)
    if not (results(order.work) / FINAL).is_file():
        raise BadInput(f"there is no {FINAL} yet; let `train` come to its end")
    kept = torch.load(results(order.work) / FINAL, map_location="cpu", weights_only=False)
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=not order.no_mirroring,
        perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, [kept["network_weights"]],
        trainer.dataset_json, "TimedTrainer", kept["inference_allowed_mirroring_axes"],
    )  # fmt: skip
    return predictor


def found_by(predictor: Any, case: Case) -> LabelMap:
    """nnU-Net's labels on the grid of the scan."""
    ct = case.ct
    turn = ct.geometry.axial()
    axial = ct.axial()
    hu = np.clip(axial.values, *WINDOW_HU).astype(np.float32)
    found = predictor.predict_single_npy_array(hu[None], {"spacing": list(axial.geometry.spacing_mm)})
    return LabelMap(np.ascontiguousarray(turn.undo(np.asarray(found, np.uint8))), ct.geometry)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
