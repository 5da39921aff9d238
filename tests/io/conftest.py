"""Small files of every kind: volumes on honest grids, and DICOM series slice by slice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hepar.geometry import Geometry
from hepar.volume import LabelMap, Volume


@pytest.fixture
def ct(oblique_grid: Geometry) -> Volume:
    values = np.random.default_rng(7).integers(-1024, 1500, oblique_grid.shape).astype(np.int16)
    return Volume(values, oblique_grid)


@pytest.fixture
def labels(oblique_grid: Geometry) -> LabelMap:
    return LabelMap(np.random.default_rng(8).integers(0, 3, oblique_grid.shape).astype(np.uint8), oblique_grid)


@dataclass(frozen=True)
class DicomSeries:
    """How a scanner would write `stored` (z, y, x); slice k lies at `origin + k * step`."""

    stored: np.ndarray
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
    step_mm: tuple[float, ...] = (0, 0, 2.5)
    origin_mm: tuple[float, ...] = (-100, -120.5, 300)
    pixel_spacing_mm: tuple[float, float] = (0.7, 0.9)
    slope: float = 1
    intercept: float = -1024
    uid: str = "1.2.826.0.1.3680043.8.498.1"
    number: int | None = 3
    modality: str = "CT"

    def but(self, **changes: object) -> DicomSeries:
        return replace(self, **changes)

    def write(self, folder: Path, leave_out: tuple[int, ...] = ()) -> list[Path]:
        """File names tell nothing about the order of the slices."""
        folder.mkdir(parents=True, exist_ok=True)
        names = np.random.default_rng(3).permutation(len(self.stored))
        return [
            self._write_slice(folder / f"{self.uid[-3:]}I{names[k]:04d}", k)
            for k in range(len(self.stored))
            if k not in leave_out
        ]

    def _write_slice(self, path: Path, k: int) -> Path:
        pixels = self.stored[k]
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[self.uid, str(k)])
        data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.Modality, data.SeriesInstanceUID, data.SeriesNumber = self.modality, self.uid, self.number
        if self.uid:
            data.StudyInstanceUID, data.FrameOfReferenceUID = f"{self.uid}.9", f"{self.uid}.7"
        data.PatientName, data.SeriesDescription = "Secret^Name", "SecretDescription"
        data.Rows, data.Columns = pixels.shape
        data.PixelSpacing = list(self.pixel_spacing_mm)
        position = np.array(self.origin_mm) + k * np.array(self.step_mm)
        data.ImagePositionPatient = [round(float(p), 6) for p in position]
        data.ImageOrientationPatient = [round(float(o), 10) for o in self.orientation]
        data.RescaleSlope, data.RescaleIntercept, data.SliceThickness = self.slope, self.intercept, 5
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = int(pixels.dtype == np.int16)
        data.PixelData = pixels.tobytes()
        pydicom.dcmwrite(path, data, enforce_file_format=True)
        return path


@pytest.fixture
def series() -> DicomSeries:
    """Six slices of 7 x 9; values differ everywhere."""
    return DicomSeries(np.random.default_rng(5).integers(0, 3000, (6, 7, 9)).astype(np.uint16))
