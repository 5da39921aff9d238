"""What these data say of each claim of the paper, with an interval, also where they contradict it.

An arm whose training loss has not flattened supports no claim, whichever way
its figures point; the difference is printed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hepar.study.reproduce.arm_results import MEASURES, ArmResult, Measure, compared
from hepar.study.reproduce.plan import WITH, WITHOUT
from hepar.study.statistics import PairedTest

Verdict = Literal["supported", "contradicted", "undecided", "no claim: not converged", "not run"]
Key = tuple[str, str]
ALEX_WITH: Key = ("cdnn_alex", WITH)


@dataclass(frozen=True)
class Question:
    """`first` is claimed to be better than `second`. `paper` quotes whose claim it is; None: hepar's own question."""

    text: str
    first: Key
    second: Key
    paper: str | None
    note: str = ""


QUESTIONS = (
    Question("Preprocessing improves CDNN-Alex", ALEX_WITH, ("cdnn_alex", WITHOUT), "Table 1, section III.D"),
    Question(
        "Preprocessing improves CDNN-ResNet18", ("cdnn_resnet18", WITH), ("cdnn_resnet18", WITHOUT),
        "Table 1, section III.D",
    ),
    Question(
        "CDNN-Alex is better than CDNN-ResNet18, with preprocessing", ALEX_WITH, ("cdnn_resnet18", WITH),
        "Table 1, section III.D", "confounded by what the encoders start from: see the two fair starts below",
    ),
    Question(
        "CDNN-Alex is better than CDNN-ResNet18, without preprocessing", ("cdnn_alex", WITHOUT),
        ("cdnn_resnet18", WITHOUT), "Table 1, section III.D", "confounded by what the encoders start from",
    ),
    Question(
        "AlexNet from random weights is better than ResNet18 from random weights", ("cdnn_alex-scratch", WITH),
        ("cdnn_resnet18", WITH), None, "a fair start only where ResNet18 had no ImageNet weights either",
    ),
    Question("ImageNet weights improve CDNN-Alex", ALEX_WITH, ("cdnn_alex-scratch", WITH), None),
    Question(
        "AlexNet is better than SqueezeNet, both from ImageNet", ALEX_WITH, ("cdnn_squeeze", WITH), None,
        "both pretrained: a fair start",
    ),
    Question(
        "Joint segmentation is better than two stages", ALEX_WITH, ("cdnn_alex-cascade", WITH), "title and section I",
        "the same network; the second stage sees the liver that the first one found",
    ),
    Question(
        "Preprocessing is better than Korabelnikov's smoothing", ALEX_WITH, ("korabelnikov", WITHOUT), "Table 2",
    ),
    Question(
        "No post-processing is needed (as it is, against the largest component)", ALEX_WITH,
        ("cdnn_alex-largest", WITH), "section I",
    ),
    Question(
        "No post-processing is needed (ResNet18, against the largest component)", ("cdnn_resnet18", WITH),
        ("cdnn_resnet18-largest", WITH), "section I",
    ),
    Question("Both steps are better than equalisation alone", ALEX_WITH, ("cdnn_alex", "equalise"), None),
    Question("Both steps are better than the median filter alone", ALEX_WITH, ("cdnn_alex", "median"), None),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One measure of a question: first minus second, and what follows."""

    measure: Measure
    test: PairedTest
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        return {"measure": self.measure.title, "verdict": self.verdict, **self.test.row()}


@dataclass(frozen=True)
class Claim:
    """A question with its answers; none where an arm was not run, as `state` then says."""

    question: Question
    answers: tuple[Answer, ...]
    state: str

    @property
    def verdict(self) -> str:
        """In one line over all measures."""
        if not self.answers:
            return "not run"
        found = {answer.verdict for answer in self.answers}
        if len(found) == 1:
            return next(iter(found))
        return "; ".join(f"{a.measure.title}: {a.verdict}" for a in self.answers)

    def to_json(self) -> dict[str, Any]:
        return {
            "claim": self.question.text,
            "from": self.question.paper,
            "first": "/".join(self.question.first),
            "second": "/".join(self.question.second),
            "note": self.question.note,
            "state": self.state,
            "verdict": self.verdict,
            "answers": [answer.to_json() for answer in self.answers],
        }


def claims(arms: Mapping[Key, ArmResult]) -> tuple[Claim, ...]:
    """Every question, answered where both arms were run."""
    return tuple(_claim(question, arms[question.first], arms[question.second]) for question in QUESTIONS)


def _claim(question: Question, first: ArmResult, second: ArmResult) -> Claim:
    state = "; ".join(f"{arm.title} ({arm.preprocessing}): {arm.state}" for arm in (first, second))
    if not (first.cells and second.cells):
        return Claim(question, (), state)
    flat = first.converged and second.converged
    answers = [
        Answer(measure, test, verdict_of(test, measure, flat))
        for measure, test in ((measure, compared(first, second, measure)) for measure in MEASURES)
    ]
    return Claim(question, tuple(answers), state)


def verdict_of(test: PairedTest, measure: Measure, converged: bool) -> Verdict:
    """By the interval of the difference: an interval with 0 in it, or none at all, decides nothing."""
    if not converged:
        return "no claim: not converged"
    low, high = test.interval.low, test.interval.high
    if not measure.better_is_higher:
        low, high = -high, -low
    if low > 0:
        return "supported"
    return "contradicted" if high < 0 else "undecided"
