"""Starting: `import hepar`, `hepar --help`, and a first slice from a file to labels on disk, each in a new process.

    python benchmarks/start_up.py -o docs/benchmarks/start_up [--nnunet PYTHON]

Peers start beside it where they are installed: `import monai`, `import torch`,
and with `--nnunet` (the python of an environment with nnunetv2, see
`benchmarks/nnunet/run.py`) `import nnunetv2` and `nnUNetv2_predict -h`. A bare
`python -c pass` is taken along: no program can be faster. Files lie in the
page cache after the first time, which does not count.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pairs import Timed, arguments, bars, in_turns, publish, surroundings
from scans import scan

from hepar.io import read_labels, write_volume


def main() -> None:
    parser = arguments(__doc__ or "", rounds=9)
    parser.add_argument("--nnunet", type=Path, help="Python of an environment with nnunetv2.")
    order = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ct, _ = scan(64, 256 if order.quick else 512)
        write_volume(ct.slab(32, 33), folder / "slice.nii.gz")
        timed, missing = measured(commands(folder, order.nnunet), order.rounds)
        require_labels(folder)
    rows = timed.rows("python -c pass")
    result = {
        "what": "seconds from starting a process to its end",
        **surroundings(order),
        **timed.as_json("python -c pass"),
        "peer not installed": missing,
    }
    publish(order.out, result, rows, bars(rows, "program", "median_s", "starting"))


def commands(folder: Path, nnunet: Path | None) -> dict[str, list[str] | None]:
    """What to start; None for a peer that is not here."""
    python = [sys.executable]
    first = [*python, "-m", "hepar", "segment", str(folder / "slice.nii.gz"), "-o", str(folder / "labels.nii.gz")]
    here = {
        "python -c pass": [*python, "-c", "pass"],
        "import hepar": [*python, "-c", "import hepar"],
        "hepar --help": [*python, "-m", "hepar", "--help"],
        "hepar: first slice": [*first, "--no-report"],
    }
    peers = {f"import {name}": [*python, "-c", f"import {name}"] for name in ("torch", "monai", "SimpleITK")}
    there = {title: words if importlib.util.find_spec(title.split()[1]) else None for title, words in peers.items()}
    program = nnunet.parent / "nnUNetv2_predict" if nnunet else None
    return {
        **here,
        **there,
        "import nnunetv2": [str(nnunet), "-c", "import nnunetv2.inference.predict_from_raw_data"] if nnunet else None,
        "nnUNetv2_predict -h": [str(program), "-h"] if program and program.is_file() else None,
    }


def measured(wanted: dict[str, list[str] | None], rounds: int) -> tuple[Timed, list[str]]:
    programs = {title: partial(started, words) for title, words in wanted.items() if words}
    return in_turns(programs, rounds), [title for title, words in wanted.items() if not words]


def started(words: Sequence[str]) -> Any:
    """Raises RuntimeError, with the last words, for a program that fails: its time would be that of failing."""
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{Path(words[0]).name} ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    return None


def require_labels(folder: Path) -> None:
    labels = read_labels(folder / "labels.nii.gz")
    if not labels.liver.any():
        raise RuntimeError("the first slice shows no liver: what was timed is not a segmentation")


if __name__ == "__main__":
    main()
