"""What a user asks of a study, what follows from data and machine, and the method of each cell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hepar.errors import BadInput
from hepar.preprocess import Step, Window
from hepar.study.reproduce.plan import PREPROCESSING, Arm
from hepar.study.reproduce.protocol import Cohort, usable_window
from hepar.study.training import TrainingOrder, method_of
from hepar.training.cascade import CascadeMethod
from hepar.training.deep_method import DeepMethod

# The paper's rate; the literal recipe keeps it whatever the others were given.
PAPER_RATE = 1e-4
OWN_OPTIONS = {
    "learning_rate": "--learning-rate",
    "matrix": "--matrix",
    "pixel_mm": "--matrix",
    "window": "follows from method and data",
}
UNITS = {"": 1.0, "min": 1.0, "m": 1.0, "h": 60.0, "s": 1 / 60}


@dataclass(frozen=True)
class StudyOrder:
    """One study as a user asks for it.

    `data` None studies `phantoms`. `groups` () means all. `folds` is a count
    or a fold file. `settings` are "name=value" as `hepar train --set` takes
    them, for every arm alike. `budget_minutes` is for one training; a cascade
    is two. `weights` is a folder of ImageNet weights, "none", or None to look
    beside the data and in the cache. `width` scales all channels; 1 is the
    published size. Raises BadInput for settings that have an option of their own.
    """

    data: Path | None
    out: Path
    groups: tuple[str, ...] = ()
    folds: str = "4"
    split: str | None = None
    cohort: Cohort = "paper"
    recipe: Literal["practical", "literal"] = "practical"
    matrix: int = 512
    settings: tuple[str, ...] = ()
    learning_rate: float | None = None
    budget_minutes: float | None = None
    weights: str | None = None
    phantoms: int = 0
    seed: int = 2018
    device: str = "auto"
    width: float = 1.0

    def __post_init__(self) -> None:
        if own := {text.partition("=")[0] for text in self.settings} & OWN_OPTIONS.keys():
            told = ", ".join(f"{setting} ({OWN_OPTIONS[setting]})" for setting in sorted(own))
            raise BadInput(f"found a setting that the study decides itself: {told}")

    def facts(self) -> dict[str, Any]:
        """What makes it this study and no other: a folder holds one. Groups may be added later."""
        return {
            "data": self.data.resolve().name if self.data else f"{self.phantoms} phantoms",
            "phantoms": self.phantoms,
            "folds": self.folds if self.folds.isdigit() else Path(self.folds).name,
            "split": self.split,
            "cohort": self.cohort,
            "recipe": self.recipe,
            "matrix": self.matrix,
            "width": self.width,
            "settings": list(self.settings),
            "learning_rate_asked": self.learning_rate,
            "budget_minutes": self.budget_minutes,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Decided:
    """What data, machine and earlier trials decided: the data's window, the rate, encoders and epochs by arm."""

    window: tuple[float, float] | None = None
    learning_rate: float = PAPER_RATE
    encoders: dict[str, str] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)


def joint_method(arm: Arm, order: StudyOrder, decided: Decided) -> DeepMethod:
    """The network of an arm with its preparation, recipe, encoder and epochs. Raises BadInput on unusable settings."""
    recipe = arm.recipe or order.recipe
    rate = PAPER_RATE if recipe == "literal" else decided.learning_rate
    # What the study has chosen comes first, so that --set has the last word; epochs come last.
    settings = [f"matrix={order.matrix}", f"learning_rate={rate}", *_settings(order, arm)]
    if name(arm) in decided.epochs:
        settings.append(f"epochs={decided.epochs[name(arm)]}")
    training = TrainingOrder(
        arm.method, (), order.out, encoder_weights=decided.encoders.get(name(arm), "none"), recipe=recipe,
        settings=tuple(settings),
    )  # fmt: skip
    method = method_of(training)
    assert isinstance(method, DeepMethod), "arms are slice networks"
    window, _ = window_of_arm(arm, decided)
    prepare: tuple[Step, ...] = (window, *PREPROCESSING[arm.preprocessing])
    return replace(method, network=scaled(method.network, order.width), prepare=prepare, clean=())


def arm_method(arm: Arm, order: StudyOrder, decided: Decided) -> DeepMethod | CascadeMethod:
    """What the arm trains."""
    joint = joint_method(arm, order, decided)
    return CascadeMethod(joint) if arm.stages == "cascade" else joint


def epochs_asked(arm: Arm, order: StudyOrder, decided: Decided) -> int:
    """Epochs before a budget scales them."""
    return joint_method(arm, order, replace(decided, epochs={})).recipe.epochs


def window_of_arm(arm: Arm, decided: Decided) -> tuple[Window, dict[str, Any]]:
    """The window that the arm gets, and what `cell.json` says of it."""
    from hepar import methods

    # An arm that takes another's network over on narrow data still asks for its own window.
    own = "korabelnikov" if arm.name.startswith("korabelnikov") else arm.method
    asked = next(step for step in methods.get(own).prepare if isinstance(step, Window))
    used, testable = usable_window(asked, decided.window)
    spans = {"asked": [asked.low_hu, asked.high_hu], "used": [used.low_hu, used.high_hu], "testable": testable}
    return used, spans


def scaled(network: Any, width: float) -> Any:
    """The network with all its channels times `width`."""
    return network if width == 1.0 else replace(network, width=width)


def name(arm: Arm) -> str:
    """ "cdnn_alex/with": the arm in files of the study."""
    return "/".join(arm.key)


def minutes_of(text: str) -> float:
    """ "8min", "8", "90s" or "0.5h" in minutes. Raises BadInput."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", text)
    try:
        minutes = float(found[1]) * UNITS[found[2]] if found else 0.0
    except (ValueError, KeyError):
        minutes = 0.0
    if minutes <= 0:
        raise BadInput(f"a budget of {text!r} is no time; write 8min, 90s or 0.5h")
    return minutes


def _settings(order: StudyOrder, arm: Arm) -> list[str]:
    """The study's settings; the literal recipe keeps its batch, which is what makes it literal."""
    if (arm.recipe or order.recipe) != "literal":
        return list(order.settings)
    return [text for text in order.settings if text.partition("=")[0] not in ("batch", "learning_rate")]
