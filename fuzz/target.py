"""One target in a process of its own: `python fuzz/target.py NAME CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import pkgutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

# A name, and the file that its bytes become.
FILES = {
    "nifti": "ct.nii",
    "nifti_gz": "ct.nii.gz",
    "metaimage": "ct.mha",
    "metaimage_header": "ct.mhd",
    "nrrd": "ct.nrrd",
    "dicom": "series/I0",
    "dicom_zip": "series.zip",
    "folds": "folds.json",
    "model": "model/model.json",
    "node_settings": "node.toml",
}


def prepared(name: str, folder: Path) -> tuple[Path, Callable[[Path], object]]:
    """Where the bytes go, and what reads them; everything is imported, so that a run measures reading alone."""
    from hepar import io
    from hepar.cases import load_folds
    from hepar.inference import open_model
    from hepar.service.node.settings import read_settings

    # Readers are imported on first use; what is imported later is not watched.
    for module in pkgutil.walk_packages(io.__path__, "hepar.io."):
        import_module(module.name)
    path = folder / FILES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "dicom":
        from seeds import dicom

        for k, data in enumerate(dicom()[1:], start=1):
            (path.parent / f"I{k}").write_bytes(data)
        return path, lambda _: io.read(path.parent)
    if name == "model":
        from seeds import shipped_weights

        shipped_weights(path.parent)
        return path, lambda _: open_model(path.parent)
    if name in ("folds", "node_settings"):
        return path, {"folds": load_folds, "node_settings": read_settings}[name]
    return path, io.read


def main() -> None:
    name = sys.argv.pop(1)
    from hepar.errors import HeparError

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        with atheris.instrument_imports(include=["hepar"]):
            path, read = prepared(name, Path(folder))

        def one(data: bytes) -> None:
            path.write_bytes(data)
            with suppress(HeparError):
                read(path)

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
