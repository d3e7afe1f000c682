"""What a transform needs to know of a sample; :class:`pixelwise.data.sample.Sample` is one."""

from __future__ import annotations

from typing import Protocol

from pixelwise.classes import LabelMode
from pixelwise.io.arrays import Array, UInt8Array


class LabeledImage(Protocol):
    """A decoded image with its mask."""

    @property
    def name(self) -> str:
        """Used in messages."""

    @property
    def image(self) -> Array:
        """(H, W, C), uint8, uint16 or float32 as stored."""

    @property
    def mask(self) -> UInt8Array:
        """Class ids (H, W), 255 is ignored; or soft masks (K, H, W), 0 to 255 for 0 to 1."""

    @property
    def label_mode(self) -> LabelMode:
        """Which of the two the mask is."""
