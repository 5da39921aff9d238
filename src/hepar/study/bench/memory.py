"""The most memory that this process has held."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """MB (10^6 bytes) of main memory at their peak since the process began; None where the system does not say.

    Linux keeps the peak by process image; `getrusage` there would count what
    the parent held when it started this process.
    """
    try:
        rows = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines() if ":" in line)
        return round(int(rows["VmHWM"].split()[0]) * 1024 / 1e6, 1)
    except (OSError, KeyError, ValueError):
        pass
    if sys.platform == "darwin":
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
    return None
