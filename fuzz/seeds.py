"""The smallest valid files of each kind: where fuzzing starts."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from hepar.geometry import Geometry
from hepar.volume import Volume

SHAPE = (4, 5, 6)


def volume() -> Volume:
    values = np.random.default_rng(0).integers(-1000, 300, SHAPE).astype(np.int16)
    return Volume(values, Geometry.from_spacing(SHAPE, (5, 2, 2)))


def nifti(suffix: str) -> list[bytes]:
    from hepar.io import write_volume

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"ct{suffix}"
        write_volume(volume(), path)
        return [path.read_bytes()]


def itk(suffix: str) -> list[bytes]:
    import SimpleITK

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for compressed in (False, True):
            path = Path(folder) / f"ct{suffix}"
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume().values), str(path), compressed)
            found.append(path.read_bytes())
    return found


def dicom() -> list[bytes]:
    """Three slices of a series."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    slices = []
    for k, pixels in enumerate(volume().values[:3]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
        data = FileDataset("slice", {}, file_meta=meta, preamble=bytes(128))
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = "1.2.4", "1.2.5", 2
        data.Modality, data.InstanceNumber, data.PatientName = "CT", k + 1, "A^B"
        data.Rows, data.Columns = pixels.shape
        data.PixelSpacing, data.ImageOrientationPatient = [2, 2], [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, 5 * k]
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = (pixels.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, data, enforce_file_format=True)
        slices.append(stream.getvalue())
    return slices


def dicom_zip() -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, data in enumerate(dicom()):
            archive.writestr(f"I{k}", data)
    return [stream.getvalue()]


def folds() -> list[bytes]:
    from hepar.cases import Fold, save_folds

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folds.json"
        save_folds((Fold(("a", "b"), ("c",)), Fold(("a", "c"), ("b",))), path)
        return [path.read_bytes()]


def model() -> list[bytes]:
    """The settings of the shipped model."""
    from hepar.inference import open_model

    return [(open_model().folder / "model.json").read_bytes(), json.dumps({"name": "x"}).encode()]


def shipped_weights(folder: Path) -> None:
    """What lies beside `model.json` in the shipped model's folder."""
    from hepar.inference import open_model

    source = open_model().folder
    for path in source.iterdir():
        if path.is_file() and path.name != "model.json":
            shutil.copyfile(path, folder / path.name)


def node_settings() -> list[bytes]:
    from hepar.service.node.settings import example

    return [example().encode()]
