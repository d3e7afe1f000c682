"""Segments large images in overlapping tiles that are blended without seams.

One generator serves all images: it needs the rows of one row of tiles at a time and gives finished
parts away, so that neither the image nor its logits have to fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

OVERLAP = 0.25
"""Share of a tile that its neighbor sees too."""

Segment = Callable[[Tensor], Tensor]
"""Maps (N, C, h, w) to logits (N, K, h, w); they are blended on the device where they lie."""


class Part(NamedTuple):
    """A finished rectangle of an image.

    Attributes:
        top: Its first row.
        left: Its first column.
        logits: float32 (K, h, w).
    """

    top: int
    left: int
    logits: Tensor


def tile_starts(length: int, tile: int, overlap: float = OVERLAP) -> list[int]:
    """Where tiles start along one side, evenly spaced, the last one ending at the edge.

    Args:
        length: The side in pixels.
        tile: The tile's side in pixels, at least 1.
        overlap: Smallest share of a tile that the next one covers too, 0 to below 1.
    """
    if length <= tile:
        return [0]
    stride = max(1, int(tile * (1 - overlap)))
    gaps = -(-(length - tile) // stride)
    return [round(index * (length - tile) / gaps) for index in range(gaps + 1)]


def segment_tiled(
    segment: Segment,
    image: Tensor,
    tile: tuple[int, int],
    *,
    overlap: float = OVERLAP,
    batch_size: int = 4,
) -> Tensor:
    """Segment one image in tiles.

    Args:
        segment: The model.
        image: (C, H, W), on any device.
        tile: Height and width of a tile; a side that the image does not reach is not cut.
        overlap: Share of a tile that its neighbor sees too.
        batch_size: Tiles that are segmented at once.

    Returns:
        Logits, float32 (K, H, W), on the device of the tiles' logits: where tiles overlap, their
        mean, weighted toward tile centers.
    """
    height, width = image.shape[-2:]
    total: Tensor | None = None
    for top, left, logits in segment_parts(
        segment,
        lambda start, stop: image[:, start:stop],
        (height, width),
        tile,
        overlap=overlap,
        batch_size=batch_size,
    ):
        if total is None:
            total = logits.new_empty(len(logits), height, width)
        rows, columns = logits.shape[-2:]
        total[:, top : top + rows, left : left + columns] = logits
    assert total is not None
    return total


def segment_parts(
    segment: Segment,
    read_rows: Callable[[int, int], Tensor],
    size: tuple[int, int],
    tile: tuple[int, int],
    *,
    overlap: float = OVERLAP,
    batch_size: int = 4,
    first_row: int = 0,
) -> Iterator[Part]:
    """Segment one image in tiles and give each part away as soon as no further tile touches it.

    What a pixel becomes does not depend on ``first_row``, to the last bit.

    Args:
        segment: The model.
        read_rows: Gives the rows from one to before another, (C, rows, W). It is asked once for
            each row of tiles, from top to bottom; neighbors overlap.
        size: Height and width of the image.
        tile: Height and width of a tile; a side that the image does not reach is not cut.
        overlap: Share of a tile that its neighbor sees too.
        batch_size: Tiles that are segmented at once; they are of one row of tiles.
        first_row: Rows above it are left out.

    Yields:
        Parts that do not overlap, from left to right, then downwards; those of one row of tiles are
        of one height. Where tiles overlap, logits are their mean, weighted toward tile centers.
    """
    height, width = size
    tile_height, tile_width = min(tile[0], height), min(tile[1], width)
    tops, lefts = (
        tile_starts(height, tile_height, overlap),
        tile_starts(width, tile_width, overlap),
    )
    if len(tops) == len(lefts) == 1:  # nothing to blend
        (logits,) = segment(read_rows(0, height)[None])
        yield Part(first_row, 0, logits.float()[:, first_row:])
        return
    row_hill, column_hill = _hill(tile_height), _hill(tile_width)
    row_weights = _summed(row_hill, tops, height)
    column_weights = _summed(column_hill, lefts, width)
    blender = _Blender(row_hill[:, None] * column_hill, lefts, width)
    for top, next_top in pairwise([*tops, height]):
        if top + tile_height <= first_row:
            continue
        rows = read_rows(top, top + tile_height)
        num_done = next_top - top
        tiles = _segmented(segment, rows, lefts, tile_width, batch_size)
        begin = min(max(first_row - top, 0), num_done)
        for left, sums in blender.blend(tiles, num_done):
            if begin < num_done:
                weights = (
                    row_weights[top + begin : next_top, None]
                    * column_weights[left : left + sums.shape[-1]]
                )
                yield Part(top + begin, left, sums[:, begin:] / weights.to(sums.device))


class _Blender:
    """Weighted sums of overlapping tiles; it holds one tile, and what reaches the next row of them.

    Args:
        weight: (h, w) of a tile.
        lefts: Where the tiles of a row start.
        width: Of the image.
    """

    def __init__(self, weight: Tensor, lefts: Sequence[int], width: int) -> None:
        self._weight = weight
        self._ends = [*lefts[1:], width]
        self._width = width
        self._carried: Tensor | None = None
        self._num_carried = 0

    def blend(
        self, tiles: Iterator[tuple[int, Tensor]], num_done: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Add one row of tiles.

        Args:
            tiles: Where each starts, and its logits (K, h, w).
            num_done: Rows that the next row of tiles does not touch.

        Yields:
            Where a part begins, and its sums (K, num_done, columns).
        """
        height, width = self._weight.shape
        right, before = 0, None
        for (left, logits), end in zip(tiles, self._ends, strict=True):
            sums = torch.zeros(logits.shape, device=logits.device)
            self._weight = self._weight.to(logits.device)
            shared = right - left
            if before is not None:
                sums[..., :shared] = before[..., width - shared :]
            if self._carried is not None:
                new = slice(left + shared, left + width)
                sums[:, : self._num_carried, shared:] = self._carried[:, : self._num_carried, new]
            sums += logits * self._weight
            yield left, sums[:, :num_done, : end - left]
            # What lay here has been added: the same rows of memory serve the next row of tiles.
            rest = sums[:, num_done:, : end - left]
            self._room(rest, height - num_done)[..., left:end] = rest
            right, before = left + width, sums
        self._num_carried = height - num_done

    def _room(self, like: Tensor, num_rows: int) -> Tensor:
        """Memory for rows that reach further down, at least as many as there were before."""
        if self._carried is None or self._carried.shape[1] < num_rows:
            grown = like.new_zeros(len(like), num_rows, self._width)
            if self._carried is not None:
                grown[:, : self._carried.shape[1]] = self._carried
            self._carried = grown
        return self._carried[:, :num_rows]


def _segmented(
    segment: Segment, rows: Tensor, lefts: Sequence[int], width: int, batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """Segment the tiles of one row of tiles, some at once."""
    for start in range(0, len(lefts), batch_size):
        group = lefts[start : start + batch_size]
        tiles = torch.stack([rows[..., left : left + width] for left in group])
        yield from zip(group, segment(tiles).float(), strict=True)


def _hill(length: int) -> Tensor:
    """Rises from the edges to the middle; nowhere 0, so that every pixel has a weight."""
    position = torch.arange(length, dtype=torch.float32)
    return (torch.minimum(position, length - 1 - position) + 1) / ((length + 1) // 2)


def _summed(hill: Tensor, starts: Sequence[int], length: int) -> Tensor:
    """The sum of the hills that begin at each start."""
    total = torch.zeros(length)
    for start in starts:
        total[start : start + len(hill)] += hill
    return total
