"""A whole node as its own process beside an Orthanc, killed where it hurts: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from node_settings import SMALL, free_port, settings_file, wait_until
from orthanc_server import Orthanc, orthanc

from hepar.io.dicom_seg import open_segmentation
from hepar.io.exports.sr import measurements_of
from hepar.service.node.pull import pull
from hepar.service.node.settings import Peer

pytest.importorskip("pynetdicom", reason="the node needs hepar[dicom]")
START = "import sys; from hepar.cli import main; sys.argv = ['hepar', 'node', '--config', sys.argv[1]]; main()"


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = events(config).count("node started")
    process = subprocess.Popen([sys.executable, "-c", START, str(config)], env=environment)
    try:
        assert wait_until(lambda: events(config).count("node started") > before, 60), "the node did not start"
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=30)


def log_lines(config: Path) -> list[dict]:
    path = config.parent / "data" / "audit" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def events(config: Path) -> list[str]:
    return [line["event"] for line in log_lines(config)]


def fetched(server: Orthanc, modality: str, folder: Path) -> Path:
    """The one instance of a modality, by QIDO-RS and WADO-RS."""
    (found,) = server.instances(modality)
    uids = [found[tag]["Value"][0] for tag in ("0020000D", "0020000E")]
    pull(Peer("orthanc", url=server.web), *uids, folder)
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_a_series_from_orthanc_comes_back_as_seg_and_sr_though_the_node_is_killed(tmp_path, threshold_model, way):
    port = free_port()
    with orthanc(tmp_path / "orthanc", port) as server:
        dicom, web = f'ae_title = "SENDER"\nhost = "127.0.0.1"\nport = {server.dicom}', f'url = "{server.web}"'
        # Each way of sending with the other way of counting.
        by, source = (dicom, web) if way == "C-STORE" else (web, dicom)
        source = f'[completion.source]\nname = "orthanc"\n{source}'
        config = settings_file(tmp_path, threshold_model, by, port, idle=0.5, more=source)
        SMALL.write(tmp_path / "ct")
        server.upload(tmp_path / "ct")
        series = server.ask("/series")
        with running(config) as node:
            server.ask("/modalities/hepar/store", json.dumps(series).encode())
            assert wait_until(lambda: "series complete" in events(config))
            os.kill(node.pid, signal.SIGKILL)
        with running(config):
            assert wait_until(lambda: "result delivered" in events(config))
            # The same series again is the same work: it was done.
            server.ask("/modalities/hepar/store", json.dumps(series).encode())
            time.sleep(2.0)
        assert events(config).count("series complete") == 1
        assert events(config).count("result delivered") == 1
        seg, sr = fetched(server, "SEG", tmp_path / "seg"), fetched(server, "SR", tmp_path / "sr")
    with seg.open("rb") as file:
        labels = open_segmentation(file, "seg").labels({1: 1})
    truth = sum(int((SMALL.hu(place) >= 120).sum()) for place in SMALL.places)
    assert np.count_nonzero(labels.labels) == truth
    assert set(measurements_of(sr)) == {"Liver"}
    assert "Secret" not in (tmp_path / "data" / "audit" / "audit.jsonl").read_text()
    assert all("Secret" not in str(path) for path in (tmp_path / "data").rglob("*"))
