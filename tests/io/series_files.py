"""Whole DICOM series as scanners and archives write them, sound or with a planted defect."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

ROOT = "1.2.826.0.1.3680043.8.498"
AIR, TISSUE, LIVER = -1000, 40, 110


def ball_hu(place_mm: np.ndarray, middle_mm: Sequence[float], radius_mm: float) -> np.ndarray:
    """A liver-like ball in a larger one of soft tissue, in air, at LPS places (..., 3): known at every point."""
    away = np.linalg.norm(place_mm - np.asarray(middle_mm), axis=-1)
    return np.where(away <= radius_mm, LIVER, np.where(away <= 1.4 * radius_mm, TISSUE, AIR)).astype(np.int16)


@dataclass(frozen=True)
class SeriesFiles:
    """A series of a ball of 25 mm; slice k lies at `start_mm + k * gap_mm` along `step` and shows what lies there.

    `tilt_degrees` displaces slices along their rows as a gantry does, `at`
    replaces the even places (in gaps). `tags` go into every file as they are;
    a tag of None is taken out. `edit(k, data)` changes single files.
    """

    count: int = 24
    size: tuple[int, int] = (40, 48)
    gap_mm: float = 2.5
    pixel_mm: tuple[float, float] = (1.5, 1.8)
    row: tuple[float, float, float] = (1, 0, 0)
    column: tuple[float, float, float] = (0, 1, 0)
    tilt_degrees: float = 0.0
    at: tuple[float, ...] = ()
    uid: str = f"{ROOT}.3"
    number: int | None = 3
    study: str = f"{ROOT}.1"
    first_instance: int = 1
    name: str = "I"
    add_hu: int = 0
    tags: dict[str, Any] = field(default_factory=dict)
    edit: Callable[[int, Dataset], None] | None = None
    middle_mm: tuple[float, float, float] = (12.0, -30.0, 400.0)
    radius_mm: float = 25.0

    def but(self, **changes: Any) -> SeriesFiles:
        return replace(self, **changes)

    @property
    def places(self) -> tuple[float, ...]:
        return self.at or tuple(range(self.count))

    def position_mm(self, place: float) -> np.ndarray:
        """Of the first pixel of the slice at a place (in gaps); the ball lies in the middle of the stack."""
        row, column = np.array(self.row), np.array(self.column)
        normal = np.cross(row, column)
        away = (place - (self.count - 1) / 2) * self.gap_mm
        along_rows = away * np.tan(np.radians(self.tilt_degrees))
        corner = -row * self.pixel_mm[1] * (self.size[1] - 1) / 2 - column * self.pixel_mm[0] * (self.size[0] - 1) / 2
        return np.array(self.middle_mm) + corner + normal * away + column * along_rows

    def pixels_mm(self, place: float) -> np.ndarray:
        """LPS places of a slice's pixels, (y, x, 3)."""
        r, c = np.mgrid[: self.size[0], : self.size[1]][..., None] * 1.0
        across = np.array(self.column) * self.pixel_mm[0], np.array(self.row) * self.pixel_mm[1]
        return self.position_mm(place) + r * across[0] + c * across[1]

    def hu(self, place: float) -> np.ndarray:
        return ball_hu(self.pixels_mm(place), self.middle_mm, self.radius_mm) + np.int16(self.add_hu)

    def write(self, folder: Path, order: Sequence[int] | None = None) -> list[Path]:
        """A file a slice; the k-th is named after the k-th entry of `order`, so that names may tell nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        names = list(order) if order is not None else list(range(len(self.places)))
        return [self._write(folder / f"{self.name}{names[k]:04d}", k) for k in range(len(self.places))]

    def _write(self, path: Path, k: int) -> Path:
        place = self.places[k]
        stored = (self.hu(place).astype(int) + 1024).astype(np.uint16)
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.5.{k}"
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{self.uid}.{self.first_instance + k}"
        data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.StudyInstanceUID, data.SeriesInstanceUID = self.study, self.uid
        data.FrameOfReferenceUID = f"{self.study}.7"
        data.SeriesNumber, data.InstanceNumber, data.AcquisitionNumber = self.number, self.first_instance + k, 1
        data.PatientName, data.PatientID, data.PatientPosition = "Secret^Name", "SecretId", "HFS"
        data.Rows, data.Columns = stored.shape
        data.PixelSpacing, data.SliceThickness = list(self.pixel_mm), self.gap_mm
        data.ImagePositionPatient = [round(float(p), 6) for p in self.position_mm(place)]
        data.ImageOrientationPatient = [round(float(o), 10) for o in (*self.row, *self.column)]
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = stored.tobytes()
        data["PixelData"].VR = "OW"
        for tag, value in self.tags.items():
            if value is None:
                delattr(data, tag)
            else:
                setattr(data, tag, value)
        if self.edit:
            self.edit(k, data)
        pydicom.dcmwrite(path, data, enforce_file_format=True)
        return path


def jpeg2000(k: int, data: Dataset) -> None:
    """Lossless, by an encoder that none of our decoders shares."""
    stream = io.BytesIO()
    pixels = np.frombuffer(data.PixelData, np.uint16).reshape(data.Rows, data.Columns)
    Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    data.PixelData = encapsulate([stream.getvalue()])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless


def jpeg_lossless(k: int, data: Dataset) -> None:
    """Process 14, selection value 1: what older archives hold."""
    pixels = np.frombuffer(data.PixelData, np.uint16).reshape(1, data.Rows, data.Columns)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "packed.dcm"
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetCompressor("JPEG")
        writer.UseCompressionOn()
        writer.SetFileName(str(file))
        writer.Execute(SimpleITK.GetImageFromArray(pixels))
        packed = pydicom.dcmread(file)
    data.PixelData = packed.PixelData
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID


def jpeg_ls(k: int, data: Dataset) -> None:
    data.compress(JPEGLSLossless, generate_instance_uid=False)


def rle(k: int, data: Dataset) -> None:
    data.compress(RLELossless, generate_instance_uid=False)
