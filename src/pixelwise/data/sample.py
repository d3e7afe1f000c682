"""Records and samples: a labelled image on disk, and the same decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX, ClassMap, LabelMode, Strays
from pixelwise.data.reading import Array, UInt8Array, is_rotated
from pixelwise.errors import MaskError


@dataclass(frozen=True)
class Record:
    """One labelled image as it lies on disk; nothing is decoded.

    Attributes:
        name: Unique within its data set, such as ``"train/0001"``.
        image: The image file.
        masks: The mask files: one for a mask of all classes, one per object, or one per class.
        split: ``"train"``, ``"val"`` or ``"test"`` where the folder says so.
    """

    name: str
    image: Path
    masks: tuple[Path, ...] = ()
    split: str | None = None

    @property
    def key(self) -> str:
        """A hash of the image file's content: the same image, under whatever name it lies."""
        with self.image.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:12]


@dataclass(frozen=True)
class Sample:
    """A decoded image with its truth.

    Attributes:
        name: The name of its record.
        image: (H, W, C), uint8, uint16 or float32 as stored, any C.
        mask: Exclusive: uint8 (H, W) class ids, 255 is void. Overlapping: uint8 (K, H, W), where
            0..255 stands for 0..1.
        label_mode: Which of the two it is.
    """

    name: str
    image: Array = field(repr=False)
    mask: UInt8Array = field(repr=False)
    label_mode: LabelMode


def to_class_ids(
    values: npt.NDArray[np.int64], class_map: ClassMap, path: Path, strays: Strays = "refuse"
) -> UInt8Array:
    """Translate stored values into class ids; void values become 255.

    Args:
        values: int64 (H, W).
        class_map: What the values mean.
        path: The mask's file, for messages.
        strays: What becomes of values that are neither a class nor void.

    Raises:
        MaskError: A value is neither a class nor void; it is named with its pixel count.
    """
    known = np.array((*class_map.values, *class_map.ignore), np.int64)
    ids = np.array(
        (*range(class_map.num_classes), *[IGNORE_INDEX] * len(class_map.ignore)), np.uint8
    )
    order = np.argsort(known)
    position = np.searchsorted(known[order], values)
    position = np.minimum(position, len(known) - 1)
    found = ids[order][position]
    is_stray = known[order][position] != values
    if not is_stray.any():
        return found
    stray, index, counts = np.unique(values[is_stray], return_inverse=True, return_counts=True)
    classes = np.array(class_map.values, np.int64)
    nearest = np.abs(stray[:, None] - classes).argmin(1)
    if strays == "refuse":
        seen = ", ".join(
            f"{value} ({count} pixels, nearest class {classes[near]})"
            for value, count, near in zip(stray[:5], counts[:5], nearest[:5], strict=True)
        )
        raise MaskError(
            f"{path} must hold class ids {_shortened(class_map.values)} or void "
            f"{_shortened(class_map.ignore)}. Got {seen}. Mend the mask, say with "
            f"--ignore {stray[0]} that this value is void, or with --strays nearest or "
            "--strays void what becomes of all such pixels"
        )
    found[is_stray] = IGNORE_INDEX if strays == "void" else nearest.astype(np.uint8)[index]
    return found


def check_same_size(image_path: Path, image: Array, mask_path: Path, mask: Array) -> None:
    """Refuse a mask of another size than its image.

    Raises:
        MaskError: The sizes differ; an EXIF rotation is named as the likely cause where it is.
    """
    if image.shape[:2] == mask.shape[:2]:
        return
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
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


def _shortened(values: tuple[int, ...]) -> str:
    if len(values) > 3 and values == tuple(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values)) or "(none)"
