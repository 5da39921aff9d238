"""What a painted slice may and may not change, on an invented liver."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import ndimage

from hepar.errors import BadInput
from hepar.training.synthesis import IMITATION_KINDS, LESION_KINDS, LesionPainter, LesionSynthesis, invented_shapes

ALWAYS = LesionSynthesis(share=1, imitation_share=0, bulging=0)


def one(kind: str, names: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(float(name == kind) for name in names)


def invented_slice(channels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A round liver of 180 and tissue of 60 with noise of 8 grey levels, 128 x 280 pixels, most tissue on one side."""
    y, x = np.mgrid[:128, :280]
    liver = (y - 64) ** 2 + (x - 70) ** 2 < 45**2
    noise = np.random.default_rng(seed).normal(0, 8, (channels, 128, 280))
    images = np.clip(np.rint(np.where(liver, 180.0, 60.0) + noise), 0, 255).astype(np.uint8)
    return images, liver.astype(np.uint8)


def painted(settings: LesionSynthesis, seed: int, channels: int = 3) -> tuple[np.ndarray, ...]:
    images, labels = invented_slice(channels)
    return images, labels, *LesionPainter(settings)(images, labels, 1.5, 2.5, np.random.default_rng(seed))


@pytest.mark.parametrize("channels", [1, 3, 5, 7])
def test_gives_new_arrays_of_the_same_kind_and_leaves_its_inputs_alone(channels):
    images, labels, new, marked = painted(ALWAYS, 3, channels)
    fresh_images, fresh_labels = invented_slice(channels)
    assert np.array_equal(images, fresh_images)
    assert np.array_equal(labels, fresh_labels)
    assert (new.shape, new.dtype, marked.shape, marked.dtype) == (images.shape, np.uint8, labels.shape, np.uint8)
    assert (marked == 2).any()
    assert not np.array_equal(new, images)


def test_float_images_stay_float_and_whole_as_fractions_would_give_a_lesion_away():
    images, labels = invented_slice()
    new, _ = LesionPainter(ALWAYS)(images.astype(np.float32), labels, 1.5, 2.5, np.random.default_rng(3))
    assert new.dtype == np.float32
    assert np.array_equal(new, np.rint(new))


def test_same_seed_same_picture_other_seed_another():
    first, again, other = (painted(ALWAYS, seed)[2] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(8))
def test_lesions_stay_in_the_liver_and_labels_name_no_other_change(seed):
    _, labels, _, marked = painted(replace(ALWAYS, satellites=0.5), seed)
    assert (marked[labels == 0] == 0).all()
    assert np.isin(marked[labels == 1], (1, 2)).all()


def test_a_dark_lesion_is_dark_where_it_is_marked_and_keeps_the_noise():
    settings = replace(
        ALWAYS, kinds=one("hypodense", LESION_KINDS), counts=(1,), texture=0, contrast_hu=(40, 41), diameter_mm=40
    )
    cores = 0
    for seed in range(8):
        images, _, new, marked = painted(settings, seed)
        core = ndimage.binary_erosion(marked == 2, iterations=4)
        if core.sum() < 50:  # cut near its end
            continue
        cores += 1
        old, now = (part[1][core].astype(float) for part in (images, new))
        assert now.mean() < old.mean() - 30
        assert 0.7 < now.std() / old.std() < 1.6
    assert cores >= 3


@pytest.mark.parametrize("kind", IMITATION_KINDS)
def test_an_imitation_changes_the_image_and_no_label(kind):
    settings = LesionSynthesis(share=0, imitation_share=1, imitations=one(kind, IMITATION_KINDS))
    seen = 0
    for seed in range(6):
        images, labels, new, marked = painted(settings, seed)
        assert np.array_equal(marked, labels)
        seen += not np.array_equal(new, images)
    assert seen >= 4


