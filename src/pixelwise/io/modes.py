"""Finds the few values of an array that stand out, such as the levels of a smoothed mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from pixelwise.io.counting import Codes, commonest

MODE_SHARE, OTHER_SHARE = 0.0005, 0.01
"""A mode has at least this share of all flat pixels, and of those that do not have the most
frequent value: objects may cover little of a picture, and all of their levels have to be found."""

GRAY_DISTANCE, COLOR_DISTANCE = 12.0, 40.0
"""Gray levels, or colors in red, green and blue, that are nearer than this to a more frequent one
count as noise around it."""

GRAY_NOISE, COLOR_NOISE = 4.0, 16.0
"""Values this near to a mode are as good as equal to it; JPEG alters them by so much."""

CLEAR_SHARE = 0.3
"""Of the pixels outside the most frequent mode, at least this share is as good as equal to another
mode; the others are smoothed edges."""

EXPLAINED_SHARE = 0.8
"""Nothing stands out if the modes cover less than this share of the pixels near them."""

RIVAL_SHARE = 0.2
"""A value far from all modes with this share of the flat pixels of the rarest mode may be one too,
so that nothing is clear."""

MAX_MODES = 32


@dataclass
class ValueCounts:
    """Number of pixels of each value of some pictures.

    Attributes:
        counts: Of all pixels.
        flat: Of those that equal their right and lower neighbor. Smoothed edges are hardly among
            them, even where a straight edge has the same value throughout.
    """

    counts: Counter[int] = field(default_factory=Counter)
    flat: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, codes: Codes, most: int) -> Self:
        """Count the values of one picture.

        Args:
            codes: Gray levels or colors, (H, W).
            most: Number of most frequent values to keep.
        """
        inside = codes[:-1, :-1]
        is_flat = (inside == codes[:-1, 1:]) & (inside == codes[1:, :-1])
        return cls(Counter(commonest(codes, most)), Counter(commonest(inside[is_flat], most)))

    def update(self, others: Self, most: int) -> None:
        """Add the values of another picture, and keep the most frequent ones."""
        for ours, theirs in ((self.counts, others.counts), (self.flat, others.flat)):
            ours.update(theirs)
            for code, _ in ours.most_common()[most:]:
                del ours[code]


def clear_modes(values: ValueCounts, *, in_color: bool) -> list[int]:
    """Return values that are frequent, far apart, and account for most of the pixels near them.

    Args:
        values: Number of pixels of each gray level, or of each color as red * 65536 + green * 256 +
            blue.
        in_color: Whether the values are colors.

    Returns:
        The modes, sorted; empty if nothing stands out, or if it is not clear what does.
    """
    chosen = _chosen(values.flat, in_color=in_color)
    if not chosen:
        return []
    codes = np.array(list(values.counts), np.int64)
    held = np.array(list(values.counts.values()), np.int64)
    reach, noise = (COLOR_DISTANCE, COLOR_NOISE) if in_color else (GRAY_DISTANCE, GRAY_NOISE)
    distances = np.stack(
        [distance_to([mode], codes.tolist(), in_color=in_color) for mode in chosen]
    )
    nearest = distances.min(0)
    amounts = [values.counts[mode] for mode in chosen]
    # In continuous gray, even the most frequent levels account for little of their surroundings.
    explained = held[nearest < reach].sum()
    is_explained = sum(amounts) >= EXPLAINED_SHARE * explained >= EXPLAINED_SHARE**2 * held.sum()
    is_beyond = distances[int(np.argmax(amounts))] > noise
    is_clear = held[is_beyond & (nearest <= noise)].sum() >= CLEAR_SHARE * held[is_beyond].sum()
    return sorted(chosen) if is_explained and is_clear else []


def _chosen(flat: Counter[int], *, in_color: bool) -> list[int]:
    """Return the modes of flat pixels; empty if a rarer value may be one too."""
    if not flat:
        return []
    reach = COLOR_DISTANCE if in_color else GRAY_DISTANCE
    codes = np.array([code for code, _ in flat.most_common()], np.int64)
    held = np.array([count for _, count in flat.most_common()], np.int64)
    least = max(MODE_SHARE * held.sum(), OTHER_SHARE * held[1:].sum())
    places = _places(codes, in_color=in_color)
    nearest = np.full(len(codes), np.inf)
    chosen: list[int] = []
    for index in np.flatnonzero(held >= least).tolist():
        if nearest[index] >= reach:
            chosen.append(index)
            nearest = np.minimum(nearest, np.linalg.norm(places - places[index], axis=1))
            if len(chosen) > MAX_MODES:
                return []
    if not chosen:
        return []
    rivals = held[nearest >= reach]
    has_rival = rivals.size > 0 and rivals.max() >= RIVAL_SHARE * held[chosen].min()
    return [] if has_rival else codes[chosen].tolist()


def distance_to(
    modes: Sequence[int], codes: Sequence[int], *, in_color: bool
) -> npt.NDArray[np.float64]:
    """Return the distance of each code to the nearest mode, float64 (N,)."""
    places = _places(np.array(codes, np.int64), in_color=in_color)
    nearest = np.full(len(codes), np.inf)
    for mode in _places(np.array(modes, np.int64), in_color=in_color):
        nearest = np.minimum(nearest, np.linalg.norm(places - mode, axis=1))
    return nearest


def _places(codes: npt.NDArray[np.int64], *, in_color: bool) -> npt.NDArray[np.float64]:
    """Return the codes as points: on the gray axis or in RGB space."""
    planes = [codes >> 16, codes >> 8 & 255, codes & 255] if in_color else [codes]
    return np.stack(planes, -1).astype(np.float64)
