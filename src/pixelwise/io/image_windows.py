"""Reads windows of images and masks; of files that allow it, only the part that is needed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array, BoolArray, Window
from pixelwise.io.decoding import decoding
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.image_rows import ImageRows, open_rows
from pixelwise.io.images import (
    TIFF_SUFFIXES,
    PixelReader,
    is_inside,
    is_tiff,
    read_nodata,
    whole_pixels,
    with_channels,
)
from pixelwise.io.limits import PILLOW_FORMATS
from pixelwise.io.npy import npy_header
from pixelwise.io.pillow_pixels import orientation_of
from pixelwise.io.tiff import tiff_orientation

ROWS_AT_ONCE = 512
"""Number of rows that are decoded at a time to shrink a large image."""


def in_window(window: Window | None) -> PixelReader | None:
    """Return a reader for a part of the files that it is called with; ``None`` reads all of them.

    TIFF in tiles or strips and ``.npy`` are read in parts. Other files are decoded as a whole, and
    the last ones are kept, so that their other windows cost nothing.
    """
    if window is None:
        return None

    def read(path: Path, *, as_stored: bool) -> Array:
        with _rows_of(path) as rows:
            if rows is not None:
                _require_inside(path, window, (rows.height, rows.width))
                return rows.part(window, as_stored=as_stored)
        pixels = _decoded(path, as_stored)
        _require_inside(path, window, (pixels.shape[0], pixels.shape[1]))
        return cut_out(pixels, window)

    return read


def nodata_in(path: Path, window: Window | None) -> BoolArray | None:
    """Return where a part of a TIFF has no data; see :func:`~pixelwise.io.images.read_nodata`."""
    if window is None or path.suffix.lower() not in TIFF_SUFFIXES:
        return read_nodata(path) if window is None else None
    with _rows_of(path) as rows:
        if rows is not None:
            return rows.nodata(window)
    nothing = read_nodata(path)
    return None if nothing is None else cut_out(nothing, window)


def even_windows(size: tuple[int, int], side_px: int) -> list[Window]:
    """Divide a rectangle into windows of about a given side, row by row.

    Their sizes differ by at most one pixel: a narrow strip at the edge would count as much in
    training as any other image.

    Args:
        size: Height and width.
        side_px: The height and width of a window that are wanted; the height and the width of the
            windows are two thirds to one and a half times as much, or the whole side if it is
            shorter.
    """
    return [
        (row, column, height, width)
        for row, height in _even_parts(size[0], side_px)
        for column, width in _even_parts(size[1], side_px)
    ]


def _even_parts(side: int, side_px: int) -> list[tuple[int, int]]:
    """Return the start and the length of each part of a side."""
    count = max(1, math.floor(side / side_px + 0.5))
    edges = [side * number // count for number in range(count + 1)]
    return [(start, stop - start) for start, stop in itertools.pairwise(edges)]


def cut_out(pixels: Array, window: Window) -> Array:
    """Return a part of (H, W) or (H, W, C), which shares the memory of the whole."""
    top, left, height, width = window
    return pixels[top : top + height, left : left + width]


def image_size(path: Path) -> tuple[int, int]:
    """Return the height and width of an image, upright, from its header if it is a plain picture.

    Raises:
        DataError: The file cannot be read.
    """
    if is_inside(path):
        pixels = _decoded(path, True)
        return pixels.shape[0], pixels.shape[1]
    with decoding(path):
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                (height, width, *_), _, _ = npy_header(path, file)
            orientation = 1
        elif is_tiff(path):
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                page, orientation = tiff.pages[0].aspage(), tiff_orientation(tiff)
                height, width = int(page.imagelength), int(page.imagewidth)
        else:
            with Image.open(path, formats=PILLOW_FORMATS) as picture:
                height, width, orientation = picture.height, picture.width, orientation_of(picture)
    return (width, height) if orientation > 4 else (height, width)


def shrunk_image(path: Path, step: int) -> Array:
    """Return every ``step``-th pixel of an image in memory bounded by some of its rows.

    Returns:
        (h, w, C) with h = ceil(H / step), as ``read_image(path)[::step, ::step]``.

    Raises:
        DataError: The file cannot be read.
    """
    with _rows_of(path) as rows:
        if rows is not None:
            return _every(rows, step)
    pixels = _decoded(path, False)[::step, ::step]
    return np.ascontiguousarray(with_channels(pixels, path))


def _every(rows: ImageRows, step: int) -> Array:
    parts = []
    at_once = -(-ROWS_AT_ONCE // step) * step
    for start in range(0, rows.height, at_once):
        stop = min(rows.height, start + at_once)
        parts.append(rows.read(start, stop).pixels[::step, ::step].copy())
    return np.concatenate(parts)


@contextmanager
def _rows_of(path: Path) -> Iterator[ImageRows | None]:
    """Open a file that can be read in parts; ``None`` for others, which are read as a whole."""
    with ExitStack() as stack:
        rows = None
        if not is_inside(path):
            with decoding(path):
                may_have_parts = path.suffix.lower() == ".npy" or is_tiff(path)
            if may_have_parts:
                with suppress(DataError):  # reading it as a whole works, or says why it does not
                    rows = stack.enter_context(open_rows(path))
        yield rows


def _decode(path: Path, as_stored: bool) -> Array:
    return whole_pixels(path, as_stored=as_stored)


_decoded = kept_while_unchanged(_decode, size_of=lambda pixels: pixels.nbytes)


def _require_inside(path: Path, window: Window, size: tuple[int, int]) -> None:
    top, left, height, width = window
    if top + height > size[0] or left + width > size[1] or min(window) < 0:
        raise DataError(
            f"{path} must contain the window of {width} x {height} pixels at row {top} and column "
            f"{left}. It has {size[1]} x {size[0]} pixels. Restore it, or draw the splits again"
        )
