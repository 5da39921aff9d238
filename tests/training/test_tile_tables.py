"""Tiles to learn from: which class they are, who owns them, and that patients weigh alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hepar.classical.region_growing import GrowLiver
from hepar.classical.tile_view import TileView
from hepar.classical.tiles import Tiles
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.inference.classical import GrownLiver
from hepar.training.tile_tables import CaseTiles, TileTable, read_tiles, tiles_of, write_tiles
from hepar.volume import LabelMap
from tiled_livers import liver_case

VIEW = TileView(Tiles(6, 3))


def table(counts: dict[str, tuple[int, int]]) -> TileTable:
    """`counts`: normal and lesion tiles of each patient; the only feature is a running number."""
    kinds = np.concatenate([np.repeat([0, 1], two) for two in counts.values()])
    patients = np.concatenate([np.full(sum(two), name) for name, two in counts.items()])
    return TileTable(np.arange(len(kinds), dtype=float)[:, None], kinds, patients)


def test_a_tile_is_normal_without_tumour_a_lesion_from_some_share_on_and_nothing_between():
    found = CaseTiles(np.zeros((5, 1)), np.array([0, 0.01, 0.49, 0.5, 1]), 0.0)
    assert found.kinds(1, 0.5).tolist() == [0, -1, -1, 1, 1]
    assert found.kinds(2, 0.25).tolist() == [0, -1, 2, 2, 2]


def test_tiles_lie_in_the_found_liver_and_know_their_tumour():
    case = liver_case("a", 0)
    features, shares = tiles_of(case, GrownLiver(GrowLiver()), VIEW, most=50, seed=1)
    assert len(features) == len(shares) <= 100
    assert (shares == 0).sum() == 50 and 0 < (shares > 0).sum() <= 50
    # Lesions are dark: the first feature is the mean grey value.
    assert features[shares >= 0.5, 0].mean() < features[shares == 0, 0].mean() - 10
    again = tiles_of(case, GrownLiver(GrowLiver()), VIEW, most=50, seed=1)
    assert np.array_equal(again[0], features)
    other = tiles_of(replace(case, id="b"), GrownLiver(GrowLiver()), VIEW, most=50, seed=1)
    assert not np.array_equal(other[0], features)


def test_a_case_without_liver_has_no_tiles():
    class Blind:
        name = "blind"

        def segment(self, ct):
            return LabelMap(np.zeros(ct.values.shape, np.uint8), ct.geometry)

    features, shares = tiles_of(liver_case("a", 0), Blind(), VIEW, most=50, seed=1)
    assert features.shape == (0, 20) and shares.shape == (0,)


def test_labels_on_another_grid_are_refused():
    case = liver_case("a", 0)
    shifted = LabelMap(case.truth.labels, Geometry.from_spacing((4, 64, 64), (5, 4, 4), origin_mm=(0, 0, 1)))
    with pytest.raises(BadInput, match="case a: CT and labels lie on different grids"):
        tiles_of(replace(case, read_truth=lambda: shifted), GrownLiver(GrowLiver()), VIEW, 50, 1)


def test_stored_tiles_name_their_case_and_who_found_the_liver(tmp_path):
    found = CaseTiles(np.ones((2, 3)), np.array([0, 1.0]), 2.5)
    write_tiles(tmp_path / "a.npz", found, "case a", "grown@1")
    again, case, origin = read_tiles(tmp_path / "a.npz")
    assert (case, origin, again.seconds) == ("case a", "grown@1", 2.5)
    assert np.array_equal(again.features, found.features) and np.array_equal(again.shares, found.shares)


def test_patients_weigh_alike_as_far_as_their_tiles_go():
    drawn = table({"few": (10, 3), "many": (5000, 900), "some": (200, 0)}).drawn(300, seed=0)
    counts = Counter(zip(drawn.patients.tolist(), drawn.kinds.tolist(), strict=True))
    assert counts == {
        ("few", 0): 10, ("many", 0): 70, ("some", 0): 70, ("few", 1): 3, ("many", 1): 147
    }  # fmt: skip
    assert drawn.counts(3) == [150, 150, 0]


def test_drawing_is_by_seed_and_keeps_rows_together():
    full = table({"a": (500, 100), "b": (300, 20)})
    one, same, other = full.drawn(100, 0), full.drawn(100, 0), full.drawn(100, 1)
    assert np.array_equal(one.features, same.features)
    assert not np.array_equal(one.features, other.features)
    rows = one.features[:, 0].astype(int)
    assert len(set(rows)) == 100
    assert np.array_equal(full.kinds[rows], one.kinds) and np.array_equal(full.patients[rows], one.patients)
    assert len(full.drawn(10_000, 0)) == len(full)


def test_folds_share_no_patient_and_test_everybody_once():
    full = table({name: (20, k) for k, name in enumerate("abcdefg")})
    folds = full.folds(3, seed=0)
    assert len(folds) == 3
    assert sorted(name for fold in folds for name in fold.test) == list("abcdefg")
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert not set(full.of(fold.train).patients) & set(full.of(fold.test).patients)
    assert table({"a": (5, 5)}).folds(3, 0) == []
    assert full.folds(0, 0) == []
