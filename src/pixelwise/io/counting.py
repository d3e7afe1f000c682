"""How many pixels of an array of whole numbers hold what."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_PX = 2**18
"""Pixels are worked on in rows of about this many, so that no step takes eight times their
memory."""

SMALL_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Of so few values that a table has room for all."""

Codes = npt.NDArray[np.integer[Any]]
"""What the pixels of a mask store, numbers or colors, of any integer type."""


def blocks(pixels: npt.NDArray[Any]) -> list[slice]:
    """Pixels (H, ...) as slices of whole rows, ``BLOCK_PX`` or one row each."""
    step = max(1, BLOCK_PX * len(pixels) // max(1, pixels.size))
    return [slice(top, top + step) for top in range(0, len(pixels), step)]


def count_values(values: Codes) -> npt.NDArray[np.int64]:
    """How often each number of a small type is held: int64 (256,) or (65536,).

    Args:
        values: Of one of ``SMALL_TYPES``, of any shape; class ids 255 are ignored.
    """
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    for rows in blocks(values):
        counts += np.bincount(values[rows].ravel(), minlength=len(counts))
    return counts


def commonest(codes: Codes, most: int) -> dict[int, int]:
    """The codes that most pixels have, and how many; the most frequent first.

    Args:
        codes: Of any shape.
        most: This many are given at most.
    """
    if codes.dtype in SMALL_TYPES:
        counts = count_values(codes)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(codes, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:most]
    return dict(zip(found[frequent].tolist(), counts[frequent].tolist(), strict=True))
