"""Distributes groups of images so that each part gets its share of every class."""

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
    """Assign every group as a whole to a part so that the parts come close to their shares.

    With ``presence``, the rarest class is assigned first: each group that shows it goes to the part
    that lacks it most. The total number of images counts as one more class, the last one.

    Args:
        groups: Indices of images; every image is in one group.
        shares: Requested share of the images for each part; they add up to 1. A part with a share
            above 0 gets a group if there are enough.
        seed: Decides between equal groups.
        presence: bool (num_images, num_classes): whether the image shows the class; ``None`` only
            uses the numbers of images.

    Returns:
        The part of every group, an index into ``shares``.

    Reference:
        Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data (2011),
        algorithm 1, applied to groups instead of single examples.
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
        # The largest groups first: small ones can still fill the remaining gaps.
        for group in sorted(showing, key=lambda group: -counts[group, rarest]):
            parts[group] = _neediest(lacking, rarest)
            lacking[parts[group]] -= counts[group]
            waiting -= counts[group]
    return _none_empty(parts, shares, counts[:, 0].tolist())


def _counts(groups: Sequence[Sequence[int]], presence: BoolArray | None) -> npt.NDArray[np.int64]:
    """Count the images per group, in total and by class: int64 (num_groups, 1 + num_classes)."""
    sizes = np.array([[len(group)] for group in groups], np.int64).reshape(-1, 1)
    if presence is None or not groups:
        return sizes
    per_class = [presence[list(group)].sum(0, dtype=np.int64) for group in groups]
    return np.concatenate([sizes, np.stack(per_class)], 1)


def _neediest(lacking: npt.NDArray[np.float64], label: int) -> int:
    """Return the part that lacks most of a label; ties: most images, then the first part."""
    # Rounded, because shares such as 0.15 are not exact and ties would not be recognized.
    needs = [(round(row[label], 6), round(row[0], 6)) for row in lacking.tolist()]
    return needs.index(max(needs))


def _none_empty(parts: list[int], shares: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Move the smallest groups to empty parts, if there are enough groups."""
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
