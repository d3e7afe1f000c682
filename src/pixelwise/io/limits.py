"""Refuses files whose headers announce more data than can be decoded safely."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageMode, UnidentifiedImageError

from pixelwise.errors import DataError
from pixelwise.text import amount

if TYPE_CHECKING:
    import tifffile

MAX_DECODED_BYTES = 2 * 1024**3
"""Largest size in memory of the pixels of one file, checked against its header before decoding.
Decoders need further memory for copies: up to three times as much, for WebP five times."""

MAX_TIFF_PAGES = 64
"""Each level of a pyramid is half as large as the one before, so there are never more pages."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's limit counts pixels; the limit here counts bytes

PILLOW_FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "DIB", "WEBP", "GIF")
"""Formats that Pillow may detect, whatever the suffix of the file; Pillow supports many more, some
of which run other programs."""

FILLS_IN_TIFF = frozenset({1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 50000})
"""TIFF compressions whose output cannot exceed the size of the tile: none, fax, LZW, deflate,
PackBits, LZMA and Zstandard."""

PICTURES_IN_TIFF = frozenset({6, 7, 33003, 33004, 33005, 33007, 34712, 34892, 34933, 50001})
"""TIFF compressions that store a tile as an image with its own header, in one of
``TILE_FORMATS``."""

TILE_FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP")

PIXEL_TAGS = frozenset({*range(254, 280), 284, 292, 293, 317, *range(320, 326), 338, 339, 347, 530})
"""TIFF tags that determine the pixels: size, type, compression, prediction, colors and places."""

PIXELS_PER_BYTE = 512
"""A JPEG has at least one bit for each block of 8 x 8 pixels."""

TILE_PX = 4096
"""Number of pixels by which a tile may extend beyond its image."""


def require_decodable(path: Path, shape: Sequence[int], bytes_per_value: int) -> None:
    """Refuse a file whose header announces more data than can be decoded at once.

    Args:
        path: The file, for the message.
        shape: Number of values along each axis.
        bytes_per_value: Size of each value in memory.

    Raises:
        DataError: The size exceeds ``MAX_DECODED_BYTES``.
    """
    num_bytes = math.prod(map(int, shape)) * bytes_per_value
    if num_bytes > MAX_DECODED_BYTES:
        raise DataError(
            f"{path} must decode to at most {MAX_DECODED_BYTES / 1024**3:g} GiB. Its header says "
            f"{' x '.join(map(str, shape))}, {num_bytes / 1024**3:,.1f} GiB. Cut it into tiles, "
            "or remove it if it is damaged"
        )


def require_decodable_picture(path: Path, picture: Image.Image, is_deep: bool) -> None:
    """Refuse an opened but not yet decoded Pillow image that is too large or animated.

    Args:
        path: The file, for the message.
        picture: The image as Pillow opened it.
        is_deep: The image has 16 bits per channel where Pillow reports 8.

    Raises:
        DataError: The image is too large or animated.
    """
    mode = ImageMode.getmode("RGB" if picture.mode == "P" else picture.mode)
    num_bytes = len(mode.bands) * np.dtype(mode.typestr).itemsize * (1 + is_deep)
    require_decodable(path, (picture.height, picture.width), num_bytes)
    room = path.stat().st_size * PIXELS_PER_BYTE
    if picture.format in ("JPEG", "MPO") and picture.height * picture.width > room:
        raise DataError(
            f"{path} must be a readable image. Its header promises {picture.width} x "
            f"{picture.height} pixels, which its {path.stat().st_size:,} bytes cannot hold. "
            "Restore or remove it"
        )
    # Phones and drones store further views after the first one of a JPEG; only the first is used.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise DataError(
            f"{path} must contain one picture. Got an animation. Save the frame you want alone"
        )


