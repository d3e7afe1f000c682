"""Guesses the classes of damaged masks from the values or colors that stand out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pixelwise.classes import BACKGROUND_NAMES, IGNORE_INDEX, ClassMap, color_of, numbered_names
from pixelwise.data.masks.coding import hex_of
from pixelwise.data.masks.kinds import black_and_white
from pixelwise.data.sample import Record
from pixelwise.errors import DataError
from pixelwise.io.counting import commonest
from pixelwise.io.images import read_mask_colors, read_mask_values
from pixelwise.io.parallel import in_parallel

CLASS_SHARE = 0.005
"""A value that covers at least this share of all masks may be a class."""

GRAY_DISTANCE, COLOR_DISTANCE = 12.0, 40.0
"""Gray levels, or colors in red, green and blue, that are nearer than this to a more frequent one
count as noise around it."""

EXPLAINED_SHARE = 0.8
"""No guess is made if the likely classes cover less than this share of the masks."""

UNEXPECTED_SHARE, MAX_UNEXPECTED = 0.01, 3
"""Largest share of pixels and largest number of other values in masks with class ids from 0."""

MAX_GUESSED = 32
MAX_CODES = 5000
"""Number of most frequent values or colors that are counted in one mask."""


def guess_class_map(records: Sequence[Record], *, in_color: bool = False) -> ClassMap | None:
    """Guess the classes of masks whose values are not explained by a card or a table.

    Args:
        records: Records with one mask each.
        in_color: Whether the masks are color images.

    Returns:
        Background and foreground for black and white, else one class per value or color; ``None``
        if no values stand out, or the masks cannot be read in this way.
    """
    if any(len(record.masks) != 1 for record in records):
        return None

    def histogram(index: int) -> Counter[int]:
        path = records[index].masks[0]
        try:
            stored = (read_mask_colors if in_color else read_mask_values)(path)
        except DataError:
            return Counter()
        return Counter(commonest(stored, MAX_CODES))

    total: Counter[int] = Counter()
    for counts in in_parallel(histogram, len(records)):
        total.update(counts)
        total = Counter(dict(total.most_common(10 * MAX_CODES)))
    if not in_color and (last := _last_counted(total)) is not None:
        return ClassMap.build(numbered_names(last + 1))
    codes = _outstanding(total, in_color=in_color)
    if not codes or (not in_color and not 0 <= codes[0] <= codes[-1] <= 255):
        return None
    if in_color:
        colors = [color_of(code) for code in codes]
        names = [hex_of(color) if any(color) else BACKGROUND_NAMES[0] for color in colors]
        return ClassMap.build(names, colors=colors)
    if codes == [0, 255]:
        return black_and_white()
    names = [f"gray-{code}" if code else BACKGROUND_NAMES[0] for code in codes]
    return ClassMap.build(names, values=codes, ignore=() if 255 in codes else (255,))


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


def _outstanding(counts: Counter[int], *, in_color: bool) -> list[int]:
    """Return codes that are frequent, far apart, and account for most of the pixels near them."""
    total = counts.total()
    if not total:
        return []
    codes = np.array([code for code, _ in counts.most_common()], np.int64)
    held = np.array([count for _, count in counts.most_common()], np.int64)
    places = _places(codes, in_color=in_color)
    reach = COLOR_DISTANCE if in_color else GRAY_DISTANCE
    nearest = np.full(len(codes), np.inf)
    chosen: list[int] = []
    for index in np.flatnonzero(held >= CLASS_SHARE * total).tolist():
        if nearest[index] >= reach and len(chosen) <= MAX_GUESSED:
            chosen.append(index)
            nearest = np.minimum(nearest, np.linalg.norm(places - places[index], axis=1))
    # In continuous gray, even the most frequent levels account for little of their surroundings.
    explained = held[nearest < reach].sum()
    is_clear = held[chosen].sum() >= EXPLAINED_SHARE * explained >= EXPLAINED_SHARE**2 * total
    is_guess = chosen and len(chosen) <= MAX_GUESSED and is_clear
    return sorted(codes[chosen].tolist()) if is_guess else []


def _places(codes: npt.NDArray[np.int64], *, in_color: bool) -> npt.NDArray[np.float64]:
    """Return the codes as points: on the gray axis or in RGB space."""
    planes = [codes >> 16, codes >> 8 & 255, codes & 255] if in_color else [codes]
    return np.stack(planes, -1).astype(np.float64)
