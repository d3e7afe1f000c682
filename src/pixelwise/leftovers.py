"""Temporary files and folders: whose they are, and removal of those that killed processes left."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..*\.part-[a-z0-9_]{8}(\.[^.]+)?", re.DOTALL)
"""The names that :mod:`tempfile` makes after :func:`temporary_prefix`."""

_CLEANED: set[Path] = set()
"""Folders from which this process has removed what others left; once is enough for each."""


def temporary_prefix(name: str) -> str:
    """Return how the temporary name of a file or folder begins, for :mod:`tempfile`."""
    return f".{name}.part-"


def claimed(make: Callable[[], Path]) -> tuple[Path, int | None]:
    """Make a temporary file or folder that no other process takes for abandoned.

    Args:
        make: Makes a new one at each call.

    Returns:
        The path, and its claim, which :func:`release` takes.
    """
    while True:
        path = make()
        claim = _claim(path, waits=True)
        if claim is None or path.exists():
            return path, claim
        release(claim)  # another process removed it before it was claimed


def release(claim: int | None) -> None:
    """Give up the claim to a temporary file or folder."""
    if claim is not None:
        os.close(claim)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders in a folder that no living process claims.

    Raises:
        OSError: The folder cannot be listed.
    """
    folder = folder.absolute()
    if folder in _CLEANED:
        return
    _CLEANED.add(folder)
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for path in (folder / name for name in names):
        claim = _claim(path, waits=False)
        if claim is not None:
            _remove(path)
            release(claim)


def remove_leftovers(folder: Path) -> None:
    """Remove all temporary files and folders in a folder or below it, as far as possible.

    Call it only where no other process writes.
    """
    try:
        paths = list(folder.iterdir())
    except PermissionError:
        return
    for path in paths:
        if _TEMPORARY.fullmatch(path.name):
            _remove(path)
        elif path.is_dir() and not path.is_symlink():
            remove_leftovers(path)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _claim(path: Path, *, waits: bool) -> int | None:
    """Lock a file or folder until its handle is closed or the process ends, even by a kill.

    Args:
        path: What to lock.
        waits: Wait while another process holds it.

    Returns:
        The handle; ``None`` if another process holds it, it is gone, or the system cannot lock it.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle
