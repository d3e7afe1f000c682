"""Divides one scene into spatial blocks for train, val and test, with gaps between them."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.io.arrays import BoolArray, Window

NUM_ARRANGEMENTS = 256
"""Number of arrangements of blocks from which the best one is taken."""

MAX_BLOCKS = 4
"""Largest number of blocks of one split: more of them represent a large scene better."""

MIN_BLOCK_GAPS = 4
"""A split gets a further block only if the side of each is at least this many gaps."""

MIN_SIDE_PX = 64
"""Narrower parts of the training area are left out, unless the scene itself is narrow."""

TRIES = 20
"""Number of places that are tried for one block."""

ASPECTS = (0.5, 0.75, 1.0, 4 / 3, 2.0)
"""Height of a block divided by its width."""

LOST_WEIGHT = 2.0
"""Weight of the share of the scene that is lost, relative to the balance of the classes."""

TRAIN = 0
"""The number of the training split; val is 1 and test 2."""

Area = tuple[int, Window]
"""The number of a split and one of its rectangles."""

Edges = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The division of one scene.

    Attributes:
        size: Height and width of the scene.
        areas: The rectangles of train, val and test; none of them overlap, and rectangles of
            different splits are at least a gap apart.
    """

    size: tuple[int, int]
    areas: tuple[tuple[Window, ...], tuple[Window, ...], tuple[Window, ...]]

    @property
    def lost_share(self) -> float:
        """Share of the pixels of the scene that are in no split."""
        used = sum(area[2] * area[3] for areas in self.areas for area in areas)
        return 1 - used / math.prod(self.size)


class ClassSums:
    """Counts the pixels of each class in any rectangle of a scene, from a shrunk mask.

    Args:
        planes: bool (K, h, w): where each class is.
        step: Every pixel of the planes stands for this many pixels a side of the scene.
    """

    def __init__(self, planes: BoolArray, step: int) -> None:
        self._step = step
        sums = planes.cumsum(1, dtype=np.int32).cumsum(2, dtype=np.int32)
        self._sums = np.pad(sums, ((0, 0), (1, 0), (1, 0)))

    def in_grid(self, rows: Edges, columns: Edges) -> npt.NDArray[np.int64]:
        """Return the counts between neighboring edges: int64 (K, len(rows)-1, len(columns)-1)."""
        height, width = self._sums.shape[1] - 1, self._sums.shape[2] - 1
        at = np.clip(np.round(rows / self._step).astype(np.int64), 0, height)
        across = np.clip(np.round(columns / self._step).astype(np.int64), 0, width)
        corners = self._sums[:, at][:, :, across].astype(np.int64)
        return np.diff(np.diff(corners, axis=1), axis=2)


