"""Opens regular files only, and writes files and folders atomically: aside first, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pixelwise.errors import ConfigError, DataError, OutputError, PixelwiseError
from pixelwise.leftovers import claimed, release, remove_abandoned, temporary_prefix
from pixelwise.text import portable, shortened

LOCATION_VARIABLE = "PIXELWISE_CACHE"
"""Environment variable with the folder of the cache, or ``off`` to disable it."""

OFF = f"{LOCATION_VARIABLE}=off"
"""The setting that disables the cache."""

MAX_NAME_BYTES = 255
"""Longest name of a file on the usual file systems."""

MAX_PART_BYTES = 200
"""Longest part of a file name that is made from another name, before what is put around it."""

MAX_SHOWN = 120
"""Number of characters of a wrong path that a message repeats."""

MAX_TEXT_BYTES = 256 * 1024**2
"""Largest list or table of text that is read whole; a line for each of a million images fits."""

_UMASK_LOCK = threading.Lock()


def as_path(value: object, argument: str) -> Path:
    """Return an argument that must be a path.

    Args:
        value: The value that was given.
        argument: Its name, for the message.

    Raises:
        ConfigError: It is something else, or no file system could hold a file of this name.
    """
    if isinstance(value, str | Path):
        return _possible(Path(value), argument)
    inside = getattr(value, "path", None)  # of an open data set, for one
    advice = f". Give its path, {inside}" if isinstance(inside, Path) else ""
    raise ConfigError(f"`{argument}` must be a path. Got {type(value).__name__}{advice}")


def _possible(path: Path, argument: str) -> Path:
    """Return a path that the system can look up, whether or not it exists."""
    try:
        os.lstat(path)
    except ValueError as error:  # a zero byte, or a surrogate that stands for no byte
        raise ConfigError(
            f"`{argument}` must be a path. Got {shortened(ascii(str(path)), MAX_SHOWN)}. "
            "Give the name of a file or folder"
        ) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(
                f"`{argument}` must be a path that the file system can hold. Got "
                f"{shortened(str(path), MAX_SHOWN)}. Give a shorter one"
            ) from error
    return path


@contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """Yield a path of a file to read for libraries that take only UTF-8.

    Raises:
        OSError: The file cannot be opened.
    """
    name = str(path)
    if portable(name) == name:
        yield name
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


@contextmanager
def readable(path: Path, refusal: type[PixelwiseError]) -> Iterator[None]:
    """Turn what the system says about a file or folder inside the block into an error of pixelwise.

    Args:
        path: What is read, which may be a folder.
        refusal: The type of the error.

    Raises:
        PixelwiseError: The system does not let this process read something.
    """
    try:
        yield
    except PixelwiseError:  # some of these are errors of the system too
        raise
    except OSError as error:
        raise refusal(
            f"{path} must be readable. Got: {error.strerror} ({error.filename}). "
            "Change its permissions"
        ) from error


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading that somebody else may have made.

    A pipe or a device has the name of a file too, but reading it may never end.

    Raises:
        OSError: The file cannot be opened, or is none.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
        return os.fdopen(handle, "rb")
    except OSError:
        os.close(handle)
        raise


def text_lines(path: Path) -> list[str]:
    """Return the lines of a list or a table; bytes that are not UTF-8 are replaced.

    Raises:
        DataError: It cannot be read, has more than ``MAX_TEXT_BYTES``, or is no regular file.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MAX_TEXT_BYTES:,} bytes")
    except OSError as error:
        raise DataError(
            f"{path} must be a readable text file. Got: {error.strerror}. Correct or remove it"
        ) from error
    return content.decode("utf-8-sig", errors="replace").splitlines()


