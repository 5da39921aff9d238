"""CDNN-Alex, CDNN-ResNet18 and CDNN-Squeeze, with and without the paper's preprocessing, on a short budget.

On 8-bit slices the window is the data's own, -40..160 HU: the question asked
is what equalising and smoothing windowed slices does, not the paper's
[-100, 400] HU. Slices are halved to 256x256 for a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hepar.cases import load_folds
from hepar.datasets import lits512
from hepar.errors import BadInput
from hepar.study.arms import Arm, Say, Trial, run_arms, volume_trial, write_tables
from hepar.study.training import TrainingOrder
from hepar.training.loop import Listener

GROUP_SLICES = "LiTS-26 subset, fold {fold}: stacked slices of left-out patients"
BUDGET = ("batch=8", "micro_batch=8", "precision=bf16", "matrix=256", "window=-40,160")


METHODS = {"cdnn_alex": "CDNN-Alex (bvlc)", "cdnn_resnet18": "CDNN-ResNet18", "cdnn_squeeze": "CDNN-Squeeze"}
# The best of 1e-4 (the paper's), 1e-3 and 1e-2 for each network by inner patients; studies/six_arms/rates.
LEARNING_RATES = {"cdnn_alex": 1e-4, "cdnn_resnet18": 1e-2, "cdnn_squeeze": 1e-3}


@dataclass(frozen=True)
class SixArms:
    """What the study needs. `weights` maps a method to a weights file or "none"; `only` names arms, () for all."""

    slices: Path
    volumes: Path
    dicom: Path
    folds: Path
    fold: int
    weights: dict[str, str]
    settings: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


def six_arms(plan: SixArms, out: Path, listen: Listener, say: Say) -> None:
    """Run the six trainings, or some of them, and the table of all that have finished.

    `out` keeps a run folder for each. Raises BadInput for an unknown arm.
    """
    arms = [_arm(plan, out, method, with_steps) for method in METHODS for with_steps in (False, True)]
    unknown = set(plan.only) - {arm.name for arm in arms}
    if unknown:
        raise BadInput(f"no arm is called {', '.join(sorted(unknown))}; there are {', '.join(a.name for a in arms)}")
    tests = trials(plan)
    run_arms([arm for arm in arms if arm.name in (plan.only or [a.name for a in arms])], tests, out, listen, say)
    missing = write_tables(arms, tests, out)
    say(f"table of the finished arms: {out / 'table.md'}" + (f"; not run: {', '.join(missing)}" if missing else ""))


def trials(plan: SixArms) -> list[Trial]:
    """The fold's test patients as stacked slices, and two whole volumes of left-out patients."""
    test = load_folds(plan.folds)[plan.fold].test_cases(lits512.cases(plan.slices))
    group = GROUP_SLICES.format(fold=plan.fold)
    first = volume_trial("ircad01, whole volume", "lits028", plan.volumes / "ircad01_ct.nii.gz",
                         plan.volumes / "ircad01_label.nii.gz")  # fmt: skip
    second = volume_trial("ircad07, whole DICOM series", "lits034", plan.dicom / "ircad07_PATIENT_DICOM.zip",
                          plan.volumes / "ircad07_label.nii.gz")  # fmt: skip
    return [Trial(group, case) for case in test] + [first, second]


def _arm(plan: SixArms, out: Path, method: str, with_steps: bool) -> Arm:
    name = f"{method}_{'with' if with_steps else 'without'}"
    order = TrainingOrder(
        method=method if with_steps else f"{method}/without_preprocessing",
        data=(plan.slices,),
        out=out / name,
        folds=plan.folds,
        fold=plan.fold,
        encoder_weights=plan.weights[method],
        settings=(*BUDGET, f"learning_rate={LEARNING_RATES[method]}", *plan.settings),
    )
    return Arm(name, order, (METHODS[method], "with" if with_steps else "without"))
