"""Serializes decoded samples compactly, with a checksum.

LZ4 was chosen by measurement on one core: it compresses images of nuclei to 0.41 of their size and
those of road scenes to 0.81, masks to 0.05 and 0.07, and decompresses 1.7 to 5 GB/s. Zstandard at
level 1 reaches 0.25, 0.71, 0.02 and 0.03 at 0.9 to 2.4 GB/s, zlib about the same at 0.2 to 1 GB/s.
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

_MAGIC = b"pixelwise sample 2\n"
_LENGTHS = struct.Struct("<II")  # checksum of everything after it, length of the description
_MAX_ARRAY_BYTES = 0x7E000000  # limit of LZ4 for one call
_LZ4_MAX_RATIO = 255

_DTYPES = frozenset({"|u1", "<u2", "<f4"})


def pack(sample: Sample, key: str) -> bytes | None:
    """Serialize a sample without its name, which depends on the record.

    Args:
        sample: The sample.
        key: What the sample was decoded from; see :func:`unpack`.

    Returns:
        The bytes; ``None`` if an array has more than 2 GB or an unknown type.
    """
    import imagecodecs

    described: dict[str, Any] = {"key": key, "label_mode": sample.label_mode}
    parts: list[bytes] = []
    for name, array in (("image", sample.image), ("mask", sample.mask)):
        if array.dtype.str not in _DTYPES or not 0 < array.nbytes <= _MAX_ARRAY_BYTES:
            return None
        parts.append(bytes(imagecodecs.lz4_encode(array.tobytes())))
        described[name] = [array.dtype.str, array.shape, len(parts[-1])]
    description = json.dumps(described).encode()
    content = struct.pack("<I", len(description)) + b"".join((description, *parts))
    return _MAGIC + struct.pack("<I", zlib.crc32(content)) + content


def unpack(packed: bytes, name: str, key: str) -> Sample | None:
    """Deserialize a sample; its arrays are new, contiguous and writable.

    Args:
        packed: The result of :func:`pack`.
        name: The name of the record.
        key: The key with which the sample was packed.

    Returns:
        The sample; ``None`` if the bytes are damaged, of another kind or of another sample.
    """
    content = memoryview(packed)[len(_MAGIC) + 4 :]
    if len(content) < 4 or not packed.startswith(_MAGIC):
        return None
    checksum, length = _LENGTHS.unpack_from(packed, len(_MAGIC))
    if zlib.crc32(content) != checksum:
        return None
    try:
        described = json.loads(bytes(content[4 : 4 + length]))
        if described["key"] != key:  # someone renamed or swapped files of the cache
            return None
        start = 4 + length
        arrays = []
        for part in ("image", "mask"):
            dtype, shape, size = described[part]
            arrays.append(_unpack_array(content[start : start + size], dtype, tuple(shape)))
            start += size
        return Sample(name, arrays[0], arrays[1], described["label_mode"])
    except Exception:  # the checksum is right, so another program wrote these bytes
        return None


def _unpack_array(packed: memoryview, dtype: str, shape: tuple[int, ...]) -> Array:
    import imagecodecs

    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if dtype not in _DTYPES or num_bytes > _LZ4_MAX_RATIO * len(packed):
        raise ValueError("the description does not match the data")
    flat = np.empty(num_bytes, np.uint8)
    if len(imagecodecs.lz4_decode(bytes(packed), out=flat.data)) != num_bytes:
        raise ValueError("the data is too short")
    return flat.view(dtype).reshape(shape)
