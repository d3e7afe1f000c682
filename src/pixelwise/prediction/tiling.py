"""Tiles: an image larger than a window is segmented in overlapping pieces, without seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

OVERLAP = 0.25
"""Share of a tile that its neighbour sees too."""


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
    segment: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: tuple[int, int],
    *,
    overlap: float = OVERLAP,
    batch_size: int = 4,
) -> Tensor:
    """Segment one image in tiles.

    Args:
        segment: Maps (N, C, h, w) to logits (N, K, h, w) on the CPU.
        image: (C, H, W), on any device.
        tile: Height and width of a tile; a side that the image does not reach is not cut.
        overlap: Share of a tile that its neighbour sees too.
        batch_size: Tiles that are segmented at once.

    Returns:
        Logits, float32 (K, H, W): where tiles overlap, their mean, weighted towards tile centres.
    """
    height, width = image.shape[-2:]
    tile_height, tile_width = min(tile[0], height), min(tile[1], width)
    corners = [
        (top, left)
        for top in tile_starts(height, tile_height, overlap)
        for left in tile_starts(width, tile_width, overlap)
    ]
    weight = _hill(tile_height)[:, None] * _hill(tile_width)
    total: Tensor | None = None
    weights = torch.zeros(height, width)
    for group in _grouped(corners, batch_size):
        tiles = torch.stack(
            [image[:, top : top + tile_height, left : left + tile_width] for top, left in group]
        )
        for (top, left), logits in zip(group, segment(tiles).float(), strict=True):
            if total is None:
                total = torch.zeros(len(logits), height, width)
            window = (slice(top, top + tile_height), slice(left, left + tile_width))
            total[(slice(None), *window)] += logits * weight
            weights[window] += weight
    assert total is not None
    return total / weights


def _hill(length: int) -> Tensor:
    """Rises from the edges to the middle; nowhere 0, so that every pixel has a weight."""
    position = torch.arange(length, dtype=torch.float32)
    return (torch.minimum(position, length - 1 - position) + 1) / ((length + 1) // 2)


def _grouped(corners: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(corners), size):
        yield corners[start : start + size]
