"""A bench folder becomes its tables and its page."""

from __future__ import annotations

from pathlib import Path

from hepar.files import write_text
from hepar.report.bench_page import bench_page
from hepar.study.bench.document import bench_document
from hepar.study.bench.results import read_bench
from hepar.study.bench.writing import write_tables


def write_bench(bench: Path, out: Path | None = None) -> Path:
    """Tables and `bench.html` in `out`, default the bench folder itself; gives the page.

    Works on a bench that has not finished. Raises BadInput when `bench` is none.
    """
    document, where = bench_document(read_bench(bench)), out or bench
    files = write_tables(document, where)
    page = where / "bench.html"
    write_text(page, bench_page(document, [path.name for path in files]))
    return page
