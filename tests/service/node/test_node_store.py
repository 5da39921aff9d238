"""C-STORE and C-ECHO: callers on the list are served, every slice is kept as it came, what does not fit is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pydicom
import pytest
from node_settings import SMALL, settings_file

from hepar.service.node import folders
from hepar.service.node.audit import Audit
from hepar.service.node.dimse import echo, store
from hepar.service.node.inbox import Inbox
from hepar.service.node.scp import Server
from hepar.service.node.settings import Peer, read_settings

pynetdicom = pytest.importorskip("pynetdicom", reason="the node needs hepar[dicom]")
ARCHIVE = 'ae_title = "PACS"\nhost = "127.0.0.1"\nport = 1'
ENHANCED, RLE = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.1.2.5"


class Listening:
    """A server with its inbox, and a sender of slices."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.settings = read_settings(settings_file(folder, folder, ARCHIVE, more=more))
        self.places = folders.opened(self.settings.node.data)
        self.inbox = Inbox(self.places, self.settings.limits)
        self.audit = Audit(self.places.audit, self.settings.retention)
        self.server = Server(self.settings, self.inbox, self.audit)

    def peer(self, called: str = "HEPAR") -> Peer:
        return Peer("node", called, "127.0.0.1", self.settings.node.port, timeout_seconds=10)

    def send(self, data: pydicom.Dataset, syntax: str | None = None, asked: str | None = None) -> int | None:
        entity = pynetdicom.AE("SENDER")
        entity.add_requested_context(asked or str(data.SOPClassUID), syntax or str(data.file_meta.TransferSyntaxUID))
        association = entity.associate("127.0.0.1", self.settings.node.port, ae_title="HEPAR")
        try:
            return association.send_c_store(data).get("Status") if association.is_established else None
        finally:
            association.release()

    def files(self) -> list[Path]:
        return sorted(self.places.received.glob("*/slices/*"))

    def events(self, last: str) -> list[str]:
        """All events once the last one is `last`, or after ten seconds: a line may come after the caller's answer."""
        until = time.monotonic() + 10
        while True:
            told = self.audit.file.read_text() if self.audit.file.exists() else ""
            events = [json.loads(line)["event"] for line in told.splitlines(keepends=True) if line.endswith("\n")]
            if events[-1:] == [last] or time.monotonic() > until:
                return events
            time.sleep(0.02)


@pytest.fixture
def listening(tmp_path):
    made = Listening(tmp_path / "node")
    made.server.start()
    yield made
    made.server.stop()


@pytest.fixture
def ct(tmp_path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in SMALL.write(tmp_path / "ct")]


def test_an_echo_of_a_caller_on_the_list_is_answered(listening):
    echo(listening.peer(), "SENDER")
    assert listening.events("echo") == ["echo"]


@pytest.mark.parametrize(("caller", "called"), [("STRANGER", "HEPAR"), ("SENDER", "OTHER")])
def test_others_and_other_titles_are_rejected_and_the_node_goes_on(listening, caller, called):
    with pytest.raises(Exception, match="rejected the association"):
        echo(listening.peer(called), caller)
    assert listening.events("association rejected") == ["association rejected"]
    echo(listening.peer(), "SENDER")


def test_a_listed_title_from_another_address_is_rejected(tmp_path):
    path = settings_file(tmp_path / "node", tmp_path, ARCHIVE)
    path.write_text(path.read_text().replace('address = "127.0.0.1"', 'address = "10.9.8.0/24"'))
    made = Listening.__new__(Listening)
    made.settings = read_settings(path)
    made.places = folders.opened(made.settings.node.data)
    made.audit = Audit(made.places.audit, made.settings.retention)
    made.server = Server(made.settings, Inbox(made.places, made.settings.limits), made.audit)
    made.server.start()
    try:
        with pytest.raises(Exception, match="rejected"):
            echo(made.peer(), "SENDER")
    finally:
        made.server.stop()


def test_slices_are_kept_whole_once_each_and_no_name_or_log_tells_the_patient(listening, ct):
    assert [listening.send(one) for one in [*ct, ct[0]]] == [0] * (len(ct) + 1)
    kept = {str(pydicom.dcmread(path).SOPInstanceUID): pydicom.dcmread(path) for path in listening.files()}
    assert len(kept) == len(ct)
    assert all(kept[str(one.SOPInstanceUID)].PixelData == one.PixelData for one in ct)
    said = "".join(str(path) for path in listening.files())
    if listening.audit.file.is_file():
        said += listening.audit.file.read_text()
    assert "Secret" not in said
    assert str(ct[0].SeriesInstanceUID) not in said


def test_a_compressed_slice_is_kept_as_it_came(listening, ct):
    ct[0].compress(RLE, generate_instance_uid=False)
    assert listening.send(ct[0]) == 0
    (path,) = listening.files()
    assert str(pydicom.dcmread(path).file_meta.TransferSyntaxUID) == RLE


def _other_patient(data):
    data.PatientID = "Another"


def _no_pixels(data):
    del data.PixelData


def _mr(data):
    data.Modality = "MR"


def _no_series(data):
    data.SeriesInstanceUID = ""


@pytest.mark.parametrize(
    ("change", "status"), [(_other_patient, 0xC000), (_no_pixels, 0xC000), (_mr, 0xA900), (_no_series, 0xC000)]
)
def test_what_does_not_fit_is_refused_told_and_not_kept(listening, ct, change, status):
    assert listening.send(ct[0]) == 0
    change(ct[1])
    assert listening.send(ct[1]) == status
    assert len(listening.files()) == 1
    assert listening.events("slice refused")[-1] == "slice refused"
    assert listening.send(ct[2]) == 0


def test_objects_of_another_class_are_not_even_offered_a_context(listening, ct):
    ct[0].SOPClassUID = ENHANCED
    assert listening.send(ct[0]) is None
    assert listening.files() == []


@pytest.mark.parametrize("limit", ["slices = 2", "free_disk_mb = 1000000000"])
def test_beyond_the_limits_the_node_is_out_of_resources(tmp_path, ct, limit):
    made = Listening(tmp_path / "node", f"[limits]\n{limit}")
    made.server.start()
    try:
        assert [made.send(one) for one in ct[:3]][-1] == 0xA700
        assert len(made.files()) == (2 if "slices" in limit else 0)
    finally:
        made.server.stop()


def test_a_file_is_sent_as_it_lies(listening, tmp_path, ct):
    store(listening.peer(), "SENDER", next(iter((tmp_path / "ct").iterdir())))
    assert len(listening.files()) == 1
