"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr), raw or compressed, through SimpleITK.

ITK keeps patient positions in LPS as we do; only its axes (x, y, z) come in
the opposite order of our arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hepar.errors import BadInput
from hepar.geometry import Geometry
from hepar.io.itk_header import require_honest_header
from hepar.io.stored import Stored


def read_stored(path: Path) -> Stored:
    """The voxels and grid of a MetaImage or NRRD file.

    Raises BadInput for anything that is not one whole real-valued 3D grid, and
    for a detached header that names voxels outside its own folder.
    """
    try:
        size = require_honest_header(path)
    except OSError as error:
        raise BadInput(f"'{path.name}' cannot be read: {error.strerror}; check the file and its rights") from error
    image = read_image(path)
    if image.GetSize() != size:
        read = " x ".join(map(str, image.GetSize()))
        raise BadInput(f"'{path.name}' contradicts itself: a grid of {read} was read; convert the scan again")
    while image.GetDimension() > 3:  # require_honest_header saw that the last axis has one entry
        image = image[..., 0]
    import SimpleITK

    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise BadInput(f"'{path.name}' holds colours or vectors; expected one number per voxel. Export the CT itself")
    return Stored(SimpleITK.GetArrayFromImage(image), _geometry(image))


def read_image(path: Path) -> Any:
    """A SimpleITK image, without ITK's remarks on stderr; BadInput when ITK cannot read it."""
    import SimpleITK

    try:
        with _quiet():
            return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        # ITK's own text shows full paths; its last line says what happened.
        last = str(error).strip().splitlines()[-1].rpartition("): ")[2].replace(str(path.parent), "")
        raise BadInput(f"'{path.name}' is truncated, damaged or of a rare kind ({last}); convert it again") from error


@contextmanager
def _quiet() -> Iterator[None]:
    import SimpleITK

    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)


def _geometry(image: Any) -> Geometry:
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3] = directions[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return Geometry(image.GetSize()[::-1], affine)
