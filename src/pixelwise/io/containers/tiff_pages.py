"""TIFF files of several pages: a stack of pictures, or one picture of several bands."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import Container, Layout, index_in, sections
from pixelwise.io.limits import require_decodable, require_honest_tiles
from pixelwise.io.tiff import shown_pixels

if TYPE_CHECKING:
    import tifffile

BANDS = "C"
"""The axis of channels of ImageJ and OME; all other axes but Y, X and samples count pages."""


class TiffPages(Container):
    """A TIFF of several pages, of which one is read."""

    endings: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    is_plain: ClassVar[bool] = True

    def layout(self, file: Path, array: str) -> Layout | None:
        """Return the pages; ``None`` for a file of one page, whose further pages are reduced."""
        del array
        if not has_more_pages(file):
            return None
        import tifffile

        with tifffile.TiffFile(file) as tiff:
            series = stack_of(tiff)
            if series is None:
                return None
            size, num_pages = _divided(series)
            return Layout(size, sections("p", num_pages)) if num_pages > 1 else None

    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read one page, with its bands."""
        import tifffile

        with tifffile.TiffFile(file) as tiff:
            series = stack_of(tiff)
            if series is None:
                raise ValueError("the file has one page")
            _, num_pages = _divided(series)
            return page_of(
                file, tiff, series, index_in(member, "p", num_pages), as_stored=as_stored
            )


def has_more_pages(file: Path) -> bool:
    """Whether a TIFF says that a second page follows the first; its tags are skipped unread."""
    with file.open("rb") as content:
        header = content.read(16)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        if order is None or len(header) < 8:
            return False
        is_big = struct.unpack(order + "H", header[2:4])[0] == 43
        counter, offset, entry_bytes = ("Q", "Q", 20) if is_big else ("H", "I", 12)
        start = struct.unpack_from(order + offset, header, 8 if is_big else 4)[0]
        content.seek(start)
        number = content.read(struct.calcsize(counter))
        if len(number) < struct.calcsize(counter):
            return False
        content.seek(struct.unpack(order + counter, number)[0] * entry_bytes, 1)
        following = content.read(struct.calcsize(offset))
        return any(following)


def stack_of(tiff: tifffile.TiffFile) -> Any:
    """Return the series of the pages of a TIFF that are pictures of one size and kind.

    Returns:
        ``None`` if there is one page, or if pages differ.
    """
    series = [one for one in tiff.series if not one.keyframe.is_reduced]
    if len(series) != 1 or series[0].keyframe is None:
        return None
    return series[0] if math.prod(series[0].shape) > math.prod(series[0].keyframe.shape) else None


def _divided(series: Any) -> tuple[tuple[int, ...], int]:
    """Return the shape of a picture, (H, W) or (H, W, C), and the number of pictures."""
    lengths = dict(zip(series.axes, series.shape, strict=True))
    num_pages = math.prod(length for axis, length in lengths.items() if axis not in "YXSC")
    bands = lengths.get(BANDS, 1) * lengths.get("S", 1)
    size = (lengths["Y"], lengths["X"])
    return (size if bands == 1 else (*size, bands)), num_pages


def is_banded(series: Any) -> bool:
    """Whether the pages are the bands of one picture, as the file says (CYX)."""
    return BANDS in series.axes and _divided(series)[1] == 1


def page_of(
    file: Path, tiff: tifffile.TiffFile, series: Any, index: int, *, as_stored: bool
) -> Array:
    """Read one picture of a stack.

    Args:
        file: The file, for messages.
        tiff: The open file.
        series: Its pages.
        index: The number of the picture.
        as_stored: See :func:`pixelwise.io.tiff.shown_pixels`.

    Returns:
        (H, W) or (H, W, C).

    Raises:
        DataError: The picture is too large, or compressed in a way that is not supported.
    """
    keyframe = series.keyframe
    size, _ = _divided(series)
    require_decodable(
        file, size, np.dtype(series.dtype).itemsize * (3 if keyframe.colormap is not None else 1)
    )
    leading = [axis for axis in series.axes if axis not in "YXS"]
    numbers = np.arange(math.prod(series.shape[: len(leading)])).reshape(
        series.shape[: len(leading)]
    )
    if BANDS in leading:
        numbers = np.moveaxis(numbers, leading.index(BANDS), -1).reshape(
            -1, series.shape[leading.index(BANDS)]
        )
    else:
        numbers = numbers.reshape(-1, 1)
    planes = [
        _plane(file, tiff, series, int(number), as_stored=as_stored) for number in numbers[index]
    ]
    if len(planes) == 1:
        return planes[0]
    return np.concatenate([one if one.ndim == 3 else one[..., None] for one in planes], -1)


def _plane(
    file: Path, tiff: tifffile.TiffFile, series: Any, number: int, *, as_stored: bool
) -> Array:
    keyframe = series.keyframe
    shape = tuple(keyframe.shape)
    if len(series.pages) > number and series.pages[number] is not None:
        page = series.pages[number]
        require_honest_tiles(file, tiff, page.aspage())
        pixels = page.asarray()
    elif series.dataoffset is not None:  # ImageJ writes one page for a stack of more than 4 GB
        dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
        start = series.dataoffset + number * math.prod(shape) * dtype.itemsize
        pixels = np.array(np.memmap(file, dtype, "r", start, shape))
    else:
        raise DataError(f"{file} must contain the page {number + 1}. It does not. Restore the file")
    return shown_pixels(keyframe, pixels.reshape(shape), as_stored=as_stored)
