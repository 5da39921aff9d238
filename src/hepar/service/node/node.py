"""The node itself: what listens, looks, works and sends, each in a thread, until a signal."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable

from hepar.errors import BadInput, HeparError, MissingExtra
from hepar.service.jobs import JobQueue, work_off
from hepar.service.node import folders, retention
from hepar.service.node.audit import Audit
from hepar.service.node.completion import SEGMENT, Completion, counter
from hepar.service.node.inbox import Inbox
from hepar.service.node.outbox import Outbox
from hepar.service.node.scp import Server
from hepar.service.node.sending import Sender, send
from hepar.service.node.settings import NodeSettings
from hepar.service.node.work import Segmentation

log = logging.getLogger("hepar")
LOOK_SECONDS = 1.0
SWEEP_SECONDS = 600.0


class Node:
    """A node in its folder. Made in full before it listens, so that whatever is wrong is said at once."""

    def __init__(self, settings: NodeSettings, look_seconds: float = LOOK_SECONDS) -> None:
        """Raises BadInput where another node works in the folder, BadModel, OutputError, MissingExtra."""
        _require_libraries()
        self._settings = settings
        self._look = look_seconds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.folders = folders.opened(settings.node.data)
        self._lock = folders.Lock(self.folders)
        self.folders.sweep()
        self.audit = Audit(self.folders.audit, settings.retention)
        self.inbox = Inbox(self.folders, settings.limits)
        self.outbox = Outbox(self.folders)
        self.queue = JobQueue(self.folders.queue)
        self._work = Segmentation(settings.node, self.folders, self.inbox, self.outbox, self.audit)
        calling = settings.node.ae_title
        count = counter(settings.completion.source, calling)
        self._completion = Completion(settings, self.inbox, self.queue, self.audit, count)
        self._sender = Sender(settings, self.outbox, self.queue, self.audit, send(calling))
        self._server = Server(settings, self.inbox, self.audit)

    def start(self) -> None:
        """Listen and work in threads. Raises BadInput where the port is taken or a certificate does not fit."""
        node = self._settings.node
        try:
            self._server.start()
        except OSError as error:
            raise BadInput(
                f"cannot listen on {node.bind} port {node.port} ({error.strerror}); choose another "
                "port, or correct the certificate"
            ) from error
        self.audit.add("node started", ae_title=node.ae_title, bind=node.bind, port=node.port)
        for name, task, seconds in (
            ("completion", self._completion.look, self._look),
            ("sending", self._sender.look, self._look),
            ("retention", self._sweep, SWEEP_SECONDS),
            ("work", self._work_off, self._look),
        ):
            thread = threading.Thread(target=self._again_and_again, args=(name, task, seconds), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End in order: no new slices, then the job in hand goes back to the queue."""
        self._server.stop()
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
        if self._threads:
            self.audit.add("node stopped")
        self._lock.release()

    def run(self) -> None:
        """Until SIGTERM or Ctrl-C. In the main thread only."""
        _hush_libraries()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        try:
            self.start()
            self._stop.wait()
        finally:
            self.stop()

    def _again_and_again(self, name: str, task: Callable[[], None], seconds: float) -> None:
        """A task until the end; what fails once, as on a full disk, is tried again."""
        while not self._stop.is_set():
            try:
                task()
            except HeparError as error:
                log.error("%s: %s", name, error)
                self.audit.add("trouble", where=name, why=str(error))
            except Exception as error:
                log.error("%s: unexpected %s", name, type(error).__name__)
                log.debug("its traceback", exc_info=True)
                self.audit.add("trouble", where=name, why=f"unexpected {type(error).__name__}")
            self._stop.wait(seconds)

    def _work_off(self) -> None:
        work_off(self.queue, {SEGMENT: self._work}, self._stop, self._look)

    def _sweep(self) -> None:
        retention.sweep(self._settings.retention, self.inbox, self.outbox, self.queue, self.audit)


def _require_libraries() -> None:
    try:
        import dicomweb_client  # noqa: F401
        import highdicom  # noqa: F401
        import pynetdicom  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"the node needs {error.name}; `pip install hepar[dicom]` brings it") from error


def _hush_libraries() -> None:
    """pydicom and pynetdicom remark on odd values and show them: no value of a header belongs in a log.

    For the whole process, as threads cannot hush them one by one.
    """
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pynetdicom", "dicomweb_client", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        for known in list(logging.root.manager.loggerDict):
            if known.startswith(f"{name}."):
                logging.getLogger(known).setLevel(logging.CRITICAL + 1)
