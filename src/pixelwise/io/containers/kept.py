"""Keeps the arrays of compressed files, whose sections cannot be read one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pixelwise.io.arrays import Array
from pixelwise.io.file_state import FileState, state_of

KEPT_BYTES = 512 * 1024**2
"""Total size of the arrays that are kept; one larger array is kept alone."""

_kept: dict[tuple[Path, str, FileState], Array] = {}
_lock = threading.Lock()


def kept_array(file: Path, name: str, read: Callable[[], Array]) -> Array:
    """Return an array of a file, which is read once while the file is unchanged and used.

    To read a section from the middle of a compressed file, all before it has to be decompressed.
    If several threads ask at the same time, one of them reads and the others wait.

    Args:
        file: The file.
        name: The name of the array.
        read: Reads the array.

    Returns:
        The array, which is shared and not writable.
    """
    with _lock:
        key = (file, name, state_of(file))
        found = _kept.pop(key, None)
        if found is None:
            found = read()
            found.flags.writeable = False
            room = KEPT_BYTES - found.nbytes
            for oldest in list(_kept):
                if sum(array.nbytes for array in _kept.values()) <= room:
                    break
                del _kept[oldest]
        _kept[key] = found
        return found
