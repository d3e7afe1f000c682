"""Base class of the formats with one mask file per image."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.classes import (
    IGNORE_INDEX,
    ClassMap,
    ClassSource,
    LabelMode,
    Resampling,
    Unexpected,
    Unlabeled,
)
from pixelwise.data.folder_classes import in_folder_class, with_folder_classes
from pixelwise.data.formats import NO, Confidence, Format, MaskContent
from pixelwise.data.masks.coding import to_class_ids
from pixelwise.data.masks.kinds import Look, MaskKind, look_at_folder
from pixelwise.data.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    folder_pairs,
    list_files,
    listed_records,
    pair_by_stem,
    stems,
    unused_folders,
)
from pixelwise.data.pairing.opening import listed_pairs, records_by_templates
from pixelwise.data.pairing.sections import with_sections
from pixelwise.data.sample import Record, Sample, check_same_size, check_sizes
from pixelwise.data.writing import stem_of, write_image
from pixelwise.errors import MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.image_windows import cut_out, image_size, in_window
from pixelwise.io.images import PixelReader, read_image, read_mask_values

STRIP_STEPS = 16
"""Number of rows that a strip adds to a shrunk mask."""


class MaskFolders(Format):
    """Pairs of folders, split folders of pairs, ``train`` + ``trainannot``, or list files of pairs.

    Any other folder is read by two templates, which are given or found by ``data/pairing``.

    The values in some of the masks determine which of the three formats it is.
    """

    kind: ClassVar[MaskKind]
    """Kind of the masks."""
    takes_lossy: ClassVar[bool] = False
    """Whether masks in lossy formats are read, unless unexpected values are refused by choice."""
    takes: ClassVar[frozenset[str]] = frozenset(
        {"images", "masks", "unlabeled", "resize_masks", "class_from"}
    )
    reads_windows: ClassVar[bool] = True

    def __init__(
        self,
        label_mode: LabelMode | None = None,
        unexpected: Unexpected | None = None,
        class_property: str | None = None,
        *,
        images: str | None = None,
        masks: str | None = None,
        unlabeled: Unlabeled = "error",
        resize_masks: Resampling | None = None,
        class_from: ClassSource | None = None,
    ) -> None:
        """Make the format.

        Args:
            label_mode: See :class:`Format`.
            unexpected: See :class:`Format`.
            class_property: Refused; see :class:`Format`.
            images: Template of the images, such as ``images/{name}.*``; ``None`` looks for a known
                layout.
            masks: Template of their masks, such as ``masks/{name}_mask.png``.
            unlabeled: What becomes of images without a mask.
            resize_masks: How masks of another size than their images are resized; ``None`` refuses
                them.
            class_from: ``folder`` gives objects the name of their folder as class.
        """
        super().__init__(label_mode, unexpected, class_property)
        self.images, self.masks = images, masks
        self.unlabeled: Unlabeled = unlabeled
        self.resize_masks = resize_masks
        self.class_from = class_from

    def detect(self, folder: Path) -> Confidence:
        """Certain if there are image and mask folders, or lists of pairs, with the right masks."""
        pairs, lists = folder_pairs(folder), list_files(folder)
        if not pairs and not lists:
            return NO
        look = look_at_folder(folder)
        if self.kind != (look.kind if look else "index"):
            return NO
        if not pairs:
            return Confidence(0.7, f"pairs listed in {', '.join(path.name for path in lists)}")
        seen = ", ".join(
            f"{images.relative_to(folder)}/ with {masks.relative_to(folder)}/"
            for images, masks, _ in pairs
        )
        if look is None:
            return Confidence(0.3, f"{seen}, where masks should be")
        unused = unused_folders(folder, [path for pair in pairs for path in pair[:2]])
        left = f"; not used: {', '.join(f'{name}/' for name in unused)}" if unused else ""
        return Confidence(0.8, f"image and mask files in {seen}{left}")

    def holds(self, look: Look) -> bool:
        """Whether masks are of this format's kind."""
        return look.kind == self.kind

    def knows(self, folder: Path) -> bool:
        """Whether there are image and mask folders, or lists of pairs."""
        return bool(folder_pairs(folder) or list_files(folder))

    def has_other_names(self, folder: Path) -> bool:
        """Whether the images and masks of a known layout differ in their names."""
        pairs = folder_pairs(folder)
        return any(stems(images) != stems(masks) for images, masks, _ in pairs)

    def card_entries(self) -> dict[str, Any]:
        """Return the templates and what becomes of unlabeled images and other sizes."""
        entries = {
            "images": self.images,
            "masks": self.masks,
            "unlabeled": None if self.unlabeled == "error" else self.unlabeled,
            "resize_masks": self.resize_masks,
            "class_from": self.class_from,
        }
        said = {key: value for key, value in entries.items() if value is not None}
        return {**super().card_entries(), **said}

    def records(self, folder: Path) -> list[Record]:
        """Pair images and masks by templates, by exact stem, or as given in list files.

        A file of several pictures, such as a volume or a stack, gives a record for each.
        """
        records = with_sections(self._whole_files(folder), folder)
        return records if self.class_from is None else with_folder_classes(records, folder)

    def _whole_files(self, folder: Path) -> list[Record]:
        takes_lossy = self.takes_lossy and not self.is_strict
        if self.images is not None and self.masks is not None:
            return records_by_templates(
                folder, self.images, self.masks, self.unlabeled, takes_lossy=takes_lossy
            )
        pairs = folder_pairs(folder)
        lists = list_files(folder)
        if not pairs and not lists:
            return listed_pairs(folder, self.unlabeled, takes_lossy=takes_lossy)
        if not pairs:
            return [
                record
                for path in lists
                for record in listed_records(folder, path, takes_lossy=takes_lossy)
            ]
        records = []
        for image_folder, mask_folder, split in pairs:
            for image, mask in pair_by_stem(image_folder, mask_folder, takes_lossy=takes_lossy):
                name = image.relative_to(folder).with_suffix("").as_posix()
                records.append(Record(name, image, (mask,), split))
        return sorted(records, key=lambda record: record.name)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode image and mask, or the parts of both that are in the window."""
        part = in_window(record.window)
        image = read_image(record.image, part)
        if not record.masks:  # an unlabeled image that is taken for background
            mask = np.zeros(image.shape[:2], np.uint8)
            return Sample(record.name, image, mask, "multiclass")
        if record.window is not None:
            return Sample(record.name, image, self._mask_in_window(record, class_map), "multiclass")
        masks, stored = [], self.stored_classes or class_map
        for mask_path in record.masks:
            mask = self._read_mask(mask_path, stored, None)
            if self.resize_masks and mask.shape != image.shape[:2]:
                mask = nearest_resized(mask, image.shape[0], image.shape[1])
            check_same_size(record.image, image, mask_path, mask)
            masks.append(mask)
        return Sample(record.name, image, self._joined(masks, class_map, record), "multiclass")

    def shrunk_mask(self, record: Record, class_map: ClassMap, step: int) -> UInt8Array:
        """Read the mask in strips, and not the image."""
        height, width = image_size(record.image)
        if not record.masks:
            return np.zeros((-(-height // step), -(-width // step)), np.uint8)
        strips = [
            dataclasses.replace(
                record, window=(top, 0, min(STRIP_STEPS * step, height - top), width)
            )
            for top in range(0, height, STRIP_STEPS * step)
        ]
        parts = [self._mask_in_window(strip, class_map)[::step, ::step] for strip in strips]
        return np.concatenate(parts)

    def _mask_in_window(self, record: Record, class_map: ClassMap) -> UInt8Array:
        """Return the mask of a window, after checking the sizes of the whole masks."""
        assert record.window is not None
        size = image_size(record.image)
        masks, stored = [], self.stored_classes or class_map
        for mask_path in record.masks:
            if self.resize_masks and image_size(mask_path) != size:
                whole = nearest_resized(self._read_mask(mask_path, stored, None), *size)
                masks.append(np.ascontiguousarray(cut_out(whole, record.window)))
                continue
            check_sizes(record.image, size, mask_path, image_size(mask_path))
            masks.append(self._read_mask(mask_path, stored, in_window(record.window)))
        return self._joined(masks, class_map, record)

    def _read_mask(self, path: Path, class_map: ClassMap, reader: PixelReader | None) -> UInt8Array:
        values = read_mask_values(path, reader)
        return to_class_ids(values, class_map, path, self.unexpected)

    def _joined(
        self, masks: Sequence[UInt8Array], class_map: ClassMap, record: Record
    ) -> UInt8Array:
        """Return one mask of those of an image, with the class of its folder if that gives it."""
        if self.stored_classes is None:
            return joined(masks, class_map, record)
        mask = joined(masks, self.stored_classes, record)
        return in_folder_class(mask, record, self.stored_classes, class_map)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write ``SPLIT/images`` and ``SPLIT/masks``."""
        for record, sample in samples:
            home = folder / (record.split or "")
            write_image(home / IMAGE_FOLDERS[0], record, sample)
            self._write_mask(home / MASK_FOLDERS[0] / stem_of(record), sample.mask, class_map)

    @abstractmethod
    def _write_mask(self, target: Path, mask: UInt8Array, class_map: ClassMap) -> None:
        """Write a mask to a path without suffix."""


def joined(masks: Sequence[UInt8Array], class_map: ClassMap, record: Record) -> UInt8Array:
    """Return one mask of several of an image: each pixel has the class that one of them gives.

    Args:
        masks: uint8 (H, W), at least one.
        class_map: The classes, with a background if there are several masks.
        record: Their record, for messages.

    Raises:
        MaskError: There is no background, or a pixel has different classes in two masks.
    """
    result = masks[0]
    background = class_map.class_without_objects
    for path, mask in zip(record.masks[1:], masks[1:], strict=True):
        if background is None:
            raise MaskError(
                f"{record.image} must have one mask, because no class is background. Got "
                f"{len(record.masks)}, among them {path.name}. Join them, or remove the others"
            )
        is_more = mask != background
        if (is_more & (result != background) & (result != mask)).any():
            raise MaskError(
                f"{path} must have the classes of {record.masks[0].name} where both have one. Got "
                f"other classes for some pixels of {record.image.name}. Join the masks by hand"
            )
        result = np.where(is_more, mask, result)
    return result


def nearest_resized(mask: UInt8Array, height: int, width: int) -> UInt8Array:
    """Return a mask at another size, each pixel as the one whose center is nearest."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    return np.ascontiguousarray(mask[rows[:, None], columns])


def value_refusal(content: MaskContent) -> str | None:
    """Return why masks of stored bytes cannot represent a mask; ``None`` if they can."""
    stored = (*content.class_map.values, *content.class_map.ignore)
    if min(stored) < 0 or max(stored) > IGNORE_INDEX:
        return f"its masks can only store values of 0 to {IGNORE_INDEX}"
    if content.has_ignored and not content.class_map.ignore:
        return "no stored value means ignored"
    return None
