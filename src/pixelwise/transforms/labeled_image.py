"""The interface of samples that transforms use."""

from __future__ import annotations

from typing import Protocol

from pixelwise.classes import LabelMode
from pixelwise.io.arrays import Array, UInt8Array


class LabeledImage(Protocol):
    """A decoded image with its mask; :class:`pixelwise.data.sample.Sample` implements it."""

    @property
    def name(self) -> str:
        """Name used in messages."""

    @property
    def image(self) -> Array:
        """(H, W, C), uint8, uint16 or float32 as stored."""

    @property
    def mask(self) -> UInt8Array:
        """Class ids (H, W), 255 is ignored; or soft masks (K, H, W), 0 to 255 for 0 to 1."""

    @property
    def label_mode(self) -> LabelMode:
        """Label mode of the mask."""
