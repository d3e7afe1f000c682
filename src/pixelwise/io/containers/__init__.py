"""Files that hold several pictures: volumes, stacks, and arrays with names.

The path of a picture inside is described in :mod:`pixelwise.io.members`. Readers are found by the
ending of the file.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import Arrays, Container, Layout, as_pair
from pixelwise.io.containers.dicom import Dicom
from pixelwise.io.containers.hdf5 import Hdf5
from pixelwise.io.containers.matlab import Matlab
from pixelwise.io.containers.nifti import Nifti
from pixelwise.io.containers.numpy_files import NpyStack, Npz
from pixelwise.io.containers.tiff_pages import TiffPages
from pixelwise.io.decoding import decoding
from pixelwise.io.file_state import FileState, state_of
from pixelwise.io.members import ending_of, split_member

__all__ = [
    "Arrays",
    "Layout",
    "arrays_in",
    "as_pair",
    "inside",
    "layout_of",
    "pictures_in",
    "read_member",
]

_READERS = {
    ending: reader
    for reader in (Dicom(), Hdf5(), Matlab(), Nifti(), NpyStack(), Npz(), TiffPages())
    for ending in reader.endings
}


def arrays_in(file: Path) -> Arrays | None:
    """Return the arrays of a file that can be pictures; ``None`` if the file is a picture itself.

    Raises:
        DataError: The file is damaged.
        MissingExtraError: The package that reads it is not installed.
    """
    reader = _reader_of(file)
    if reader is None:
        return None
    with decoding(file):
        return _arrays(reader, file, state_of(file))


def layout_of(path: Path) -> Layout | None:
    """Return how a file, or an array in a file, holds pictures; ``None`` for a plain picture.

    Raises:
        DataError: The file is damaged.
        MissingExtraError: The package that reads it is not installed.
    """
    file, array = split_member(path)
    reader = _reader_of(file)
    if reader is None:
        return None
    with decoding(file):
        return _layout(reader, file, array, state_of(file))


def pictures_in(path: Path, beside: Path | None = None) -> list[Path]:
    """Return the pictures of a file or an array; the path itself if it holds one.

    Args:
        path: The file or array.
        beside: Its image or mask, on which the reading of an array of three axes depends.

    Raises:
        DataError: A file is damaged.
        MissingExtraError: The package that reads it is not installed.
    """
    layout = layout_of(path)
    other = layout_of(beside) if beside is not None and layout is not None else None
    if layout is not None and other is not None:
        layout = as_pair(layout, other)[0]
    return inside(path, layout)


def inside(path: Path, layout: Layout | None) -> list[Path]:
    """Return the pictures that a layout tells of; the path itself if it holds one."""
    return [path / name for name in layout.sections] if layout and layout.sections else [path]


def read_member(path: Path, *, as_stored: bool) -> Array | None:
    """Read a picture inside a file.

    Returns:
        (H, W) or (H, W, C); ``None`` if the path is that of a plain picture.

    Raises:
        DataError: The picture is too large, or the file holds something else.
        MissingExtraError: The package that reads it is not installed.
    """
    file, member = split_member(path)
    reader = _reader_of(file)
    if reader is None or (not member and reader.is_plain):
        return None
    return reader.read(file, member, as_stored=as_stored)


def _reader_of(file: Path) -> Container | None:
    return _READERS.get(ending_of(file))


# Opening a data set asks several times for the same files.
@lru_cache(maxsize=4096)
def _layout(
    reader: Container,
    file: Path,
    array: str,
    state: FileState,  # noqa: ARG001  part of the key
) -> Layout | None:
    return reader.layout(file, array)


@lru_cache(maxsize=4096)
def _arrays(reader: Container, file: Path, state: FileState) -> Arrays | None:  # noqa: ARG001
    return reader.arrays(file)
