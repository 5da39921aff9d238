"""Settings of a node on a free loopback port, as a file, and series to send it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

# The synthetic series of the reader's tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "io"))
from series_files import SeriesFiles

__all__ = ["SMALL", "SeriesFiles", "free_port", "settings_file", "wait_until"]
# 150 HU of the ball is the threshold model's liver; no tumour.
SMALL = SeriesFiles(count=12, size=(32, 36), gap_mm=4.0, pixel_mm=(2.0, 2.0), add_hu=40)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def settings_file(
    folder: Path, model: Path, destination: str, port: int = 0, idle: float = 1.0, more: str = ""
) -> Path:
    """`destination` are the lines of its table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "node.toml"
    path.write_text(
        f'[node]\nae_title = "HEPAR"\nport = {port or free_port()}\ndata = "data"\nmodel = "{model}"\nthreads = 1\n'
        '[[allow]]\nae_title = "SENDER"\naddress = "127.0.0.1"\n'
        f'[[destination]]\nname = "archive"\n{destination}\n'
        f"[completion]\nidle_seconds = {idle}\nleast_slices = 5\n[retry]\nfirst_seconds = 0.3\nlongest_seconds = 1.0\n"
        f"{more}\n",
        encoding="utf-8",
    )
    return path


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if true():
            return True
        time.sleep(0.05)
    return False
