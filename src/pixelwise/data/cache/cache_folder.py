"""A folder of files that can be made again: bounded in size, and safe to share."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pixelwise.files import LOCATION_VARIABLE, written_aside

MAX_BYTES = 20 * 1024**3
"""The most that the cache takes on disk; less where that is over a quarter of the free space."""

FREE_SHARE = 0.25
"""Share of the free space that the cache may take."""

_OURS = re.compile(r"\.?[0-9a-f]{64}\S*\.(sample|link)")
_BLOCK_BYTES = 4096  # what a file takes at least

_log = logging.getLogger("pixelwise")


class CacheFolder:
    """Files by name, of which those that were used least recently go first when it is full.

    Every file is written aside and renamed, so that processes may share the folder; those that
    write at once may each exceed the bound by a twentieth. What this object has used is not
    removed by it: once that alone fills the folder, only what fits beside it is kept. Where nothing
    can be written, that is said once, and the work continues.

    Args:
        path: The folder; it is made when something is kept, and only its owner may look inside.
        max_bytes: Bound of its size; ``None`` takes 20 GB or a quarter of the free disk.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._opened_ns = time.time_ns()
        self._lock = threading.Lock()
        self._room: int | None = None  # bytes until the folder is looked through again
        self._is_used_up = False  # nothing more can be removed
        self._is_writable = True

    def read(self, name: str) -> bytes | None:
        """The content of a file; ``None`` where it is not kept."""
        path = self.path / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # a cache that may only be read is of use too
            os.utime(path)  # used now, so others go first
        return content

    def write(self, name: str, content: bytes) -> bool:
        """Keep a file where there is room, and say whether it is kept.

        Args:
            name: 64 hexadecimals with the suffix ``.sample`` or ``.link``.
            content: What it holds.
        """
        try:
            if not self._take_room(len(content)):
                return False
            with written_aside(self.path / name, is_scratch=True) as aside:
                aside.write_bytes(content)
        except OSError as error:
            reason = error.__cause__ or error
            _say_once(self.path, getattr(reason, "strerror", None) or str(reason))
            self._is_writable = False
            return False
        return True

    def _take_room(self, num_bytes: int) -> bool:
        """Account for a file to be written; the folder is looked through now and then."""
        num_bytes = max(num_bytes, _BLOCK_BYTES)
        with self._lock:
            if not self._is_writable:
                return False
            if self._room is None or (self._room < num_bytes and not self._is_used_up):
                self._room = self._make_room(num_bytes)
            if self._room < num_bytes:
                return False
            self._room -= num_bytes
            return True

    def _make_room(self, needed: int) -> int:
        """Remove what was used least recently, but nothing that was used since the opening.

        Args:
            needed: Bytes of the next file.

        Returns:
            Bytes that may be written before it has to be looked again, as others write too.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # images may be confidential
        files = sorted(_files_of(self.path), key=lambda file: file.used_ns)
        used = sum(file.num_bytes for file in files)
        bound = self._bound(used)
        slice_bytes = max(bound // 20, needed if needed <= bound else 0)
        for file in files:
            if used + slice_bytes <= bound or file.used_ns >= self._opened_ns:
                break
            with suppress(OSError):  # another process was faster, or still reads it
                file.path.unlink()
                used -= file.num_bytes
        self._is_used_up = used + slice_bytes > bound
        return min(slice_bytes, bound - used)

    def _bound(self, used: int) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        free = shutil.disk_usage(self.path).free
        return min(MAX_BYTES, int((free + used) * FREE_SHARE))


class _File(NamedTuple):
    path: Path
    num_bytes: int
    used_ns: int


def _files_of(folder: Path) -> Iterator[_File]:
    """The files of a cache, abandoned ones too; whatever else lies in the folder is not ours."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with suppress(OSError):  # removed meanwhile
                    status = entry.stat()
                    num_bytes = max(status.st_size, _BLOCK_BYTES)
                    yield _File(Path(entry.path), num_bytes, status.st_mtime_ns)


@cache
def _say_once(folder: Path, reason: str) -> None:
    _log.warning(
        "decoded images cannot be kept in %s (%s), so they are decoded each time. Free some "
        "space, or set %s to another folder or to off",
        folder,
        reason,
        LOCATION_VARIABLE,
    )