@pytest.mark.parametrize("kind", LESION_KINDS)
def test_every_kind_of_lesion_is_painted(kind):
    *_, new, marked = painted(replace(ALWAYS, kinds=one(kind, LESION_KINDS)), 11)
    assert (marked == 2).any()
    assert new[1][marked == 2].std() > 0


def test_a_lesion_goes_on_in_the_neighbouring_slices_and_changes_its_section_there():
    settings = replace(ALWAYS, counts=(1,), diameter_mm=40, diameter_spread=0.1, kinds=one("hypodense", LESION_KINDS))
    images, labels = invented_slice()
    for seed in range(5):
        new, _ = LesionPainter(settings)(images, labels, 1.5, 5.0, np.random.default_rng(seed))
        changed = ndimage.uniform_filter(images.astype(float) - new, (0, 5, 5)) > 12
        low, middle, high = (set(np.flatnonzero(part)) for part in changed)
        assert middle
        assert len(middle & (low | high)) > 0.5 * len(middle)
        assert low != high


def test_a_repeated_neighbour_at_the_end_of_a_stack_stays_a_copy():
    images, labels = invented_slice()
    images[2] = images[1]
    new, _ = LesionPainter(replace(ALWAYS, grain=0))(images, labels, 1.5, 5.0, np.random.default_rng(3))
    assert np.abs(new[2].astype(int) - new[1]).mean() < 0.1
    assert not np.array_equal(new[0], new[1])


def test_lesions_painted_over_each_other_do_not_add_up_to_fat():
    settings = replace(ALWAYS, counts=(0, 0, 0, 1), kinds=one("necrotic", LESION_KINDS), contrast_hu=(70, 71))
    settings = replace(settings, diameter_mm=50, satellites=0)
    for seed in range(6):
        *_, new, marked = painted(settings, seed)
        smooth = ndimage.uniform_filter(new[1].astype(float), 5)
        # 0 HU is grey 51; the surroundings are brighter than that.
        assert smooth[marked == 2].min() > 40


def test_real_tumours_keep_their_pixels_and_their_label():
    images, labels = invented_slice()
    labels[50:80, 50:80] = 2
    for seed in range(6):
        new, marked = LesionPainter(ALWAYS)(images, labels, 1.5, 2.5, np.random.default_rng(seed))
        assert (marked[labels == 2] == 2).all()
        assert np.array_equal(new[1][55:75, 55:75], images[1][55:75, 55:75])


def test_too_little_liver_is_left_as_it_is():
    images, labels = invented_slice()
    labels[:, 33:] = 0
    new, marked = LesionPainter(ALWAYS)(images, labels, 1.5, 2.5, np.random.default_rng(0))
    assert new is images
    assert marked is labels


def test_share_0_paints_nothing():
    settings = LesionSynthesis(share=0, imitation_share=0)
    images, labels = invented_slice()
    new, _ = LesionPainter(settings)(images, labels, 1.5, 2.5, np.random.default_rng(0))
    assert new is images


def test_settings_survive_json():
    settings = LesionSynthesis(share=0.3, kinds=one("rim", LESION_KINDS))
    assert LesionSynthesis(**json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"share": 2}, "share"), ({"kinds": (1,)}, "7"), ({"edge_mm": (3, 1)}, "edge_mm"), ({"counts": ()}, "counts")],
)
def test_wrong_settings_are_told(wrong, message):
    with pytest.raises(BadInput, match=message):
        LesionSynthesis(**wrong)


def test_wrong_shapes_are_told():
    images, labels = invented_slice()
    with pytest.raises(BadInput, match="odd number"):
        LesionPainter()(images[:2], labels, 1.5, 2.5, np.random.default_rng(0))


def test_invented_shapes_are_distances_in_units_of_their_radius():
    fields = invented_shapes().fields
    step = 4.4 / 39
    volumes = (fields > 0).sum(axis=(1, 2, 3)) * step**3
    assert fields.dtype == np.float32
    assert np.allclose(volumes, 4 * np.pi / 3, rtol=0.25)
