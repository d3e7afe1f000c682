"""Things made once and kept in memory, as far as a budget reaches; the rest is made again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

from pixelwise.io.parallel import in_parallel

Item = TypeVar("Item")

MEMORY_SHARE = 0.25
"""Share of the free memory that one cache may take."""


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
    """Memory that can be had, by the machine and by the container that this may run in."""
    folder = Path("/sys/fs/cgroup")
    try:
        room = int((folder / "memory.max").read_text())
        room -= int((folder / "memory.current").read_text())
        # Files that the system keeps in memory count as used, and are given up when asked for.
        kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        room += int(kept.get("inactive_file", 0))
    except (OSError, ValueError):  # no container, or one without a limit
        return _free_machine_bytes()
    return max(0, min(room, _free_machine_bytes()))


def _free_machine_bytes() -> int:
    """Memory that can be had without swapping; half of all of it where the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 4 * 1024**3
