"""Organ maps: what of them is liver, and how they are cut, thinned, halved and bent."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_trunk import SPACING_MM, label_trunk, save_organs

from hepar.datasets.synthetic.organ_map import Organ, OrganMap, organ_files, read_organs
from hepar.errors import BadInput
from hepar.geometry import Geometry


def test_vessels_and_cysts_within_the_liver_are_liver():
    organs = label_trunk()
    liver = organs.liver()
    assert liver[organs.labels == Organ.CYST].all()
    assert liver[organs.labels == Organ.PORTAL].all()


def test_the_trunk_of_the_cava_is_not_liver():
    organs = label_trunk()
    outside = organs.labels.copy()
    outside[organs.labels == Organ.CAVA] = Organ.BODY
    assert not organs.liver()[organs.labels == Organ.CAVA].all()


def test_a_vessel_far_from_the_liver_is_not_liver():
    organs = label_trunk()
    labels = organs.labels.copy()
    labels[10:20, 60:64, 60:64] = Organ.PORTAL
    assert not OrganMap(labels, organs.geometry).liver()[10:20, 60:64, 60:64].any()


def test_a_tumour_is_tumour_wherever_it_was_drawn():
    organs = label_trunk()
    truth = organs.truth()
    assert np.array_equal(truth.tumour, organs.labels == Organ.TUMOUR)
    assert set(np.unique(truth.labels)) == {0, 1, 2}


def test_kidneys_bones_and_body_are_background():
    organs = label_trunk()
    others = np.isin(organs.labels, (Organ.OUTSIDE, Organ.BODY, Organ.BONE, Organ.KIDNEY))
    assert not organs.truth().labels[others].any()


def test_a_map_is_cut_to_the_liver_and_a_margin():
    organs = label_trunk()
    levels = np.flatnonzero((organs.labels == Organ.LIVER).any(axis=(1, 2)))
    cut = organs.near_liver(below_mm=10, above_mm=5)
    assert len(cut.labels) == levels[-1] - levels[0] + 1 + 2 + 1
    first = organs.geometry.position_mm((int(levels[0]) - 2, 0, 0))
    assert cut.geometry.position_mm((0, 0, 0)) == pytest.approx(first)


def test_a_margin_ends_where_the_scan_ends():
    organs = label_trunk()
    assert organs.near_liver(1e4, 1e4).labels.shape == organs.labels.shape


def test_a_map_without_liver_makes_no_ct():
    organs = label_trunk()
    empty = OrganMap(np.where(organs.labels == Organ.LIVER, 1, organs.labels).astype(np.uint8), organs.geometry)
    with pytest.raises(BadInput, match="shows no liver"):
        empty.near_liver(10, 10)


@given(z=st.integers(0, 9), y=st.integers(0, 39), x=st.integers(0, 47), step=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_what_is_kept_stays_at_its_place(z, y, x, step):
    organs = label_trunk()
    small = organs.thinned(step).halved()
    assert small.labels[z, y, x] == organs.labels[step * z, 2 * y, 2 * x]
    there = organs.geometry.position_mm((step * z, 2 * y, 2 * x))
    assert small.geometry.position_mm((z, y, x)) == pytest.approx(there)


def test_no_bending_leaves_a_map_as_it_is():
    organs = label_trunk()
    same = organs.bent(np.random.default_rng(1), 0, 0)
    assert np.array_equal(same.labels, organs.labels)
    assert same.geometry.same_grid(organs.geometry)


def test_bending_moves_edges_and_keeps_the_organs_sizes_roughly():
    organs = label_trunk()
    bent = organs.bent(np.random.default_rng(1), 6, 0)
    assert not np.array_equal(bent.labels, organs.labels)
    before, after = (np.count_nonzero(m.labels == Organ.LIVER) for m in (organs, bent))
    assert 0.7 < after / before < 1.4


def test_stretching_changes_pixels_in_plane_and_leaves_slices_apart_as_they_are():
    stretched = label_trunk().bent(np.random.default_rng(2), 0, 0.2).geometry.spacing_mm
    assert stretched[0] == pytest.approx(SPACING_MM[0])
    assert stretched[1] == pytest.approx(stretched[2])
    assert 0.8 * SPACING_MM[1] <= stretched[1] <= 1.2 * SPACING_MM[1]
    assert stretched[1] != pytest.approx(SPACING_MM[1])


def test_files_are_found_under_the_names_of_lits(tmp_path):
    folder = save_organs(tmp_path, numbers=(19, 1))
    (folder / "notes.txt").write_text("no map")
    assert list(organ_files(folder)) == ["lits028", "lits046"]


def test_a_file_turned_otherwise_is_read_in_the_axial_view(tmp_path):
    organs = label_trunk()
    turned = organs.labels[::-1, ::-1].transpose(2, 1, 0)
    affine = organs.geometry.affine.copy()
    affine[:3, 3] = organs.geometry.position_mm((organs.labels.shape[0] - 1, organs.labels.shape[1] - 1, 0))
    affine[:3, :2] *= -1
    grid = Geometry(organs.labels.shape, affine)
    nib.save(nib.Nifti1Image(turned, grid.to_nifti()), tmp_path / "ircad01_organs.nii.gz")
    read = read_organs(tmp_path / "ircad01_organs.nii.gz")
    assert np.array_equal(read.labels, organs.labels)
    assert read.geometry.same_grid(organs.geometry)


def test_numbers_that_name_no_organ_are_refused(tmp_path):
    path = tmp_path / "ircad01_organs.nii.gz"
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 16, np.uint8), np.eye(4)), path)
    with pytest.raises(BadInput, match="outside 0 to 15"):
        read_organs(path)
