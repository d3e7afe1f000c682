"""Gives the folder of a run to one process at a time."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import filelock
from pydantic_core import from_json

from pixelwise.errors import ConfigError, OutputError, PixelwiseWarning
from pixelwise.files import open_regular, write_text
from pixelwise.leftovers import remove_leftovers

LOCK_NAME = ".lock"
"""Whoever has it locked owns the folder. A process that is killed leaves it there."""

OWNER_NAME = ".owner.json"
"""Says who that is, for messages."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Own the folder of a run inside the context, and remove what killed processes left in it.

    The operating system holds the lock, so it ends with the process, also after ``kill -9``.

    Args:
        folder: The folder, which exists.

    Raises:
        ConfigError: Another process owns it.
    """
    was_locked = is_locked(folder)
    lock = filelock.FileLock(folder / LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"the run in {folder} must be written by one process. {_owner(folder)} is writing it. "
            "Wait until that has ended, or choose another `out`"
        ) from None
    except (OSError, NotImplementedError) as error:
        # Some network drives know no locks; a training there is better than none.
        warnings.warn(
            f"{folder} cannot be locked ({error}). Start no second training in it",
            PixelwiseWarning,
            stacklevel=3,
        )
        yield
        return
    owner = {"pid": os.getpid(), "host": platform.node(), "since": f"{datetime.now():%F %T}"}
    try:
        remove_leftovers(folder)
        with suppress(OutputError):  # it is only for messages
            write_text(folder / OWNER_NAME, json.dumps(owner) + "\n")
        yield
    except BaseException:
        if not was_locked:  # the folder is left as it was found
            remove_lock(folder)
        raise
    finally:
        (folder / OWNER_NAME).unlink(missing_ok=True)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether the folder was ever locked, which marks it as that of a run."""
    return (folder / LOCK_NAME).is_file()


def remove_lock(folder: Path) -> None:
    """Remove the lock of a folder in which its owner writes nothing any more."""
    for name in (OWNER_NAME, LOCK_NAME):
        (folder / name).unlink(missing_ok=True)


def _owner(folder: Path) -> str:
    """Return the owner of a locked folder in words."""
    try:
        with open_regular(folder / OWNER_NAME) as file:
            owner = from_json(file.read())
        return f"Process {owner['pid']} on {owner['host']}, since {owner['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another process"
