"""Writing files so that none is ever half-written: beside the target first, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pixelwise.errors import OutputError

LOCATION_VARIABLE = "PIXELWISE_CACHE"
"""The environment variable that names another folder for the cache, or turns it ``off``."""

OFF = f"{LOCATION_VARIABLE}=off"
"""What a user sets so that nothing is kept."""

_UMASK_LOCK = threading.Lock()


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents, and return it.

    Raises:
        OutputError: The folder cannot be made, or a file has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _output_error(folder, error) from error
    return folder


@contextmanager
def written_aside(target: Path, *, is_scratch: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``target``, which becomes ``target`` when the block succeeds.

    A reader sees the old file or the new one, never a part; an error or a kill leaves the old one.

    Args:
        target: The file to write; its folder is made where it is missing.
        is_scratch: It can be made again: it is not forced onto the disk, which takes milliseconds,
            so that a power cut may leave a part of it, and only its owner may read it.

    Yields:
        The path to write to; it has the suffix of ``target``, which some writers go by.

    Raises:
        OutputError: The disk is full, or the folder cannot be written to.
    """
    make_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix
        )
    except OSError as error:
        raise _output_error(target, error) from error
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        if not is_scratch:
            with aside.open("rb+") as written:
                os.fsync(written.fileno())
            aside.chmod(0o666 & ~_umask())
        aside.replace(target)
    except OSError as error:
        raise _output_error(target, error) from error
    finally:
        aside.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with written_aside(target) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what goes wrong in writing to ``target`` into one line.

    Raises:
        OutputError: The disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise _output_error(target, error) from error


@contextmanager
def folder_written_aside(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``, which becomes ``target`` when the block succeeds.

    Raises:
        OutputError: ``target`` holds something, the disk is full, or the place is not writable.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(
            f"{target} must be new or empty. It holds something. Choose another folder"
        )
    parent = target.absolute().parent
    make_folder(parent)
    try:
        aside = Path(tempfile.mkdtemp(dir=parent, prefix=f".{target.name}-"))
    except OSError as error:
        raise _output_error(target, error) from error
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        if target.exists():
            target.rmdir()
        aside.rename(target)
    except OSError as error:
        raise _output_error(target, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def file_names(names: Sequence[str]) -> list[str]:
    """Any names as parts of file names, for every file system; no two of them are alike."""
    parts: list[str] = []
    for name in names:
        plain = part = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "unnamed"
        number = 1
        while part.lower() in map(str.lower, parts):
            number += 1
            part = f"{plain}-{number}"
        parts.append(part)
    return parts


def _umask() -> int:
    """The process's umask; where the system does not say, it can only be read by setting it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.findall(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE)[0], 8)
    except (OSError, ValueError, IndexError):
        with _UMASK_LOCK:
            mask = os.umask(0o022)
            os.umask(mask)
        return mask


def _output_error(target: Path, error: OSError) -> OutputError:
    if isinstance(error, OutputError):
        return error
    advice = {
        errno.ENOSPC: "The disk is full: free some space, or write to another disk with --out",
        errno.EDQUOT: "The disk quota is used up: free some space, or write elsewhere with --out",
        errno.EACCES: "The folder must be writable: change its rights, or choose another --out",
        errno.EPERM: "The folder must be writable: change its rights, or choose another --out",
        errno.EROFS: "The disk is read-only: choose another folder with --out",
        errno.EEXIST: "A file has that name: remove it, or choose another --out",
        errno.ENOTDIR: "A file stands where a folder must be: choose another --out",
    }.get(error.errno or 0, "Choose another place with --out")
    return OutputError(f"cannot write {target}: {error.strerror or error}. {advice}")


def users_cache() -> Path | None:
    """``PIXELWISE_CACHE``, else the place where the operating system keeps caches.

    Returns:
        The folder, which need not exist; ``None`` where it is off or the user has no home.
    """
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
