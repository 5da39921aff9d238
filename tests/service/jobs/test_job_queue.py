"""Jobs survive what a server's life holds: restarts, kills, two workers on one file, full or foreign files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hepar.errors import BadInput, OutputError
from hepar.service.jobs import JobQueue, work_off
from hepar.service.jobs.queue import TRIES


@pytest.fixture
def queue(tmp_path) -> JobQueue:
    return JobQueue(tmp_path / "jobs.sqlite")


def test_a_job_keeps_what_it_came_with_over_a_restart(queue):
    job = queue.add("segment", {"folder": "a1"})
    again = JobQueue(queue.path).get(job.id)
    assert again == job
    assert (again.state, again.kind, again.facts, again.tries) == ("waiting", "segment", {"folder": "a1"}, 0)
    assert len(job.id) == 32 and job.id != queue.add("segment").id
    assert queue.get("0" * 32) is None


def test_the_oldest_of_the_wanted_kind_is_taken_first_and_once(queue):
    first, other, second = queue.add("segment"), queue.add("send"), queue.add("segment")
    assert [queue.take(["segment"]).id for _ in range(2)] == [first.id, second.id]
    assert queue.take(["segment"]) is None
    assert [job.id for job in queue.jobs("waiting")] == [other.id]
    assert (queue.count("running"), queue.count("waiting", "running")) == (2, 3)


def test_many_takers_take_each_job_once(queue):
    made = {queue.add("segment").id for _ in range(40)}
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: JobQueue(queue.path).take(["segment"]), range(48)))
    ids = [job.id for job in taken if job]
    assert len(ids) == 40 and set(ids) == made


def test_progress_is_kept_and_bounded(queue):
    job = queue.add("segment")
    assert not queue.told(job.id, 0.5, "not yet running")
    queue.take(["segment"])
    assert queue.told(job.id, 1.7, "liver")
    assert (queue.get(job.id).share, queue.get(job.id).text) == (1.0, "liver")


def test_the_end_of_a_job_is_told_once(queue):
    job = queue.add("segment", {"a": 1})
    queue.take(["segment"])
    assert queue.done(job.id, {"b": 2})
    assert queue.get(job.id).facts == {"a": 1, "b": 2}
    assert not queue.failed(job.id, "too late") and queue.get(job.id).state == "done"
    assert not queue.cancel(job.id)
    queue.remove(job.id)
    assert queue.jobs() == []


def test_a_cancelled_job_stays_cancelled(queue):
    waiting, running = queue.add("segment"), queue.add("segment")
    queue.take(["segment"])
    assert queue.cancel(waiting.id) and queue.cancel(running.id)
    assert not queue.done(waiting.id) and not queue.waiting_again(running.id, "")
    assert {job.state for job in queue.jobs()} == {"cancelled"}


TAKE_AND_HANG = """
import sys, time
from pathlib import Path
from hepar.service.jobs import JobQueue
JobQueue(Path(sys.argv[1])).take(["segment"])
print("taken", flush=True)
time.sleep(60)
"""


def take_and_be_killed(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", TAKE_AND_HANG, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"taken\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_process_loses_no_job_and_the_third_time_it_has_failed(queue):
    job = queue.add("segment", {"folder": "a1"})
    for tries in range(1, TRIES + 1):
        take_and_be_killed(queue.path)
        assert queue.get(job.id).state == "running"
        (left,) = JobQueue(queue.path).recover()
        assert (left.id, left.tries, left.facts) == (job.id, tries, {"folder": "a1"})
        assert left.state == ("waiting" if tries < TRIES else "failed")
        assert f"try {tries} of 3" in left.error


def test_a_running_job_of_a_living_process_is_left_alone_until_it_is_silent(queue):
    queue.add("segment")
    job = queue.take(["segment"])
    assert queue.recover() == []
    assert [one.id for one in queue.recover(stale_seconds=-1)] == [job.id]


def test_another_machines_job_is_left_alone_while_it_is_heard_of(queue):
    queue.add("segment")
    job = queue.take(["segment"])
    with sqlite3.connect(queue.path) as base:
        base.execute("UPDATE jobs SET holder = 'the other machine 1 99'")
    base.close()
    assert queue.recover() == [] and queue.touch(job.id)
    assert len(queue.recover(stale_seconds=-1)) == 1


def test_a_file_that_is_no_queue_is_refused_and_kept(tmp_path):
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"something else entirely" * 60)
    with pytest.raises(BadInput, match=r"jobs\.sqlite is no queue of hepar"):
        JobQueue(path)
    assert path.read_bytes().startswith(b"something")


def test_a_newer_queue_is_refused(queue):
    with sqlite3.connect(queue.path) as base:
        base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(BadInput, match="newer hepar"):
        JobQueue(queue.path)


def test_a_place_that_cannot_be_written_to_says_so(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match=r"jobs\.sqlite cannot be written"):
        JobQueue(tmp_path / "file" / "jobs.sqlite")
    (tmp_path / "jobs.sqlite").mkdir()
    with pytest.raises(OutputError, match="cannot be used"):
        JobQueue(tmp_path / "jobs.sqlite")


def run_until_idle(queue: JobQueue, works) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=work_off, args=(queue, works, stop, 0.01))
    thread.start()
    try:
        for _ in range(1000):
            if not queue.count("waiting", "running"):
                return
            stop.wait(0.01)
        raise AssertionError("the worker did not go through its jobs")
    finally:
        stop.set()
        thread.join()


def test_a_worker_goes_through_the_jobs_and_a_failure_stops_no_other(queue):
    good, bad, broken = queue.add("segment", {"n": 1}), queue.add("segment", {"n": 2}), queue.add("segment", {"n": 3})

    def work(job, told):
        told(0.5, "half")
        if job.facts["n"] == 2:
            raise BadInput("the file is empty; send it again")
        if job.facts["n"] == 3:
            raise ValueError("/home/quisling/secret.nii")
        return {"liver_ml": 1500}

    run_until_idle(queue, {"segment": work})
    assert (queue.get(good.id).state, queue.get(good.id).facts) == ("done", {"n": 1, "liver_ml": 1500})
    assert queue.get(bad.id).error == "the file is empty; send it again"
    # The text of a foreign error may hold a path or a patient's name.
    assert queue.get(broken.id).error == "unexpected ValueError"


def test_cancelling_reaches_the_work_when_it_next_says_how_far_it_is(queue):
    begun, cancelled, after = threading.Event(), threading.Event(), []

    def work(job, told):
        begun.set()
        assert cancelled.wait(10)
        told(0.5, "half")
        after.append(job.id)
        return {}

    job = queue.add("segment")
    stop = threading.Event()
    thread = threading.Thread(target=work_off, args=(queue, {"segment": work}, stop, 0.01))
    thread.start()
    assert begun.wait(10) and queue.cancel(job.id)
    cancelled.set()
    stop.set()
    thread.join()
    assert queue.get(job.id).state == "cancelled" and not after


def test_a_worker_that_is_stopped_gives_its_job_back(queue):
    job = queue.add("segment")
    stop = threading.Event()

    def work(job, told):
        stop.set()
        told(0.5, "half")
        return {}

    work_off(queue, {"segment": work}, stop)
    assert (queue.get(job.id).state, queue.get(job.id).tries) == ("waiting", 0)
