"""Decoded samples kept on disk, so that a data set is decoded once and then opens at once."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pixelwise.classes import ClassMap
from pixelwise.data.cache_keys import Stamp, content_key, method_of, stamp
from pixelwise.data.formats import Format
from pixelwise.data.packing import pack, unpack
from pixelwise.data.sample import Record, Sample
from pixelwise.files import written_aside

LOCATION_VARIABLE = "PIXELWISE_CACHE"
"""The environment variable that names another folder for the cache, or turns it ``off``."""

OFF = f"{LOCATION_VARIABLE}=off"
"""What a user sets so that nothing is kept."""

MAX_BYTES = 20 * 1024**3
"""The most that the cache takes on disk; less where that is over a quarter of the free space."""

FREE_SHARE = 0.25
"""Share of the free space that the cache may take."""

SLOW_S, SLOW_S_PER_BYTE = 1e-3, 3e-9
"""What decodes faster than the sum of the two, for a sample and for its bytes, is not kept."""

_SAMPLE, _LINK = ".sample", ".link"
_KEY = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(rf"\.?{_KEY.pattern}\S*\.(sample|link)")
_NOT_KEPT = "not kept"  # what a link says of a record that is decoded about as fast as it is read
_BLOCK_BYTES = 4096  # what a file takes at least
_LINK_WORTH_BYTES = 1024**2  # files of less are hashed in under a millisecond

_log = logging.getLogger("pixelwise")


class DiskCache:
    """A folder of decoded samples, found again by the content of the files they were made from.

    A record's files are looked at, not read: a *link* says which sample was made of files of these
    paths, sizes and times. Where there is none, as after a copy of the data set, their content is
    hashed and the sample found by that. Whatever else decides the pixels is part of both keys: the
    format and its options, the classes, the window, and the code that decodes. Files that a format
    reads beside those of the record are not.

    Kept is what takes longer to decode than 1 ms and 3 ms per megabyte of pixels. Measured on one
    busy core, decoding and reading back, in ms per megabyte: objects in a file each (nuclei) 16
    and 1.1, PNG with an index mask (CamVid) 4.4 and 0.8; of an uncompressed TIFF or ``.npy`` the
    file itself is read as fast, so a copy would be of no use.

    The folder's size is bounded: what was used least recently goes first, which is the data set
    that was opened least recently. Several processes that write at once may each exceed the bound
    by a twentieth. Every file is written aside and renamed, and checked when it is read, so that a
    damaged one is made again. Where nothing can be written, samples are decoded each time.

    Args:
        folder: Where to keep them; it is made when something is kept.
        max_bytes: Bound of its size; ``None`` takes 20 GB or a quarter of the free disk.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._opened_ns = time.time_ns()
        self._lock = threading.Lock()
        self._room: int | None = None  # bytes until the folder is looked through again
        self._is_full = False

    def load(self, record: Record, found: Format, class_map: ClassMap) -> Sample:
        """The sample of a record: read back, or decoded and kept.

        Args:
            record: Whose files it is made of.
            found: The format that decodes it.
            class_map: The classes.

        Returns:
            A sample with arrays of its own, writable where they were read back.

        Raises:
            DataError: As the format raises it; what cannot be decoded is not kept.
        """
        method = method_of(found, class_map)
        try:
            before = stamp(record, method)
            known = self._read_link(before)
            if known == _NOT_KEPT:
                return found.load(record, class_map)
            sample = self._read_sample(known, record.name) if known else None
            if sample is not None:
                return sample
            key = content_key(record, method)
        except OSError:
            return found.load(record, class_map)  # which says what is wrong with the file
        sample = self._read_sample(key, record.name)
        if sample is not None:
            self._write_link(before, key)
            return sample
        started = time.perf_counter()
        sample = found.load(record, class_map)
        took_s = time.perf_counter() - started
        if _is_unchanged(record, method, before, key):
            self._keep(before, key, sample, took_s)
        return sample

    def _keep(self, before: Stamp, key: str, sample: Sample, took_s: float) -> None:
        """Write a sample that was slow to decode, and the link to it."""
        num_bytes = sample.image.nbytes + sample.mask.nbytes
        if took_s < SLOW_S + num_bytes * SLOW_S_PER_BYTE:
            if before.num_bytes > _LINK_WORTH_BYTES:
                self._write_link(before, _NOT_KEPT)
            return
        packed = pack(sample)
        if packed is not None and self._write(key + _SAMPLE, packed):
            self._write_link(before, key)

    def _read_sample(self, key: str, name: str) -> Sample | None:
        path = self.folder / (key + _SAMPLE)
        try:
            packed = path.read_bytes()
            with suppress(OSError):  # a cache that may only be read is still of use
                os.utime(path)  # used now, so others go first
        except OSError:
            return None
        return unpack(packed, name)

    def _read_link(self, files: Stamp) -> str | None:
        try:
            text = (self.folder / (files.key + _LINK)).read_text("ascii")
        except (OSError, ValueError):
            return None
        return text if text == _NOT_KEPT or _KEY.fullmatch(text) else None

    def _write_link(self, files: Stamp, key: str) -> None:
        if files.is_settled:
            self._write(files.key + _LINK, key.encode())

    def _write(self, name: str, content: bytes) -> bool:
        """Write a file where there is room; whoever cannot write says so once and goes on."""
        try:
            if not self._take_room(len(content)):
                return False
            with written_aside(self.folder / name, is_scratch=True) as aside:
                aside.write_bytes(content)
        except OSError as error:
            reason = error.__cause__ or error
            _say_once(self.folder, getattr(reason, "strerror", None) or str(reason))
            self._is_full = True
            return False
        return True

    def _take_room(self, num_bytes: int) -> bool:
        """Account for a file to be written; the folder is looked through now and then."""
        num_bytes = max(num_bytes, _BLOCK_BYTES)
        with self._lock:
            if self._is_full:
                return False
            if self._room is None or self._room < num_bytes:
                self._room = self._make_room(num_bytes)
            self._is_full = self._room < num_bytes
            self._room -= num_bytes
            return not self._is_full

    def _make_room(self, needed: int) -> int:
        """Remove what was used least recently, but nothing of this session.

        Args:
            needed: Bytes of the next file.

        Returns:
            Bytes that may be written before it has to be looked again, as others write too.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # images may be confidential
        files = sorted(_files_of(self.folder), key=lambda file: file.used_ns)
        used = sum(file.num_bytes for file in files)
        bound = self._bound(used)
        slice_bytes = max(bound // 20, needed)
        for file in files:
            if used + slice_bytes <= bound or file.used_ns >= self._opened_ns:
                break
            with suppress(OSError):  # another process was faster, or still reads it
                file.path.unlink()
                used -= file.num_bytes
        return min(slice_bytes, bound - used)

    def _bound(self, used: int) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        free = shutil.disk_usage(self.folder).free
        return min(MAX_BYTES, int((free + used) * FREE_SHARE))


class _File(NamedTuple):
    path: Path
    num_bytes: int
    used_ns: int


def _files_of(folder: Path) -> Iterator[_File]:
    """The files of a cache; whatever else lies in the folder is not ours."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with suppress(OSError):  # removed meanwhile
                    status = entry.stat()
                    num_bytes = max(status.st_size, _BLOCK_BYTES)
                    yield _File(Path(entry.path), num_bytes, status.st_mtime_ns)


