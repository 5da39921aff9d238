"""Surfaces: closed, outward, as large as the voxels, where the patient is; other readers agree."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from exported_series import numbers_on
from hypothesis import given, settings
from hypothesis import strategies as st

from hepar.errors import BadInput, GeometryMismatch, OutputError
from hepar.geometry import Geometry
from hepar.io.exports import mesh_files
from hepar.io.exports.mesh import GREEN, Surface, enclosed_ml, is_closed, surface_of
from hepar.io.exports.mesh_files import read_mesh, require_sound, write_mesh
from hepar.volume import LabelMap

SHAPE = (12, 30, 36)


def oblique(shape=SHAPE, mirrored=False) -> Geometry:
    affine = np.eye(4)
    affine[:3, 0] = np.array([0.224, -0.768, 0.6]) * (-2.5 if mirrored else 2.5)
    affine[:3, 1], affine[:3, 2] = np.array([-0.168, 0.576, 0.8]) * 1.1, np.array([0.96, 0.28, 0.0]) * 1.3
    affine[:3, 3] = (-81.0, 33.0, 412.0)
    return Geometry(shape, affine)


@pytest.fixture(params=[False, True], ids=["right-handed", "mirrored"])
def grid(request) -> Geometry:
    return oblique(mirrored=request.param)


@pytest.fixture
def liver(grid) -> Surface:
    return surface_of(numbers_on(SHAPE) >= 1, grid, "Liver", GREEN)


def test_a_surface_is_closed_and_holds_the_volume_of_its_voxels(liver, grid):
    assert is_closed(liver.triangles)
    assert liver.voxels_ml == pytest.approx((numbers_on(SHAPE) >= 1).sum() * 2.5 * 1.1 * 1.3 / 1000, rel=1e-3)
    assert liver.volume_ml == pytest.approx(liver.voxels_ml, rel=0.003)


def test_every_triangle_faces_away_from_the_voxels(liver, grid):
    a, b, c = (liver.vertices[liver.triangles[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    large = np.linalg.norm(across, axis=1) > 0.1
    normal = across[large] / np.linalg.norm(across[large], axis=1, keepdims=True)
    middle = ((a + b + c) / 3)[large]
    mask = np.pad(numbers_on(SHAPE) >= 1, 9)

    def inside(places: np.ndarray) -> np.ndarray:
        index = np.rint(grid.index_of(places)).astype(int) + 9
        return mask[tuple(index.T)]

    assert inside(middle - 2.5 * normal).mean() > 0.97
    assert inside(middle + 2.5 * normal).mean() < 0.03


def test_the_surface_lies_where_the_voxels_are(liver, grid):
    inside = np.argwhere(numbers_on(SHAPE) >= 1)
    places = grid.position_mm(inside)
    assert liver.vertices.min(axis=0) == pytest.approx(places.min(axis=0), abs=2.5)
    assert liver.vertices.max(axis=0) == pytest.approx(places.max(axis=0), abs=2.5)


def test_a_ball_has_its_area_and_volume():
    shape = (50, 50, 50)
    z, y, x = np.mgrid[:50, :50, :50] - 24.5
    ball = surface_of(z**2 + y**2 + x**2 <= 20**2, Geometry.from_spacing(shape, (0.7, 0.7, 0.7)), "Ball")
    assert ball.volume_ml == pytest.approx(4 / 3 * np.pi * 14**3 / 1000, rel=0.01)
    corners = ball.vertices[ball.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    # The surface of the voxels themselves is half as large again: the stairs are gone.
    assert area == pytest.approx(4 * np.pi * 14**2, rel=0.05)


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.02, 0.9), mirrored=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_mask_has_a_closed_surface_of_its_volume(seed, share, mirrored):
    mask = np.random.default_rng(seed).random((4, 6, 5)) < share
    mask[1, 2, 3] = True
    surface = surface_of(mask, oblique(mask.shape, mirrored), "Noise")
    assert is_closed(surface.triangles)
    assert surface.volume_ml == pytest.approx(surface.voxels_ml, rel=0.01)


@pytest.mark.parametrize("voxels", [(1, 1, 1), (1, 1, 9), (1, 7, 7), (12, 30, 36)])
def test_single_voxels_lines_sheets_and_whole_scans_have_surfaces(voxels):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(0, n) for n in voxels)] = True
    surface = surface_of(mask, oblique(), "Part")
    assert is_closed(surface.triangles)
    assert surface.volume_ml == pytest.approx(surface.voxels_ml, rel=0.01)


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".glb"])
def test_files_come_back_as_they_were_written(tmp_path, liver, suffix):
    write_mesh([liver], tmp_path / f"m{suffix}")
    ((vertices, triangles),) = read_mesh(tmp_path / f"m{suffix}")
    assert is_closed(triangles)
    assert enclosed_ml(vertices, triangles) == pytest.approx(liver.volume_ml, rel=1e-5)
    assert vertices.min(axis=0) == pytest.approx(liver.vertices.min(axis=0), abs=1e-3)
    assert np.sort(vertices, axis=0) == pytest.approx(np.sort(liver.vertices, axis=0), abs=1e-3)


def test_headers_name_the_space_and_research_use(tmp_path, liver):
    for suffix in (".stl", ".ply"):
        write_mesh([liver], tmp_path / f"m{suffix}")
        head = (tmp_path / f"m{suffix}").read_bytes()[:300]
        assert b"SPACE=LPS" in head and b"Research use" in head and not head.startswith(b"solid")


def test_a_glb_holds_all_structures_with_names_in_metres_and_y_up(tmp_path, liver, grid):
    numbers = numbers_on(SHAPE)
    tumours = [surface_of(numbers == k, grid, f"Tumour {k - 1}") for k in (2, 3)]
    write_mesh([liver, *tumours], tmp_path / "all.glb")
    content = (tmp_path / "all.glb").read_bytes()
    assert content[:4] == b"glTF" and int.from_bytes(content[8:12], "little") == len(content)
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    assert [node["name"] for node in document["nodes"]] == ["Liver", "Tumour 1", "Tumour 2"]
    assert document["materials"][0]["alphaMode"] == "BLEND" and document["materials"][1]["alphaMode"] == "OPAQUE"
    low, high = (np.array(document["accessors"][0][end]) * 1000 for end in ("min", "max"))
    left, back, up = liver.vertices.T
    assert low == pytest.approx([left.min(), up.min(), -back.max()], abs=0.01)
    assert high == pytest.approx([left.max(), up.max(), -back.min()], abs=0.01)
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".glb"])
def test_another_library_finds_it_watertight_and_outward(tmp_path, liver, suffix):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    write_mesh([liver], tmp_path / f"m{suffix}")
    found = trimesh.load(tmp_path / f"m{suffix}", force="mesh")
    found.merge_vertices()
    scale = 1e6 if suffix == ".glb" else 1e-3
    assert found.is_watertight and found.is_winding_consistent
    assert found.volume * scale == pytest.approx(liver.voxels_ml, rel=0.03)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v, t: (v, t[1:]), "is not closed"),
        (lambda v, t: (v, t[:, ::-1]), "faces inward"),
        (lambda v, t: (v * 1.02, t), r"holds \d+\.\d+ mL, its voxels \d+\.\d+ mL"),
        (lambda v, t: (v + np.array([0, 0, 0.1]), t), "came back in another place"),
        (lambda v, t: (v[:, [1, 0, 2]] * (-1, 1, 1), t), "came back in another place"),
    ],
    ids=["a hole", "inside out", "larger", "shifted", "turned"],
)
def test_what_is_not_sound_is_not_kept(tmp_path, monkeypatch, change, said):
    surface = surface_of(numbers_on(SHAPE) >= 1, oblique(), "Liver")
    monkeypatch.setattr(mesh_files, "read_mesh", lambda path: [change(*shape) for shape in read_mesh(path)])
    with pytest.raises(OutputError, match=said):
        write_mesh([surface], tmp_path / "out" / "m.ply")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_volume_may_differ_by_three_percent_from_the_voxels(liver):
    shape = (liver.vertices, liver.triangles)
    require_sound(replace(liver, voxels_ml=liver.volume_ml * 1.025), shape, "m.stl")
    with pytest.raises(OutputError, match="at most 3 %"):
        require_sound(replace(liver, voxels_ml=liver.volume_ml * 1.04), shape, "m.stl")


def test_what_cannot_be_written_is_said(tmp_path, liver):
    with pytest.raises(BadInput, match=r"expected a name that ends in .stl, .ply, .glb"):
        write_mesh([liver], tmp_path / "m.obj")
    with pytest.raises(BadInput, match=r"found 2 surfaces for 'm.stl'; .stl holds one"):
        write_mesh([liver, liver], tmp_path / "m.stl")
    with pytest.raises(BadInput, match="found 0 surfaces"):
        write_mesh([], tmp_path / "m.glb")
    with pytest.raises(BadInput, match="Tumour 1 has no voxel"):
        surface_of(np.zeros(SHAPE, bool), oblique(), "Tumour 1")
    with pytest.raises(GeometryMismatch, match="pass the mask's own grid"):
        surface_of(np.ones((2, 2, 2), bool), oblique(), "Liver")


def test_an_open_or_doubled_surface_is_not_closed(liver):
    assert not is_closed(liver.triangles[:-1])
    assert not is_closed(np.concatenate([liver.triangles, liver.triangles]))
    assert not is_closed(liver.triangles[:0])


def test_a_real_liver_keeps_its_volume(shared_data, tmp_path):
    from hepar.io import read_labels

    labels: LabelMap = read_labels(shared_data / "ct/ircad07_label.nii.gz")
    liver = surface_of(labels.liver, labels.geometry, "Liver", GREEN)
    write_mesh([liver], tmp_path / "liver.glb")
    assert (tmp_path / "liver.glb").stat().st_size < 10e6
    assert liver.volume_ml == pytest.approx(labels.volume_ml(1) + labels.volume_ml(2), rel=0.003)
