"""Keeps computed items in memory up to a size limit; the others are computed again."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

from pixelwise.io.parallel import in_parallel

Item = TypeVar("Item")

MEMORY_SHARE = 0.25
"""Largest share of the free memory that one cache uses."""

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux reports the limits of a container."""


class MemoryCache(Sequence[Item], Generic[Item]):
    """A sequence whose items are computed on access and kept if they fit.

    Args:
        make: Makes the item with a given index, always the same.
        count: Number of items.
        size_of: Returns the size of an item in bytes.
        budget_bytes: Memory for items; ``None`` uses a quarter of the free memory.
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
        self._free_bytes = free_bytes() * MEMORY_SHARE if budget_bytes is None else budget_bytes
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
            if (
                index not in self._kept and size <= self._free_bytes
            ):  # another thread may have added it
                self._free_bytes -= size
                self._kept[index] = item
        return item

    def in_parallel(self, on_made: Callable[[int, int], None] | None = None) -> Iterator[Item]:
        """Yield the items in order, while several are computed at a time.

        Args:
            on_made: Called with the number of finished items and the total number.
        """
        return in_parallel(lambda index: self[index], self._count, on_made)


def free_bytes() -> int:
    """Return the memory available without swapping, within the limits of the container."""
    import psutil  # imported late, as it loads many modules

    available: int = psutil.virtual_memory().available
    return int(max(0, min(available, _free_in_container())))


def _free_in_container() -> float:
    """Return the memory left by the limit of a Linux container, which psutil does not consider."""
    try:
        room = int((CGROUP / "memory.max").read_text())
        room -= int((CGROUP / "memory.current").read_text())
        # The page cache counts as used memory but is freed on demand.
        kept = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return room + int(kept.get("inactive_file", 0))
    except (OSError, ValueError):  # no container, or no limit
        return math.inf
