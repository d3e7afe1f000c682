"""TIFF files of several pages: a stack of pictures, or one picture of several bands."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

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
        """Return the pages; ``None`` for a file of one page, whose further pages are reduced.

        Pages that the file calls channels are bands of one picture, unless its image or mask holds
        as many pictures: programs call the slices of a volume channels too.
        """
        del array
        if not has_more_pages(file):
            return None
        import tifffile

        with tifffile.TiffFile(file) as tiff:
            stack = stack_of(tiff)
            if stack is None:
                return None
            numbers = _planes(stack)
            bands = (*_size(stack), numbers.shape[1]) if numbers.shape[1] > 1 else _size(stack)
            if len(numbers) > 1:
                return Layout(bands, sections("p", len(numbers)))
            return Layout(bands, as_stack=Layout(_size(stack), sections("p", numbers.size)))

    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read one page, with its bands."""
        import tifffile

        with tifffile.TiffFile(file) as tiff:
            stack = stack_of(tiff)
            if stack is None:
                raise ValueError("the file has one page")
            numbers = _planes(stack)
            pages = numbers if len(numbers) > 1 else numbers.reshape(-1, 1)
            chosen = pages[index_in(member, "p", len(pages))].tolist()
            return _joined(file, tiff, stack, chosen, as_stored=as_stored)


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


def _size(stack: Any) -> tuple[int, ...]:
    """Return the shape of a page: (H, W), or (H, W, S) of several samples."""
    lengths = dict(zip(stack.axes, stack.shape, strict=True))
    samples = lengths.get("S", 1)
    return (lengths["Y"], lengths["X"], *([samples] if samples > 1 else []))


def _planes(stack: Any) -> npt.NDArray[np.intp]:
    """Return the numbers of the pages of each picture, (number of pictures, bands)."""
    leading = [axis for axis in stack.axes if axis not in "YXS"]
    lengths = stack.shape[: len(leading)]
    numbers = np.arange(math.prod(lengths)).reshape(lengths)
    if BANDS not in leading:
        return numbers.reshape(-1, 1)
    at = leading.index(BANDS)
    return np.moveaxis(numbers, at, -1).reshape(-1, lengths[at])


def is_banded(stack: Any) -> bool:
    """Whether the pages are the bands of one picture, as the file says (CYX)."""
    return len(_planes(stack)) == 1


def read_bands(file: Path, tiff: tifffile.TiffFile, stack: Any, *, as_stored: bool) -> Array:
    """Read the pages of a file as the bands of one picture.

    Args:
        file: The file, for messages.
        tiff: The open file.
        stack: Its pages.
        as_stored: See :func:`pixelwise.io.tiff.shown_pixels`.

    Returns:
        (H, W, C).

    Raises:
        DataError: The picture is too large, or compressed in a way that is not supported.
    """
    return _joined(file, tiff, stack, _planes(stack)[0].tolist(), as_stored=as_stored)


def _joined(
    file: Path, tiff: tifffile.TiffFile, stack: Any, numbers: list[int], *, as_stored: bool
) -> Array:
    num_colors = 3 if stack.keyframe.colormap is not None else 1
    shape = (*stack.keyframe.shape, len(numbers), num_colors)
    require_decodable(file, shape, np.dtype(stack.dtype).itemsize)
    planes = []
    for number in numbers:
        page = stack.pages[number]
        require_honest_tiles(file, tiff, page)
        planes.append(shown_pixels(stack.keyframe, page.asarray(), as_stored=as_stored))
    if len(planes) == 1:
        return planes[0]
    return np.concatenate([one if one.ndim == 3 else one[..., None] for one in planes], -1)
