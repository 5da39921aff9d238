"""Each step takes over from the one before, and a kill between two of them neither loses nor doubles anything."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from node_settings import SMALL, settings_file

from hepar.errors import BadInput, OutputError
from hepar.service.jobs import JobQueue, work_off
from hepar.service.node import folders, retention
from hepar.service.node.audit import Audit
from hepar.service.node.completion import SEGMENT, Completion
from hepar.service.node.inbox import Inbox, Instance
from hepar.service.node.outbox import Outbox
from hepar.service.node.sending import Sender
from hepar.service.node.settings import Retention, example, read_settings
from hepar.service.node.work import Segmentation

pytest.importorskip("highdicom", reason="the node needs hepar[dicom]")
ARCHIVE = 'ae_title = "PACS"\nhost = "127.0.0.1"\nport = 1'


class Steps:
    """All of a node but its server and threads."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.settings = read_settings(settings_file(folder, model, ARCHIVE, idle=0.01))
        self.places = folders.opened(self.settings.node.data)
        self.audit = Audit(self.places.audit, self.settings.retention)
        self.inbox = Inbox(self.places, self.settings.limits)
        self.outbox, self.queue = Outbox(self.places), JobQueue(self.places.queue)
        self.sent: list[bytes] = []
        self.fails = 0

    def receive(self, paths: list[Path]) -> None:
        for path in paths:
            data = pydicom.dcmread(path)
            uids = [str(data[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
            self.inbox.store(Instance(*uids, str(data.PatientID), "SENDER", path.read_bytes()))

    def completed(self, count=None) -> int:
        completion = Completion(self.settings, self.inbox, self.queue, self.audit, count)
        time.sleep(0.05)
        completion.look()
        return len(self.queue.jobs())

    def worked(self) -> None:
        stop = threading.Event()
        work = Segmentation(self.settings.node, self.places, self.inbox, self.outbox, self.audit)

        def once(job, told):
            stop.set()
            # A worker that is to stop gives its job back; these steps are to end.
            return work(job, lambda *_: None)

        work_off(self.queue, {SEGMENT: once}, stop, 0.01)

    def send(self) -> None:
        def to(peer, path):
            if self.fails:
                self.fails -= 1
                raise OutputError("'archive' answered A700")
            self.sent.append(path.read_bytes())

        Sender(self.settings, self.outbox, self.queue, self.audit, to).look()

    def uids(self) -> list[str]:
        return [str(pydicom.dcmread(pydicom.filebase.DicomBytesIO(one)).SOPInstanceUID) for one in self.sent]


@pytest.fixture
def steps(tmp_path, threshold_model) -> Steps:
    return Steps(tmp_path / "node", threshold_model)


@pytest.fixture
def ct(tmp_path) -> list[Path]:
    return SMALL.write(tmp_path / "ct")


def test_a_set_of_slices_has_one_job_however_often_the_node_looks_starts_or_receives_it(steps, ct):
    steps.receive(ct)
    assert [steps.completed(), steps.completed()] == [1, 1]
    steps.receive(ct)
    assert steps.completed() == 1


def test_slices_that_come_later_make_a_new_job_and_call_off_the_old(steps, ct):
    steps.receive(ct[:8])
    steps.completed()
    steps.receive(ct[8:])
    assert steps.completed() == 2
    assert [job.state for job in steps.queue.jobs()] == ["cancelled", "waiting"]


def test_a_series_waits_for_what_the_archive_counts_and_goes_on_where_it_cannot_be_asked(steps, ct):
    def unreachable(about):
        raise OutputError("'archive' cannot be reached")

    steps.receive(ct)
    assert steps.completed(lambda _: len(ct) + 1) == 0
    assert steps.completed(unreachable) == 1


@pytest.mark.parametrize("plain", [False, True])
def test_the_audit_log_tells_uids_only_where_that_is_wanted(steps, ct, plain):
    steps.settings = replace(steps.settings, retention=Retention(plain_uids=plain))
    steps.receive(ct)
    steps.completed()
    assert (SMALL.uid in steps.audit.file.read_text()) is plain


def test_small_series_are_kept_but_not_segmented(steps, ct):
    steps.receive(ct[:3])
    assert steps.completed() == 0
    assert len(steps.inbox.keys()) == 1


def test_a_result_made_again_after_a_kill_has_the_same_uids_and_goes_out_once(steps, ct):
    steps.receive(ct)
    steps.completed()
    (job,) = steps.queue.jobs()
    work = Segmentation(steps.settings.node, steps.places, steps.inbox, steps.outbox, steps.audit)
    # Killed before the result was kept: it is made anew.
    work(job, lambda *_: None)
    (first,) = steps.outbox.entries()
    made = [pydicom.dcmread(first.folder / name).SOPInstanceUID for name in first.files]
    steps.outbox.remove(first)
    steps.worked()
    steps.send()
    assert steps.uids() == [str(uid) for uid in made]
    steps.send()
    assert len(steps.sent) == 2
    assert steps.outbox.entries() == []


def test_nothing_is_sent_before_the_job_has_ended(steps, ct):
    steps.receive(ct)
    steps.completed()
    (job,) = steps.queue.jobs()
    steps.outbox.add(job.id, "key", ct[:1])
    steps.send()
    assert steps.sent == []
    # Killed after the result was kept: the job only notes so.
    steps.worked()
    assert steps.queue.get(job.id).state == "done"
    steps.send()
    assert len(steps.sent) == 1


def test_a_file_that_did_not_arrive_stays_until_it_does_and_the_other_is_not_sent_again(steps, ct):
    steps.outbox.add("a" * 32, "key", ct[:2])
    steps.fails = 2
    steps.send()
    steps.send()
    assert [len(steps.outbox.entries()), len(steps.sent)] == [1, 0]
    (entry,) = steps.outbox.entries()
    entry.mark_sent("archive", ct[0].name)
    steps.send()
    assert steps.sent == [ct[1].read_bytes()]
    assert steps.outbox.entries() == []


def test_a_series_without_a_place_fails_with_a_reason_and_the_next_is_segmented(steps, tmp_path):
    bad = SMALL.but(uid="1.2.3.4", tags={"ImagePositionPatient": None})
    steps.receive(bad.write(tmp_path / "bad"))
    steps.completed()
    steps.worked()
    assert "no CT slices that say where they lie" in steps.queue.jobs("failed")[0].error
    steps.receive(SMALL.write(tmp_path / "ct"))
    steps.completed()
    steps.worked()
    assert len(steps.outbox.entries()) == 1


def test_old_series_go_once_all_was_delivered_and_never_before(steps, ct):
    steps.receive(ct)
    steps.completed()
    steps.worked()
    for path in steps.places.received.glob("*/slices/*"):
        os.utime(path, (1, 1))
    kept = Retention()
    retention.sweep(kept, steps.inbox, steps.outbox, steps.queue, steps.audit)
    assert len(steps.inbox.keys()) == 1
    steps.send()
    retention.sweep(kept, steps.inbox, steps.outbox, steps.queue, steps.audit)
    assert [steps.inbox.keys(), steps.queue.jobs()] == [[], []]


def test_what_a_kill_left_unfinished_is_swept_and_the_rest_stays(steps, ct):
    steps.receive(ct)
    left = steps.places.received / steps.inbox.keys()[0] / "slices" / f"{folders.UNFINISHED}1"
    left.write_bytes(b"half")
    assert len(steps.inbox.received(steps.inbox.keys()[0]).names) == len(ct)
    begun = steps.places.received / ("0" * 32) / "slices"
    begun.mkdir(parents=True)
    steps.places.sweep()
    assert not left.exists()
    assert not begun.exists()
    assert len(steps.inbox.received(steps.inbox.keys()[0]).names) == len(ct)


def test_two_nodes_do_not_share_a_folder(steps):
    lock = folders.Lock(steps.places)
    with pytest.raises(BadInput, match="another node works in"):
        folders.Lock(steps.places)
    lock.release()
    folders.Lock(steps.places).release()


def test_a_full_audit_file_makes_room_for_the_next(tmp_path):
    audit = Audit(tmp_path, Retention(audit_mb=1e-5))
    audit.add("first")
    audit.add("second")
    assert json.loads(audit.file.read_text())["event"] == "second"
    assert len(list(tmp_path.glob("audit-*.jsonl"))) == 1


def test_the_example_is_a_settings_file(tmp_path):
    (tmp_path / "node.toml").write_text(example())
    found = read_settings(tmp_path / "node.toml")
    assert found.node.bind == "127.0.0.1"
    assert found.retention.received_days == 7
    uncommented = "\n".join(line.removeprefix("# ") for line in example().splitlines()[3:])
    (tmp_path / "full.toml").write_text(uncommented)
    assert read_settings(tmp_path / "full.toml").tls is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('ae_title = "HEPAR"', 'ae_title = "A title that is too long"', "1 to 16 ASCII"),
        ("port = 11112", "port = 70000", "1 to 65535"),
        ("port = 11112", 'port = "11112"', "expected int"),
        ("[completion]", "[completion]\nidle = 3", "has idle"),
        ("[[allow]]", "[allow]", "two brackets"),
        ("idle_seconds = 30", "idle_seconds = 0", "more than 0"),
        ("port = 4242", "", "1 to 65535"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, old, new, message):
    (tmp_path / "node.toml").write_text(example().replace(old, new, 1))
    with pytest.raises(BadInput, match=message):
        read_settings(tmp_path / "node.toml")
