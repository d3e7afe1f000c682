"""Stacks in ``.npy`` files, and the arrays of ``.npz`` files; nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import (
    Container,
    Layout,
    index_in,
    is_numeric,
    layout_of_array,
)
from pixelwise.io.containers.kept import kept_array
from pixelwise.io.containers.named import NamedArrays
from pixelwise.io.limits import require_decodable
from pixelwise.io.npy import npy_header


class NpyStack(Container):
    """A ``.npy`` file of several pictures, (N, H, W) or (N, H, W, C), of which one is read."""

    endings: ClassVar[tuple[str, ...]] = (".npy",)
    is_plain: ClassVar[bool] = True

    def layout(self, file: Path, array: str) -> Layout | None:
        """Return how the array holds pictures; an array of two axes is a plain picture."""
        del array
        with file.open("rb") as content:
            shape, _, dtype = npy_header(file, content)
        found = layout_of_array(shape) if is_numeric(dtype) else None
        return None if found is None or len(shape) == 2 else found

    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read one picture of the stack without reading the others."""
        del as_stored
        with file.open("rb") as content:
            header = npy_header(file, content)
            return _read_picture(file, content, header, member)


class Npz(NamedArrays):
    """The arrays of a ``.npz`` file."""

    endings: ClassVar[tuple[str, ...]] = (".npz",)

    def shapes(self, file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and type of each array, from their headers."""
        found = {}
        with zipfile.ZipFile(file) as content:
            for entry in content.namelist():
                if entry.endswith(".npy"):
                    with content.open(entry) as array:
                        shape, _, dtype = npy_header(file, array)
                    found[entry.removesuffix(".npy")] = (shape, dtype)
        return found

    def picture(self, file: Path, name: str, section: str) -> Array:
        """Read an array, or one picture of it."""
        entry = f"{name}.npy"
        with zipfile.ZipFile(file) as content:
            is_plain = content.getinfo(entry).compress_type == zipfile.ZIP_STORED
            with content.open(entry) as array:
                header = npy_header(file, array)
                if is_plain or not section:
                    return _read_picture(file, array, header, section)
                shape, _, dtype = header
                require_decodable(file, shape, dtype.itemsize)
                pictures = kept_array(file, name, lambda: _read_picture(file, array, header, ""))
        return np.asarray(pictures[index_in(section, "n", shape[0])])


def _read_picture(
    file: Path,
    content: IO[bytes],
    header: tuple[tuple[int, ...], bool, np.dtype[Any]],
    section: str,
) -> Array:
    """Read an array whose header was just read, or one picture of it."""
    shape, is_by_column, dtype = header
    if not is_numeric(dtype):
        raise DataError(f"{file} must contain numbers. Got {dtype}. Save it as uint8 or float32")
    if not section:
        require_decodable(file, shape, dtype.itemsize)
        return _from_bytes(content, shape, is_by_column, dtype)
    index = index_in(section, "n", shape[0])
    if is_by_column:  # its pictures are scattered over the whole file
        require_decodable(file, shape, dtype.itemsize)
        return np.ascontiguousarray(_from_bytes(content, shape, is_by_column, dtype)[index])
    require_decodable(file, shape[1:], dtype.itemsize)
    content.seek(content.tell() + index * math.prod(shape[1:]) * dtype.itemsize)
    return _from_bytes(content, shape[1:], is_by_column, dtype)


def _from_bytes(
    content: IO[bytes], shape: tuple[int, ...], is_by_column: bool, dtype: np.dtype[Any]
) -> Array:
    num_bytes = math.prod(shape) * dtype.itemsize
    values = content.read(num_bytes)
    if len(values) < num_bytes:
        raise ValueError(f"{num_bytes - len(values):,} bytes are missing")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if is_by_column else "C")
