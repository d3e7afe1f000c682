"""Records and samples: a labeled image on disk, and the decoded image with its mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.classes import LabelMode
from pixelwise.errors import DataError, MaskError
from pixelwise.files import readable
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.io.file_state import content_hash
from pixelwise.io.images import is_rotated
from pixelwise.io.members import name_of
from pixelwise.label_modes import mode_of
from pixelwise.text import portable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Record:
    """A labeled image on disk, not decoded.

    Attributes:
        name: Unique name within its data set, such as ``"train/0001"``; always Unicode, also if
            that of the file is not, see :func:`pixelwise.text.portable`.
        image: The image file, or the path of a picture inside a file, see
            :mod:`pixelwise.io.members`.
        masks: The mask files: one for all classes, one per object, or one per class.
        split: ``"train"``, ``"val"`` or ``"test"`` if the folder specifies it.
        window: Part of the image file, as (row, column, height, width) in pixels; ``None`` is the
            whole image.
        entry: Name of the image in an annotation file of many images.
        group: What a random split keeps together, such as a volume or all volumes of a subject.
        ignore_mask: A picture that is 0 where pixels are ignored, such as a field of view.
        folder_class: The class of all objects in the image, if its folder gives it.
    """

    name: str
    image: Path
    masks: tuple[Path, ...] = ()
    split: str | None = None
    window: tuple[int, int, int, int] | None = None
    entry: str | None = None
    group: str | None = None
    ignore_mask: Path | None = None
    folder_class: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", portable(self.name))

    @property
    def files(self) -> tuple[Path, ...]:
        """Its image, its masks and its ignore mask."""
        ignoring = () if self.ignore_mask is None else (self.ignore_mask,)
        return (self.image, *self.masks, *ignoring)

    @property
    def key(self) -> str:
        """A hash of the image's content, independent of its name, and the place of its window."""
        place = [] if self.window is None else map(str, self.window)
        return " ".join([image_key(self), *place])


def image_key(record: Record) -> str:
    """Return a hash of the content of a record's image file.

    Raises:
        DataError: It cannot be read.
    """
    with readable(record.image, DataError):
        return content_hash(record.image)[:12]


@dataclass(frozen=True)
class Sample:
    """A decoded image and its mask.

    Attributes:
        name: The name of its record.
        image: (H, W, C), uint8, uint16 or float32 as stored, any C.
        mask: Multiclass: uint8 (H, W) class ids, 255 is ignored. Multilabel: uint8 (K, H, W), where
            0..255 stands for 0..1.
        label_mode: Label mode of the mask.
    """

    name: str
    image: Array = field(repr=False)
    mask: UInt8Array = field(repr=False)
    label_mode: LabelMode

    def to_tensors(self) -> tuple[Tensor, Tensor]:
        """Return image and mask as torch's layers and losses take them.

        As a transform, ``dataset.train.with_transform(Sample.to_tensors)``, it gives pairs that the
        default collate of a ``DataLoader`` stacks, if the images have one size.

        Returns:
            The image, (C, H, W) in stored units, neither scaled nor normalized: uint8, or float32
            for deeper images. The mask: multiclass int64 (H, W), class ids and 255 where ignored,
            for ``cross_entropy(..., ignore_index=255)``; multilabel float32 (K, H, W), 0 to 1.
        """
        import torch  # imported late: data sets are opened and decoded without torch

        from pixelwise.transforms.preprocessing import image_to_tensor

        image = image_to_tensor(self.image, self.image.shape[-1], self.name)
        return image, torch.from_numpy(mode_of(self.label_mode).target_array(self.mask))


def check_same_size(image_path: Path, image: Array, mask_path: Path, mask: Array) -> None:
    """Refuse a mask that differs in size from its image.

    Raises:
        MaskError: The sizes differ; the message mentions an EXIF rotation if that is the cause.
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
        mask_size: Height and width to which the labels apply.

    Raises:
        MaskError: The sizes differ; the message mentions an EXIF rotation if that is the cause.
    """
    check_sizes(image_path, (image.shape[0], image.shape[1]), mask_path, mask_size)


def check_sizes(
    image_path: Path, size: tuple[int, int], mask_path: Path, mask_size: tuple[int, int]
) -> None:
    """Refuse labels of another size than their image, both height and width.

    Raises:
        MaskError: The sizes differ; the message mentions an EXIF rotation if that is the cause.
    """
    if size == mask_size:
        return
    (height, width), (mask_height, mask_width) = size, mask_size
    cause = "Export the mask again at the image's size"
    if (mask_height, mask_width) == (width, height) and is_rotated(image_path):
        cause = (
            "The image has an EXIF rotation, and the mask was drawn without it. "
            "Save the image upright (without EXIF rotation), or draw the mask on the upright one"
        )
    raise MaskError(
        f"{mask_path} must be as large as its image {name_of(image_path)}, {width} x {height}. "
        f"Got {mask_width} x {mask_height}. {cause}"
    )
