"""Things made once and kept in memory, as far as a budget reaches; the rest is made again."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

from pixelwise.io.parallel import in_parallel

Item = TypeVar("Item")

MEMORY_SHARE = 0.25
"""Share of the free memory that one cache may take."""

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take."""


class MemoryCache(Sequence[Item], Generic[Item]):
    """A sequence whose items are made when asked for, and kept where they fit.

    Args:
        make: Makes the item of an index, always the same one.
        count: How many there are.
        size_of: Bytes that an item takes.
        budget_bytes: Memory for items; ``None`` takes a quarter of what is free.
    """

    def __init__(
        self,
        make: Callable[[int], Item],
        count: int,
        size_of: Callable[[Item], int],
        budget_bytes: float | None = None,
    ) -> None:
        self._make = make
        self._count = count
        self._size_of = size_of
        self._room = free_bytes() * MEMORY_SHARE if budget_bytes is None else budget_bytes
        self._kept: dict[int, Item] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index in self._kept:
            return self._kept[index]
        item = self._make(index)
        size = self._size_of(item)
        with self._lock:
            if index not in self._kept and size <= self._room:  # another thread may have made it
                self._room -= size
                self._kept[index] = item
        return item

    def in_parallel(self, on_made: Callable[[int, int], None] | None = None) -> Iterator[Item]:
        """Every item in order, several made at a time.

        Args:
            on_made: Called with how many are made and how many there are.
        """
        return in_parallel(lambda index: self[index], self._count, on_made)


def free_bytes() -> int:
    """Memory that can be had without swapping, by the machine and by the container around it."""
    import psutil  # loads much for one number

    available: int = psutil.virtual_memory().available
    return int(max(0, min(available, _free_in_container())))


def _free_in_container() -> float:
    """What the limit of a Linux container leaves, of which psutil knows nothing."""
    try:
        room = int((CGROUP / "memory.max").read_text())
        room -= int((CGROUP / "memory.current").read_text())
        # Files that the system keeps in memory count as used, and are given up when asked for.
        kept = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return room + int(kept.get("inactive_file", 0))
    except (OSError, ValueError):  # no container, or one without a limit
        return math.inf
