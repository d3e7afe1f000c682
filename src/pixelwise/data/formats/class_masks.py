"""``class-masks``: one grayscale PNG per class and image, for multilabel data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pixelwise.classes import ClassMap, LabelMode, Unexpected, Unlabeled
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.masks.kinds import Look, look_at_masks
from pixelwise.data.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    by_stem,
    image_files,
    mask_files,
    named_folder,
    require_masks,
    split_folders,
    subfolders,
    without_affix,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.data.writing import stem_of, write_image, write_mask
from pixelwise.errors import FormatError
from pixelwise.files import file_names
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.images import read_grayscale_mask, read_image
from pixelwise.text import listed

LEAST_WHITE = 64
"""Masks whose largest value is smaller and that hold several values store class ids."""


@formats.register("class-masks")
class ClassMasks(Format):
    """``images/NAME.png`` and ``masks/CLASS/NAME.png``, also inside split folders."""

    name: ClassVar[str] = "class-masks"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multilabel",)
    layout: ClassVar[str] = "images/NAME.* + masks/CLASS/NAME.png"
    takes: ClassVar[frozenset[str]] = frozenset({"unlabeled"})

    def __init__(
        self,
        label_mode: LabelMode | None = None,
        unexpected: Unexpected | None = None,
        class_property: str | None = None,
        *,
        unlabeled: Unlabeled = "error",
    ) -> None:
        """Make the format.

        Args:
            label_mode: See :class:`Format`.
            unexpected: See :class:`Format`.
            class_property: Refused; see :class:`Format`.
            unlabeled: What becomes of images that lack the mask of a class: with ``background``,
                the class is absent.
        """
        super().__init__(label_mode, unexpected, class_property)
        self.unlabeled: Unlabeled = unlabeled

    def detect(self, folder: Path) -> Confidence:
        """Certain if a mask folder contains one folder per class, in which masks are members."""
        for root in split_folders(folder).values():
            images, masks = named_folder(root, IMAGE_FOLDERS), named_folder(root, MASK_FOLDERS)
            if images and masks and image_files(images) and subfolders(masks):
                if image_files(masks) or any(
                    path.name in ("train", "val", "test") for path in subfolders(masks)
                ):
                    continue
                classes = subfolders(masks)
                look = look_at_masks([path for one in classes for path in image_files(one)])
                if look is None or not _are_members(look):
                    continue
                names = listed([path.name for path in classes], 4)
                return Confidence(0.9, f"a mask folder per class: {names}")
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image, with its masks in the order of the class names."""
        records = []
        expected: list[str] | None = None
        for split, root in split_folders(folder).items():
            images, masks = named_folder(root, IMAGE_FOLDERS), named_folder(root, MASK_FOLDERS)
            if images is None:
                continue
            if masks is None:
                require_masks({split or "": images})
                continue
            classes = subfolders(masks)
            names = [path.name for path in classes]
            if expected not in (None, names):
                raise FormatError(
                    f"{masks} must contain the classes {expected}. Got {names}. "
                    "Every split needs the same folders"
                )
            expected = names
            pictures = by_stem(image_files(images), "image")
            planes = [
                without_affix(by_stem(mask_files(path), "mask"), pictures) for path in classes
            ]
            for stem, image in sorted(pictures.items()):
                lacking = [
                    path for path, plane in zip(classes, planes, strict=True) if stem not in plane
                ]
                if lacking and self.unlabeled != "background":
                    self._report_lacking(image, lacking[0])
                    continue
                name = image.relative_to(folder).with_suffix("").as_posix()
                there = tuple(plane[stem] for plane in planes if stem in plane)
                records.append(Record(name, image, there, split))
            for path, plane in zip(classes, planes, strict=True):
                for orphan in sorted(set(plane) - set(pictures)):
                    error = FormatError(
                        f"{plane[orphan]} must have an image {images / orphan}.png. "
                        f"There is none. Add the image, or remove the mask from {path.name}"
                    )
                    report_problem("mask-without-image", error, plane[orphan])
        return sorted(records, key=lambda record: record.name)

    def _report_lacking(self, image: Path, masks: Path) -> None:
        if self.unlabeled == "skip":
            return
        error = FormatError(
            f"{image} must have a mask of class {masks.name} in {masks}. There is none. Add it "
            "(black if the class is absent), or choose `unlabeled='background'`"
        )
        report_problem("image-without-mask", error, image)

    def card_entries(self) -> dict[str, Any]:
        """Return what becomes of images that lack the mask of a class."""
        said = {} if self.unlabeled == "error" else {"unlabeled": self.unlabeled}
        return {**super().card_entries(), **said}

    def class_map(
        self,
        folder: Path,  # noqa: ARG002
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002
    ) -> ClassMap:
        """Return one class per mask folder, in alphabetical order."""
        names = {path.parent.name for record in records for path in record.masks}
        return ClassMap.build(sorted(names))

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and stack its masks in the order of the class map."""
        image = read_image(record.image)
        by_class = {path.parent.name: path for path in record.masks}
        folders = tuple(path.parent for path in record.masks)
        planes = []
        for name in class_map.names:
            if name not in by_class and self.unlabeled == "background":
                planes.append(np.zeros(image.shape[:2], np.uint8))
                continue
            if name not in by_class:
                raise FormatError(
                    f"{record.image} must have a mask of class {name!r}. Got masks of "
                    f"{', '.join(sorted(by_class))}. Name the mask folders as the class map does"
                )
            plane = read_grayscale_mask(by_class[name], partial(_largest_in, folders))
            check_same_size(record.image, image, by_class[name], plane)
            planes.append(plane)
        return Sample(record.name, image, np.stack(planes), "multilabel")

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse class names that cannot be folder names."""
        names = list(content.class_map.names)
        if names != file_names(names):
            return "a class name is not a valid folder name"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write one folder per class in ``SPLIT/masks``."""
        for record, sample in samples:
            home = folder / (record.split or "")
            write_image(home / IMAGE_FOLDERS[0], record, sample)
            for name, plane in zip(class_map.names, sample.mask, strict=True):
                write_mask(home / MASK_FOLDERS[0] / name / stem_of(record), plane)


def _are_members(look: Look) -> bool:
    """Whether masks say how much each pixel belongs to one class, instead of naming a class.

    Such masks hold 0 and one value, or levels up to white; several small values are class ids.
    """
    levels = look.values - {0}
    are_ids = look.kind == "index" and len(levels) > 1 and max(levels) < LEAST_WHITE
    return look.kind != "color" and not are_ids


def _largest_in(folders: tuple[Path, ...]) -> int:
    """Return the largest value in some of the masks in these folders."""
    return _largest_as_of(folders, tuple(folder.stat().st_mtime_ns for folder in folders))


@lru_cache(maxsize=16)
def _largest_as_of(folders: tuple[Path, ...], changed_ns: tuple[int, ...]) -> int:  # noqa: ARG001
    look = look_at_masks([path for folder in folders for path in mask_files(folder)])
    return max(look.values, default=0) if look else 0


def make_class_mask_folders(folder: Path, names: Sequence[str]) -> None:
    """Create the empty folders of this format in a data set or in one of its splits."""
    for target in _targets(folder, names):
        target.mkdir(parents=True, exist_ok=True)


def write_class_masks(
    folder: Path, stem: str, image: UInt8Array, mask: UInt8Array, names: Sequence[str]
) -> None:
    """Write one image and its masks into folders from :func:`make_class_mask_folders`.

    Args:
        folder: The data set, or one of its splits.
        stem: File name without suffix.
        image: uint8 (H, W) or (H, W, 3).
        mask: uint8 (K, H, W), 0..255 for 0..1.
        names: The K class names.
    """
    for target, pixels in zip(_targets(folder, names), [image, *mask], strict=True):
        # For many small images, the fastest compression is best.
        Image.fromarray(pixels).save(target / f"{stem}.png", compress_level=1)


def _targets(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / IMAGE_FOLDERS[0], *(folder / MASK_FOLDERS[0] / name for name in names)]
