"""A published network with its preparation, recipe and cleaning: one value, one method."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import hepar
from hepar.cases import Case, inner_split
from hepar.errors import BadInput, BadModel
from hepar.files import replace_whole, write_json
from hepar.inference import ModelCard, Pipeline, SlabSegmenter, load_segmenter, save_model
from hepar.inference.backends.pytorch import pick_device
from hepar.inference.neighbours import SINGLE_SLICES, Neighbours
from hepar.nets.registry import NetworkSettings, network_to_json
from hepar.nets.weights import Source, WeightsReport, load_encoder_weights
from hepar.postprocess import Clean
from hepar.preprocess.intensity import Step, Window, steps_to_json
from hepar.preprocess.spatial import InPlaneGrid
from hepar.training.loop import Listener, fit, trained_slices
from hepar.training.recipe import PRACTICAL, Recipe
from hepar.training.store import SliceStore, load_slices

log = logging.getLogger("hepar")
LEAST_SLICES = 20
# What a synthetic lesion's contrasts, in HU, are painted on.
PAINTABLE = (Window(-40, 160),)
DATA_LICENCE = "the terms of the training data apply to these weights"


@dataclass(frozen=True)
class DeepMethod:
    """A slice network and everything around it.

    `encoder_weights`: "imagenet", "none", or the path of a weights file.
    """

    network: NetworkSettings
    prepare: tuple[Step, ...]
    grid: InPlaneGrid = field(default_factory=lambda: InPlaneGrid(matrix=512))
    recipe: Recipe = PRACTICAL
    clean: tuple[Clean, ...] = ()
    encoder_weights: str = "imagenet"

    def train(
        self, cases: Sequence[Case], folder: Path, listen: Listener = lambda _: None, device: str = "auto"
    ) -> SlabSegmenter:
        """Train on `cases`; `folder` receives run.json, history.json, checkpoint.safetensors and model/.

        Called again on the same folder it goes on after the last finished
        epoch. Raises BadInput when the folder holds another training.
        """
        if self.recipe.synthesis and self.prepare != PAINTABLE:
            raise BadInput(
                f"lesions are painted on -40..160 HU only, this method prepares {self.prepare}; drop synthesis"
            )
        started = time.monotonic()
        network = self.network.build(seed=self.recipe.seed)
        source = weights_source(self.encoder_weights)
        report = load_encoder_weights(network, source)
        if source == "none":
            log.warning("the encoder starts from random weights (He initialisation), as asked")
        elif report.fresh:
            log.warning("encoder layers not in %s, starting fresh: %s", report.source, ", ".join(report.fresh))
        run = self._facts(cases, report) | {"device": pick_device(device)}
        if isinstance(source, Path):
            run["encoder"]["sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
        _claim(folder, run)
        network.to(run["device"])
        store = load_slices(cases, self.prepare, self.grid, neighbours=neighbours_of(self.network))
        inner = self._inner_patients(cases, store)
        held_back = _without_synthetic(store.of_patients(inner), cases) if inner else None
        used = trained_slices(store.part(~np.isin(store.patients, inner)), self.recipe)
        state = fit(network, used, held_back, self.recipe, folder, listen)
        minutes = (time.monotonic() - started) / 60
        write_json(folder / "history.json", state.history)
        done = {
            "finished": True,
            "inner_validation_patients": list(inner),
            "slices": _slice_counts(used, held_back),
            "updates": state.update,
            "minutes_training": round(sum(row["seconds"] for row in state.history) / 60, 2),
            "minutes_last_start": round(minutes, 2),
        }
        write_json(folder / "run.json", run | done)
        self._save(network.cpu(), cases, folder)
        return self.load(folder)

    def _inner_patients(self, cases: Sequence[Case], store: SliceStore) -> tuple[str, ...]:
        """Who is held back for inner validation. Raises BadInput when a patient named in the recipe is not there."""
        if named := self.recipe.inner_patients:
            if missing := set(named) - set(store.patients.tolist()):
                raise BadInput(
                    f"inner patients {', '.join(sorted(missing))} are not in the training data; check the names"
                )
            return named
        # Only patients with many fully labelled real slices can tell how well a training goes.
        real = {case.patient for case in cases if case.evidence == "real"}
        burden = _without_synthetic(store, cases).burden(least_slices=LEAST_SLICES)
        judges = {p: b for p, b in burden.items() if p in real}
        return inner_split(judges, self.recipe.validation_share, self.recipe.seed).test

    def load(self, folder: Path) -> SlabSegmenter:
        """The segmenter that an earlier `train` left in `folder`."""
        return load_segmenter(folder / "model")

    def to_json(self) -> dict[str, Any]:
        return {
            "network": network_to_json(self.network),
            "prepare": steps_to_json(self.prepare),
            "grid": asdict(self.grid),
            "recipe": asdict(self.recipe),
            "clean": [repr(step) for step in self.clean],
            # Only the file's name: a path would tell where on whose machine it lay.
            "encoder_weights": Path(self.encoder_weights).name,
        }

    def _facts(self, cases: Sequence[Case], report: WeightsReport) -> dict[str, Any]:
        return {
            "method": self.to_json(),
            "encoder": {"source": report.source, "fresh": list(report.fresh), "note": report.note},
            "seed": self.recipe.seed,
            "training_patients": sorted({case.patient for case in cases}),
            "training_cases": sorted(case.id for case in cases),
            "evidence": sorted({case.evidence for case in cases}),
            "versions": versions(),
            "command": command_line(),
        }

    def _save(self, network: nn.Module, cases: Sequence[Case], folder: Path) -> None:
        from safetensors.torch import save_file

        (folder / "model").mkdir(exist_ok=True)
        weights = folder / "model" / "weights.safetensors"
        with replace_whole(weights) as temporary:
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
        patients = {case.patient for case in cases if case.evidence == "real"}
        card = ModelCard(
            name=folder.name,
            description=f"{type(self.network).__name__} trained by hepar",
            licence=DATA_LICENCE,
            trained_on=f"{len(patients)} real patients, listed in run.json",
            limits=hepar.DISCLAIMER,
        )
        pipeline = Pipeline(self.prepare, self.grid, self.clean, neighbours_of(self.network))
        save_model(folder / "model", card, pipeline, weights, network_to_json(self.network))


def neighbours_of(network: NetworkSettings) -> Neighbours:
    """What the network sees of a stack, from its settings; single slices for networks that know of no others."""
    slices, step_mm = getattr(network, "slices", 1), getattr(network, "step_mm", SINGLE_SLICES.step_mm)
    return Neighbours(int(slices), float(step_mm)) if slices > 1 else SINGLE_SLICES


def weights_source(name: str) -> Source:
    """`imagenet` and `none` are words, anything else is a file. Raises BadModel when it is not there."""
    if name == "imagenet":
        return "imagenet"
    if name == "none":
        return "none"
    if not Path(name).is_file():
        raise BadModel(f"encoder weights {Path(name).name} are not a file; give 'imagenet', 'none' or a weights file")
    return Path(name)


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


def _claim(folder: Path, run: dict[str, Any]) -> None:
    """Make `folder` the home of this training; refuse when it is that of another."""
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


def _without_synthetic(store: SliceStore, cases: Sequence[Case]) -> SliceStore:
    """Without synthetic CTs of a patient's anatomy: they would judge a training on what it was not made for."""
    return store.part(np.isin(store.cases, [case.id for case in cases if case.evidence != "synthetic"]))


def _slice_counts(used: SliceStore, held_back: SliceStore | None) -> dict[str, int]:
    return {
        "training": len(used),
        "training_with_liver": int(used.has(1).sum()),
        "training_with_tumour": int((used.has(2) & ~used.union).sum()),
        "training_liver_union": int(used.union.sum()),
        "inner_validation": 0 if held_back is None else len(held_back),
    }
