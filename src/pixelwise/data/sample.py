"""Records and samples: a labeled image on disk, and the same decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pixelwise.classes import LabelMode
from pixelwise.errors import MaskError
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.io.file_state import content_hash
from pixelwise.io.images import is_rotated

Item = TypeVar("Item")


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most this many items, evenly spread; of two and more the first and the last of all."""
    last, steps = len(items) - 1, max(1, min(count, len(items)) - 1)
    return [items[round(step * last / steps)] for step in range(min(count, len(items)))]


@dataclass(frozen=True)
class Record:
    """One labeled image as it lies on disk; nothing is decoded.

    Attributes:
        name: Unique within its data set, such as ``"train/0001"``.
        image: The image file.
        masks: The mask files: one for a mask of all classes, one per object, or one per class.
        split: ``"train"``, ``"val"`` or ``"test"`` where the folder says so.
        window: The part of the image file that it is, as (row, column, height, width) in pixels;
            ``None`` is all of it.
        entry: What it is called inside an annotation file of many images.
    """

    name: str
    image: Path
    masks: tuple[Path, ...] = ()
    split: str | None = None
    window: tuple[int, int, int, int] | None = None
    entry: str | None = None

    @property
    def key(self) -> str:
        """A hash of the image's content: the same image, under whatever name it lies."""
        digest = content_hash(self.image)
        if self.window is not None:
            digest = hashlib.sha256(f"{digest}{self.window}".encode()).hexdigest()
        return digest[:12]


@dataclass(frozen=True)
class Sample:
    """A decoded image with its mask.

    Attributes:
        name: The name of its record.
        image: (H, W, C), uint8, uint16 or float32 as stored, any C.
        mask: Multiclass: uint8 (H, W) class ids, 255 is ignored. Multilabel: uint8 (K, H, W), where
            0..255 stands for 0..1.
        label_mode: Which of the two it is.
    """

    name: str
    image: Array = field(repr=False)
    mask: UInt8Array = field(repr=False)
    label_mode: LabelMode


def check_same_size(image_path: Path, image: Array, mask_path: Path, mask: Array) -> None:
    """Refuse a mask of another size than its image.

    Raises:
        MaskError: The sizes differ; an EXIF rotation is named as the likely cause where it is.
    """
    check_stated_size(image_path, image, mask_path, (mask.shape[0], mask.shape[1]))


def check_stated_size(
    image_path: Path, image: Array, mask_path: Path, mask_size: tuple[int, int]
) -> None:
    """Refuse labels that were drawn on an image of another size.

    Args:
        image_path: The image file.
        image: Its pixels, (H, W, C).
        mask_path: The file of the labels.
        mask_size: Height and width that the labels are for.

    Raises:
        MaskError: The sizes differ; an EXIF rotation is named as the likely cause where it is.
    """
    if image.shape[:2] == mask_size:
        return
    (height, width), (mask_height, mask_width) = image.shape[:2], mask_size
    cause = "Export the mask again at the image's size"
    if (mask_height, mask_width) == (width, height) and is_rotated(image_path):
        cause = (
            "The image carries an EXIF rotation that the mask was drawn without. "
            "Save the image upright (without EXIF rotation), or draw the mask on the upright one"
        )
    raise MaskError(
        f"{mask_path} must be as large as its image {image_path.name}, {width} x {height}. "
        f"Got {mask_width} x {mask_height}. {cause}"
    )
