"""A network of livers and a surface: who chooses the surface, on whom, and what a run keeps of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hepar.cases import Case
from hepar.classical.surface_evolution import Evolution
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference import Pipeline, SlabSegmenter
from hepar.inference.surface import SurfaceSegmenter
from hepar.nets.residual_unet3d import ResidualUnet3d
from hepar.preprocess import InPlaneGrid, Window
from hepar.training.deep_method3d import Deep3dMethod
from hepar.training.recipe import Recipe
from hepar.training.surface import SurfaceMethod
from hepar.volume import LabelMap, Volume

GRID = Geometry.from_spacing((10, 26, 26), (4, 4, 4))
# The first does what the network says, the second what HU say: the network below sees a smaller liver than there is.
BY_MAP = Evolution(data=3.0, histogram=0.0, local=0.0, most_steps=100)
BY_HU = Evolution(data=3.0, histogram=2.0, local=0.0, most_steps=100)


def ball(radius_mm: float) -> np.ndarray:
    z, y, x = np.mgrid[:10, :26, :26]
    return (z - 4.5) ** 2 + (y - 13) ** 2 + (x - 12) ** 2 < (radius_mm / 4) ** 2


def case(name: str, radius_mm: float = 32, read: list[str] | None = None) -> Case:
    """A liver of 110 HU in 40 with a tumour; `read` notes every look at its labels."""
    labels = ball(radius_mm).astype(np.uint8)
    labels[4:6, 12:14, 11:13] = 2
    noise = np.random.default_rng(len(name)).normal(0, 5, GRID.shape)
    ct = Volume((np.where(labels > 0, 110, 40) + noise).astype(np.int16), GRID)

    def truth() -> LabelMap:
        if read is not None:
            read.append(name)
        return LabelMap(labels, GRID)

    return Case(name, name, lambda: ct, truth, evidence="phantom")


class OfABall(Deep3dMethod):
    """A stand-in for the network's training: it finds a ball of 24 mm, sure in the middle and unsure at its border."""

    inner: tuple[str, ...] = ()

    def train(self, cases, folder, listen=lambda _: None, device="auto"):
        type(self).seen = [(one.id, set(np.unique(one.truth.labels))) for one in cases]
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"inner_validation_patients": list(self.inner), "updates": 7, "minutes_training": 0.5}
        (folder / "run.json").write_text(json.dumps(facts))
        return self.load(folder)

    def load(self, folder):
        away = np.linalg.norm(np.mgrid[:10, :26, :26] - np.array([4.5, 13, 12])[:, None, None, None], axis=0) * 4
        margin = ((24 - away) / 8).astype(np.float32)
        steps = iter(range(10**6))

        def predict(batch: np.ndarray) -> np.ndarray:
            start = next(steps) % 2 * 5
            part = margin[start : start + 5]
            return np.stack([-part, part, np.full_like(part, -30)], axis=1)

        pipeline = Pipeline((Window(0, 200),), InPlaneGrid(pixel_mm=4.0, multiple=1))
        return SlabSegmenter(predict, pipeline, "ball", slab=5)


def method(inner: tuple[str, ...] = ("b", "c"), **more: object) -> SurfaceMethod:
    recipe = Recipe(sampling="patient_balanced")
    network = OfABall(ResidualUnet3d(), (Window(0, 200),), InPlaneGrid(pixel_mm=4.0, multiple=1), recipe)
    # No field of the method: settings are the same whoever is held back.
    object.__setattr__(network, "inner", inner)
    return SurfaceMethod(network, **({"tried": (BY_MAP, BY_HU), "voxel_mm": 4.0} | more))  # type: ignore[arg-type]


