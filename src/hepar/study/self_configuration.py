"""Settings for a user's own data and machine: looked at, timed, chosen, and told with reasons.

A plan is a method and "name=value" settings, as a user could have typed them,
and lies in the run folder as plan.json: a training that goes on takes the same
plan, whatever else the machine does by then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from hepar import methods
from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import write_json
from hepar.inference import SlabSegmenter
from hepar.preprocess import Window
from hepar.study.data_survey import Survey, survey, thinned, thinning
from hepar.study.training import TrainingOrder, method_of, training_cases
from hepar.training.deep_method import LEAST_SLICES, DeepMethod
from hepar.training.loop import Listener
from hepar.training.machine import Machine, bytes_per_image, this_machine, update_seconds
from hepar.training.recipe import Recipe

SCRATCH, PRETRAINED = "residual_unet", "squeeze_unet"
PLAN = "plan.json"
# A GPU of one's own can work overnight; a laptop is wanted back.
MINUTES, GPU_MINUTES = 60.0, 240.0


@dataclass(frozen=True)
class Candidate:
    """A size of the network, and the updates from which on it is worth its cost; `stacks`: it sees neighbours."""

    name: str
    least_updates: int
    stacks: bool = False


# Smallest first. The counts say where a larger network, trained for the same time, overtakes a smaller one:
# a cautious guess until measured, since few updates hurt more than few channels.
CANDIDATES = {
    SCRATCH: (
        Candidate(f"{SCRATCH}/fast", 0),
        Candidate(f"{SCRATCH}/halved", 2500),
        Candidate(SCRATCH, 3000),
        Candidate(f"{SCRATCH}/slices3", 3000, stacks=True),
    ),
    # An ImageNet start led from-scratch networks of its size at every count of updates tried (studies/experiments).
    PRETRAINED: (Candidate(f"{PRETRAINED}/single", 0), Candidate(PRETRAINED, 0, stacks=True)),
}
# From here on the next slice shows other anatomy.
THICK_MM = 6.0
# More of the same picture teaches nothing new, however augmented (nnU-Net shows a LiTS slice about as often).
MOST_VIEWS = 400
SLICE_STEPS_MM = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0)
# Shares of free memory: slices in main memory, activations where the network lies.
SLICES_MEMORY, NETWORK_MEMORY = 0.6, 0.8
# One scan while it is read: int16, float32 before and after the window, labels and their shares.
READING_BYTES = 20
# Share of the time for updates; the rest is validation, checkpoints and what timing missed.
WORKING = 0.85
VALIDATION = 0.08
LEAST_JUDGES = 6
MINUTES_PER_EPOCH, FEWEST_EPOCHS, MOST_EPOCHS = 2.5, 2, 60
PATCH_STEP = 32


@dataclass(frozen=True)
class Row:
    """One line of the plan: what, what was chosen or found, and why."""

    what: str
    chosen: str
    why: str


@dataclass(frozen=True)
class TrainingPlan:
    """What to train and how. `slice_step_mm` thins thin-sliced scans (0: all slices)."""

    method: str
    settings: tuple[str, ...]
    slice_step_mm: float
    minutes: float
    rows: tuple[Row, ...]

    def applied(self, order: TrainingOrder) -> TrainingOrder:
        """The order with the plan's method and settings; what the user set himself comes last and wins."""
        return replace(order, method=self.method, settings=(*self.settings, *order.settings))

    @classmethod
    def read(cls, path: Path) -> TrainingPlan:
        """Raises BadInput when the file is no plan."""
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            rows = tuple(Row(**row) for row in facts.pop("rows"))
            return cls(rows=rows, **facts | {"settings": tuple(facts["settings"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path.name} is not a plan ({error}); choose a new run folder") from error


@dataclass(frozen=True)
class Wishes:
    """`minutes` for all of it, and seconds to try each network for."""

    minutes: float | None = None
    trial_seconds: float = 3.0


def method_and_data(words: Sequence[str], minutes: float | None = None) -> tuple[str, tuple[Path, ...]]:
    """`[METHOD] DATA...` as typed: the first word is a method where it names one, or no folder before other words.

    So a misspelt method is answered as such. A folder called like a method can
    be given as ./NAME. The method is empty where none is named. Raises BadInput
    without data, or for `minutes` with a method, whose recipe says how long it trains.
    """
    first = words[0].partition("/")[0]
    named = first in methods.names() or (len(words) > 1 and not Path(words[0]).exists())
    data = tuple(Path(word) for word in words[named:])
    if not data:
        raise BadInput(
            f"no data to train {words[0]} on; give a data set folder behind it, or ./{words[0]} if it is one"
        )
    if named and minutes is not None:
        raise BadInput(f"{words[0]} trains as long as its recipe says (--set epochs=N); --minutes is for no method")
    return (words[0] if named else ""), data


def plan_training(order: TrainingOrder, wishes: Wishes = Wishes()) -> TrainingPlan:
    """The plan for an order without a method; one that lies in its run folder is taken up again.

    Raises BadInput for data without liver, settings that do not exist, or other minutes than the folder's plan.
    """
    path = order.out / PLAN
    if path.exists():
        plan = TrainingPlan.read(path)
        if wishes.minutes not in (None, plan.minutes):
            raise BadInput(
                f"{order.out.name} holds a plan for {plan.minutes:g} minutes, not {wishes.minutes:g}; leave --minutes "
                "away to go on with it, or choose a new folder"
            )
        return plan
    if (order.out / "run.json").exists():
        raise BadInput(f"{order.out.name} holds a training that was not planned; name its method, or a new folder")
    if order.recipe:
        raise BadInput(f"recipe {order.recipe} belongs to a method; name that too, or leave the recipe away")
    if wishes.minutes is not None and not 0 < wishes.minutes < math.inf:
        raise BadInput(f"found {wishes.minutes:g} minutes; expected a number above 0")
    seen = survey(training_cases(order))
    plan = _Planner(order, wishes, this_machine(order.device), seen).plan()
    write_json(path, asdict(plan))
    return plan


def train_planned(order: TrainingOrder, plan: TrainingPlan, listen: Listener) -> SlabSegmenter:
    """Train as planned; the segmenter and the run folder are those of any other training."""
    return method_of(plan.applied(order)).train(planned_cases(order, plan), order.out, listen, order.device)


def planned_cases(order: TrainingOrder, plan: TrainingPlan) -> list[Case]:
    """The order's cases, thin-sliced ones thinned as planned."""
    return [thinned(case, plan.slice_step_mm) for case in training_cases(order)]


class _Planner:
    """Collects settings and rows; each choice stands on those before it."""

    def __init__(self, order: TrainingOrder, wishes: Wishes, machine: Machine, seen: Survey) -> None:
        self.order, self.wishes, self.machine, self.seen = order, wishes, machine, seen
        self.minutes = wishes.minutes or (GPU_MINUTES if machine.device.startswith("cuda") else MINUTES)
        self.asked = {text.partition("=")[0]: text.partition("=")[2] for text in order.settings}
        self.family = PRETRAINED if order.encoder_weights not in (None, "none") else SCRATCH
        self.candidates = CANDIDATES[self.family]
        self.settings: list[str] = []
        self.rows: list[Row] = []

    def plan(self) -> TrainingPlan:
        self._say("data", f"{self.seen.cases} scans of {self.seen.patients} patients", self._labels())
        self._say("machine", str(self.machine), "found" if self.order.device == "auto" else "as asked")
        self._window()
        self._pixels()
        self._precision()
        name, seconds = self._network()
        step_mm = self._slices(name)
        self._length(name, seconds, step_mm, self._validation(step_mm))
        return TrainingPlan(name, tuple(self.settings), step_mm, self.minutes, tuple(self.rows))

    def method(self, name: str) -> DeepMethod:
        """With all that is settled so far; the user's own settings come last. No candidate has two passes."""
        settings = (*self.settings, *self.order.settings)
        return cast(DeepMethod, method_of(replace(self.order, method=name, settings=settings)))

    def _say(self, what: str, chosen: str, why: str) -> None:
        self.rows.append(Row(what, chosen, why))

    def _set(self, what: str, name: str, value: str, shown: tuple[str, str]) -> None:
        """`shown`: the choice in words, and why. What the user set himself is only told."""
        if name in self.asked:
            self._say(what, self.asked[name], "as asked")
            return
        self.settings.append(f"{name}={value}")
        self._say(what, *shown)

    def _labels(self) -> str:
        full = self.seen.cases - self.seen.union_cases
        if not full:
            return "no scan says where tumours are: only the liver can be learned"
        share = f"tumours fill {self.seen.tumour_share:.1%} of the livers of {len(self.seen.scans)} scans looked at"
        if not self.seen.tumour_share:
            share = f"no tumour in {len(self.seen.scans)} scans looked at: tumours may not be learned"
        return share + (f"; {self.seen.union_cases} scans mark liver-or-tumour only" if self.seen.union_cases else "")

    def _window(self) -> None:
        window = next(s for s in self.method(self.family).prepare if isinstance(s, Window))
        hu, low, high = self.seen.liver_hu, window.low_hu, window.high_hu
        inside = float(((hu >= low) & (hu <= high)).mean())
        count, all_of = self.seen.windowed_scans, len(self.seen.scans)
        kind = f"; {count} of {all_of} scans looked at were cut to a window before" if count else ""
        why = f"holds {inside:.0%} of the liver's values{kind}"
        if inside < 0.8:
            bottom, top = np.percentile(hu, (1, 99))
            margin = max(100.0, (top - bottom) / 2)
            low, high = math.floor(bottom - margin), math.ceil(top + margin)
            why = f"the liver lies at {bottom:.0f} to {top:.0f}: are these Hounsfield units? see `hepar doctor`{kind}"
            if self.method(self.family).recipe.synthesis and "synthesis" not in self.asked:
                self.settings.append("synthesis=null")  # painted lesions have the usual window's HU
        self._set("window", "window", f"{low:g},{high:g}", (f"{low:g} to {high:g} HU", why))

    def _pixels(self) -> None:
        usual = self.method(self.family).grid.pixel_mm or 1.5
        own = max(self.seen.median(1), self.seen.median(2))
        pixel = round(max(usual, own), 3)
        why = f"the data has {own:.2g} mm; finer costs time" if pixel == usual else "as fine as the data"
        # A matrix asked for decides the pixels; setting both would mean the matrix anyway.
        if "matrix" in self.asked:
            self._say("pixel", f"matrix of {self.asked['matrix']}", "as asked")
        else:
            self._set("pixel", "pixel_mm", f"{pixel:g}", (f"{pixel:g} mm", why))
        method = self.method(self.family)
        sizes = [method.grid.plan(scan.geometry).padded_size for scan in self.seen.scans]
        largest, usual_patch = max(max(size) for size in sizes), method.recipe.patch or 256
        patch = min(usual_patch, -(-largest // PATCH_STEP) * PATCH_STEP)
        reason = "slices fit in it" if patch >= largest else f"slices have up to {largest} pixels; parts of them"
        self._set("patch", "patch", str(patch), (f"{patch} x {patch} pixels", reason))

    def _precision(self) -> None:
        times = {}
        for precision in ("fp32", "bf16"):
            method = self.method(self.candidates[0].name)
            recipe = replace(method.recipe, precision=precision)
            times[precision] = update_seconds(
                method.network, recipe, self.machine.device, self.wishes.trial_seconds / 2
            )
        faster = times["fp32"] / times["bf16"]
        best, why = "fp32", "bf16 is not faster here" if faster else "no bf16 here"
        if faster > 1.05:
            best, why = "bf16", f"{faster:.1f} times as fast as fp32 here"
        self._set("precision", "precision", best, (best, why))

    def _micro_batch(self, method: DeepMethod) -> int:
        own = self.machine.device_bytes
        allowed = own * NETWORK_MEMORY if own else self.machine.free_bytes * (NETWORK_MEMORY - SLICES_MEMORY)
        return int(min(method.recipe.batch, max(1, allowed // bytes_per_image(method.network, method.recipe))))

    def _network(self) -> tuple[str, float]:
        """The largest candidate that gets enough updates in the time, and its seconds an update."""
        stacked = self.seen.stacked_share > 0.5 and self.seen.median(0) <= THICK_MM
        working = self._seconds()
        chosen: tuple[Candidate, float] | None = None
        tried: list[str] = []
        for candidate in self.candidates:
            if candidate.stacks and not stacked:
                continue
            method = self.method(candidate.name)
            recipe = replace(method.recipe, micro_batch=self._micro_batch(method))
            seconds = update_seconds(method.network, recipe, self.machine.device, self.wishes.trial_seconds)
            updates = working / seconds
            tried.append(f"{_short(candidate.name)} {updates:.0f}")
            if updates >= candidate.least_updates or chosen is None:
                chosen = candidate, seconds
            if updates < candidate.least_updates:
                break
        assert chosen is not None
        if not math.isfinite(chosen[1]):
            raise BadInput("not even the smallest network fits this machine; choose --device cpu, or --set patch=128")
        alone = "" if stacked else "; slices lie too far apart to see neighbours"
        start = "" if self.family == PRETRAINED else "; --encoder-weights imagenet gives a network that knows pictures"
        self._say("network", chosen[0].name, f"updates in the time: {', '.join(tried)}{alone}{start}")
        method = self.method(chosen[0].name)
        micro = self._micro_batch(method)
        why = "fits memory at once" if micro == method.recipe.batch else "in pieces that fit memory"
        self._set("batch", "micro_batch", str(micro), (f"{method.recipe.batch} slices, {micro} at a time", why))
        return chosen[0].name, chosen[1]

    def _seconds(self) -> float:
        """For updates: reading comes first, but takes half of the time at most."""
        whole = 60 * self.minutes
        return WORKING * max(whole / 2, whole - self.seen.reading_seconds)

    def _slices(self, name: str) -> float:
        """The least step between slices with which all of them fit in memory."""
        grid = self.method(name).grid
        spare = self.machine.free_bytes * SLICES_MEMORY
        spare -= (
            max(scan.geometry.shape[0] * math.prod(scan.geometry.shape[1:]) for scan in self.seen.scans) * READING_BYTES
        )
        need, step_mm = 0.0, 0.0
        for step_mm in SLICE_STEPS_MM:
            kept = [scan.slices / thinning(scan.geometry, step_mm) for scan in self.seen.scans]
            # A byte of grey and one of label a pixel.
            pixels = [math.prod(grid.plan(scan.geometry).padded_size) for scan in self.seen.scans]
            need = 2 * self.seen.cases * float(np.mean([n * px for n, px in zip(kept, pixels, strict=True)]))
            if need <= spare:
                break
        chosen = "all" if not step_mm else f"no closer than {step_mm:g} mm"
        count = f"about {self.seen.slices:.0f} slices" if not step_mm else f"all {self.seen.slices:.0f} would not fit"
        self._say("slices", chosen, f"{count}; {need / 2**30:.2f} GB of {self.machine.free_bytes / 2**30:.0f} GB free")
        return step_mm

    def _validation(self, step_mm: float) -> int:
        """Patients held back."""
        judging = [
            scan.slices / thinning(scan.geometry, step_mm) >= LEAST_SLICES
            for scan in self.seen.scans
            if scan.labels == "full"
        ]
        judges = round(self.seen.real_full_patients * float(np.mean(judging))) if judging else 0
        share = self.method(self.family).recipe.validation_share or 0.15
        held = max(1, round(judges * share)) if judges >= LEAST_JUDGES else 0
        why = f"of about {judges} that have {LEAST_SLICES} labelled slices or more; shows how well it goes"
        if not held:
            why = f"{judges} patients have {LEAST_SLICES} labelled slices or more: none to spare for watching"
        value = f"{share:g}" if held else "0.0"
        self._set("validation", "validation_share", value, (f"about {held} patients" if held else "no patients", why))
        return held

    def _length(self, name: str, seconds: float, step_mm: float, held: int) -> None:
        recipe: Recipe = self.method(name).recipe
        slices = self.seen.cases * float(
            np.mean([scan.slices / thinning(scan.geometry, step_mm) for scan in self.seen.scans])
        )
        wanted, most = self._seconds() / seconds, MOST_VIEWS * slices / recipe.batch
        updates = max(FEWEST_EPOCHS, int(min(wanted, most)))
        epochs = int(np.clip(round(updates * seconds / 60 / MINUTES_PER_EPOCH), FEWEST_EPOCHS, MOST_EPOCHS))
        each = max(1, updates // epochs)
        # Looking costs about a third of learning.
        look = held * slices / self.seen.patients * seconds / recipe.batch / 3
        looks = max(1.0, VALIDATION * 60 * self.minutes / look) if look else 1.0
        why = f"{seconds:.2g} s an update, {self.minutes:g} minutes in all"
        if most < wanted:
            why = f"sees each slice {MOST_VIEWS} times; more of the same teaches nothing new"
        elif self.seen.reading_seconds > 30:
            why += f", of which reading takes about {self.seen.reading_seconds / 60:.0f}"
        self._set("length", "epochs", str(epochs), (f"{epochs * each} updates in {epochs} epochs", why))
        if "epochs" not in self.asked:
            self.settings += [f"validate_every={max(1, math.ceil(epochs / looks))}"]
        if "samples_per_epoch" not in self.asked:
            self.settings += [f"samples_per_epoch={each * recipe.batch}"]
        if epochs * each < 10 * recipe.warmup_updates and "warmup_updates" not in self.asked:
            self.settings += [f"warmup_updates={epochs * each // 10}"]


def _short(name: str) -> str:
    return name.partition("/")[2] or "full"
