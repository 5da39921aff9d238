"""The phantom is repeatable, plausible in HU and shape, and the demo is unlike any training phantom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hepar.datasets.phantom import DEMO, PhantomSettings, cases, make_phantom, training_settings
from hepar.errors import BadInput
from hepar.volume import LIVER, TUMOUR, LabelMap, Volume

SMALL = PhantomSettings(seed=5, spacing_mm=(7.0, 3.6, 3.6), shape=(34, 106, 106), lesions=5)
FAMILIES = ("ellipsoid", "lobed")


@pytest.fixture(scope="module")
def demo() -> tuple[Volume, LabelMap]:
    return make_phantom(DEMO)


@pytest.fixture(scope="module", params=FAMILIES)
def small(request) -> tuple[Volume, LabelMap]:
    return make_phantom(replace(SMALL, family=request.param))


def body_mask(ct: Volume) -> np.ndarray:
    pieces, _ = ndimage.label(ct.values > -300)
    return pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1


def hu_at(ct: Volume, x: float, y: float, z: float) -> float:
    """Median HU of a small cube around an LPS position."""
    k, j, i = np.rint(ct.geometry.index_of((x, y, z))).astype(int)
    return float(np.median(ct.values[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3]))


def test_the_same_seed_gives_the_same_voxels():
    (ct, truth), (again, truth_again) = make_phantom(SMALL), make_phantom(SMALL)
    assert np.array_equal(ct.values, again.values)
    assert np.array_equal(truth.labels, truth_again.labels)


def test_another_seed_gives_another_body():
    (ct, truth), (other, other_truth) = make_phantom(SMALL), make_phantom(replace(SMALL, seed=6))
    assert not np.array_equal(ct.values, other.values)
    assert not np.array_equal(truth.labels, other_truth.labels)


def test_another_family_gives_another_liver():
    livers = [make_phantom(replace(SMALL, family=family))[1].liver for family in FAMILIES]
    dice = 2 * np.sum(livers[0] & livers[1]) / np.sum([liver.sum() for liver in livers])
    assert 0.3 < dice < 0.93


def test_phantoms_leave_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  (looked at, not used)
    make_phantom(SMALL)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_truth_lies_on_the_grid_of_the_scan(small):
    ct, truth = small
    assert truth.geometry.same_grid(ct.geometry)
    assert ct.geometry.spacing_mm == SMALL.spacing_mm
    assert ct.values.dtype == np.int16


def test_labels_are_background_liver_and_tumour(small):
    assert np.unique(small[1].labels).tolist() == [0, LIVER, TUMOUR]


def test_no_lesions_means_no_tumour_label():
    assert not make_phantom(replace(SMALL, lesions=0))[1].tumour.any()


def test_the_liver_is_one_piece_without_tumour_outside(small):
    liver = small[1].liver
    pieces, count = ndimage.label(liver)
    sizes = np.bincount(pieces.ravel())[1:]
    assert sizes.max() / liver.sum() > 0.999, f"{count} pieces"
    tumour, healthy = small[1].tumour, small[1].labels == LIVER
    # Each lesion touches liver, so it lies in or on it.
    lesions, count = ndimage.label(tumour)
    touching = np.unique(lesions[ndimage.binary_dilation(healthy) & tumour])
    assert len(touching) == count


@pytest.mark.parametrize("wished_ml", [950.0, 1500.0, 2100.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_liver_has_the_volume_asked_for(family, wished_ml):
    _, truth = make_phantom(replace(SMALL, family=family, liver_ml=wished_ml, girth=1.1))
    volume_ml = truth.volume_ml(LIVER) + truth.volume_ml(TUMOUR)
    assert volume_ml == pytest.approx(wished_ml, rel=0.02)


def test_liver_lies_on_the_patients_right(small):
    ct, truth = small
    # LPS: x grows to the patient's left.
    assert centroid(ct, truth.liver)[0] < centroid(ct, body_mask(ct))[0] - 20


def test_the_spine_lies_behind_and_the_lungs_above(small):
    ct, truth = small
    liver, bone = centroid(ct, truth.liver), centroid(ct, ct.values > 350)
    lungs = ct.values[-3:] < -600
    pieces, _ = ndimage.label(lungs)
    sizes = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
    assert bone[1] > liver[1] + 10
    # The air around the body is the largest piece, then come two lungs of a litre's order.
    assert np.all(sizes[1:3] * ct.geometry.voxel_volume_mm3 / 1000 > 100)
    assert not truth.liver[-3:].any()


def test_tissues_have_plausible_hu(demo):
    ct, truth = demo
    values = ct.values
    liver, tumour = np.median(values[truth.labels == LIVER]), np.median(values[truth.tumour])
    assert liver == pytest.approx(DEMO.liver_hu, abs=4)
    assert -75 < tumour - liver < -25
    body = body_mask(ct)
    fat = values[body & (values < -60) & (values > -160)]
    assert -115 < np.median(fat) < -90
    assert np.median(values[:, :5, :5]) == pytest.approx(-1000, abs=24)
    assert hu_at(ct, 0, 52, 2) > 120  # vertebral body
    assert hu_at(ct, 9, 22, 0) == pytest.approx(173, abs=25)  # aorta
    assert hu_at(ct, -80, 10, 118) < -700  # right lung
    assert 350 < np.percentile(values[body], 99.9) < 1500  # cortical bone


def test_spleen_enhances_like_a_spleen(demo):
    assert hu_at(demo[0], 103, 32, 32) == pytest.approx(123, abs=20)


def test_noise_has_the_strength_asked_for_and_is_correlated():
    noisy, silent = (make_phantom(replace(SMALL, noise_hu=sigma))[0].values for sigma in (12.0, 0.0))
    noise = (noisy.astype(np.float32) - silent)[8:26, 34:76, 25:75]
    assert noise.std() == pytest.approx(12, rel=0.1)
    assert np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1] > 0.3


def test_lesion_sizes_span_the_classes(demo):
    truth = demo[1]
    lesions, count = ndimage.label(truth.tumour)
    volumes_ml = np.bincount(lesions.ravel())[1:] * truth.geometry.voxel_volume_mm3 / 1000
    diameters_mm = 2 * (3 * volumes_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    assert count == DEMO.lesions
    assert diameters_mm.min() < 12
    assert ((diameters_mm > 12) & (diameters_mm < 30)).any()
    assert diameters_mm.max() > 30


def test_training_bodies_vary_and_repeat():
    bodies = training_settings(30, seed=3)
    assert bodies == training_settings(30, seed=3)
    assert bodies != training_settings(30, seed=4)
    assert len({body.seed for body in bodies}) == 30
    assert {body.lesions for body in bodies} == set(range(9))
    assert all(80 <= body.liver_hu <= 130 and 8 <= body.noise_hu <= 20 for body in bodies)


def test_training_scans_cover_the_whole_liver():
    for body in training_settings(2, seed=77):
        coarse = replace(body, shape=(body.shape[0], 64, 64), spacing_mm=(body.spacing_mm[0], 6.0, 6.0))
        heights = np.flatnonzero(make_phantom(coarse)[1].liver.any(axis=(1, 2)))
        assert heights[0] > 0 and heights[-1] < body.shape[0] - 1


def test_no_training_phantom_shares_seed_or_family_with_the_demo():
    bodies = training_settings(200, seed=0)
    assert DEMO.family not in {body.family for body in bodies}
    assert DEMO.seed not in {body.seed for body in bodies}


def test_training_bodies_fit_into_their_field_of_view():
    for body in training_settings(3, seed=9):
        pixel_mm = body.spacing_mm[1] * 2
        ct, truth = make_phantom(replace(body, shape=(24, 128, 128), spacing_mm=(10.0, pixel_mm, pixel_mm)))
        border = np.concatenate([ct.values[:, :, 0].ravel(), ct.values[:, :, -1].ravel(), ct.values[:, 0].ravel()])
        assert np.median(border) < -950
        assert np.percentile(border, 99) < -800
        assert 0 < truth.liver.any(axis=(1, 2)).sum() < 24


def test_a_training_case_is_phantom_evidence_and_a_patient_of_its_own():
    found = cases(count=3, seed=1)
    assert [case.evidence for case in found] == ["phantom"] * 3
    assert len({case.patient for case in found}) == 3
    assert found[0].labels == "full"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"family": "cube"}, "shape family"),
        ({"shape": (4, 64, 64)}, "8 or more"),
        ({"lesions": -1}, "lesions"),
        ({"girth": 3.0}, "girth"),
    ],
)
def test_settings_that_make_no_body_are_refused(wrong, message):
    with pytest.raises(BadInput, match=message):
        replace(SMALL, **wrong)


def centroid(ct: Volume, mask: np.ndarray) -> np.ndarray:
    """LPS position in mm of a mask's centre."""
    return ct.geometry.position_mm(ndimage.center_of_mass(mask))
