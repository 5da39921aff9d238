"""Where the paper contradicts itself, its sources or arithmetic, and what each point is worth here.

A consequence is measured on this study's predictions where an arm tests it,
counted where it is arithmetic, and otherwise said not to be measurable here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hepar.study.reproduce.aggregation import Aggregation
from hepar.study.reproduce.arm_results import MEASURES, ArmResult, compared
from hepar.study.reproduce.plan import LITERAL, WITH
from hepar.study.reproduce.published import TABLE1, TABLE2

How = Literal["measured", "counted", "not measurable here"]
Key = tuple[str, str]
# LiTS as published: scans, axial slices (kaiko-ai/eva's count), and the paper's "images".
LITS_SCANS, LITS_SLICES, PAPER_SLICES = 131, 58_638, 16_917
PAPER_SCANS, FOLDS, PAPER_EPOCHS, PAPER_BATCH, PAPER_TRAIN = 130, 4, 40, 1000, 97
# Output channels, kernel side and groups of AlexNet's five convolutions.
GROUPED = ((96, 11, 1), (256, 5, 2), (384, 3, 1), (384, 3, 2), (256, 3, 2))
UNGROUPED = tuple((channels, side, 1) for channels, side, _ in GROUPED)
TORCHVISION = ((64, 11, 1), (192, 5, 1), (384, 3, 1), (256, 3, 1), (256, 3, 1))
FULLY_CONNECTED = ((256 * 6 * 6, 4096), (4096, 4096), (4096, 1000))
RESNET18 = 11_176_512


@dataclass(frozen=True)
class Discrepancy:
    """What the paper says, what is found, and its consequence with how that was come by."""

    paper: str
    found: str
    consequence: str
    how: How

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def discrepancies(
    facts: Mapping[str, Any], arms: Mapping[Key, ArmResult], readings: Aggregation
) -> tuple[Discrepancy, ...]:
    """The whole sheet; `facts` is `study.json`."""
    return (
        _cohort(facts),
        _split(facts),
        _images(facts),
        _eight_times(arms),
        _batch(arms),
        _per_cent(arms),
        _parameters(arms),
        _areas(readings),
        _window(arms),
        _pretraining(),
        _fewer_parameters(),
        _table2(),
    )


def fold_sizes(scans: int, folds: int = FOLDS) -> list[int]:
    """Test sizes when scans are dealt as evenly as they can be."""
    return [scans // folds + (k < scans % folds) for k in range(folds)]


def alexnet_parameters(convolutions: tuple[tuple[int, int, int], ...]) -> int:
    """Weights and biases of AlexNet with these five convolutions and its three fully connected layers."""
    total, before = 0, 3
    for channels, side, groups in convolutions:
        total += channels * (before // groups) * side**2 + channels
        before = channels
    return total + sum(given * out + out for given, out in FULLY_CONNECTED)


def updates_of(slices: int, batch: int, epochs: int) -> int:
    """Updates of a training that drops each epoch's incomplete batch, as MATLAB does."""
    return slices // batch * epochs


def grey_levels(low_hu: int, high_hu: int) -> int:
    """Of MATLAB's 256 histogram bins of int16, how many lie between two HU."""
    return len({round((hu + 32768) * 255 / 65535) for hu in range(low_hu, high_hu + 1)})


def _cohort(facts: Mapping[str, Any]) -> Discrepancy:
    return Discrepancy(
        f"{PAPER_SCANS} CT scans",
        f"LiTS has {LITS_SCANS} (volume-0 to volume-130); a loop over range(130) never reads the last",
        f"one scan of {LITS_SCANS}; `--cohort full` takes all. Here: {facts['patients']} patients of {facts['label']}",
        "counted",
    )


def _split(facts: Mapping[str, Any]) -> Discrepancy:
    sizes = fold_sizes(PAPER_SCANS)
    return Discrepancy(
        "4 folds, each 97 scans to train and 33 to test",
        f"{FOLDS} x 33 = {FOLDS * 33} scans; {PAPER_SCANS} make test folds of {', '.join(map(str, sizes))}",
        f"97/33 holds for {sizes.count(33)} folds of {FOLDS}. Here train/test: "
        + ", ".join(f"{train}/{test}" for train, test in facts["fold_sizes"]),
        "counted",
    )


def _images(facts: Mapping[str, Any]) -> Discrepancy:
    shown, count = facts["labelled_slices"], facts["slices"]
    return Discrepancy(
        f"a total of {PAPER_SLICES:,} images",
        f"LiTS has {LITS_SLICES:,} slices; {PAPER_SLICES / LITS_SLICES:.1%} may be those that show liver",
        f"here {shown:,} of {count:,} slices show liver or tumour ({shown / count:.1%}), and networks learn from them; "
        "the aggregation table has both conditions of testing",
        "counted",
    )


def _eight_times(arms: Mapping[Key, ArmResult]) -> Discrepancy:
    tried = {
        "one 32x": "cdnn_alex-fcn32s",
        "dilated, one 8x": "cdnn_alex-dilated8",
        "8x, resized": "cdnn_alex-literal8x",
    }
    told = [f"{title} {_less(arms[name, WITH], arms['cdnn_alex', WITH])}" for title, name in tried.items()]
    return Discrepancy(
        "the decoder upsamples 8 times",
        "AlexNet's fc7 has stride 32: one 8x cannot reach full size. Read here as FCN-8s: two skips, then 8x",
        "against that reading (fold 0, DSC of liver, tumour): " + "; ".join(told),
        _how(arms[name, WITH] for name in tried.values()),
    )


