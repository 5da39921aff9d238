"""One piece of work ahead: while a slab is used, a thread makes the next one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")
END = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order; one of them, and never more, is made before it is asked for.

    An error of `items` is raised where its item would have come. Whoever stops
    early waits for the item in the making.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as worker:
        coming = worker.submit(next, items, cast(T, END))
        while (one := coming.result()) is not END:
            coming = worker.submit(next, items, cast(T, END))
            yield one
