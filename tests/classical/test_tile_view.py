"""A scan as tiles: what is equalised by what, and that slices stream."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from hepar.classical.tile_view import TileView
from hepar.classical.tiles import Tiles
from hepar.errors import BadInput, BadModel
from hepar.geometry import Geometry
from hepar.preprocess import EqualizeHistogram, MedianInPlane, Window
from hepar.volume import Volume
from tiled_livers import liver_scan

TILES = Tiles(8, 4)


def test_every_slice_of_the_organ_is_looked_at_and_no_other():
    ct, truth = liver_scan(0)
    organ = truth.liver.copy()
    organ[1] = False
    seen = list(TileView(TILES).look(ct, organ))
    assert [one.z for one in seen] == [0, 2, 3]
    assert all(one.shown.shape == (len(one.corners), 8, 8) for one in seen)
    assert not list(TileView(TILES).look(ct, np.zeros_like(organ)))


def test_the_organ_alone_is_equalised_slice_by_slice_or_as_a_whole():
    ct, truth = liver_scan(0)
    organ = truth.liver
    view = TileView(Tiles(8, 8, 1.0), (Window(-100, 400),))
    grey = Window(-100, 400)(ct).values.astype(np.uint8)

    def expected(z, counted):
        table = EqualizeHistogram().table(counted)
        return view.tiles.cut(table[grey[z]], organ[z], view.tiles.corners(organ[z]))

    plain, by_slice, by_scan = (
        list(TileView(view.tiles, view.prepare, how).look(ct, organ)) for how in ("none", "slice", "scan")
    )
    for z in range(4):
        assert np.array_equal(plain[z].shown, view.tiles.cut(grey[z], organ[z], view.tiles.corners(organ[z])))
        assert np.array_equal(by_slice[z].shown, expected(z, grey[z][organ[z]]))
        assert np.array_equal(by_scan[z].shown, expected(z, grey[organ]))
    assert not np.array_equal(by_slice[1].shown, by_scan[1].shown)
    # A liver fills some 40 of 256 grey values before, and all of them afterwards.
    assert np.ptp(plain[1].shown) < 60
    assert np.ptp(by_slice[1].shown) > 200


def test_memory_does_not_grow_with_the_number_of_slices():
    ct, truth = liver_scan(0)
    view = TileView(TILES, equalise="scan")

    def peak(times):
        grid = Geometry.from_spacing((4 * times, 64, 64), (5, 4, 4))
        scan, organ = Volume(np.tile(ct.values, (times, 1, 1)), grid), np.tile(truth.liver, (times, 1, 1))
        tracemalloc.start()
        for one in view.look(scan, organ):
            view.measured(one.shown[:2])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    # The histogram's grey values are a byte a voxel of the organ.
    assert peak(12) < peak(2) + 12 * 4 * 64 * 64 + 50_000


@pytest.mark.parametrize("features", ["texture", "wavelets"])
def test_a_view_is_stored_as_json(features):
    view = TileView(Tiles(16, 8, 0.6), (Window(0, 200), MedianInPlane(3)), "slice", features)  # type: ignore[arg-type]
    assert TileView.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_unknown_settings_are_refused():
    with pytest.raises(BadInput, match="texture or wavelets"):
        TileView(features="shape")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="none, slice or scan"):
        TileView(equalise="body")  # type: ignore[arg-type]
    good = TileView().to_json()
    for broken in (good | {"tiles": {"side": 2}}, good | {"prepare": [{"step": "Eval"}]}, {}, None):
        with pytest.raises(BadModel, match=r"unusable settings|is unknown"):
            TileView.from_json(broken)
