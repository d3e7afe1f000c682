"""Decides which images of a folder are scenes, which are read in windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pixelwise.data.sample import Record
from pixelwise.errors import DataError
from pixelwise.io.image_windows import image_size
from pixelwise.io.images import TIFF_SUFFIXES

Size = tuple[int, int]

MIN_SIDE_PX, MAX_SIDE_PX = 32, 8192
"""Smallest and largest side of windows that a card can ask for."""

MAX_GAP_PX = 4096
"""Largest gap that a card can ask for."""

GAP_PX = 64
"""Gap between blocks of different splits; no model is known yet when a data set is opened. From
this distance on, neighboring pixels say little about each other in most images."""

MAP_SIDE_PX = 1024
"""A GeoTIFF with shapes is a scene if a side is longer than this."""

LARGE_PX = 2**24
"""Number of pixels from which an image of a few is a scene: more than a camera takes."""

FEW_IMAGES = 16
"""In a folder of more images than this, only GeoTIFFs with shapes are scenes."""

MIN_BLOCKS_PX = 2**19
"""An image of fewer pixels is not divided into blocks."""

MIN_GAPS = 4
"""An image is divided into blocks if its shorter side is at least this many gaps."""

WINDOW_PX, SMALL_SCENE_PX = (256, 512), 2**22
"""About the side of a window, up to so many pixels in all scenes, and beyond: small scenes
need small windows for a batch, and in large ones the network sees more around each pixel."""


@dataclass(frozen=True)
class WindowRule:
    """What a dataset card says about windows.

    Attributes:
        side: About the side of a window; images with a longer side are read in windows. ``None``
            decides by the number and size of the images; ``off`` reads all of them as a whole.
        gap: Pixels between blocks of different splits in one scene.
    """

    side: int | Literal["off"] | None = None
    gap: int = GAP_PX

    def can_divide(self, size: Size) -> bool:
        """Whether an image has room for blocks with gaps."""
        is_large = math.prod(size) >= MIN_BLOCKS_PX or self.side is not None
        return is_large and min(size) >= MIN_GAPS * self.gap

    def window_px(self, sizes: Sequence[Size]) -> int:
        """Return about the side of the windows of some scenes."""
        if isinstance(self.side, int):
            return self.side
        return WINDOW_PX[sum(map(math.prod, sizes)) > SMALL_SCENE_PX]

    def scenes(self, records: Sequence[Record], *, is_map: bool, num_parts: int) -> dict[int, Size]:
        """Return the numbers of the records that are scenes, with their heights and widths.

        The images of a folder are scenes if the card says so; if they are fewer than the parts
        that have to be drawn from them and have room for blocks; if they are GeoTIFFs with shapes
        with a side of more than ``MAP_SIDE_PX``; or if they are at most ``FEW_IMAGES`` and have
        ``LARGE_PX`` or more.

        Args:
            records: Whole images.
            is_map: Whether they are maps with shapes.
            num_parts: Number of splits to draw from them; 0 if the folder gives the splits.
        """
        if self.side == "off" or any(record.window for record in records):
            return {}
        lacks_images = 0 < len(records) < num_parts
        is_map = is_map and any(map(_is_tiff, records))
        if not (lacks_images or is_map or self.side or len(records) <= FEW_IMAGES):
            return {}
        sizes = {
            number: size
            for number, record in enumerate(records)
            if (size := _size(record)) is not None
        }
        if lacks_images and any(map(self.can_divide, sizes.values())):
            return {number: size for number, size in sizes.items() if self.can_divide(size)}
        if isinstance(self.side, int):
            return {number: size for number, size in sizes.items() if max(size) > self.side}
        few = len(records) <= FEW_IMAGES
        return {
            number: size
            for number, size in sizes.items()
            if (few and math.prod(size) >= LARGE_PX)
            or (is_map and _is_tiff(records[number]) and max(size) > MAP_SIDE_PX)
        }


def _is_tiff(record: Record) -> bool:
    return record.image.suffix.lower() in TIFF_SUFFIXES


def _size(record: Record) -> Size | None:
    """Return the size of an image; ``None`` if it cannot be read, which is reported later."""
    try:
        return image_size(record.image)
    except DataError:
        return None
