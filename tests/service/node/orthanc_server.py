"""An Orthanc of the test's own on random loopback ports."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from node_settings import free_port

PLUGINS = Path("/usr/share/orthanc/plugins")


@dataclass(frozen=True)
class Orthanc:
    http: int
    dicom: int

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return json.load(answer)

    def upload(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            self.ask("/instances", path.read_bytes(), "application/dicom")

    def instances(self, modality: str) -> list[dict[str, Any]]:
        """By QIDO-RS."""
        return list(self.ask(f"/dicom-web/instances?Modality={modality}&includefield=00080018"))


@contextmanager
def orthanc(folder: Path, node_port: int) -> Iterator[Orthanc]:
    program = shutil.which("Orthanc")
    if program is None or not (PLUGINS / "libOrthancDicomWeb.so").is_file():
        pytest.skip("Orthanc with DICOMweb (Debian packages orthanc and orthanc-dicomweb) is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    server = Orthanc(free_port(), free_port())
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "store"),
                "IndexDirectory": str(folder / "store"),
                "HttpPort": server.http,
                "DicomPort": server.dicom,
                "DicomAet": "SENDER",
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                "DicomModalities": {"hepar": ["HEPAR", "127.0.0.1", node_port]},
            }
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        _require_up(server, process, folder)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def _require_up(server: Orthanc, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        try:
            server.ask("/system")
            server.ask("/dicom-web/studies")
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.1)
    raise AssertionError("Orthanc did not start")
