"""Counts the values in arrays of integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Item = TypeVar("Item")

BLOCK_PX = 2**18
"""Pixels are processed in blocks of rows with about this many pixels, which limits the memory for
intermediate results."""

SMALL_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Types with few enough values for a table of all of them."""

Codes = npt.NDArray[np.integer[Any]]
"""Stored numbers or colors of a mask, of any integer type."""


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most ``count`` evenly spaced items, including the first and the last."""
    last, steps = len(items) - 1, max(1, min(count, len(items)) - 1)
    return [items[round(step * last / steps)] for step in range(min(count, len(items)))]


def blocks(pixels: npt.NDArray[Any]) -> list[slice]:
    """Split pixels (H, ...) into slices of whole rows with about ``BLOCK_PX`` pixels each."""
    step = max(1, BLOCK_PX * len(pixels) // max(1, pixels.size))
    return [slice(top, top + step) for top in range(0, len(pixels), step)]


def count_values(values: Codes) -> npt.NDArray[np.int64]:
    """Count how often each value of a small type occurs: int64 (256,) or (65536,).

    Args:
        values: An array of one of ``SMALL_TYPES``, of any shape.
    """
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    for rows in blocks(values):
        counts += np.bincount(values[rows].ravel(), minlength=len(counts))
    return counts


def commonest(codes: Codes, most: int) -> dict[int, int]:
    """Return the most frequent codes and their numbers of pixels, the most frequent first.

    Args:
        codes: An array of any shape.
        most: Largest number of codes to return.
    """
    if codes.dtype in SMALL_TYPES:
        counts = count_values(codes)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(codes, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:most]
    return dict(zip(found[frequent].tolist(), counts[frequent].tolist(), strict=True))
