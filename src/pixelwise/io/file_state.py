"""What was read of a file is kept for as long as the file stays as it is."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from pixelwise.errors import DataError

Item = TypeVar("Item")
Others = TypeVarTuple("Others")

SETTLED_S = 2.0
"""A file that changed more recently may change again within the same tick of its clock."""

KEPT_BYTES = 512 * 1024**2
"""The files of which one reader keeps what it read take no more than this together, or are one.
Their objects take some five times as much memory."""


class FileState(NamedTuple):
    """A file as the file system describes it: while this stays, so does its content.

    Attributes:
        num_bytes: Its size.
        changed_ns: When its content changed; tools that copy and unpack set it as they like.
        entry_changed_ns: When anything of it changed; nothing but the system sets it.
        inode: Tells two files of one size apart that were written in the same tick.
    """

    num_bytes: int
    changed_ns: int
    entry_changed_ns: int
    inode: int

    @property
    def is_settled(self) -> bool:
        """A further change would leave other times. A time to come is of another clock."""
        now_ns = time.time_ns()
        times = (self.changed_ns, self.entry_changed_ns)
        return all(abs(now_ns - changed) > SETTLED_S * 1e9 for changed in times)


def state_of(path: Path) -> FileState:
    """How a file is now.

    Raises:
        OSError: It is not there.
    """
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def content_hash(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimals; the file is read once while it stays.

    Raises:
        OSError: It cannot be read.
    """
    state = state_of(path)
    return _remembered_hash(path, state) if state.is_settled else _hash(path)


@lru_cache(maxsize=32_768)  # some 10 MB
def _remembered_hash(path: Path, state: FileState) -> str:  # noqa: ARG001  a key of the cache
    return _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class _Kept(NamedTuple):
    state: FileState
    was_settled: bool
    item: Any


def kept_while_unchanged(
    read: Callable[[Path, *Others], Item],
) -> Callable[[Path, *Others], Item]:
    """Make a reader of files keep what it read, for every image of an annotation file asks for it.

    Of the files, those that were asked for least recently are forgotten first. Threads that ask at
    once wait for one of them to read.

    Args:
        read: Reads a file; what it returns is shared and must not be changed. Its further
            arguments must be hashable.

    Returns:
        The reader; it raises ``DataError`` where the file is not there, and else what ``read``
        raises.
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
                found = _Kept(state, state.is_settled, read(path, *others))
                _forget_oldest(kept, KEPT_BYTES - state.num_bytes)
            kept[key] = found
            item: Item = found.item
            return item

    return read_once


def _forget_oldest(kept: dict[tuple[Any, ...], _Kept], room_bytes: int) -> None:
    """Forget what was asked for least recently, until the files of the rest fit."""
    taken = sum(each.state.num_bytes for each in kept.values())
    for key in list(kept):
        if taken <= room_bytes:
            return
        taken -= kept.pop(key).state.num_bytes
