"""Surfaces to .stl, .ply and .glb, each read back and compared before it takes its name.

STL and PLY hold one surface in patient coordinates LPS in mm, as DICOM has
them; both say so in their header (3D Slicer understands it). GLB holds any
number with names and colours, as glTF 2.0 demands in metres with y up: x to
the patient's left, y to superior, z to anterior, origin unchanged.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.io.exports.marked import RESEARCH
from hepar.io.exports.mesh import Surface, enclosed_ml, is_closed

SUFFIXES = (".stl", ".ply", ".glb")
SPACE = "SPACE=LPS; UNITS=mm"
MOST_APART = 0.03
# Single precision at a metre from the origin.
SAME_PLACE_MM = 0.001
LPS_TO_GLTF = np.array([(1, 0, 0), (0, 0, 1), (0, -1, 0)]) / 1000
FLOAT, UINT32, ARRAY, ELEMENTS = 5126, 5125, 34962, 34963
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
PLY_TRIANGLE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
# Vertices in LPS mm and triangles, as they were read.
Shape = tuple[NDArray[np.float64], NDArray[np.int64]]


def write_mesh(surfaces: Sequence[Surface], path: Path) -> None:
    """Write surfaces to a file of the suffix's format; .stl and .ply hold exactly one.

    Raises BadInput for another suffix or count, OutputError when what was read
    back is open, faces inward, lies elsewhere or differs from the voxels'
    volume by more than 3 %.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"'{path.name}' is no mesh; expected a name that ends in {', '.join(SUFFIXES)}")
    if not surfaces or (suffix != ".glb" and len(surfaces) != 1):
        raise BadInput(f"found {len(surfaces)} surfaces for '{path.name}'; {suffix} holds one, write a file for each")
    made = {".stl": _stl, ".ply": _ply, ".glb": _glb}[suffix](surfaces)
    with replace_whole(path) as temporary:
        temporary.write_bytes(made)
        found = read_mesh(temporary)
        if len(found) != len(surfaces):
            raise OutputError(f"'{path.name}' came back with {len(found)} surfaces of {len(surfaces)}; not kept")
        for surface, shape in zip(surfaces, found, strict=True):
            require_sound(surface, shape, path.name)


def require_sound(surface: Surface, found: Shape, name: str) -> None:
    """Raises OutputError unless what came back is closed, outward, in its place and as large as the voxels."""
    vertices, triangles = found
    volume_ml = enclosed_ml(vertices, triangles)
    if not is_closed(triangles):
        raise OutputError(f"'{name}': the surface of {surface.name} is not closed; not kept, report this")
    if volume_ml <= 0:
        raise OutputError(f"'{name}': the surface of {surface.name} faces inward; not kept, report this")
    if abs(volume_ml - surface.voxels_ml) > MOST_APART * surface.voxels_ml:
        raise OutputError(
            f"'{name}': the surface of {surface.name} holds {volume_ml:.4g} mL, its voxels {surface.voxels_ml:.4g} mL; "
            f"expected at most {100 * MOST_APART:.0f} % between them. Not kept, report this"
        )
    ends = np.array([vertices.min(axis=0), vertices.max(axis=0)])
    own = np.array([surface.vertices.min(axis=0), surface.vertices.max(axis=0)])
    if len(vertices) != len(surface.vertices) or np.abs(ends - own).max() > SAME_PLACE_MM:
        raise OutputError(f"'{name}': the surface of {surface.name} came back in another place; not kept, report this")


def read_mesh(path: Path) -> list[Shape]:
    """The surfaces of a file that `write_mesh` wrote, in LPS mm; equal corners of an .stl are one vertex."""
    content = path.read_bytes()
    return {".stl": _read_stl, ".ply": _read_ply, ".glb": _read_glb}[path.suffix.lower()](content)


def _stl(surfaces: Sequence[Surface]) -> bytes:
    (surface,) = surfaces
    corners = surface.vertices[surface.triangles]
    out = np.zeros(len(corners), STL_TRIANGLE)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out["normal"] = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    out["corners"] = corners
    # A binary file must not begin with "solid", which text files do.
    return _said(surface.name)[:80].ljust(80).encode("ascii") + struct.pack("<I", len(out)) + out.tobytes()


def _read_stl(content: bytes) -> list[Shape]:
    (count,) = struct.unpack_from("<I", content, 80)
    corners = np.frombuffer(content, STL_TRIANGLE, count, 84)["corners"].reshape(-1, 3)
    vertices, triangles = np.unique(corners, axis=0, return_inverse=True)
    return [(vertices.astype(np.float64), triangles.reshape(-1, 3).astype(np.int64))]


