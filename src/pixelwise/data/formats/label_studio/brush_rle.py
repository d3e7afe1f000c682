"""Decodes the run lengths of Label Studio's brush, the format ``rle-pack`` of thi.ng/umbrella.

A stream of bits holds the number of values (32 bits), the bits of a value less one (5), and the
bits of four length classes less one (4 each). Then follow blocks: a bit that tells a run from a
list of values, two bits for the class of the length, the length less one, and one value or all
values. The values are the bytes of an RGBA image, whose alpha is the stroke of the brush.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pixelwise.errors import MaskError
from pixelwise.io.arrays import BoolArray

NUM_BYTES = 4
"""Bytes of a pixel: red, green, blue and alpha."""

PAINTED = 128
"""Pixels of at least this alpha are inside; the edge of a stroke may be softer."""


def decode_brush(rle: Sequence[int], size: tuple[int, int], origin: Path) -> BoolArray:
    """Decode the region that a brush painted; the memory in use is bounded by ``size``.

    Args:
        rle: The bytes of the stream.
        size: Height and width of the image.
        origin: The file, for messages.

    Returns:
        bool (H, W).

    Raises:
        MaskError: The stream is damaged, or of an image of another size.
    """
    height, width = size
    num_values = NUM_BYTES * height * width
    try:
        bits = np.unpackbits(np.array(rle, np.uint8))
    except (OverflowError, TypeError, ValueError):
        bits = np.zeros(0, np.uint8)
    reader = _Bits(bits)
    try:
        stated = reader.number(32)
        if stated != num_values:
            raise ValueError(f"{stated} values")
        values = _values(reader, num_values)
    except (IndexError, ValueError) as error:
        raise MaskError(
            f"{origin} must contain brush strokes of {width} x {height} x {NUM_BYTES} = "
            f"{num_values} values. Got {error}. Export the annotation again"
        ) from error
    return np.asarray(values.reshape(height, width, NUM_BYTES)[..., -1] >= PAINTED)


def _values(reader: _Bits, num_values: int) -> npt.NDArray[np.uint8]:
    """Return the values of all blocks, uint8 (N,)."""
    word = reader.number(5) + 1
    if word > 8:
        raise ValueError(f"values of {word} bits")
    lengths = [reader.number(4) + 1 for _ in range(4)]
    values = np.zeros(num_values, np.uint8)
    start = 0
    while start < num_values:
        is_run = reader.number(1)
        stop = start + 1 + reader.number(lengths[reader.number(2)])
        if stop > num_values:
            raise ValueError("more values")
        values[start:stop] = reader.number(word) if is_run else reader.numbers(stop - start, word)
        start = stop
    return values


class _Bits:
    """Reads numbers from bits, the highest bit first.

    Args:
        bits: uint8 (N,), 0 or 1.
    """

    def __init__(self, bits: npt.NDArray[np.uint8]) -> None:
        self._bits = bits
        self._place = 0

    def number(self, num_bits: int) -> int:
        """Return the next number."""
        return int(self.numbers(1, num_bits)[0])

    def numbers(self, count: int, num_bits: int) -> npt.NDArray[np.int64]:
        """Return the next numbers of equal length.

        Raises:
            ValueError: The stream ends before.
        """
        stop = self._place + count * num_bits
        found = self._bits[self._place : stop]
        if len(found) < count * num_bits:
            raise ValueError("a stream that ends early")
        self._place = stop
        powers = np.int64(1) << np.arange(num_bits - 1, -1, -1)
        numbers: npt.NDArray[np.int64] = found.reshape(count, num_bits) @ powers
        return numbers
