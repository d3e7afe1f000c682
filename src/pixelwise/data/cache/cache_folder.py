"""A cache folder with a size limit that several processes can share."""

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
from typing import Any, NamedTuple

from pixelwise.files import LOCATION_VARIABLE, written_aside

MAX_BYTES = 20 * 1024**3
"""Size limit of the cache on disk; it is lower if this exceeds a quarter of the free space."""

FREE_SHARE = 0.25
"""Largest share of the free space that the cache uses."""

_OURS = re.compile(r"\.?[0-9a-f]{64}\S*\.(sample|link)")
_BLOCK_BYTES = 4096  # smallest size of a file on disk

_log = logging.getLogger("pixelwise")


class CacheFolder:
    """Files by name, of which the least recently used are removed when the folder is full.

    Every file is written to a temporary path and renamed, so processes can share the folder; each
    process that writes may exceed the limit by a twentieth. An object does not remove files that it
    has used itself: when those fill the folder, further files are kept only as far as they fit. If
    the folder is not writable, a warning is logged once and the work continues.

    Args:
        path: The folder; it is created when a file is kept, readable only by its owner.
        max_bytes: Size limit; ``None`` uses 20 GB or a quarter of the free space.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._opened_ns = time.time_ns()
        self._begin_unscanned()

    def _begin_unscanned(self) -> None:
        self._lock = threading.Lock()
        self._free_bytes: int | None = None  # bytes to write until the folder is scanned again
        self._is_used_up = False  # nothing more can be removed
        self._is_writable = True

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock and what was reserved: another process scans the folder itself."""
        own = {"_lock", "_free_bytes", "_is_used_up", "_is_writable"}
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin_unscanned()

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; ``None`` if it is not in the cache."""
        path = self.path / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # a read-only cache is useful too
            os.utime(path)  # marks the file as recently used
        return content

    def write(self, name: str, content: bytes) -> bool:
        """Keep a file if there is room, and return whether it was kept.

        Args:
            name: 64 hexadecimal digits with the suffix ``.sample`` or ``.link``.
            content: The bytes to keep.
        """
        try:
            if not self._reserve(len(content)):
                return False
            with written_aside(self.path / name, is_scratch=True) as aside:
                aside.write_bytes(content)
        except OSError as error:
            reason = error.__cause__ or error
            _say_once(self.path, getattr(reason, "strerror", None) or str(reason))
            self._is_writable = False
            return False
        return True

    def _reserve(self, num_bytes: int) -> bool:
        """Account for a file to be written; the folder is scanned from time to time."""
        num_bytes = max(num_bytes, _BLOCK_BYTES)
        with self._lock:
            if not self._is_writable:
                return False
            if self._free_bytes is None or (self._free_bytes < num_bytes and not self._is_used_up):
                self._free_bytes = self._free_space(num_bytes)
            if self._free_bytes < num_bytes:
                return False
            self._free_bytes -= num_bytes
            return True

    def _free_space(self, needed: int) -> int:
        """Remove the least recently used files, except those used since opening.

        Args:
            needed: Size of the next file in bytes.

        Returns:
            Bytes that may be written before the next scan, as other processes write too.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # images may be confidential
        files = sorted(_files_of(self.path), key=lambda file: file.used_ns)
        used = sum(file.num_bytes for file in files)
        bound = self._bound(used)
        slice_bytes = max(bound // 20, needed if needed <= bound else 0)
        for file in files:
            if used + slice_bytes <= bound or file.used_ns >= self._opened_ns:
                break
            with suppress(OSError):  # another process removed it, or still reads it
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
    """Yield the files of a cache, including abandoned ones; other files are not touched."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with suppress(OSError):  # removed in the meantime
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
