"""Run lengths to regions and back: how COCO and CVAT store bitmaps.

A region is written as the lengths of its runs of equal pixels, taken row by row (CVAT) or column by
column (COCO). The first run is outside the region, and has the length 0 where the first pixel is
inside. COCO's files hold the lengths as a list or packed into text.

Regions are written by pycocotools. They are read here: of run lengths that do not fill the image,
pycocotools leaves the rest of the memory as it was, and shows what somebody else left in it.
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
"""``rows``: along the first row, then the second. ``columns``: down the first column first."""

Counts = npt.NDArray[np.int64]
"""Run lengths in pixels, int64 (N,)."""

FIRST_CHARACTER = 48
"""COCO's text holds 6 bits per character: 5 of the number, then one that says more follow."""

MAX_CHARACTERS = 7
"""Characters of one number, which is enough for runs of 17 billion pixels."""


def decode_runs(
    counts: Sequence[int] | Counts, size: tuple[int, int], order: Order, origin: Path
) -> BoolArray:
    """The region of run lengths; no more memory is taken than ``size`` and ``counts`` ask for.

    Args:
        counts: Lengths of runs outside and inside, in turn, the first outside.
        size: Height and width of the region, which the runs have to fill exactly.
        order: The way that the runs go.
        origin: The file that they are from, for messages.

    Returns:
        bool (H, W).

    Raises:
        MaskError: A length is negative, or together they are not as many as there are pixels.
    """
    num_pixels = size[0] * size[1]
    try:
        runs = np.asarray(counts, np.int64).reshape(-1)
    except (OverflowError, TypeError, ValueError):  # a number beyond 64 bits, or none at all
        runs = np.array([-1], np.int64)
    # Each is held against the size first, so that the sum cannot overflow.
    is_possible = not ((runs < 0).any() or (runs > num_pixels).any())
    if not is_possible or runs.sum() != num_pixels:
        got = f"{runs.sum()} pixels" if is_possible else "a length that is none"
        raise MaskError(
            f"{origin} must hold run lengths that fill {size[1]} x {size[0]} = {num_pixels} "
            f"pixels. Got {got}. Export the annotation again"
        )
    inside = np.arange(len(runs)) % 2 == 1
    flat = np.repeat(inside, runs)
    return flat.reshape(size) if order == "rows" else flat.reshape(size[::-1]).T


def encode_runs(region: BoolArray, order: Order) -> list[int]:
    """The run lengths of a region, which :func:`decode_runs` reads back.

    Args:
        region: bool (H, W).
        order: The way that the runs go.
    """
    text = pack_region(region if order == "columns" else region.T)
    counts: list[int] = unpack_counts(text, Path("region")).tolist()
    return counts


def pack_region(region: BoolArray) -> str:
    """A region, bool (H, W), as the text into which COCO packs its run lengths, by columns."""
    # A copy by columns; as bytes, which are the same for bool and need no second one.
    by_columns = np.asfortranarray(region).view(np.uint8)
    text: bytes = coco_masks.encode(by_columns)["counts"]
    return text.decode("ascii")


def unpack_counts(text: str, origin: Path) -> Counts:
    """Read the run lengths that COCO packs into text.

    Each number is cut into groups of 5 bits, the lowest first, and the sign is that of the highest
    group; from the fourth number on it is the difference to the last but one.

    Raises:
        MaskError: The text is cut off, holds a foreign character, or a number that is too long.
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
            f"{origin} must hold run lengths as COCO packs them. Got a text with foreign "
            f"characters or without an end, {text[:20]!r}. Export the annotation again"
        )
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        raise MaskError(
            f"{origin} must hold run lengths of at most {MAX_CHARACTERS} characters. "
            f"Got one of {lengths.max()}. Export the annotation again"
        )
    place = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << place, starts)
    is_negative = codes[ends] & 16 != 0
    numbers -= np.where(is_negative, np.int64(1) << (5 * lengths), 0)
    # Differences to the last but one: two sums that run beside each other, from 1 and from 2 on.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
