"""Decides which images of a folder are scenes, which are read in windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelwise.errors import DataError
from pixelwise.io.image_windows import image_size
from pixelwise.io.images import TIFF_SUFFIXES, is_inside

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
"""An image of fewer pixels is not divided into blocks, unless the card says so."""

MIN_GAPS = 4
"""An image is divided into blocks if its shorter side is at least this many gaps."""

WINDOW_PX, SMALL_SCENE_PX = (256, 512), 2**22
"""About the side of a window, up to this number of pixels in all scenes, and beyond: small scenes
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

    def has_room(self, size: Size) -> bool:
        """Whether an image has room for blocks with gaps."""
        return min(size) >= MIN_GAPS * self.gap

    def window_px(self, sizes: Sequence[Size]) -> int:
        """Return about the side of the windows of some scenes."""
        if isinstance(self.side, int):
            return self.side
        return WINDOW_PX[sum(map(math.prod, sizes)) > SMALL_SCENE_PX]

    def to_divide(self, images: Sequence[Path]) -> dict[int, Size]:
        """Return which images are large enough to be divided into blocks, if they are too few.

        Returns:
            Height and width of each by its number.
        """
        if self.side == "off":
            return {}
        return {
            number: size
            for number, size in self._sizes(images).items()
            if self.side is not None or math.prod(size) >= MIN_BLOCKS_PX
        }

    def to_cut(self, images: Sequence[Path], *, is_map: bool) -> dict[int, Size]:
        """Return which images are read in windows although there are enough of them.

        These are the images with a side longer than the card says. If it says nothing, they are
        GeoTIFFs with shapes that have a side of more than ``MAP_SIDE_PX``, and images of
        ``LARGE_PX`` or more where there are at most ``FEW_IMAGES``.

        Args:
            images: The image files.
            is_map: Whether they are maps with shapes.

        Returns:
            Height and width of each by its number.
        """
        are_few = len(images) <= FEW_IMAGES
        is_map = is_map and any(map(_is_tiff, images))
        if self.side == "off" or not (self.side or are_few or is_map):
            return {}
        sizes = self._sizes(images)
        if isinstance(self.side, int):
            return {number: size for number, size in sizes.items() if max(size) > self.side}
        return {
            number: size
            for number, size in sizes.items()
            if (are_few and math.prod(size) >= LARGE_PX)
            or (is_map and _is_tiff(images[number]) and max(size) > MAP_SIDE_PX)
        }

    def _sizes(self, images: Sequence[Path]) -> dict[int, Size]:
        """Return the sizes of the images that can be read; the others are reported later.

        Slices of volumes, which have no header of their own, are only looked at if the card asks
        for windows.
        """
        found = {}
        for number, path in enumerate(images):
            if self.side is not None or not is_inside(path):
                with suppress(DataError):
                    found[number] = image_size(path)
        return found


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES
