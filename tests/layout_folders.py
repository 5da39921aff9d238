"""Small data sets in every layout of the field, made from phantoms: what a download looks like, without a download."""

from __future__ import annotations

import json
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np

from hepar.datasets.phantom import PhantomSettings, make_phantom
from hepar.geometry import Geometry
from hepar.io import write, write_volume
from hepar.volume import LabelMap, Volume

Pair = tuple[Volume, LabelMap]
Bodies = dict[int, Pair]


@lru_cache(maxsize=32)
def body(number: int, *, lesions: int = 3, liver_ml: float = 0.0) -> Pair:
    """A phantom of its own for each number, coarse enough to be quick: 31 slices of 80 x 80."""
    settings = PhantomSettings(
        seed=number,
        family="lobed" if number % 2 else "ellipsoid",
        spacing_mm=(8.0, 5.0, 5.0),
        shape=(31, 80, 80),
        lesions=lesions,
        girth=0.85 + 0.06 * (number % 6),
        liver_ml=liver_ml or 1000 + 200 * (number % 6),
    )
    return make_phantom(settings)


def bodies(*numbers: int) -> Bodies:
    return {number: body(number) for number in numbers}


def write_lits(root: Path, bodies: Bodies, *, batches: bool = False) -> Path:
    for place, (number, (ct, truth)) in enumerate(bodies.items()):
        home = root / f"Training Batch {1 + place % 2}" if batches else root
        write_volume(ct, home / f"volume-{number}.nii")
        write(truth, home / f"segmentation-{number}.nii")
    return root


def write_msd(root: Path, bodies: Bodies) -> Path:
    for number, (ct, truth) in bodies.items():
        write_volume(ct, root / "imagesTr" / f"liver_{number}.nii.gz")
        write(truth, root / "labelsTr" / f"liver_{number}.nii.gz")
        (root / "imagesTr" / f"._liver_{number}.nii.gz").write_bytes(b"left by macOS")
    (root / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "liver", "2": "cancer"}}))
    return root


def write_nnunet(root: Path, bodies: Bodies, labels: dict[str, object] | None = None) -> Path:
    for number, (ct, truth) in bodies.items():
        write_volume(ct, root / "imagesTr" / f"case_{number:03d}_0000.nii.gz")
        write(truth, root / "labelsTr" / f"case_{number:03d}.nii.gz")
    labels = labels or {"background": 0, "liver": [1, 2], "liver tumor": 2}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    return root


def write_sliver07(root: Path, bodies: Bodies) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number, (ct, truth) in bodies.items():
        _write_mhd(ct.values, ct.geometry, root / f"liver-orig{number:03d}.mhd")
        _write_mhd((truth.labels > 0).astype(np.uint8), truth.geometry, root / f"liver-seg{number:03d}.mhd")
    return root


def write_ircadb(root: Path, bodies: Bodies, *, zipped: bool = False) -> Path:
    """Masks of 0 and 255; the first tumours in `livertumor01`, a cyst beside that counts as nothing."""
    for number, (ct, truth) in bodies.items():
        home = root / f"3Dircadb1.{number}"
        write_dicom(ct.values, ct.geometry, home / "PATIENT_DICOM")
        masks = {"liver": truth.liver, "livertumor01": truth.tumour, "livercyst": truth.liver, "bone": truth.labels < 1}
        for organ, mask in masks.items():
            write_dicom(mask * np.int16(255), ct.geometry, home / "MASKS_DICOM" / organ)
        if zipped:
            for part in ("PATIENT_DICOM", "MASKS_DICOM"):
                shutil.make_archive(str(home / part), "zip", home, part)
                shutil.rmtree(home / part)
    return root


def write_chaos(root: Path, bodies: Bodies, *, headward: bool = True) -> Path:
    """File names run toward the head or the feet, masks with them."""
    from PIL import Image

    for number, (ct, truth) in bodies.items():
        home = root / "CT" / str(number)
        write_dicom(ct.values, ct.geometry, home / "DICOM_anon", "i{:04d},0000b.dcm", headward=headward)
        (home / "Ground").mkdir(parents=True)
        livers = truth.liver if headward else truth.liver[::-1]
        for place, mask in enumerate(livers):
            Image.fromarray(mask.astype(np.uint8) * 255).save(home / "Ground" / f"liver_GT_{place:03d}.png")
    return root


def write_slices(root: Path, bodies: Bodies, low: float = -100.0, high: float = 200.0) -> Path:
    """Every second slice as an 8-bit picture, with the scale in slices.json."""
    from PIL import Image

    rows = ["file,patient,slice"]
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for number, (ct, truth) in bodies.items():
        for z in range(0, len(ct.values), 2):
            name = f"p{number}_s{z:03d}.png"
            grey = np.clip((ct.values[z] - low) * 255 / (high - low), 0, 255).round().astype(np.uint8)
            Image.fromarray(grey).save(root / "images" / name)
            Image.fromarray(truth.labels[z]).save(root / "labels" / name)
            rows.append(f"{name},patient{number},{z}")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    facts = {"name": "own", "low_hu": low, "high_hu": high, "pixel_mm": 5.0, "slice_mm": 16.0}
    (root / "slices.json").write_text(json.dumps(facts))
    return root


def write_dicom(
    values: np.ndarray, grid: Geometry, folder: Path, name: str = "image_{}", *, headward: bool = True
) -> None:
    """One plain CT file a slice, stored values 1024 above HU; named from the feet up, or from the head down."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series = generate_uid(entropy_srcs=[folder.parent.name, folder.name])[:50]
    for z, pixels in enumerate(values):
        place = z if headward else len(values) - 1 - z
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{series}.{z + 1}"
        data.Modality, data.SeriesInstanceUID, data.SeriesNumber = "CT", series, 1
        data.ImagePositionPatient = [round(float(v), 4) for v in grid.position_mm((z, 0, 0))]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = list(grid.spacing_mm[1:]), grid.spacing_mm[0]
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        is_mask = folder.parent.name == "MASKS_DICOM"
        data.RescaleSlope, data.RescaleIntercept = 1, 0 if is_mask else -1024
        data.PixelData = (pixels + np.int16(0 if is_mask else 1024)).astype("<i2").tobytes()
        data.save_as(folder / name.format(place), enforce_file_format=True)


def _write_mhd(values: np.ndarray, grid: Geometry, path: Path) -> None:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(tuple(grid.affine[:3, 3].tolist()))
    SimpleITK.WriteImage(image, str(path))
