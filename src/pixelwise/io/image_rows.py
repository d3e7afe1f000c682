"""Reads images larger than memory row by row, with the same pixels as ``read_image``.

Supports TIFF and BigTIFF, in tiles or strips, and ``.npy``. The TIFF tags with the georeference are
returned unchanged, so that no code needs to interpret them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array, BoolArray, Window
from pixelwise.io.decoding import decoding
from pixelwise.io.images import TIFF_SUFFIXES, with_channels
from pixelwise.io.limits import require_all_tiles, single_page
from pixelwise.io.npy import npy_header
from pixelwise.io.stored_pixels import (
    LayoutError,
    Pieces,
    RawRows,
    StoredPixels,
    is_planar,
    raw_rows,
)
from pixelwise.io.tiff import alpha_samples, nodata_of, shown_pixels, tiff_orientation, where_nodata

if TYPE_CHECKING:
    import tifffile

GEOREFERENCE_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""Tags of the pixel scale, tie points and matrix, the GeoTIFF keys, doubles and texts, and RPCs."""

WORLD_FILE_SUFFIXES = (".tfw", ".tifw", ".wld")
"""Suffixes of text files that hold the georeference of a TIFF without such tags."""


Tag = tuple[int, int, int, object, bool]
"""Code, type, count and value of a tag, and True, as ``tifffile`` expects them."""


class Rows(NamedTuple):
    """Consecutive rows of an image.

    Attributes:
        pixels: (H, W, C), uint8, uint16 or float32.
        is_ignored: bool (H, W), True for pixels without data; ``None`` if the file has no nodata
            value and no alpha.
    """

    pixels: Array
    is_ignored: BoolArray | None


@dataclass(frozen=True)
class ImageRows:
    """An image opened for reading row by row.

    Attributes:
        path: The file.
        height: In pixels.
        width: In pixels.
        georeference: The tags with the georeference; empty if there are none.
        has_ignored: Whether the file marks pixels without data.
    """

    path: Path
    height: int
    width: int
    georeference: tuple[Tag, ...]
    has_ignored: bool
    _stored: StoredPixels
    _page: tifffile.TiffPage | None = None

    def read(self, start: int, stop: int) -> Rows:
        """Read rows; reading from top to bottom decodes every tile once.

        Args:
            start: First row, from 0.
            stop: Row after the last one.

        Raises:
            DataError: The rows cannot be decoded.
        """
        with decoding(self.path):
            stored = self._stored(start, stop)
            is_ignored = None
            if self._page is not None:
                is_ignored = _ignored_of(self._page, stored) if self.has_ignored else None
                stored = shown_pixels(self._page, stored)
            return Rows(with_channels(stored, self.path), is_ignored)

    def part(self, window: Window, *, as_stored: bool) -> Array:
        """Read a rectangle; of a file in tiles, only the tiles that meet it are decoded.

        Args:
            window: Row and column of the first pixel, height and width.
            as_stored: As for :func:`~pixelwise.io.tiff.shown_pixels`.

        Returns:
            (H, W) or (H, W, C), of the stored type.

        Raises:
            DataError: It cannot be decoded.
        """
        with decoding(self.path):
            stored = self._stored(*_edges(window))
            if self._page is None:
                return stored
            return shown_pixels(self._page, stored, as_stored=as_stored)

    def nodata(self, window: Window) -> BoolArray | None:
        """Return where a rectangle has no data, bool (H, W); ``None`` without a nodata value.

        Raises:
            DataError: It cannot be decoded.
        """
        if self._page is None or nodata_of(self._page) is None:
            return None
        return where_nodata(self._page, self.part(window, as_stored=True))


class SlidingRows:
    """A window that moves down an image and drops the rows above it.

    Args:
        source: The image.
    """

    def __init__(self, source: ImageRows) -> None:
        self._source = source
        self._top = 0
        self._rows: Rows | None = None

    @property
    def num_held(self) -> int:
        """Number of rows in memory."""
        return 0 if self._rows is None else len(self._rows.pixels)

    def move(self, top: int, bottom: int) -> Rows:
        """Move the window to the rows ``top`` to ``bottom - 1``; it never moves up."""
        held = self.num_held
        if not self._top <= top < self._top + held:
            self._rows, held, self._top = None, 0, top
        known = self._top + held
        parts = [] if self._rows is None else [_cut(self._rows, top - self._top, held)]
        self._rows = None  # frees the old window except for the part still needed
        if known < bottom:
            parts.append(self._source.read(max(top, known), bottom))
        self._top, self._rows = top, _joined(parts)
        return self._rows

    def part(self, top: int, left: int, height: int, width: int) -> Rows:
        """Return a rectangle of the window, given in coordinates of the image."""
        assert self._rows is not None
        rows = _cut(self._rows, top - self._top, top - self._top + height)
        columns = slice(left, left + width)
        return Rows(
            rows.pixels[:, columns],
            None if rows.is_ignored is None else rows.is_ignored[:, columns],
        )


