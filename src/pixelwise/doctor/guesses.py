"""Guesses the classes of damaged masks from the values or colors that stand out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pixelwise.classes import IGNORE_INDEX, ClassMap, numbered_names
from pixelwise.data.masks.smoothed import count_stored, smoothed_classes
from pixelwise.data.sample import Record

UNEXPECTED_SHARE, MAX_UNEXPECTED = 0.01, 3
"""Largest share of pixels and largest number of other values in masks with class ids from 0."""


def guess_class_map(records: Sequence[Record], *, in_color: bool = False) -> ClassMap | None:
    """Guess the classes of masks whose values are not explained by a card or a table.

    Args:
        records: Records with one mask each.
        in_color: Whether the masks are color images.

    Returns:
        Background and foreground for black and white, else one class per value or color; ``None``
        if no values stand out, or the masks cannot be read in this way.
    """
    if any(len(record.masks) > 1 for record in records):
        return None

    total = count_stored(records, in_color=in_color)
    if not in_color and (last := _last_counted(total.counts)) is not None:
        return ClassMap.build(numbered_names(last + 1))
    found = smoothed_classes(total, in_color=in_color)
    return found.class_map if found else None


def _last_counted(counts: Counter[int]) -> int | None:
    """Return the largest id of masks with class ids from 0 and hardly any other value."""
    labeled = Counter({code: count for code, count in counts.items() if code != IGNORE_INDEX})
    last = 0
    while labeled.get(last + 1) or labeled.get(last + 2):  # one id may be missing
        last += 1 if labeled.get(last + 1) else 2
    beyond = sum(count for code, count in labeled.items() if not 0 <= code <= last)
    is_counted = last > 0 and 0 < beyond <= UNEXPECTED_SHARE * labeled.total()
    num_beyond = sum(not 0 <= code <= last for code in labeled)
    return last if is_counted and num_beyond <= MAX_UNEXPECTED else None
