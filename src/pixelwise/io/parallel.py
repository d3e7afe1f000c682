"""Computes items in parallel and yields them in order, with a bounded number in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

AHEAD_PER_THREAD = 4
"""Large enough that one slow item does not keep the other threads waiting."""

MAX_THREADS = 8
"""With more threads, large images could exceed the memory of a small container."""


def in_parallel(
    make: Callable[[int], Item],
    count: int,
    on_made: Callable[[int, int], None] | None = None,
    *,
    ahead_per_thread: int = AHEAD_PER_THREAD,
) -> Iterator[Item]:
    """Yield items in order while several are computed at a time, with bounded memory.

    Args:
        make: Makes the item with a given index.
        count: Number of items.
        on_made: Called with the number of finished items and the total number.
        ahead_per_thread: Number of items per thread that may be computed ahead of use.
    """
    # More threads than cores only contend for the interpreter: when reading samples back from
    # disk, six threads on two cores took half as long again as two threads.
    num_threads = min(MAX_THREADS, num_cores())
    # Submitting all items at once would keep all their results in memory.
    ahead = ahead_per_thread * num_threads
    with ThreadPoolExecutor(num_threads) as threads:
        futures: list[Future[Item]] = []
        try:
            futures += [threads.submit(make, index) for index in range(min(ahead, count))]
            for index in range(count):
                item = futures.pop(0).result()
                if index + ahead < count:  # submitted first, so that it runs during the yield
                    futures.append(threads.submit(make, index + ahead))
                if on_made:
                    on_made(index + 1, count)
                yield item
        finally:
            threads.shutdown(cancel_futures=True)


def num_cores() -> int:
    """Return the number of cores that this process may use; of the machine if that is unknown."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
