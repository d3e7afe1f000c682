"""Decodes and encodes the run lengths in which COCO and CVAT store bitmaps.

A region is stored as the lengths of its runs of equal pixels, row by row (CVAT) or column by column
(COCO). The first run is outside the region, and has length 0 if the first pixel is inside. COCO
stores the lengths as a list or packed into text.

pycocotools encodes regions, but decoding is done here: for run lengths that do not fill the image,
pycocotools returns uninitialized memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_masks

from pixelwise.errors import MaskError
from pixelwise.io.arrays import BoolArray

Order = Literal["rows", "columns"]
"""``rows``: row by row. ``columns``: column by column."""

Counts = npt.NDArray[np.int64]
"""Run lengths in pixels, int64 (N,)."""

FIRST_CHARACTER = 48
"""COCO's text holds 6 bits per character: 5 of the number, and one that marks a continuation."""

MAX_CHARACTERS = 7
"""Largest number of characters per number; enough for runs of 17 billion pixels."""


def decode_runs(
    counts: Sequence[int] | Counts, size: tuple[int, int], order: Order, origin: Path
) -> BoolArray:
    """Decode run lengths; the memory in use is bounded by ``size`` and ``counts``.

    Args:
        counts: Lengths of runs outside and inside, alternating, starting outside.
        size: Height and width of the region; the runs must fill it exactly.
        order: Direction of the runs.
        origin: The file with the run lengths, for messages.

    Returns:
        bool (H, W).

    Raises:
        MaskError: A length is negative, or their sum is not the number of pixels.
    """
    num_pixels = size[0] * size[1]
    try:
        runs = np.asarray(counts, np.int64).reshape(-1)
    except (OverflowError, TypeError, ValueError):  # beyond 64 bits, or not a number
        runs = np.array([-1], np.int64)
    # Each length is compared with the size first, so that the sum cannot overflow.
    is_possible = not ((runs < 0).any() or (runs > num_pixels).any())
    if not is_possible or runs.sum() != num_pixels:
        got = f"{runs.sum()} pixels" if is_possible else "an invalid length"
        raise MaskError(
            f"{origin} must contain run lengths that fill {size[1]} x {size[0]} = {num_pixels} "
            f"pixels. Got {got}. Export the annotation again"
        )
    inside = np.arange(len(runs)) % 2 == 1
    flat = np.repeat(inside, runs)
    return flat.reshape(size) if order == "rows" else flat.reshape(size[::-1]).T


def encode_runs(region: BoolArray, order: Order) -> list[int]:
    """Encode a region as run lengths, as the inverse of :func:`decode_runs`.

    Args:
        region: bool (H, W).
        order: Direction of the runs.
    """
    text = pack_region(region if order == "columns" else region.T)
    counts: list[int] = unpack_counts(text, Path("region")).tolist()
    return counts


def pack_region(region: BoolArray) -> str:
    """Encode a region, bool (H, W), as COCO's text of packed run lengths, by columns."""
    # Copied once in column order; viewing bool as bytes needs no further copy.
    by_columns = np.asfortranarray(region).view(np.uint8)
    text: bytes = coco_masks.encode(by_columns)["counts"]
    return text.decode("ascii")


def unpack_counts(text: str, origin: Path) -> Counts:
    """Unpack the run lengths in COCO's text.

    Each number is split into groups of 5 bits, the lowest first, with the sign in the highest
    group; from the fourth number on, the difference to the number two before it is stored.

    Raises:
        MaskError: The text is truncated, or holds an invalid character or a too long number.
    """
    codes = (
        np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        - FIRST_CHARACTER
    )
    if not len(codes):
        return np.zeros(0, np.int64)
    is_last = codes & 32 == 0
    ends = np.flatnonzero(is_last)
    if (codes < 0).any() or (codes > 63).any() or not is_last[-1]:
        raise MaskError(
            f"{origin} must contain run lengths as COCO packs them. Got a text with invalid "
            f"characters or without an end, {text[:20]!r}. Export the annotation again"
        )
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        raise MaskError(
            f"{origin} must contain run lengths of at most {MAX_CHARACTERS} characters. "
            f"Got one of {lengths.max()}. Export the annotation again"
        )
    place = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << place, starts)
    is_negative = codes[ends] & 16 != 0
    numbers -= np.where(is_negative, np.int64(1) << (5 * lengths), 0)
    # Undo the differences by separate sums of the odd and the even positions.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
