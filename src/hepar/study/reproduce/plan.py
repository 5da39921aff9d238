"""Which trainings the study is made of: arms, preprocessing, folds, in named groups.

    cells = plan_cells(("table1", "fair"), folds=4, narrow=True)
    cells[0].id        # "cdnn_alex/without/fold0"

The arms of Table 1, those with a fair start, the cascade and what needs no
training of its own run on every fold, other ablations on the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hepar.errors import BadInput
from hepar.preprocess import EqualizeHistogram, MedianInPlane, Step

Finish = Literal["none", "largest_component", "gaussian"]
Stages = Literal["joint", "cascade"]
# What stands between the window and the network.
PREPROCESSING: dict[str, tuple[Step, ...]] = {
    "with": (EqualizeHistogram(), MedianInPlane()),
    "without": (),
    "equalise": (EqualizeHistogram(),),
    "median": (MedianInPlane(),),
}


@dataclass(frozen=True)
class Arm:
    """One row of a table: a method under one preprocessing.

    `method` is a name of the registry. `encoder` is where its weights come
    from: "pretrained" (what is at hand) or "none". `after` names the arm whose
    network is taken over instead of training one. `recipe` None is the study's.
    """

    name: str
    preprocessing: str
    title: str
    method: str
    encoder: Literal["pretrained", "none"] = "pretrained"
    stages: Stages = "joint"
    finish: Finish = "none"
    after: tuple[str, str] | None = None
    recipe: str | None = None
    everywhere: bool = True

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.preprocessing


@dataclass(frozen=True)
class Cell:
    """An arm on one fold."""

    arm: Arm
    fold: int
    groups: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.arm.name}/{self.arm.preprocessing}/fold{self.fold}"

    @property
    def trained_by(self) -> str | None:
        """The cell whose network this one takes over."""
        return f"{'/'.join(self.arm.after)}/fold{self.fold}" if self.arm.after else None


ALEX, RESNET, SQUEEZE = "CDNN-Alex", "CDNN-ResNet18", "CDNN-Squeeze"
WITH, WITHOUT = "with", "without"


def _arm(method: str, preprocessing: str, title: str) -> Arm:
    return Arm(method, preprocessing, title, method)


def _variant(variant: str, title: str) -> Arm:
    """CDNN-Alex with one thing changed, on the first fold."""
    return Arm(f"cdnn_alex-{variant}", WITH, f"{ALEX}, {title}", f"cdnn_alex/{variant}", everywhere=False)


def _largest(method: str, title: str) -> Arm:
    name = f"{method}-largest"
    return Arm(name, WITH, f"{title}, largest component", method, finish="largest_component", after=(method, WITH))


TABLE1 = tuple(_arm(method, p, title) for p in (WITHOUT, WITH) for method, title in (("cdnn_resnet18", RESNET), ("cdnn_alex", ALEX)))  # fmt: skip  # noqa: E501
SCRATCH = replace(_arm("cdnn_alex", WITH, f"{ALEX}, from scratch"), name="cdnn_alex-scratch", encoder="none")
CASCADE = replace(_arm("cdnn_alex", WITH, f"{ALEX}, cascade"), name="cdnn_alex-cascade", stages="cascade")
LITERAL = replace(_variant("literal", "literal recipe"), method="cdnn_alex", recipe="literal")
GROUPS: dict[str, tuple[Arm, ...]] = {
    "table1": TABLE1,
    "fair": (SCRATCH, _arm("cdnn_squeeze", WITH, SQUEEZE)),
    "joint_cascade": (_arm("cdnn_alex", WITH, ALEX), CASCADE),
    "korabelnikov": (
        Arm("korabelnikov", WITHOUT, "Korabelnikov et al., re-run", "korabelnikov", finish="gaussian"),
    ),
    "largest_component": (_largest("cdnn_alex", ALEX), _largest("cdnn_resnet18", RESNET)),
    "literal": (LITERAL,),
    "equalisation": tuple(
        replace(_arm("cdnn_alex", p, ALEX), everywhere=False) for p in ("equalise", "median")
    ),
    "decoders": (
        _variant("fcn32s", "one 32x"),
        _variant("dilated8", "dilated, one 8x"),
        _variant("literal8x", "8x, then resized"),
        _variant("fixed_upsampling", "fixed upsampling"),
    ),
    "alexnets": (
        _variant("caffenet", "CaffeNet's order"),
        _variant("ungrouped", "ungrouped, 62.4 M"),
        _variant("owt", "torchvision's"),
    ),
}  # fmt: skip


def plan_cells(groups: Sequence[str], folds: int, narrow: bool) -> list[Cell]:
    """The cells of these groups, () for all, each once, a cell before those that take over its network.

    With `narrow` data, already windowed to less than any method asks for,
    Korabelnikov's network is that of CDNN-Alex without preprocessing and is
    taken from there. Raises BadInput for an unknown group.
    """
    if unknown := set(groups) - GROUPS.keys():
        raise BadInput(f"no group of arms is called {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    holders: dict[tuple[str, str], tuple[Arm, list[str]]] = {}
    for group in groups or GROUPS:
        for arm in GROUPS[group]:
            if arm.finish == "gaussian" and narrow:
                arm = replace(arm, method="cdnn_alex", after=("cdnn_alex", WITHOUT))  # noqa: PLW2901
            if arm.after:
                holders.setdefault(arm.after, (_network_of(arm.after), []))
            holders.setdefault(arm.key, (arm, []))[1].append(group)
    cells = []
    # Fold by fold, so that a study that is stopped early compares whole folds; arms of one fold come last.
    for fold in range(folds):
        cells += [Cell(arm, fold, tuple(names)) for arm, names in holders.values() if arm.everywhere]
    return cells + [Cell(arm, 0, tuple(names)) for arm, names in holders.values() if not arm.everywhere]


def _network_of(key: tuple[str, str]) -> Arm:
    return next(arm for arms in GROUPS.values() for arm in arms if arm.key == key)