def _batch(arms: Mapping[Key, ArmResult]) -> Discrepancy:
    slices = round(PAPER_SLICES * PAPER_TRAIN / PAPER_SCANS)
    literal = arms[LITERAL.key]
    here = "the literal arm was not run"
    if literal.cells:
        own = literal.cells[0].facts
        moved = _less(literal, arms["cdnn_alex", WITH])
        here = f"here the literal arm made {own['updates']} updates; against the practical one {moved}"
    return Discrepancy(
        f"mini-batches of {PAPER_BATCH} images, at most {PAPER_EPOCHS} epochs, rate 1e-4",
        f"about {slices:,} training slices make {slices // PAPER_BATCH} batches, so "
        f"{updates_of(slices, PAPER_BATCH, PAPER_EPOCHS)} updates in all; FCN-AlexNet took 100,000 at this rate",
        here,
        _how([literal]),
    )


def _per_cent(arms: Mapping[Key, ArmResult]) -> Discrepancy:
    least = min(row.values["liver_assd"] for row in TABLE1)
    value = arms["cdnn_alex", WITH].value(MEASURES[1]) if arms["cdnn_alex", WITH].cells else None
    return Discrepancy(
        "ASSD is multiplied by 100 %",
        f"a distance has no per cent; {least} would be {least / 100:.4f} mm, a small part of a pixel",
        "read as a distance without the factor"
        + (f"; here the same arm has {value.value:.1f} mm" if value else "; the arm was not run"),
        "measured" if value else "not measurable here",
    )


def _parameters(arms: Mapping[Key, ArmResult]) -> Discrepancy:
    counts = [alexnet_parameters(layers) for layers in (GROUPED, UNGROUPED, TORCHVISION)]
    return Discrepancy(
        "AlexNet has 62.4 million parameters",
        f"MATLAB's (grouped) has {counts[0]:,}, without groups {counts[1]:,}, torchvision's {counts[2]:,}: 62.4 "
        "million is the one without groups, not MATLAB's",
        "against the grouped one (fold 0, DSC of liver, tumour): without groups "
        + f"{_less(arms['cdnn_alex-ungrouped', WITH], arms['cdnn_alex', WITH])}; torchvision's "
        + f"{_less(arms['cdnn_alex-owt', WITH], arms['cdnn_alex', WITH])}; what each starts from stands in its row",
        _how([arms["cdnn_alex-ungrouped", WITH], arms["cdnn_alex-owt", WITH]]),
    )


def _areas(readings: Aggregation) -> Discrepancy:
    told = [
        f"{s.kind} of {s.arm} lies between {s.lowest.value:.3f} ({s.lowest.protocol}, {s.lowest.figure}, "
        f"{s.lowest.condition}) and {s.highest.value:.3f} ({s.highest.protocol}, {s.highest.figure}, "
        f"{s.highest.condition})"
        for s in readings.spreads
        if "DSC" in s.kind and s.arm == "CDNN-Alex (with)"
    ]
    return Discrepancy(
        "DSC on areas, in pixels",
        "per slice, per case or over all voxels is not said, nor whether liver includes its tumours",
        "; ".join(told) if told else "the arm was not run",
        "measured" if told else "not measurable here",
    )


def _window(arms: Mapping[Key, ArmResult]) -> Discrepancy:
    return Discrepancy(
        "histogram equalisation of CT, no window named",
        f"MATLAB's histeq has 256 bins for all of int16: -100 to 400 HU would share {grey_levels(-100, 400)}",
        "a window must have come first; here "
        + next((f"{a.cells[0].facts['window_hu']['used']} HU" for a in arms.values() if a.cells), "no arm was run"),
        "counted",
    )


def _pretraining() -> Discrepancy:
    return Discrepancy(
        "AlexNet was pretrained on 10 million images from 1000 subjects",
        "ImageNet's ILSVRC 2012: 1.28 million images of 1000 classes",
        "none for the figures",
        "not measurable here",
    )


def _fewer_parameters() -> Discrepancy:
    encoder = alexnet_parameters(GROUPED) - (4096 * 1000 + 1000)
    return Discrepancy(
        "AlexNet does better because it has fewer parameters than ResNet18",
        f"AlexNet's encoder has {encoder:,}, ResNet18's {RESNET18:,}",
        "the reason given cannot be the reason",
        "counted",
    )


def _table2() -> Discrepancy:
    best = max(row.tumour_dice or 0 for row in TABLE2)
    return Discrepancy(
        f"the best tumour DSC of Table 2, {best:.3f}",
        "test cases, splits and scorers differ from row to row; on LiTS's own server Han has .674, Chlebus .652, Bi "
        "and Vorontsov .645",
        "no ranking follows from Table 2; see its corrections",
        "not measurable here",
    )


def _less(arm: ArmResult, base: ArmResult) -> str:
    """Differences of liver and tumour DSC, or why there are none."""
    if not (arm.cells and base.cells):
        return "not run" if not arm.cells else "nothing to compare with"
    liver, tumour = (compared(arm, base, measure).mean_difference for measure in (MEASURES[0], MEASURES[2]))
    flat = "" if arm.converged and base.converged else " (not converged)"
    return f"{liver:+.3f}, {tumour:+.3f}{flat}"


def _how(arms: Any) -> How:
    return "measured" if any(arm.cells for arm in arms) else "not measurable here"
