"""Segments large images in overlapping tiles, which are blended without visible seams.

One generator handles all images. It needs the pixels of one row of tiles at a time and yields
finished parts, so that neither the image nor its logits have to fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

OVERLAP = 0.25
"""Share of a tile that its neighbor also covers."""

Segment = Callable[[Tensor], Tensor]
"""Maps images (N, C, h, w) to logits (N, K, h, w), which are blended on their own device."""


class Part(NamedTuple):
    """A finished rectangle of an image.

    Attributes:
        top: First row.
        left: First column.
        logits: float32 (K, h, w).
    """

    top: int
    left: int
    logits: Tensor


def tile_starts(length: int, tile: int, overlap: float = OVERLAP) -> list[int]:
    """Return the start of each tile along one side; evenly spaced, the last one ends at the edge.

    Args:
        length: Side of the image in pixels.
        tile: Side of a tile in pixels, at least 1.
        overlap: Minimum share of a tile that the next one also covers, in [0, 1).
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
        segment: Model.
        image: Image (C, H, W), on any device.
        tile: Height and width of a tile; smaller sides of the image are not split.
        overlap: Share of a tile that its neighbor also covers.
        batch_size: Number of tiles per batch.

    Returns:
        Logits, float32 (K, H, W), on the device of the tiles' logits. Where tiles overlap, their
        logits are averaged, weighted toward the tile centers.
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
    """Segment one image in tiles and yield each part as soon as no further tile covers it.

    The logits do not depend on ``first_row``; they are bit-identical.

    Args:
        segment: Model.
        read_rows: Function that returns the rows ``start`` to ``stop - 1``, (C, rows, W). It is
            called once per row of tiles, from top to bottom; successive ranges overlap.
        size: Height and width of the image.
        tile: Height and width of a tile; smaller sides of the image are not split.
        overlap: Share of a tile that its neighbor also covers.
        batch_size: Number of tiles per batch; a batch does not span rows of tiles.
        first_row: First row to return.

    Yields:
        Parts that do not overlap, from left to right and top to bottom; those of one row of tiles
        have the same height. Where tiles overlap, their logits are averaged, weighted toward the
        tile centers.
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
    row_taper, column_taper = _taper(tile_height), _taper(tile_width)
    row_weights = _summed(row_taper, tops, height)
    column_weights = _summed(column_taper, lefts, width)
    blender = _Blender(row_taper[:, None] * column_taper, lefts, width)
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
    """Computes weighted sums of overlapping tiles, one row of tiles at a time.

    It holds one tile and the rows that the next row of tiles also covers.

    Args:
        weight: Weight of each pixel of a tile, (h, w).
        lefts: First column of each tile in a row.
        width: Width of the image.
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
            tiles: First column and logits (K, h, w) of each tile.
            num_done: Number of rows that the next row of tiles does not cover.

        Yields:
            First column of a part and its weighted sums (K, num_done, columns).
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
            # The carried sums were added above, so their memory is reused for the next row.
            rest = sums[:, num_done:, : end - left]
            self._carried_rows(rest, height - num_done)[..., left:end] = rest
            right, before = left + width, sums
        self._num_carried = height - num_done

    def _carried_rows(self, like: Tensor, num_rows: int) -> Tensor:
        """Return memory for the carried rows; it is enlarged if necessary."""
        if self._carried is None or self._carried.shape[1] < num_rows:
            grown = like.new_zeros(len(like), num_rows, self._width)
            if self._carried is not None:
                grown[:, : self._carried.shape[1]] = self._carried
            self._carried = grown
        return self._carried[:, :num_rows]


def _segmented(
    segment: Segment, rows: Tensor, lefts: Sequence[int], width: int, batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """Segment one row of tiles in batches."""
    for start in range(0, len(lefts), batch_size):
        group = lefts[start : start + batch_size]
        tiles = torch.stack([rows[..., left : left + width] for left in group])
        yield from zip(group, segment(tiles).float(), strict=True)


def _taper(length: int) -> Tensor:
    """Return weights that rise from the edges to the center and are positive everywhere."""
    position = torch.arange(length, dtype=torch.float32)
    return (torch.minimum(position, length - 1 - position) + 1) / ((length + 1) // 2)


def _summed(taper: Tensor, starts: Sequence[int], length: int) -> Tensor:
    """Return the sum of the weights of all tiles along one side."""
    total = torch.zeros(length)
    for start in starts:
        total[start : start + len(taper)] += taper
    return total
