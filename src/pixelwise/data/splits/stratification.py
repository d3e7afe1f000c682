"""Dealing groups of images out to parts, so that each part gets its share of every class."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pixelwise.io.arrays import BoolArray


def deal(
    groups: Sequence[Sequence[int]],
    shares: Sequence[float],
    seed: int,
    presence: BoolArray | None = None,
) -> list[int]:
    """Give every group to a part, whole, so that the parts come close to their shares.

    Where the presence of classes is given, the rarest class goes first, and each group that shows
    it to the part that lacks it most. The images as such count as one more class, the last.

    Args:
        groups: Indices of images; every image is in one group.
        shares: The share of the images that each part is to get; they add up to 1. A part with a
            share above 0 gets a group where there are enough.
        seed: Decides between groups that are alike.
        presence: bool (num_images, num_classes): the class is seen in the image; ``None`` looks at
            the numbers of images alone.

    Returns:
        The part of every group, an index into ``shares``.

    Reference:
        Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data (2011),
        algorithm 1, here of groups in place of single examples.
    """
    counts = _counts(groups, presence)
    shuffled = list(range(len(groups)))
    random.Random(seed).shuffle(shuffled)
    waiting = counts.sum(0)
    lacking = np.outer(shares, waiting)
    parts = [-1] * len(groups)
    while waiting[0]:
        there = [label for label in range(1, len(waiting)) if waiting[label]]
        rarest = min(there, key=waiting.__getitem__, default=0)
        showing = [group for group in shuffled if parts[group] < 0 and counts[group, rarest]]
        # The largest first: what is small can still fill the gaps that they leave.
        for group in sorted(showing, key=lambda group: -counts[group, rarest]):
            parts[group] = _neediest(lacking, rarest)
            lacking[parts[group]] -= counts[group]
            waiting -= counts[group]
    return _none_empty(parts, shares, counts[:, 0].tolist())


def _counts(groups: Sequence[Sequence[int]], presence: BoolArray | None) -> npt.NDArray[np.int64]:
    """Images per group, in all and showing each class: int64 (num_groups, 1 + num_classes)."""
    sizes = np.array([[len(group)] for group in groups], np.int64).reshape(-1, 1)
    if presence is None or not groups:
        return sizes
    per_class = [presence[list(group)].sum(0, dtype=np.int64) for group in groups]
    return np.concatenate([sizes, np.stack(per_class)], 1)


def _neediest(lacking: npt.NDArray[np.float64], label: int) -> int:
    """The part that lacks most of a label; of equals most images, then the first."""
    # Rounded, for shares such as 0.15 are not exact and equal needs must be seen to be equal.
    needs = [(round(row[label], 6), round(row[0], 6)) for row in lacking.tolist()]
    return needs.index(max(needs))


def _none_empty(parts: list[int], shares: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Move the smallest groups to parts that went without, where there are enough groups."""
    wanted = [part for part, share in enumerate(shares) if share > 0]
    if len(parts) < len(wanted):
        return parts
    for part in wanted:
        if part not in parts:
            donor = max(wanted, key=parts.count)
            given = min(
                (group for group, owner in enumerate(parts) if owner == donor),
                key=sizes.__getitem__,
            )
            parts[given] = part
    return parts
