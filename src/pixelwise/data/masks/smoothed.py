"""Finds the classes of masks that were smoothed, scaled or saved as JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.classes import BACKGROUND_NAMES, ClassMap, Unexpected, color_of, gray_name
from pixelwise.data.masks.coding import hex_of
from pixelwise.data.masks.kinds import black_and_white
from pixelwise.data.sample import Record
from pixelwise.errors import DataError
from pixelwise.io.images import read_mask_colors, read_mask_values
from pixelwise.io.modes import ValueCounts, clear_modes, distance_to
from pixelwise.io.parallel import in_parallel

MAX_CODES = 5000
"""Number of most frequent values or colors that are counted in one mask."""


@dataclass(frozen=True)
class Smoothed:
    """The classes of masks of which some pixels lie between the values of the classes.

    Attributes:
        class_map: One class per value that stands out.
        num_between: Number of pixels with another value.
        share: Their share of all pixels.
        largest_distance: The largest distance of such a value from the nearest class: gray levels,
            or a distance in red, green and blue.
    """

    class_map: ClassMap
    num_between: int
    share: float
    largest_distance: float

    def in_words(self, rule: Unexpected) -> str:
        """Return what becomes of the other pixels, as text for the user."""
        done = "are ignored" if rule == "ignore" else "get the nearest class"
        return (
            f"the masks are smoothed: {self.num_between:,} pixels ({self.share:.2%}) have other "
            f"values, up to {self.largest_distance:.0f} away, and {done}; choose with `unexpected`"
        )


def count_stored(records: Sequence[Record], *, in_color: bool) -> ValueCounts:
    """Count the stored values or colors of all masks; those that cannot be read are left out."""

    def values_of(index: int) -> ValueCounts:
        counted = ValueCounts()
        for path in records[index].masks:
            try:
                stored = (read_mask_colors if in_color else read_mask_values)(path)
            except DataError:
                continue
            counted.update(ValueCounts.of(stored, MAX_CODES), MAX_CODES)
        return counted

    total = ValueCounts()
    for values in in_parallel(values_of, len(records)):
        total.update(values, 10 * MAX_CODES)
    return total


def smoothed_classes(values: ValueCounts, *, in_color: bool) -> Smoothed | None:
    """Return the classes of smoothed masks; ``None`` if it is not clear what they are."""
    codes = clear_modes(values, in_color=in_color)
    if len(codes) < 2 or (not in_color and not 0 <= codes[0] <= codes[-1] <= 255):
        return None
    held = np.array(list(values.counts.values()), np.int64)
    distances = distance_to(codes, list(values.counts), in_color=in_color)
    num_between = int(held[distances > 0].sum())
    return Smoothed(
        class_map_of(codes, in_color=in_color),
        num_between,
        num_between / int(held.sum()),
        float(distances.max()),
    )


def class_map_of(codes: Sequence[int], *, in_color: bool) -> ClassMap:
    """Make a class map with a class per value or color, named after it."""
    if in_color:
        colors = [color_of(code) for code in codes]
        names = [hex_of(color) if any(color) else BACKGROUND_NAMES[0] for color in colors]
        return ClassMap.build(names, colors=colors)
    if list(codes) == [0, 255]:
        return black_and_white()
    names = [gray_name(code) for code in codes]
    return ClassMap.build(names, values=codes, ignore=() if 255 in codes else (255,))
