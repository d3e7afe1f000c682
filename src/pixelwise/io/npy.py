"""Reads ``.npy`` files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, Any

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.io.limits import require_decodable


def npy_header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a ``.npy`` file: shape, whether it is in Fortran order, and dtype.

    The file is positioned at the first pixel afterwards.

    Raises:
        DataError: The version of the format is not supported.
        ValueError: The file is not in the ``.npy`` format.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{path} must be of .npy version 1 or 2. Got {version}. Save it again")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_by_column, dtype = read_header(file)
    return shape, is_by_column, dtype


def read_npy(path: Path) -> Array:
    """Read a whole ``.npy`` file; nothing is unpickled.

    Raises:
        DataError: The array is too large.
        ValueError: The file is damaged, or contains objects.
    """
    with path.open("rb") as file:
        shape, _, dtype = npy_header(path, file)
        require_decodable(path, shape, dtype.itemsize)
        # numpy allocates the size in the header before it checks the size of the file.
        num_missing = math.prod(shape) * dtype.itemsize - (path.stat().st_size - file.tell())
        if num_missing > 0:
            raise ValueError(f"{num_missing:,} bytes are missing")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
