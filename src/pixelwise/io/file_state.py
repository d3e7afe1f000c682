"""Keeps the content of a file in memory until the file changes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from pixelwise.errors import DataError
from pixelwise.io.members import file_of, split_member

Item = TypeVar("Item")
Others = TypeVarTuple("Others")

SETTLED_S = 2.0
"""A file that changed more recently than this may change again with the same time stamp."""

KEPT_BYTES = 512 * 1024**2
"""Total size of the files whose content one reader keeps; one larger file may be kept alone.
The parsed objects take about five times as much memory."""


class FileState(NamedTuple):
    """The state of a file in the file system; while it is the same, the content is the same.

    Attributes:
        num_bytes: Size of the file.
        changed_ns: When its content changed; tools that copy or unpack files can set it.
        entry_changed_ns: When its content or metadata changed; only the system sets it.
        inode: Distinguishes two files of equal size that were written at the same time.
    """

    num_bytes: int
    changed_ns: int
    entry_changed_ns: int
    inode: int

    @property
    def is_settled(self) -> bool:
        """Whether a further change would give other times; future times count as unreliable."""
        now_ns = time.time_ns()
        times = (self.changed_ns, self.entry_changed_ns)
        return all(abs(now_ns - changed) > SETTLED_S * 1e9 for changed in times)


def state_of(path: Path) -> FileState:
    """Return the current state of a file, or of the file that holds a picture.

    Raises:
        OSError: The file does not exist.
    """
    status = file_of(path).stat()
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal; unchanged files are read once.

    The hash of a picture inside a file is that of the file and of its place there.

    Raises:
        OSError: The file cannot be read.
    """
    file, member = split_member(path)
    state = state_of(file)
    digest = _remembered_hash(file, state) if state.is_settled else _hash(file)
    return hashlib.sha256(f"{digest}/{member}".encode()).hexdigest() if member else digest


@lru_cache(maxsize=32_768)  # about 10 MB
def _remembered_hash(path: Path, state: FileState) -> str:  # noqa: ARG001  part of the cache key
    return _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class _Kept(NamedTuple):
    state: FileState
    was_settled: bool
    item: Any
    num_bytes: int


def kept_while_unchanged(
    read: Callable[[Path, *Others], Item],
    size_of: Callable[[Item], int] | None = None,
) -> Callable[[Path, *Others], Item]:
    """Make a function that reads files remember its results while the files are unchanged.

    Loading each image of an annotation file asks for the whole file, so results are kept. Files
    that were used least recently are dropped first. If several threads ask for the same file at the
    same time, one of them reads it and the others wait.

    Args:
        read: Reads a file. Its result is shared and must not be modified; its further arguments
            must be hashable.
        size_of: Returns the size of a result in bytes, which counts in place of that of its file.

    Returns:
        The caching function. It raises ``DataError`` if the file does not exist, and otherwise
        whatever ``read`` raises.
    """
    kept: dict[tuple[Any, ...], _Kept] = {}
    lock = threading.Lock()

    @wraps(read)
    def read_once(path: Path, *others: *Others) -> Item:
        key = (path, *others)
        with lock:
            found = kept.pop(key, None)
            try:
                state = state_of(path)
            except OSError as error:
                raise DataError(
                    f"{path} must be readable. Got: {error.strerror}. Check it"
                ) from error
            if found is None or found.state != state or not found.was_settled:
                made = read(path, *others)
                num_bytes = state.num_bytes if size_of is None else size_of(made)
                found = _Kept(state, state.is_settled, made, num_bytes)
                _forget_oldest(kept, KEPT_BYTES - num_bytes)
            kept[key] = found
            item: Item = found.item
            return item

    return read_once


def _forget_oldest(kept: dict[tuple[Any, ...], _Kept], room_bytes: int) -> None:
    """Drop the least recently used results until the remaining files fit."""
    taken = sum(each.num_bytes for each in kept.values())
    for key in list(kept):
        if taken <= room_bytes:
            return
        taken -= kept.pop(key).num_bytes