def _is_unchanged(record: Record, method: str, before: Stamp, key: str) -> bool:
    """The files are those that were hashed, so that a sample is not kept under a wrong key."""
    try:
        is_same = stamp(record, method).key == before.key
        return is_same and (before.is_settled or content_key(record, method) == key)
    except OSError:
        return False


@cache
def _say_once(folder: Path, reason: str) -> None:
    _log.warning(
        "decoded images cannot be kept in %s (%s), so they are decoded each time. Free some "
        "space, or set %s to another folder or to off",
        folder,
        reason,
        LOCATION_VARIABLE,
    )


def open_cache(data_folder: Path) -> DiskCache | None:
    """The user's cache, as the environment places it.

    Args:
        data_folder: The data set, into which nothing is written.

    Returns:
        The cache; ``None`` where it is off, where the user has no home, or where it would lie
        inside the data set.
    """
    folder = _location()
    if folder is None or folder.resolve().is_relative_to(data_folder.resolve()):
        return None
    return DiskCache(folder)


def _location() -> Path | None:
    """``PIXELWISE_CACHE``, else the place where the operating system keeps caches."""
    named = os.environ.get(LOCATION_VARIABLE, "").strip()
    if named.lower() == "off":
        return None
    try:
        if named:
            return Path(named).expanduser()
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData/Local") / "pixelwise/cache"
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/pixelwise"
        shared = os.environ.get("XDG_CACHE_HOME")
        return (Path(shared) if shared else Path.home() / ".cache") / "pixelwise"
    except RuntimeError:  # no home
        return None