def require_outside(out: Path, folder: Path, what: str) -> None:
    """Check that results are not written among what they are made from.

    Args:
        out: A file or folder to write, which need not exist.
        folder: The folder of the input.
        what: What the folder is, such as ``"the data set"``, for the message.

    Raises:
        ConfigError: ``out`` is the folder or inside it.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"`out` must be outside {what}, so that its files are not mixed with the results. "
            f"{out} is in {folder}. Choose another `out`"
        )


def require_file(target: Path) -> None:
    """Check that a file to write is not a folder, before the work whose result it holds.

    Raises:
        OutputError: It is one.
    """
    if target.is_dir():
        raise OutputError(f"{target} must be a file to write. It is a folder. Give a file in it")


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents, and return it.

    Raises:
        OutputError: The folder cannot be created, or a file of that name exists.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _output_error(folder, error) from error
    return folder


@contextmanager
def written_aside(target: Path, *, is_scratch: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that is renamed to ``target`` on success.

    Other processes see the old file or the new one, never a part of it. After an error or a kill,
    the old file is unchanged. What killed processes left in the folder is removed.

    Args:
        target: The file to write; its folder is created if it is missing.
        is_scratch: The file can be made again. It is not flushed to disk, which takes milliseconds,
            so a power failure may truncate it, and only its owner may read it.

    Yields:
        The path to write to; it has the suffix of ``target``, which some writers depend on.

    Raises:
        OutputError: The disk is full, or the folder is not writable.
    """
    make_folder(target.parent)
    try:
        remove_abandoned(target.parent)
        aside, claim = claimed(lambda: _new_file_beside(target))
    except OSError as error:
        raise _output_error(target, error) from error
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
        release(claim)


def _new_file_beside(target: Path) -> Path:
    prefix = temporary_prefix(within(target.stem, MAX_PART_BYTES))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix)
    os.close(handle)
    return Path(name)


def within(name: str, most_bytes: int) -> str:
    """Return a file name of at most ``most_bytes`` bytes: of a longer one, its beginning and hash.

    Args:
        name: The name, without a folder.
        most_bytes: At least 16.
    """
    whole = os.fsencode(name)
    if len(whole) <= most_bytes:
        return name
    ending = f"~{hashlib.sha256(whole).hexdigest()[:8]}"
    start = name[:most_bytes]
    while len(os.fsencode(start)) > most_bytes - len(ending):
        start = start[:-1]
    return f"{start}{ending}"


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; what is not Unicode is escaped."""
    with written_aside(target) as aside:
        aside.write_text(portable(text), encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write plain data as a JSON file atomically; what is not Unicode is escaped."""
    write_text(target, json.dumps(_portable(content), indent=2) + "\n")


def _portable(content: Any) -> Any:
    if isinstance(content, dict):
        return {_portable(key): _portable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_portable(entry) for entry in content]
    return portable(content) if isinstance(content, str) else content


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn errors of the system while writing ``target`` into an ``OutputError``.

    Raises:
        OutputError: The disk is full, or ``target`` is not writable.
    """
    try:
        yield
    except OSError as error:
        raise _output_error(target, error) from error


@contextmanager
def folder_written_aside(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target`` that is renamed to ``target`` on success.

    What killed processes left beside it is removed.

    Raises:
        OutputError: ``target`` is not empty, the disk is full, or its folder is not writable.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(
            f"{target} must be new or empty. It contains files. Choose another folder"
        )
    parent = target.absolute().parent
    make_folder(parent)
    prefix = temporary_prefix(within(target.name, MAX_PART_BYTES))
    try:
        remove_abandoned(parent)
        aside, claim = claimed(lambda: Path(tempfile.mkdtemp(dir=parent, prefix=prefix)))
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
        release(claim)


def file_names(names: Sequence[str]) -> list[str]:
    """Turn names into distinct parts of file names that are valid on every file system."""
    parts: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "unnamed"
        plain = part = within(plain, MAX_PART_BYTES)
        number = 1
        while part.lower() in map(str.lower, parts):
            number += 1
            part = f"{plain}-{number}"
        parts.append(part)
    return parts


def free_folder(base: Path) -> Path:
    """Return ``base``, or the first of ``base-2``, ``base-3`` and so on that does not exist."""
    folder, number = base, 1
    while os.path.lexists(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _umask() -> int:
    """Return the umask of the process; on some systems it can only be read by setting it."""
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
        errno.ENOSPC: "The disk is full: free some space, or write to another disk with `out`",
        errno.EDQUOT: "The disk quota is used up: free some space, or write elsewhere with `out`",
        errno.EACCES: "The folder must be writable: change permissions, or choose another `out`",
        errno.EPERM: "The folder must be writable: change permissions, or choose another `out`",
        errno.EROFS: "The disk is read-only: choose another folder with `out`",
        errno.EEXIST: "A file with that name exists: remove it, or choose another `out`",
        errno.ENOTDIR: "A file exists where a folder is needed: choose another `out`",
    }.get(error.errno or 0, "Choose another place with `out`")
    return OutputError(f"cannot write {target}: {error.strerror or error}. {advice}")


def users_cache() -> Path | None:
    """Return the folder in ``PIXELWISE_CACHE``, or the cache folder of the operating system.

    Returns:
        The folder, which may not exist; ``None`` if the cache is off or there is no home folder.
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
