"""A decoded sample as one compact piece of bytes, which is checked when it is read back.

LZ4 was chosen by measurement, on one core: pictures of nuclei shrink to 0.41 of their size and
those of road scenes to 0.81, masks to 0.05 and 0.07, and come back at 1.7 to 5 GB/s. Zstandard at
level 1 gives 0.25, 0.71, 0.02 and 0.03 at 0.9 to 2.4 GB/s, zlib about the same size at 0.2 to 1.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

import numpy as np

from pixelwise.data.sample import Sample
from pixelwise.io.arrays import Array

_MAGIC = b"pixelwise sample\n"
_LENGTHS = struct.Struct("<II")  # checksum of all that follows it, length of the description
_MAX_ARRAY_BYTES = 0x7E000000  # what LZ4 takes at once
_LZ4_MAX_RATIO = 255

_DTYPES = frozenset({"|u1", "<u2", "<f4"})


def pack(sample: Sample) -> bytes | None:
    """A sample without its name, which is that of whatever record it is read for.

    Returns:
        The bytes; ``None`` where it holds arrays of more than 2 GB or of an unknown type.
    """
    import imagecodecs

    described: dict[str, Any] = {"label_mode": sample.label_mode}
    parts: list[bytes] = []
    for name, array in (("image", sample.image), ("mask", sample.mask)):
        if array.dtype.str not in _DTYPES or not 0 < array.nbytes <= _MAX_ARRAY_BYTES:
            return None
        parts.append(bytes(imagecodecs.lz4_encode(array.tobytes())))
        described[name] = [array.dtype.str, array.shape, len(parts[-1])]
    description = json.dumps(described).encode()
    content = struct.pack("<I", len(description)) + b"".join((description, *parts))
    return _MAGIC + struct.pack("<I", zlib.crc32(content)) + content


def unpack(packed: bytes, name: str) -> Sample | None:
    """Read a sample back; its arrays are new, in one piece and writable.

    Args:
        packed: What :func:`pack` gave.
        name: The name of the record.

    Returns:
        The sample; ``None`` where the bytes are damaged or of another kind.
    """
    content = memoryview(packed)[len(_MAGIC) + 4 :]
    if len(content) < 4 or not packed.startswith(_MAGIC):
        return None
    checksum, length = _LENGTHS.unpack_from(packed, len(_MAGIC))
    if zlib.crc32(content) != checksum:
        return None
    try:
        described = json.loads(bytes(content[4 : 4 + length]))
        start = 4 + length
        arrays = []
        for part in ("image", "mask"):
            dtype, shape, size = described[part]
            arrays.append(_unpack_array(content[start : start + size], dtype, tuple(shape)))
            start += size
        return Sample(name, arrays[0], arrays[1], described["label_mode"])
    except Exception:  # the checksum holds, so whoever wrote it was no pixelwise
        return None


def _unpack_array(packed: memoryview, dtype: str, shape: tuple[int, ...]) -> Array:
    import imagecodecs

    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if dtype not in _DTYPES or num_bytes > _LZ4_MAX_RATIO * len(packed):
        raise ValueError("the description does not fit the data")
    flat = np.empty(num_bytes, np.uint8)
    if len(imagecodecs.lz4_decode(bytes(packed), out=flat.data)) != num_bytes:
        raise ValueError("the data are short")
    return flat.view(dtype).reshape(shape)
