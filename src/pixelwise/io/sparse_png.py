"""Grayscale PNGs that are black but for one object, read fast: the many small masks of one image.

libpng inflates with zlib, which writes a run of one value piece by piece; zlib-ng fills it at once.
What is black above and below the object then needs no decoder at all, and libpng is given the rows
in between. The 8,485 masks of 180 images of nuclei (2.3 billion pixels, in 4 MB of files) take
1.0 s of one core instead of 8.6 s with Pillow.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from pixelwise.io.arrays import UInt8Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_OVERHEAD = 12  # length, name and checksum around a chunk's data


def read_object_rows(path: Path, rows: UInt8Array) -> tuple[int, UInt8Array] | None:
    """Read the part of a grayscale PNG that holds an object.

    Args:
        path: The mask's file.
        rows: Memory to inflate into, uint8 (H, W + 1) for a mask of H x W; its content is lost.

    Returns:
        The first row of the part and its pixels, uint8 (rows, W); all else is black. ``None``
        where the file is anything but a sound PNG of that size with 8 bits of gray and no
        metadata: :func:`pixelwise.io.images.read_mask_values` reads it, or says what is wrong.
    """
    import imagecodecs

    height, width = rows.shape[0], rows.shape[1] - 1
    flat = rows.reshape(-1)
    try:
        with path.open("rb") as file:
            content = file.read(2 * flat.size + 65536)  # no mask takes more, whatever it claims
        if not content.startswith(_opening(height, width)):
            return None
        packed = _pixel_data(content)
        if packed is None or len(imagecodecs.zlibng_decode(packed, out=flat.data)) != flat.size:
            return None
        first, last = _inked_rows(flat, width + 1)
        if first == last:
            return 0, np.empty((0, width), np.uint8)
        # A row that is filtered against the one above it begins below a black one, as at the top.
        return first, imagecodecs.png_decode(_stored_png(rows[first:last]))
    except Exception:  # decoders raise many kinds; the strict reader finds the words for them
        return None


def _pixel_data(content: bytes) -> bytes | None:
    """The compressed rows of a PNG; ``None`` where it holds more than a header and pixels."""
    parts: list[bytes] = []
    position = len(_opening(0, 0))
    while True:
        length, name = struct.unpack_from(">I4s", content, position)
        if name == b"IEND":
            return b"".join(parts)
        if name != b"IDAT":
            return None
        parts.append(content[position + 8 : position + 8 + length])
        position += length + _CHUNK_OVERHEAD


def _inked_rows(flat: UInt8Array, stride: int) -> tuple[int, int]:
    """The rows from the first to behind the last that holds anything but zeros.

    Args:
        flat: Rows as PNG stores them, each behind the number of its filter, one after the other.
        stride: Bytes of a row.
    """
    words = flat[: flat.size // 8 * 8].view(np.uint64)  # eight at once
    rest = flat[words.size * 8 :]
    inked = words != 0
    begin = int(inked.argmax()) if inked.any() else words.size
    if begin == words.size and not rest.any():
        return 0, 0
    end = flat.size if rest.any() else (inked.size - int(inked[::-1].argmax())) * 8
    return begin * 8 // stride, min(-(-end // stride), flat.size // stride)


def _stored_png(rows: UInt8Array) -> bytes:
    """A PNG of filtered rows, with nothing compressed."""
    pixel_data = _chunk(b"IDAT", zlib.compress(rows.tobytes(), level=0))
    return _opening(rows.shape[0], rows.shape[1] - 1) + pixel_data + _chunk(b"IEND", b"")


def _opening(height: int, width: int) -> bytes:
    """How a PNG of that size with 8 bits of gray, not interlaced, begins."""
    header = struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header)


def _chunk(name: bytes, data: bytes) -> bytes:
    content = name + data
    return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))
