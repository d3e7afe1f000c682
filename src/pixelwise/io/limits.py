"""What the header of a file may promise: a few bytes can stand for any amount of memory."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageMode, UnidentifiedImageError

from pixelwise.errors import DataError

if TYPE_CHECKING:
    import tifffile

MAX_DECODED_BYTES = 2 * 1024**3
"""The most that the pixels of one file may take in memory, held against its header before anything
is decoded. Copies of the decoders come on top: up to three times as much, of WebP five times."""

MAX_TIFF_PAGES = 64
"""A pyramid halves its side from page to page, so more are none."""

Image.MAX_IMAGE_PIXELS = None  # it counts pixels, and a large image is no attack; bytes count here

PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "GIF")
"""What Pillow may take a file for, whatever its suffix; it knows many more, some of which run
other programs."""

FILLS_IN_TIFF = frozenset({1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 50000})
"""Ways of compressing a tile of a TIFF that end where its room does: none, fax, LZW, deflate,
PackBits, LZMA and Zstandard."""

PICTURES_IN_TIFF = frozenset({6, 7, 33003, 33004, 33005, 33007, 34712, 34892, 34933, 50001})
"""Ways of compressing a tile of a TIFF as a picture with a header of its own, of a kind in
``TILE_FORMATS``."""

TILE_FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP")

TILE_PX = 4096
"""A tile may reach beyond its image, so far."""


def require_decodable(path: Path, shape: Sequence[int], bytes_per_value: int) -> None:
    """Refuse a file whose header promises more than can be decoded at once.

    Args:
        path: The file, for the message.
        shape: How many values it holds, by axis.
        bytes_per_value: That each of them takes in memory.

    Raises:
        DataError: It is more than ``MAX_DECODED_BYTES``.
    """
    num_bytes = math.prod(map(int, shape)) * bytes_per_value
    if num_bytes > MAX_DECODED_BYTES:
        raise DataError(
            f"{path} must decode to at most {MAX_DECODED_BYTES / 1024**3:g} GiB. Its header says "
            f"{' x '.join(map(str, shape))}, {num_bytes / 1024**3:,.1f} GiB. Cut it into tiles, "
            "or remove it if it is damaged"
        )


def require_decodable_picture(path: Path, picture: Image.Image, is_deep: bool) -> None:
    """Refuse a picture that Pillow opened and has not decoded, by its size or as an animation.

    Args:
        path: The file, for the message.
        picture: What Pillow makes of its header.
        is_deep: It has 16 bits where Pillow says 8.

    Raises:
        DataError: It is too large, or moves.
    """
    mode = ImageMode.getmode("RGB" if picture.mode == "P" else picture.mode)
    num_bytes = len(mode.bands) * np.dtype(mode.typestr).itemsize * (1 + is_deep)
    require_decodable(path, (picture.height, picture.width), num_bytes)
    # Phones and drones keep further views behind the first of a JPEG; only the first counts.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise DataError(
            f"{path} must hold one picture. Got an animation. Save the frame you want alone"
        )


def single_page(path: Path, file: tifffile.TiffFile) -> tifffile.TiffPage:
    """The one page of a TIFF; further ones are smaller copies of it, for fast zooming.

    Raises:
        DataError: There are several.
    """
    if len(file.pages) > MAX_TIFF_PAGES or any(
        not (page.keyframe and page.keyframe.is_reduced) for page in file.pages[1:]
    ):
        raise DataError(
            f"{path} must hold one page. Got {len(file.pages)}. Save the page you want alone"
        )
    return file.pages[0].aspage()


def require_decodable_tiff(path: Path, file: tifffile.TiffFile) -> tifffile.TiffPage:
    """Refuse a TIFF of several pages, or that is or unpacks to more than can be decoded at once.

    Returns:
        Its page.

    Raises:
        DataError: It is one of these.
    """
    page = single_page(path, file)
    num_bytes = np.dtype(page.dtype).itemsize * (3 if page.colormap is not None else 1)
    require_decodable(path, page.shape, num_bytes)
    require_honest_tiles(path, file, page)
    return page


def require_honest_tiles(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse a TIFF with a tile whose own header promises more than the tile has room for.

    Raises:
        DataError: There is one, or nobody here knows such headers.
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
        content = segment if isinstance(segment, bytes) else b""  # none where nothing is stored
        try:
            with Image.open(io.BytesIO(content), formats=TILE_FORMATS) as tile:
                size = tile.width * tile.height
        except UnidentifiedImageError:
            continue  # its decoder says what it is
        if size > room:
            raise DataError(
                f"{path} must hold tiles of {width} x {height} pixels. One unpacks to {size:,} "
                "pixels. Restore or remove it"
            )
