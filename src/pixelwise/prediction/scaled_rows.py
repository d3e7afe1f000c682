"""Resizes images larger than memory row by row, for models that work at a smaller scale.

Resizing a range of rows alone does not give the same rows as resizing the whole image, since the
weights depend on where the range starts. The weights here are therefore those of the whole image,
computed as in torch. For 8-bit images the downscaled rows are bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.prediction.tiling import Part, Segment, segment_parts
from pixelwise.transforms.preprocessing import resize_image

MAX_VALUES = 2**24
"""Maximum number of logits that are upscaled at once."""

MARGIN_PX = 2
"""Number of rows kept in memory above those that downscaling needs, for the upscaled logits."""

Size = tuple[int, int]


def segment_scaled_parts(
    segment: Segment,
    read_rows: Callable[[int, int], Tensor],
    size: Size,
    fitted: Size,
    tile: Size,
    *,
    batch_size: int,
    first_row: int = 0,
) -> Iterator[Part]:
    """Segment an image at a smaller scale; see :func:`pixelwise.prediction.tiling.segment_parts`.

    Args:
        segment: Model.
        read_rows: Function that returns rows of the image at its original size.
        size: Height and width of the image.
        fitted: Height and width of the model input; not larger than ``size``.
        tile: Height and width of a tile of the model input.
        batch_size: Number of tiles per batch.
        first_row: First row of the image to return.

    Yields:
        Parts at the original size and with the full width of the image.
    """
    shrinking, growing = _Shrinking(size, fitted), _Growing(size, fitted, first_row)
    band = torch.empty(0)
    for top, left, logits in segment_parts(
        segment,
        lambda start, stop: shrinking.rows(read_rows, start, stop),
        fitted,
        tile,
        batch_size=batch_size,
        first_row=growing.first_needed,
    ):
        num_classes, height, width = logits.shape
        if left == 0:
            band = torch.empty(num_classes, height, fitted[1])
        band[..., left : left + width] = logits
        if left + width == fitted[1]:
            yield from growing.grown(top, band)


class _Shrinking:
    """Antialiased bilinear downscaling: columns with torch, rows with the same weights.

    Args:
        size: Height and width of the image.
        fitted: Height and width of the result.
    """

    def __init__(self, size: Size, fitted: Size) -> None:
        self._height = size[0]
        self._fitted = fitted
        self._ratio = size[0] / fitted[0]
        # Precision of the integer weights that torch uses, given the largest weight of all rows.
        largest = max(float(self._weights(row)[1].max()) for row in range(fitted[0]))
        bits = (bits for bits in range(22) if int(0.5 + largest * 2 ** (bits + 1)) >= 2**15)
        self._bits = next(bits, 21)

    def rows(self, read_rows: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
        """Return the rows ``start`` to ``stop - 1`` of the downscaled image, (C, rows, columns)."""
        first = max(0, self._weights(start)[0] - MARGIN_PX)
        begin, weights = self._weights(stop - 1)
        image = read_rows(first, begin + len(weights))
        image = resize_image(image, (image.shape[-2], self._fitted[1]))
        shrunk = torch.empty(len(image), stop - start, self._fitted[1], dtype=image.dtype)
        is_whole = image.dtype == torch.uint8
        for row in range(start, stop):
            begin, weights = self._weights(row)
            if is_whole:
                steps = (weights * 2**self._bits + 0.5).astype(np.int32)
                mixed = torch.full((len(image), self._fitted[1]), 2 ** (self._bits - 1)).int()
                for offset, step in enumerate(steps.tolist(), start=begin - first):
                    mixed += image[:, offset].int() * step
                shrunk[:, row - start] = (mixed >> self._bits).clamp(0, 255).to(torch.uint8)
            else:
                parts = enumerate(weights.tolist(), start=begin - first)
                shrunk[:, row - start] = sum(image[:, offset] * weight for offset, weight in parts)
        return shrunk

    def _weights(self, row: int) -> tuple[int, npt.NDArray[np.float64]]:
        """Return the first source row of a downscaled row, and the weights of the source rows."""
        support = max(self._ratio, 1.0)
        center = self._ratio * (row + 0.5)
        begin = max(int(center - support + 0.5), 0)
        end = min(int(center + support + 0.5), self._height)
        distance = np.abs(np.arange(begin, end) - center + 0.5) / support
        weights = np.maximum(1 - distance, 0)
        return begin, weights / weights.sum()


class _Growing:
    """Bilinear upscaling of logits to the image's size, from top to bottom.

    Args:
        size: Height and width of the image.
        fitted: Height and width of the logits.
        first_row: First row of the image to return.
    """

    def __init__(self, size: Size, fitted: Size, first_row: int) -> None:
        self._height, self._width = size
        self._fitted_height = fitted[0]
        self._next_row = first_row
        self._last: Tensor | None = None

    @property
    def first_needed(self) -> int:
        """First row of logits that the next row of the image depends on."""
        return int(self._place(self._next_row))

    def grown(self, top: int, band: Tensor) -> Iterator[Part]:
        """Yield the rows of the image that can be computed from the rows of logits so far.

        Args:
            top: First row of ``band``.
            band: Logits (K, rows, columns) directly below those of the previous call.
        """
        if self._last is not None:
            band, top = torch.cat([self._last, band], 1), top - 1
        self._last = band[:, -1:].clone()
        bottom = top + band.shape[1]
        chunk = max(1, MAX_VALUES // (len(band) * self._width))
        while self._next_row < self._height:
            places = [
                self._place(row)
                for row in range(self._next_row, min(self._next_row + chunk, self._height))
            ]
            places = [place for place in places if int(place) + 1 < bottom or self._is_end(bottom)]
            if not places:
                return
            upper = torch.tensor([int(place) for place in places])
            lower = (upper + 1).clamp(max=self._fitted_height - 1)
            share = torch.tensor(places)[:, None] - upper[:, None]
            used = band[None, :, upper[0] - top : int(lower[-1]) - top + 1]
            wide = torch.nn.functional.interpolate(
                used, (used.shape[2], self._width), mode="bilinear", align_corners=False
            )[0]
            logits = wide[:, upper - upper[0]] * (1 - share) + wide[:, lower - upper[0]] * share
            yield Part(self._next_row, 0, logits)
            self._next_row += len(places)

    def _is_end(self, bottom: int) -> bool:
        return bottom == self._fitted_height

    def _place(self, row: int) -> float:
        """Return the position of an image row among the rows of logits, computed in float32."""
        ratio = np.float32(self._fitted_height) / np.float32(self._height)
        return float(max(ratio * np.float32(row + 0.5) - np.float32(0.5), np.float32(0)))