def _edges(window: Window) -> tuple[int, int, int, int]:
    """Return the first row and the row after the last one, and the same for the columns."""
    top, left, height, width = window
    return top, top + height, left, left + width


def _cut(rows: Rows, start: int, stop: int) -> Rows:
    return Rows(
        rows.pixels[start:stop], None if rows.is_ignored is None else rows.is_ignored[start:stop]
    )


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    ignored_parts = [part.is_ignored for part in parts if part.is_ignored is not None]
    return Rows(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate(ignored_parts) if ignored_parts else None,
    )


def world_file(path: Path) -> Path | None:
    """Return the world file beside an image; ``None`` if there is none."""
    beside = (path.with_suffix(suffix) for suffix in WORLD_FILE_SUFFIXES)
    return next((file for file in beside if file.is_file()), None)


def size_in_header(path: Path) -> tuple[int, int] | None:
    """Return the height and width of a TIFF or ``.npy`` without decoding it.

    Returns:
        ``None`` for other kinds of files and for damaged ones; reading those raises the error.
    """
    if path.suffix.lower() not in {*TIFF_SUFFIXES, ".npy"}:
        return None
    try:
        with decoding(path):
            if path.suffix.lower() == ".npy":
                with path.open("rb") as file:
                    shape, _, _ = npy_header(path, file)
                return (shape[0], shape[1]) if len(shape) in (2, 3) else None
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0].aspage()
                return int(page.imagelength), int(page.imagewidth)
    except DataError:
        return None


@contextmanager
def open_rows(path: Path) -> Iterator[ImageRows]:
    """Open an image for reading row by row.

    Args:
        path: A TIFF or ``.npy`` file.

    Raises:
        LayoutError: The layout of the file does not allow reading single rows.
        DataError: The file is damaged or of another kind.
    """
    with ExitStack() as stack:
        with decoding(path):
            if path.suffix.lower() == ".npy":
                rows = _npy_rows(path, stack.enter_context(path.open("rb")))
            else:
                import tifffile

                rows = _tiff_rows(path, stack.enter_context(tifffile.TiffFile(path)))
        yield rows


def _npy_rows(path: Path, file: BinaryIO) -> ImageRows:
    shape, is_by_column, dtype = npy_header(path, file)
    if len(shape) not in (2, 3) or is_by_column or dtype.hasobject:
        raise LayoutError(
            f"{path} must contain numbers (H, W) or (H, W, C), row by row, to be read in parts. "
            f"Got {dtype} of the shape {shape}. Save it again with numpy.ascontiguousarray"
        )
    stored = RawRows(file, file.tell(), dtype, (1, *shape))
    return ImageRows(path, shape[0], shape[1], (), False, stored)


def _tiff_rows(path: Path, file: tifffile.TiffFile) -> ImageRows:
    page = single_page(path, file)
    if page.axes not in ("YX", "YXS", "SYX") or tiff_orientation(file) != 1:
        raise LayoutError(
            f"{path} must be one upright image to be read in parts. Got the axes {page.axes} and "
            f"the orientation {tiff_orientation(file)}. Save it again, upright"
        )
    require_all_tiles(path, file, page)
    tags = (page.tags.get(code) for code in GEOREFERENCE_TAGS)
    georeference = tuple(
        (tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags if tag is not None
    )
    # In a plain image, alpha is about display; in a georeferenced raster, it marks missing data.
    has_ignored = nodata_of(page) is not None or bool(georeference and alpha_samples(page))
    stored = raw_rows(page) or Pieces(path, file, page)
    return ImageRows(
        path, page.imagelength, page.imagewidth, georeference, has_ignored, stored, page
    )


def _ignored_of(page: tifffile.TiffPage, stored: Array) -> BoolArray:
    """True where every band has the nodata value, or where alpha is 0."""
    samples = np.moveaxis(stored, 0, -1) if is_planar(page) else stored
    is_ignored = np.zeros(samples.shape[:2], np.bool_)
    alpha = alpha_samples(page)
    if alpha:
        is_ignored |= (samples[..., alpha] == 0).any(-1)
        samples = np.delete(samples, alpha, -1)
    without_data = where_nodata(page, samples)
    return is_ignored if without_data is None else is_ignored | without_data
