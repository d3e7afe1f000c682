"""The arrays of HDF5 files, and of MATLAB files of version 7.3, which are HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.errors import MissingExtraError
from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import index_in
from pixelwise.io.containers.named import NamedArrays, Shapes
from pixelwise.io.limits import require_decodable

MATLAB_CLASS = "MATLAB_class"
"""Attribute by which MATLAB names the type of a variable; cells are references to other arrays."""


class Hdf5(NamedArrays):
    """The data sets of an HDF5 file, in all groups; links to other files are not followed."""

    endings: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")

    def shapes(self, file: Path) -> Shapes:
        """Return shape and type of each data set."""
        with opened(file) as content:
            return {name: (data.shape, data.dtype) for name, data in data_sets(content)}

    def picture(self, file: Path, name: str, section: str) -> Array:
        """Read a data set, or one picture of it without the others."""
        with opened(file) as content:
            data = content[name]
            return read_part(file, data, index_in(section, "n", len(data)) if section else None)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "arrays", "reading HDF5") from error
    with h5py.File(file, "r") as content:
        yield content


def data_sets(content: Any) -> Iterator[tuple[str, Any]]:
    """Return the data sets of an open file that are stored in it, with their names."""
    found: list[tuple[str, Any]] = []

    def collect(name: str, item: Any) -> None:
        is_own = hasattr(item, "dtype") and not item.is_virtual and not item.external
        if is_own and item.shape is not None and not name.startswith("#"):
            found.append((name, item))

    content.visititems(collect)  # follows no links
    return iter(found)


def read_part(file: Path, data: Any, index: int | None) -> Array:
    """Read a data set, or one entry of its first axis.

    Raises:
        DataError: It is too large, or its chunks are.
    """
    shape = data.shape if index is None else data.shape[1:]
    require_decodable(file, shape, data.dtype.itemsize)
    if data.chunks:  # a chunk is decompressed as a whole
        require_decodable(file, data.chunks, data.dtype.itemsize)
    return np.asarray(data[() if index is None else index])