def divide(
    size: tuple[int, int],
    shares: Sequence[float],
    gap: int,
    seed: int | str,
    sums: ClassSums | None = None,
) -> Layout | None:
    """Divide a scene into blocks; of many arrangements, the one that balances the classes best.

    Validation and test get rectangles, and training the rest of the scene beyond the gap around
    them.

    Args:
        size: Height and width of the scene.
        shares: Shares of train, val and test.
        gap: Smallest distance in pixels between two splits, in rows or in columns.
        seed: The same seed gives the same blocks.
        sums: The classes of the scene; ``None`` balances nothing.

    Returns:
        The division; ``None`` if the scene is too small for the gaps.
    """
    best, lowest = None, math.inf
    for number in range(NUM_ARRANGEMENTS):
        draw = random.Random(f"blocks {seed} {number}")
        blocks = _draw_blocks(size, shares, gap, draw)
        if blocks is None:
            continue
        grid = _Grid.of(size, blocks, gap)
        cost = grid.cost(shares, sums)
        if cost < lowest:
            best, lowest = grid, cost
    if best is None:
        strips = _strips(size, shares, gap)
        if strips is None:
            return None
        best = _Grid.of(size, strips, gap)
    least_px = min(MIN_SIDE_PX, max(1, min(size) // 4))
    train = tuple(_rectangles(best.rows, best.columns, best.owner == 0, least_px))
    if not train:
        return None
    placed = _grown([*((TRAIN, area) for area in train), *best.blocks], size, gap)
    train, val, test = (
        tuple(area for part, area in placed if part == wanted) for wanted in range(len(shares))
    )
    return Layout(size, (train, val, test))


def _grown(areas: Sequence[Area], size: tuple[int, int], gap: int) -> list[Area]:
    """Let the blocks of val and test grow into strips that are too narrow for training."""
    placed = list(areas)
    for number, (part, area) in enumerate(placed):
        if part == TRAIN:
            continue
        others = [placed[at] for at in range(len(placed)) if at != number]
        for side in range(4):
            fits = [_extended(area, side, more) for more in range(1, MIN_SIDE_PX + 1)]
            # What is too large stays too large, so that a binary search finds the last one.
            count = bisect.bisect_left(
                [not _fits(part, one, others, size, gap) for one in fits], True
            )
            area = fits[count - 1] if count else area
        placed[number] = part, area
    return placed


def _extended(area: Window, side: int, more: int) -> Window:
    """Return a rectangle moved out at one side: top, left, bottom or right."""
    top, left, height, width = area
    return (
        (top - more, left, height + more, width),
        (top, left - more, height, width + more),
        (top, left, height + more, width),
        (top, left, height, width + more),
    )[side]


def _fits(part: int, area: Window, others: Sequence[Area], size: tuple[int, int], gap: int) -> bool:
    return _widened(area, 0, size) == area and _is_free(part, area, others, gap)


def _is_free(part: int, area: Window, others: Sequence[Area], gap: int) -> bool:
    """Whether a rectangle is a gap away from other splits, and overlaps nothing of its own."""
    return all(distance(area, other) >= (gap if owner != part else 0) for owner, other in others)


def _draw_blocks(
    size: tuple[int, int], shares: Sequence[float], gap: int, draw: random.Random
) -> list[Area] | None:
    """Draw the blocks of val and test; ``None`` if there was no room for one of them."""
    placed: list[Area] = []
    for part, share in enumerate(shares):
        if part == TRAIN or share <= 0:
            continue
        # The gaps take some of the scene, of which every split loses its share.
        pixels = share * math.prod(size) * 0.93
        most = int(pixels / (MIN_BLOCK_GAPS * max(gap, 1)) ** 2)
        count = max(1, min(MAX_BLOCKS, most))
        for _ in range(count):
            block = _place(part, pixels / count, size, gap, placed, draw)
            if block is None:
                return None
            placed.append((part, block))
    return placed


def _place(
    part: int,
    pixels: float,
    size: tuple[int, int],
    gap: int,
    placed: Sequence[Area],
    draw: random.Random,
) -> Window | None:
    """Draw a free place for a block of some pixels, often at an edge, where gaps cost less."""
    for _ in range(TRIES):
        height = min(size[0], max(1, round(math.sqrt(pixels * draw.choice(ASPECTS)))))
        width = min(size[1], max(1, round(pixels / height)))
        height = min(size[0], max(1, round(pixels / width)))
        top, left = (
            draw.choice((0, rest, draw.randint(0, rest)))
            for rest in (size[0] - height, size[1] - width)
        )
        block = (top, left, height, width)
        if _is_free(part, block, placed, gap):
            return block
    return None


def distance(one: Window, other: Window) -> int:
    """Return the pixels between two rectangles, along rows or columns; -1 if they overlap."""
    gaps = [
        max(one[axis] - other[axis] - other[axis + 2], other[axis] - one[axis] - one[axis + 2])
        for axis in (0, 1)
    ]
    return max(*gaps, -1)


def _strips(size: tuple[int, int], shares: Sequence[float], gap: int) -> list[Area] | None:
    """Return blocks as wide as the scene, one beside the other, for scenes that are narrow."""
    axis = 0 if size[0] >= size[1] else 1
    parts = [part for part, share in enumerate(shares) if part != TRAIN and share > 0]
    room = size[axis] - gap * len(parts)
    lengths = [int(room * shares[part]) for part in parts]
    if min(room - sum(lengths), *lengths) < 1:
        return None
    blocks: list[Area] = []
    end = size[axis]
    for part, length in zip(parts, lengths, strict=True):
        start = end - length
        block = (start, 0, length, size[1]) if axis == 0 else (0, start, size[0], length)
        blocks.append((part, block))
        end = start - gap
    return blocks


@dataclass(frozen=True)
class _Grid:
    """A scene cut along the edges of all blocks and of the gaps around them.

    Attributes:
        rows: Edges, from 0 to the height.
        columns: Edges, from 0 to the width.
        owner: int8 (R, C): 0 train, 1 val, 2 test, -1 for a gap.
        blocks: The rectangles of val and test.
    """

    rows: Edges
    columns: Edges
    owner: npt.NDArray[np.int8]
    blocks: Sequence[Area]

    @classmethod
    def of(cls, size: tuple[int, int], blocks: Sequence[Area], gap: int) -> _Grid:
        """Cut a scene along the edges of some blocks."""
        outer = [_widened(block, gap, size) for _, block in blocks]
        every = [block for _, block in blocks] + outer
        rows, columns = (
            np.unique([0, size[axis], *itertools.chain.from_iterable(
                (block[axis], block[axis] + block[axis + 2]) for block in every
            )])
            for axis in (0, 1)
        )  # fmt: skip
        owner = np.zeros((len(rows) - 1, len(columns) - 1), np.int8)
        for index, block in [*((-1, block) for block in outer), *blocks]:
            owner[_place_in(rows, columns, block)] = index
        return cls(rows, columns, owner, blocks)

    def cost(self, shares: Sequence[float], sums: ClassSums | None) -> float:
        """Return how far the splits are from their shares of every class; less is better."""
        areas = np.outer(np.diff(self.rows), np.diff(self.columns))
        counts = areas[None]
        if sums is not None:
            counts = np.concatenate([counts, sums.in_grid(self.rows, self.columns)])
        parts = [part for part, share in enumerate(shares) if share > 0]
        found = np.stack([counts[:, self.owner == part].sum(1) for part in parts], 1)
        used = found.sum(1)
        wanted = np.array([shares[part] for part in parts])
        there = used > 0
        off = np.abs(found[there] / used[there, None] - wanted).sum(1)
        # A class that a split lacks can be neither learned nor measured there.
        lacking = (found[there] == 0).sum(1)
        lost = 1 - used[0] / areas.sum()
        return float((off + lacking).mean() + LOST_WEIGHT * lost)


def _widened(block: Window, gap: int, size: tuple[int, int]) -> Window:
    """Return a block with the gap around it, inside the scene."""
    top, left = max(0, block[0] - gap), max(0, block[1] - gap)
    bottom = min(size[0], block[0] + block[2] + gap)
    right = min(size[1], block[1] + block[3] + gap)
    return top, left, bottom - top, right - left


def _place_in(rows: Edges, columns: Edges, block: Window) -> tuple[slice, slice]:
    top, bottom = np.searchsorted(rows, (block[0], block[0] + block[2])).tolist()
    left, right = np.searchsorted(columns, (block[1], block[1] + block[3])).tolist()
    return slice(top, bottom), slice(left, right)


def _rectangles(rows: Edges, columns: Edges, free: BoolArray, min_px: int) -> Iterator[Window]:
    """Yield the largest rectangle of a free area, then that of what is left, and so on."""
    free = free.copy()
    while free.any():
        top, bottom, left, right = _largest(rows, columns, free, min_px)
        if bottom == top:
            return
        free[top:bottom, left:right] = False
        row, column = int(rows[top]), int(columns[left])
        yield row, column, int(rows[bottom]) - row, int(columns[right]) - column


def _largest(
    rows: Edges, columns: Edges, free: BoolArray, min_px: int
) -> tuple[int, int, int, int]:
    """Return the edges of the largest free rectangle of at least ``min_px`` a side."""
    best, most = (0, 0, 0, 0), 0
    for top in range(len(free)):
        is_free = np.ones(free.shape[1], np.bool_)
        for bottom in range(top + 1, len(free) + 1):
            is_free &= free[bottom - 1]
            if not is_free.any():
                break
            height = int(rows[bottom] - rows[top])
            if height < min_px:
                continue
            for left, right in _runs(is_free):
                width = int(columns[right] - columns[left])
                if width >= min_px and width * height > most:
                    best, most = (top, bottom, left, right), width * height
    return best


def _runs(is_free: BoolArray) -> list[tuple[int, int]]:
    """Return the start and the end of each run of True."""
    changes = np.flatnonzero(np.diff(np.pad(is_free, 1).astype(np.int8))).tolist()
    return list(zip(changes[::2], changes[1::2], strict=True))
