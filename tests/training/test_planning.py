"""nnU-Net's plans: known ones come out again, and what is planned can be built."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.cases import Case
from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.training.planning import (
    RESENC_L,
    RESENC_M,
    Fingerprint,
    Plan,
    feature_values,
    fingerprint_of,
    plan_of,
    target_spacing,
    topology,
)
from hepar.volume import LabelMap, Volume


def seen(count: int, z_mm: float, pixel_mm: float, shape: tuple[int, int, int]) -> Fingerprint:
    return Fingerprint(((z_mm, pixel_mm),) * count, (shape,) * count, 100.0, 40.0, -17.0, 200.0)


LITS = seen(131, 1.0, 0.767, (432, 512, 512))


def test_lits_gets_the_published_plans():
    flat, deep = plan_of(LITS, 2), plan_of(LITS, 3)
    assert (flat.patch, flat.batch, flat.channels) == ((512, 512), 12, (32, 64, 128, 256, 512, 512, 512, 512))
    assert (deep.patch, deep.batch, deep.channels) == ((128, 128, 128), 2, (32, 64, 128, 256, 320, 320))
    assert flat.blocks == (1, 3, 4, 6, 6, 6, 6, 6)
    assert deep.blocks == (1, 3, 4, 6, 6, 6)
    assert deep.strides == ((1, 1, 1), *((2, 2, 2),) * 5)
    assert set(deep.kernels) == {(3, 3, 3)}
    assert (deep.spacing_mm, flat.spacing_mm) == ((1.0, 0.767, 0.767), (0.767, 0.767))


def test_feature_maps_are_counted_as_by_the_program():
    """Counted by dynamic_network_architectures 0.4.4 for the same two networks."""
    flat, deep = plan_of(LITS, 2), plan_of(LITS, 3)
    assert feature_values(flat.patch, flat.channels, flat.blocks, flat.strides) == 129_703_936
    assert feature_values(deep.patch, deep.channels, deep.blocks, deep.strides) == 557_420_544


def test_thick_slices_leave_z_alone_until_pixels_are_as_large():
    plan = plan_of(seen(20, 5.0, 0.75, (60, 512, 512)), 3)
    assert plan.patch == (28, 224, 224)
    assert plan.strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert plan.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))


def test_few_far_slices_are_brought_to_the_finest_tenth():
    spacings = ((10.0, 1.5),) * 8 + ((5.0, 1.5),) * 2
    mixed = replace(seen(10, 10.0, 1.5, (10, 256, 216)), spacing_mm=spacings)
    assert target_spacing(mixed) == (5.0, 1.5)
    many = replace(mixed, shapes=((100, 256, 216),) * 10)
    assert target_spacing(many) == (10.0, 1.5)


def test_more_memory_means_larger_patches_or_batches():
    sizes = [
        (math.prod(plan.patch), plan.batch)
        for plan in (plan_of(LITS, 3, memory) for memory in (RESENC_M.times(1 / 8), RESENC_M, RESENC_L))
    ]
    assert sizes[0][0] < sizes[1][0] < sizes[2][0]
    assert [plan_of(LITS, 2, memory).batch for memory in (RESENC_M, RESENC_L)] == [12, 35]
    # A batch shows no more than all there is.
    assert plan_of(seen(1, 19, 6, (10, 64, 64)), 2).batch == 10


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.4, 10), st.floats(0.4, 3), st.integers(8, 700), st.integers(32, 512), st.sampled_from([0.02, 0.2, 1.0])
)
def test_any_data_gets_a_plan_that_its_strides_divide_and_memory_holds(z_mm, pixel_mm, depth, side, share):
    for dims in (2, 3):
        memory = RESENC_M.times(share)
        plan = plan_of(seen(4, z_mm, pixel_mm, (depth, side, side)), dims, memory)
        coarsest = [math.prod(axis) for axis in zip(*plan.strides, strict=True)]
        assert all(n % stride == 0 and n // stride >= 4 for n, stride in zip(plan.patch, coarsest, strict=True))
        assert len(plan.strides) == len(plan.kernels) == len(plan.channels) == len(plan.blocks)
        limit = memory.values_2d if dims == 2 else memory.values_3d
        fits = feature_values(plan.patch, plan.channels, plan.blocks, plan.strides) <= limit
        smallest = min(n - s for n, s in zip(plan.patch, coarsest, strict=True)) < 8
        assert plan.batch >= 2
        assert fits or smallest
        assert Plan.from_json(plan.to_json()) == plan


def test_one_axis_alone_is_halved_only_while_twelve_are_left():
    assert topology((1.0, 1.0), (4, 11)).strides == ((1, 1),)
    assert topology((1.0, 1.0), (4, 12)).strides == ((1, 1), (1, 2))


def case(name: str, hu: float, spacing_mm=(3.0, 1.0, 1.0), labelled: bool = True) -> Case:
    grid = Geometry.from_spacing((4, 16, 16), spacing_mm)
    labels = np.zeros(grid.shape, np.uint8)
    values = np.full(grid.shape, -1000.0, np.float32)
    if labelled:
        labels[1:3, 4:8, 4:8] = 1
        labels[1, 4, 4] = 2
    values[labels > 0] = hu
    return Case(name, name, lambda: Volume(values, grid), lambda: LabelMap(labels, grid))


def test_the_fingerprint_sees_grey_values_inside_labels_only():
    found = fingerprint_of([case("a", 80), case("b", 120, (5.0, 1.0, 1.0)), case("c", 0, labelled=False)], seed=0)
    assert (found.mean_hu, found.std_hu, found.low_hu, found.high_hu) == (100, 20, 80, 120)
    assert found.spacing_mm == ((3.0, 1.0), (5.0, 1.0), (3.0, 1.0))
    assert found.shapes == ((4, 16, 16),) * 3
    mean, std = plan_of(found, 2).grey
    assert (mean, std) == pytest.approx((127.5, 127.5))


def test_data_without_labels_has_no_plan():
    with pytest.raises(BadInput, match="no training case shows liver"):
        fingerprint_of([case("a", 80, labelled=False)], seed=0)
