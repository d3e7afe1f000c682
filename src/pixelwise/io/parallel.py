"""Many things made at a time, in order, of which few wait at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

AHEAD_PER_THREAD = 4
"""Enough that a slow item keeps no thread waiting."""

MAX_THREADS = 8
"""More would hold more of large images at once than a small container has memory for."""


def in_parallel(
    make: Callable[[int], Item],
    count: int,
    on_made: Callable[[int, int], None] | None = None,
    *,
    ahead_per_thread: int = AHEAD_PER_THREAD,
) -> Iterator[Item]:
    """Every item in order, several made at a time; memory does not grow with their number.

    Args:
        make: Makes the item of an index.
        count: How many there are.
        on_made: Called with how many are made and how many there are.
        ahead_per_thread: This many items for each thread are made or wait before they are asked
            for.
    """
    # More threads than cores only wait for the interpreter: of samples that are read back
    # from the disk, six threads on two cores were measured to take half as long again as two.
    num_threads = min(MAX_THREADS, _num_cores())
    # A window of futures and not one per item: results that wait would hold every item.
    ahead = ahead_per_thread * num_threads
    with ThreadPoolExecutor(num_threads) as threads:
        futures: list[Future[Item]] = []
        try:
            futures += [threads.submit(make, index) for index in range(min(ahead, count))]
            for index in range(count):
                item = futures.pop(0).result()
                if index + ahead < count:  # at once, so that it is made while this one is used
                    futures.append(threads.submit(make, index + ahead))
                if on_made:
                    on_made(index + 1, count)
                yield item
        finally:
            threads.shutdown(cancel_futures=True)


def _num_cores() -> int:
    """Cores that this process may use, where the system says; else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
