"""A run folder: which training it is the home of, what run.json says of it, and the model it ends with."""

from __future__ import annotations

import json
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

import hepar
from hepar.cases import Case
from hepar.errors import BadInput
from hepar.files import replace_whole, write_json
from hepar.inference import ModelCard, Pipeline, save_model
from hepar.nets.registry import NetworkSettings, network_to_json
from hepar.training.checkpoint import TrainingState
from hepar.training.recipe import Recipe

DATA_LICENCE = "the terms of the training data apply to these weights"


def training_facts(settings: dict[str, Any], seed: int, cases: Sequence[Case]) -> dict[str, Any]:
    """What run.json says of every training; `settings` are the method's, as JSON."""
    return {
        "method": settings,
        "seed": seed,
        "training_patients": sorted({case.patient for case in cases}),
        "training_cases": sorted(case.id for case in cases),
        "versions": versions(),
        "command": command_line(),
    }


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    names = ("torch", "numpy", "scipy", "hepar")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def command_line() -> str:
    """The command as typed, with absolute paths cut down to their names."""
    return " ".join([Path(sys.argv[0]).name, *map(_without_folder, sys.argv[1:])])


def _without_folder(word: str) -> str:
    """An absolute path, alone or after an option, becomes its last part: folders tell whose machine it was."""
    option, rest = re.fullmatch(r"(-\w(?=[/~])|--[\w-]+=)?(.*)", word, re.DOTALL).groups("")  # type: ignore[union-attr]
    if not re.match(r"[/~]|[A-Za-z]:[\\/]", rest):
        return word
    return option + re.split(r"[\\/]", rest.rstrip("\\/"))[-1]


def claim(folder: Path, run: dict[str, Any]) -> None:
    """Make `folder` the home of this training. Raises BadInput when it is that of another."""
    if (folder / "run.json").exists():
        require_same_training(folder, run)
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", run | {"finished": False})


def require_same_training(folder: Path, run: dict[str, Any]) -> None:
    """Raises BadInput when `folder` holds a training of other settings, cases, seed or encoder weights than `run`."""
    earlier = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    same = all(_as_of_today(earlier.get(key)) == _as_of_today(run[key]) for key in ("method", "training_cases", "seed"))
    weights = [facts.get("encoder", {}).get("sha256") for facts in (earlier, run)]
    if not same or (all(weights) and weights[0] != weights[1]):
        raise BadInput(f"{folder.name} holds another training (other settings, cases or weights); choose a new folder")


def _as_of_today(facts: Any) -> Any:
    """As JSON, with recipe settings that are newer than a run at their defaults: those change nothing of it."""
    if isinstance(facts, dict) and "recipe" in facts:
        try:
            facts = facts | {"recipe": asdict(Recipe.from_json(facts["recipe"]))}
        except (TypeError, BadInput):
            return facts  # settings that no recipe of today has: another training
    return json.loads(json.dumps(facts))


def finish(folder: Path, run: dict[str, Any], state: TrainingState, facts: dict[str, Any], started: float) -> None:
    """Write history.json and the final run.json, with `facts` of this kind of training; `started` is monotonic time."""
    write_json(folder / "history.json", state.history)
    done = {
        "finished": True,
        **facts,
        "updates": state.update,
        "minutes_training": round(sum(row["seconds"] for row in state.history) / 60, 2),
        "minutes_last_start": round((time.monotonic() - started) / 60, 2),
    }
    write_json(folder / "run.json", run | done)


def save_trained(
    folder: Path, network: nn.Module, settings: NetworkSettings, pipeline: Pipeline, cases: Sequence[Case]
) -> None:
    """The network, built by `settings`, becomes the model folder model/ in `folder`."""
    from safetensors.torch import save_file

    (folder / "model").mkdir(exist_ok=True)
    weights = folder / "model" / "weights.safetensors"
    with replace_whole(weights) as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
    patients = {case.patient for case in cases if case.evidence == "real"}
    card = ModelCard(
        name=folder.name,
        description=f"{type(settings).__name__} trained by hepar",
        licence=DATA_LICENCE,
        trained_on=f"{len(patients)} real patients, listed in run.json",
        limits=hepar.DISCLAIMER,
    )
    save_model(folder / "model", card, pipeline, weights, network_to_json(settings))
