"""The audit log: who sent what and what became of it, a JSON line an event, without patient data.

Series are named by a keyed hash of their UIDs; only where the settings ask for
it a complete series is told with its UIDs. Nothing else of a header is in it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from hepar.service.node.settings import Retention

log = logging.getLogger("hepar")
DAY = 86400.0


class Audit:
    """Appends to `audit.jsonl` in a folder; full files get the time in their name and are kept for some days."""

    def __init__(self, folder: Path, retention: Retention) -> None:
        self.file = folder / "audit.jsonl"
        self._retention = retention
        self._lock = threading.Lock()

    def add(self, event: str, **facts: object) -> None:
        """Never raises: a full disk must not stop the node, which says so by refusing slices."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        try:
            with self._lock:
                self._turn_over()
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.error("the audit log cannot be written: %s", error.strerror)

    def sweep(self) -> None:
        """Delete files that are older than they are kept."""
        for old in self.file.parent.glob("audit-*.jsonl"):
            if time.time() - old.stat().st_mtime > self._retention.audit_days * DAY:
                old.unlink(missing_ok=True)

    def _turn_over(self) -> None:
        if not self.file.is_file() or self.file.stat().st_size < self._retention.audit_mb * 1e6:
            return
        named = datetime.now(UTC).strftime("audit-%Y%m%dT%H%M%S.%fZ.jsonl")
        self.file.rename(self.file.with_name(named))