def _ply(surfaces: Sequence[Surface]) -> bytes:
    (surface,) = surfaces
    faces = np.zeros(len(surface.triangles), PLY_TRIANGLE)
    faces["count"], faces["corners"] = 3, surface.triangles
    head = (
        f"ply\nformat binary_little_endian 1.0\ncomment {SPACE}\ncomment {_said(surface.name)}\n"
        f"element vertex {len(surface.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return head.encode("ascii") + surface.vertices.astype("<f4").tobytes() + faces.tobytes()


def _read_ply(content: bytes) -> list[Shape]:
    head, _, body = content.partition(b"end_header\n")
    counts = [int(line.split()[2]) for line in head.decode("ascii").splitlines() if line.startswith("element")]
    vertices = np.frombuffer(body, "<f4", 3 * counts[0]).reshape(-1, 3)
    faces = np.frombuffer(body, PLY_TRIANGLE, counts[1], vertices.nbytes)
    return [(vertices.astype(np.float64), faces["corners"].astype(np.int64))]


def _said(name: str) -> str:
    return f"hepar {name}. {SPACE}. {RESEARCH}".encode("ascii", "replace").decode("ascii").replace("\n", " ")


def _glb(surfaces: Sequence[Surface]) -> bytes:
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "hepar", "extras": {"use": RESEARCH, "axes": "x left, y superior"}},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(surfaces)))}],
        "nodes": [{"name": one.name, "mesh": k} for k, one in enumerate(surfaces)],
        "meshes": [],
        "materials": [_material(one) for one in surfaces],
        "accessors": [],
        "bufferViews": [],
    }
    body = b""
    for k, one in enumerate(surfaces):
        places = (one.vertices @ LPS_TO_GLTF.T).astype("<f4")
        normals = _vertex_normals(places.astype(np.float64), one.triangles).astype("<f4")
        at = len(document["accessors"])
        attributes = {"POSITION": at, "NORMAL": at + 1}
        document["meshes"].append(
            {"name": one.name, "primitives": [{"attributes": attributes, "indices": at + 2, "material": k}]}
        )
        bounds = {"min": places.min(axis=0).tolist(), "max": places.max(axis=0).tolist()}
        for values, kind, extra in (
            (places, "VEC3", bounds), (normals, "VEC3", {}), (one.triangles.astype("<u4").ravel(), "SCALAR", {}),
        ):  # fmt: skip
            whole = kind == "SCALAR"
            document["accessors"].append(
                {"bufferView": len(document["bufferViews"]), "componentType": UINT32 if whole else FLOAT,
                 "count": len(values), "type": kind, **extra}
            )  # fmt: skip
            document["bufferViews"].append(
                {"buffer": 0, "byteOffset": len(body), "byteLength": values.nbytes,
                 "target": ELEMENTS if whole else ARRAY}
            )  # fmt: skip
            body += values.tobytes()
    document["buffers"] = [{"byteLength": len(body)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), JSON_CHUNK) + text + struct.pack("<II", len(body), BIN_CHUNK) + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _material(surface: Surface) -> dict[str, Any]:
    *colour, opacity = (value / 255 for value in surface.colour)
    # Colours are linear in glTF; screens' are not.
    shown = [*(value**2.2 for value in colour), opacity]
    look = {"baseColorFactor": shown, "metallicFactor": 0, "roughnessFactor": 0.7}
    return {"name": surface.name, "pbrMetallicRoughness": look, "alphaMode": "BLEND" if opacity < 1 else "OPAQUE"}


def _vertex_normals(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    """Unit normals, the mean of the triangles around by their area."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    across, out = np.cross(b - a, c - a), np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, triangles[:, k], across)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-30))


def _read_glb(content: bytes) -> list[Shape]:
    length, _ = struct.unpack_from("<II", content, 12)
    document, body = json.loads(content[20 : 20 + length]), content[28 + length :]

    def values(number: int, kind: str) -> NDArray[Any]:
        accessor = document["accessors"][number]
        width = 3 if accessor["type"] == "VEC3" else 1
        start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
        return np.frombuffer(body, kind, accessor["count"] * width, start).reshape(-1, width)

    back, found = np.linalg.inv(LPS_TO_GLTF), []
    for mesh in document["meshes"]:
        (part,) = mesh["primitives"]
        vertices = values(part["attributes"]["POSITION"], "<f4").astype(np.float64) @ back.T
        found.append((vertices, values(part["indices"], "<u4").reshape(-1, 3).astype(np.int64)))
    return found
