"""Reads rectangles of the stored pixels of TIFF and ``.npy`` files without decoding the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.limits import FILLS_IN_TIFF, require_honest_tiles, single_page

if TYPE_CHECKING:
    import tifffile

JPEG_COMPRESSIONS = (6, 7, 34892, 33007)
"""JPEG compressions, whose tables are stored outside the tiles."""

MAX_PIECE_BYTES = 512 * 2**20
"""Largest size of a row of tiles or a strip, which is decoded at once."""


class LayoutError(DataError):
    """An image cannot be read row by row, but may still be read as a whole."""


class StoredPixels(Protocol):
    """Reads rows as stored: (H, W), (H, W, S) or, with separate planes, (S, H, W).

    The columns are those from ``left`` to before ``right``; ``None`` is the right edge.
    """

    def __call__(self, start: int, stop: int, left: int = 0, right: int | None = None) -> Array:
        """Read rows ``start`` to before ``stop``."""


def is_planar(page: tifffile.TiffPage) -> bool:
    """Whether a TIFF stores its samples in separate planes."""
    return bool(page.axes == "SYX")


def raw_rows(page: tifffile.TiffPage) -> StoredPixels | None:
    """Return a reader for uncompressed pixels in one block; ``None`` for other layouts."""
    is_raw = page.is_contiguous and page.fillorder == 1 and page.predictor == 1
    if not is_raw or page.is_subsampled or page.is_tiled or page.dtype is None:
        return None
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    shape = page.shape if is_planar(page) else (1, *page.shape)
    return RawRows(page.parent.filehandle, page.dataoffsets[0], dtype, shape)


@dataclass(frozen=True)
class RawRows:
    """Reads uncompressed rows; unlike a memory map, this does not count as memory in use.

    Attributes:
        file: Open, binary.
        offset: Of the first number.
        dtype: With the file's order of bytes.
        shape: Planes, height, width, and samples where they are kept together.
    """

    file: BinaryIO | tifffile.FileHandle
    offset: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    def __call__(self, start: int, stop: int, left: int = 0, right: int | None = None) -> Array:
        """Read rows ``start`` to before ``stop``: (H, W), (H, W, S) or (S, H, W)."""
        num_planes, height, width, *samples = self.shape
        right = width if right is None else right
        pixel_bytes = math.prod(samples) * self.dtype.itemsize
        # Whole rows follow each other in the file, and are read at once.
        is_whole = (left, right) == (0, width)
        lines = [(start, stop)] if is_whole else [(row, row + 1) for row in range(start, stop)]
        planes = []
        for plane in range(num_planes):
            content = b"".join(
                self._bytes((plane * height + first) * width + left, pixel_bytes,
                            (last - first) * (right - left))
                for first, last in lines
            )  # fmt: skip
            part = np.frombuffer(content, self.dtype)
            planes.append(part.reshape(stop - start, right - left, *samples))
        return planes[0] if num_planes == 1 else np.stack(planes)

    def _bytes(self, first: int, pixel_bytes: int, num_pixels: int) -> bytes:
        self.file.seek(self.offset + first * pixel_bytes)
        content: bytes = self.file.read(num_pixels * pixel_bytes)
        missing = num_pixels * pixel_bytes - len(content)
        if missing > 0:
            raise ValueError(f"{missing:,} bytes are missing")
        return content


@kept_while_unchanged
def _require_honest_tiles(path: Path) -> None:
    """Check a file once: the check looks into each of its tiles."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        require_honest_tiles(path, file, single_page(path, file))


class Pieces:
    """Reads rows from the tiles or strips of a TIFF; the tiles decoded last are kept."""

    def __init__(self, path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
        if page.compression not in FILLS_IN_TIFF:
            _require_honest_tiles(path)
        self._file = file
        self._page = page
        self._piece_height = min(
            int(page.tilelength if page.is_tiled else page.rowsperstrip), page.imagelength
        )
        piece_bytes = page.imagewidth * page.samplesperpixel * np.dtype(page.dtype).itemsize
        piece_bytes *= self._piece_height
        if piece_bytes > MAX_PIECE_BYTES:
            raise LayoutError(
                f"{path} must be stored in tiles, or in strips of few rows, to be read in parts. "
                f"Got {self._piece_height} rows in one piece, {piece_bytes / 2**30:.1f} GiB. "
                "Save it again in tiles: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE"
            )
        self._known: tuple[tuple[int, range], Array] | None = None

    def __call__(self, start: int, stop: int, left: int = 0, right: int | None = None) -> Array:
        """Read rows ``start`` to ``stop - 1``: (H, W), (H, W, S) or (S, H, W)."""
        height = self._piece_height
        width = int(self._page.tilewidth if self._page.is_tiled else self._page.imagewidth)
        right = self._page.imagewidth if right is None else right
        tiles = range(left // width, -(-right // width))
        columns = slice(left - tiles.start * width, right - tiles.start * width)
        axis = 1 if is_planar(self._page) else 0
        parts = []
        for number in range(start // height, -(-stop // height)):
            first = number * height
            rows = slice(max(0, start - first), min(height, stop - first))
            piece = self._piece(number, tiles)
            parts.append(piece[:, rows, columns] if axis else piece[rows, columns])
        return np.concatenate(parts, axis)

    def _piece(self, number: int, tiles: range) -> Array:
        """Decode a strip, or some tiles of a row of tiles, and join the tiles."""
        if self._known is None or self._known[0] != (number, tiles):
            self._known = None  # frees the previous piece before the next one is decoded
            self._known = (number, tiles), self._decoded(number, tiles)
        return self._known[1]

    def _decoded(self, number: int, tiles: range) -> Array:
        page = self._page
        num_across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        first_column = tiles.start * page.tilewidth if page.is_tiled else 0
        end = int(page.imagewidth)
        if page.is_tiled:
            end = min(end, tiles.stop * int(page.tilewidth))
        num_down = -(-page.imagelength // self._piece_height)
        planes = page.samplesperpixel if is_planar(page) else 1
        chosen = [
            (plane * num_down + number) * num_across + column
            for plane in range(planes)
            for column in tiles
        ]
        height = min(self._piece_height, page.imagelength - number * self._piece_height)
        samples = page.samplesperpixel // planes
        shape = (planes, height, end - first_column, samples)
        pixels = np.full(shape, page.nodata, np.dtype(page.dtype))
        options = {}
        if page.compression in JPEG_COMPRESSIONS:
            options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        segments = self._file.filehandle.read_segments(
            [page.dataoffsets[index] for index in chosen],
            [page.databytecounts[index] for index in chosen],
            chosen,
        )
        for content, index in segments:
            tile, (plane, _, _, left, _), _ = page.decode(content, index, **options)
            if tile is not None:  # empty tiles are not stored
                part = tile[0, :height, : end - left]
                left -= first_column
                pixels[plane, : len(part), left : left + part.shape[1]] = part
        if samples == 1:
            pixels = pixels[..., 0]
        return pixels if is_planar(page) else pixels[0]