def run_of(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_the_evolution_that_is_best_on_the_inner_patients_is_taken(tmp_path):
    cases = [case(name) for name in "abc"]
    segmenter = method().train(cases, tmp_path)
    run = run_of(tmp_path)
    assert isinstance(segmenter, SurfaceSegmenter)
    assert segmenter.evolution == BY_HU
    assert run["evolution"]["chosen"]["histogram"] == 2.0
    assert [row["case"] for row in run["trials"]] == ["b", "c"]
    means = np.mean([row["dice"] for row in run["trials"]], axis=0)
    assert run["evolution"]["inner_dice"] == pytest.approx(means, abs=1e-3)
    assert means[1] > 0.93 and means[0] < 0.7
    # What was measured is what the segmenter does, tumours counted as liver.
    found, truth = segmenter.segment(cases[1].ct).labels > 0, cases[1].truth.liver
    assert run["trials"][0]["dice"][1] == pytest.approx(
        2 * (found & truth).sum() / (found.sum() + truth.sum()), abs=1e-4
    )


def test_where_the_network_is_right_its_map_is_followed(tmp_path):
    # Livers of 24 mm that nobody can see in the HU.
    flat = [replace(case(name, 24), read_ct=lambda: Volume(np.full(GRID.shape, 60, np.int16), GRID)) for name in "abc"]
    segmenter = method(tried=(replace(BY_HU, histogram=0.0, data=0.001), BY_MAP)).train(flat, tmp_path)
    assert segmenter.evolution == BY_MAP


def test_at_a_tie_and_without_inner_patients_the_first_is_taken(tmp_path):
    cases = [case(name) for name in "abc"]
    same = replace(BY_HU, updates=9)
    assert method(tried=(BY_HU, same)).train(cases, tmp_path / "tie").evolution == BY_HU
    assert method(inner=()).train(cases, tmp_path / "nobody").evolution == BY_MAP
    run = run_of(tmp_path / "nobody")
    assert run["trials"] == [] and run["evolution"]["inner_dice"] is None


def test_only_inner_patients_of_the_training_are_asked(tmp_path):
    read: list[str] = []
    cases = [case(name, read=read) for name in "abc"]
    tested = case("test", read=read)
    method(inner=("c",)).train(cases, tmp_path)
    # The network's stand-in looks once at each; the surface at one of them.
    assert sorted(read) == ["a", "b", "c", "c"]
    assert run_of(tmp_path)["training_cases"] == ["a", "b", "c"] and tested.id not in read


def test_one_evolution_is_not_tried_at_all(tmp_path):
    read: list[str] = []
    method(tried=(BY_HU,)).train([case("a", read=read), case("b", read=read)], tmp_path)
    assert read == ["a", "b"] and run_of(tmp_path)["trials"] == []


def test_the_network_learns_livers_with_their_tumours_as_one(tmp_path):
    method().train([case("a"), case("b")], tmp_path)
    assert OfABall.seen == [("a", {0, 1}), ("b", {0, 1})]


def test_a_finished_run_is_loaded_and_never_tried_again(tmp_path):
    read: list[str] = []
    cases = [case(name, read=read) for name in "abc"]
    first = method().train(cases, tmp_path)
    written, looks = (tmp_path / "run.json").read_bytes(), len(read)
    again = method().train(cases, tmp_path)
    assert (tmp_path / "run.json").read_bytes() == written and len(read) == looks
    assert (again.evolution, again.voxel_mm) == (first.evolution, first.voxel_mm)
    ct = cases[0].ct
    assert np.array_equal(again.segment(ct).labels, first.segment(ct).labels)


def test_a_run_that_broke_before_its_surface_was_chosen_chooses_it_later(tmp_path):
    cases = [case(name) for name in "abc"]

    class PowerCut(Exception):
        pass

    def cut(*_: object) -> list[dict]:
        raise PowerCut

    broken = method()
    object.__setattr__(broken, "_trials", cut)
    with pytest.raises(PowerCut):
        broken.train(cases, tmp_path)
    assert run_of(tmp_path)["finished"] is False and not (tmp_path / "surface.json").exists()
    assert method().train(cases, tmp_path).evolution == BY_HU
    assert run_of(tmp_path)["finished"] is True


def test_a_run_says_its_settings_its_stage_and_its_time(tmp_path):
    own = method()
    own.train([case("a"), case("b"), case("c")], tmp_path)
    run = run_of(tmp_path)
    assert run["method"] == json.loads(json.dumps(own.to_json()))
    assert run["method"].keys() == {"liver", "tried", "voxel_mm"}
    assert (run["updates"], run["inner_validation_patients"]) == (7, ["b", "c"])
    assert run["minutes_training"] >= 0.5 and run["stages"]["liver"]["updates"] == 7
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "surface.json", "liver"}


def test_another_training_in_the_same_folder_is_refused(tmp_path):
    method().train([case("a"), case("b"), case("c")], tmp_path / "run")
    with pytest.raises(BadInput, match="run holds another training"):
        method(voxel_mm=5.0).train([case("a"), case("b"), case("c")], tmp_path / "run")


@pytest.mark.parametrize("wrong", [{"tried": ()}, {"voxel_mm": 0.0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(BadInput, match=r"evolutions on cubes of .* expected one or more, above 0"):
        method(**wrong)


def test_each_changes_the_network_and_tiny_all():
    changed = method().each(lambda one: replace(one, recipe=Recipe(epochs=3)))
    assert changed.recipe.epochs == 3 and changed.tried == (BY_MAP, BY_HU)
    small = method().tiny()
    assert small.liver == method().liver.tiny()
    # The phantom of the contract has pixels of 6 mm, and one surface is enough for it.
    assert (small.voxel_mm, small.tried) == (6.0, (replace(BY_MAP, updates=2, most_steps=60),))
