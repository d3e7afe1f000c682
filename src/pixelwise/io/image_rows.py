"""Reads images larger than memory row by row, with the same pixels as ``read_image``.

Supports TIFF and BigTIFF, in tiles or strips, and ``.npy``. The TIFF tags with the georeference are
returned unchanged, so that no code needs to interpret them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array, BoolArray
from pixelwise.io.decoding import decoding
from pixelwise.io.images import TIFF_SUFFIXES, with_channels
from pixelwise.io.limits import require_all_tiles, require_honest_tiles, single_page
from pixelwise.io.npy import npy_header
from pixelwise.io.tiff import alpha_samples, nodata_of, shown_pixels, tiff_orientation, where_nodata

if TYPE_CHECKING:
    import tifffile

JPEG_COMPRESSIONS = (6, 7, 34892, 33007)
"""JPEG compressions, whose tables are stored outside the tiles."""

MAX_PIECE_BYTES = 512 * 2**20
"""Largest size of a row of tiles or a strip, which is decoded at once."""

GEOREFERENCE_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""Tags of the pixel scale, tie points and matrix, the GeoTIFF keys, doubles and texts, and RPCs."""

WORLD_FILE_SUFFIXES = (".tfw", ".tifw", ".wld")
"""Suffixes of text files that hold the georeference of a TIFF without such tags."""


class LayoutError(DataError):
    """An image cannot be read row by row, but may still be read as a whole."""


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


class _Stored(Protocol):
    """Reads rows as stored: (H, W), (H, W, S) or, with separate planes, (S, H, W)."""

    def __call__(self, start: int, stop: int) -> Array: ...


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
    _stored: _Stored
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
    stored = _RawRows(file, file.tell(), dtype, (1, *shape))
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
    stored = _raw_rows(page) or _Pieces(path, file, page)
    return ImageRows(
        path, page.imagelength, page.imagewidth, georeference, has_ignored, stored, page
    )


def _ignored_of(page: tifffile.TiffPage, stored: Array) -> BoolArray:
    """True where every band has the nodata value, or where alpha is 0."""
    samples = np.moveaxis(stored, 0, -1) if _is_planar(page) else stored
    is_ignored = np.zeros(samples.shape[:2], np.bool_)
    alpha = alpha_samples(page)
    if alpha:
        is_ignored |= (samples[..., alpha] == 0).any(-1)
        samples = np.delete(samples, alpha, -1)
    without_data = where_nodata(page, samples)
    return is_ignored if without_data is None else is_ignored | without_data


def _is_planar(page: tifffile.TiffPage) -> bool:
    return bool(page.axes == "SYX")


def _raw_rows(page: tifffile.TiffPage) -> _Stored | None:
    """Return a reader for uncompressed pixels in one block; ``None`` for other layouts."""
    is_raw = page.is_contiguous and page.fillorder == 1 and page.predictor == 1
    if not is_raw or page.is_subsampled or page.is_tiled or page.dtype is None:
        return None
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    shape = page.shape if _is_planar(page) else (1, *page.shape)
    return _RawRows(page.parent.filehandle, page.dataoffsets[0], dtype, shape)


@dataclass(frozen=True)
class _RawRows:
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

    def __call__(self, start: int, stop: int) -> Array:
        """Read rows ``start`` to before ``stop``: (H, W), (H, W, S) or (S, H, W)."""
        num_planes, height, *rest = self.shape
        row_bytes = math.prod(rest) * self.dtype.itemsize
        planes = []
        for plane in range(num_planes):
            self.file.seek(self.offset + (plane * height + start) * row_bytes)
            content = self.file.read((stop - start) * row_bytes)
            if len(content) < (stop - start) * row_bytes:
                raise ValueError(f"{(stop - start) * row_bytes - len(content):,} bytes are missing")
            planes.append(np.frombuffer(content, self.dtype).reshape(stop - start, *rest))
        return planes[0] if num_planes == 1 else np.stack(planes)


class _Pieces:
    """Reads rows from the tiles or strips of a TIFF; the last decoded row of tiles is kept."""

    def __init__(self, path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
        require_honest_tiles(path, file, page)
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
        self._known: tuple[int, Array] | None = None

    def __call__(self, start: int, stop: int) -> Array:
        """Read rows ``start`` to ``stop - 1``: (H, W), (H, W, S) or (S, H, W)."""
        height = self._piece_height
        axis = 1 if _is_planar(self._page) else 0
        parts = []
        for number in range(start // height, -(-stop // height)):
            first = number * height
            rows = slice(max(0, start - first), min(height, stop - first))
            piece = self._piece(number)
            parts.append(piece[:, rows] if axis else piece[rows])
        return np.concatenate(parts, axis)

    def _piece(self, number: int) -> Array:
        """Decode a strip or a row of tiles and join the tiles."""
        if self._known is None or self._known[0] != number:
            self._known = None  # frees the previous piece before the next one is decoded
            self._known = number, self._decoded(number)
        return self._known[1]

    def _decoded(self, number: int) -> Array:
        page = self._page
        num_across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        num_down = -(-page.imagelength // self._piece_height)
        planes = page.samplesperpixel if _is_planar(page) else 1
        chosen = [
            (plane * num_down + number) * num_across + column
            for plane in range(planes)
            for column in range(num_across)
        ]
        height = min(self._piece_height, page.imagelength - number * self._piece_height)
        samples = page.samplesperpixel // planes
        shape = (planes, height, page.imagewidth, samples)
        pixels = np.full(shape, page.nodata, page.dtype)
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
                part = tile[0, :height, : page.imagewidth - left]
                pixels[plane, : len(part), left : left + part.shape[1]] = part
        if samples == 1:
            pixels = pixels[..., 0]
        return pixels if _is_planar(page) else pixels[0]