def single_page(path: Path, file: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the one page of a TIFF; further pages may only be reduced copies of it.

    Raises:
        DataError: The file has several pages.
    """
    if len(file.pages) > MAX_TIFF_PAGES or any(
        not (page.keyframe and page.keyframe.is_reduced) for page in file.pages[1:]
    ):
        raise DataError(
            f"{path} must contain one page. Got {len(file.pages)}. Save the page you want alone"
        )
    return file.pages[0].aspage()


def require_decodable_tiff(path: Path, file: tifffile.TiffFile) -> tifffile.TiffPage:
    """Refuse a TIFF that has several pages or decodes to more than can be handled at once.

    Returns:
        Its page.

    Raises:
        DataError: The file has several pages, or is too large.
    """
    page = single_page(path, file)
    num_bytes = np.dtype(page.dtype).itemsize * (3 if page.colormap is not None else 1)
    require_decodable(path, page.shape, num_bytes)
    require_all_tiles(path, file, page)
    require_honest_tiles(path, file, page)
    return page


def require_all_tiles(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse a TIFF that lacks tiles or strips, which its decoder would fill with zeros.

    A tile of zero bytes is none that is missing: it is not stored because it holds no data.

    Raises:
        DataError: The header cannot be read or lists too few of them, or the file ends before the
            last one does.
    """
    unread = sorted(_stored_tags(file, page) & PIXEL_TAGS - {tag.code for tag in page.tags})
    if unread:
        raise DataError(
            f"{path} must be a readable image. The tag {unread[0]} of its header is damaged. "
            "Restore or remove it"
        )
    wanted, listed = math.prod(page.chunked), len(page.dataoffsets)
    is_raw = page.compression == 1
    if listed < wanted and not (is_raw and sum(page.databytecounts) >= page.nbytes):
        raise DataError(
            f"{path} must be a readable image. Its header promises {page.imagewidth} x "
            f"{page.imagelength} pixels in {amount(wanted, 'part')} and lists {listed:,}. "
            "Restore or remove it"
        )
    ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
    end = 0 if is_raw else max(ends, default=0)  # raw pixels are counted by the decoder
    if end > file.filehandle.size:
        raise DataError(
            f"{path} must be a readable image. It is truncated: "
            f"{end - file.filehandle.size:,} bytes are missing. Restore or remove it"
        )


def _stored_tags(file: tifffile.TiffFile, page: tifffile.TiffPage) -> set[int]:
    """Return the codes of the tags of a page, also of those that tifffile left out as damaged."""
    layout = file.tiff
    file.filehandle.seek(page.offset)
    (count,) = struct.unpack(layout.tagnoformat, file.filehandle.read(layout.tagnosize))
    content = file.filehandle.read(count * layout.tagsize)
    if len(content) < count * layout.tagsize:
        raise ValueError("the list of tags is cut")
    codes = struct.iter_unpack(f"{layout.byteorder}H{layout.tagsize - 2}x", content)
    return {code for (code,) in codes}


def require_honest_tiles(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse a TIFF with a tile whose own header announces more pixels than the tile holds.

    Raises:
        DataError: There is such a tile, or the compression is not supported.
    """
    if page.compression in FILLS_IN_TIFF:
        return
    if page.compression not in PICTURES_IN_TIFF:
        name = getattr(page.compression, "name", page.compression)
        raise DataError(
            f"{path} must be compressed by deflate, LZW, Zstandard or JPEG, or not at all. Got "
            f"{name}. Save it again: gdal_translate -co COMPRESS=DEFLATE"
        )
    height, width = page.tilelength or page.rowsperstrip, page.tilewidth or page.imagewidth
    room = 4 * min(height, page.imagelength + TILE_PX) * min(width, page.imagewidth + TILE_PX)
    for segment, _ in file.filehandle.read_segments(page.dataoffsets, page.databytecounts):
        content = segment if isinstance(segment, bytes) else b""  # empty tiles are not stored
        try:
            with Image.open(io.BytesIO(content), formats=TILE_FORMATS) as tile:
                size = tile.width * tile.height
        except UnidentifiedImageError:
            continue  # the decoder reports the problem
        if size > room:
            raise DataError(
                f"{path} must contain tiles of {width} x {height} pixels. One unpacks to {size:,} "
                "pixels. Restore or remove it"
            )
