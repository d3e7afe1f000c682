"""``index-masks``: a folder of images beside a folder of masks whose pixels are class ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.classes import IGNORE_INDEX, MAX_CLASSES, ClassMap, numbered_names
from pixelwise.data.formats import NO, Confidence, Format, Truth, formats
from pixelwise.data.layouts import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    folder_pairs,
    list_files,
    listed_records,
    pair_by_stem,
)
from pixelwise.data.reading import read_image, read_mask_values
from pixelwise.data.sample import Record, Sample, check_same_size, to_class_ids
from pixelwise.data.writing import stem_of, write_image, write_mask
from pixelwise.errors import MaskError

MAX_UNNAMED = 64
"""More values than this, or more gaps between them, are grey levels unless a card names them: a
black and white mask that was scaled or saved as JPEG holds hundreds."""

CAMVID = ClassMap.build(
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
     "bicyclist"),
    colours=((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
             (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
             (0, 128, 192)),
    ignore=(11,),
)  # fmt: skip
"""The 11 classes of CamVid as SegNet's authors prepared it; 11 is void."""

CAMVID_NAME = re.compile(r"^(0001TP|0006R0|0016E5|Seq05VD)_")


@formats.register("index-masks")
class IndexMasks(Format):
    """Pairs of folders, split folders of pairs, ``train`` + ``trainannot``, or list files of pairs.

    A mask is read as the numbers that are stored: grey values, or the indices of a palette.
    """

    name: ClassVar[str] = "index-masks"
    layout: ClassVar[str] = "images/NAME.* + masks/NAME.png, or train/ + trainannot/"

    def detect(self, folder: Path) -> Confidence:
        """Sure when image and mask folders, or a list of pairs, are found."""
        pairs = folder_pairs(folder)
        if pairs:
            seen = ", ".join(
                f"{images.relative_to(folder)}/ with {masks.relative_to(folder)}/"
                for images, masks, _ in pairs
            )
            return Confidence(0.8, f"image and mask files in {seen}")
        lists = list_files(folder)
        if lists:
            return Confidence(0.7, f"pairs listed in {', '.join(path.name for path in lists)}")
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Pair images and masks by exact stem, or as the list files say."""
        pairs = folder_pairs(folder)
        if not pairs:
            return [
                record for path in list_files(folder) for record in listed_records(folder, path)
            ]
        records = []
        for image_folder, mask_folder, split in pairs:
            for image, mask in pair_by_stem(image_folder, mask_folder):
                name = image.relative_to(folder).with_suffix("").as_posix()
                records.append(Record(name, image, (mask,), split))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,  # noqa: ARG002
        records: Sequence[Record],
        ignore: Sequence[int] = (),
    ) -> ClassMap:
        """CamVid's classes for CamVid's files, else one class per stored value.

        Raises:
            MaskError: The values do not look like class ids.
        """
        values = _stored_values(records) - set(ignore)
        if values <= {*CAMVID.values, *CAMVID.ignore} and all(
            CAMVID_NAME.match(record.image.name) for record in records
        ):
            return CAMVID
        classes = sorted(values - {IGNORE_INDEX})
        if classes == [0] and IGNORE_INDEX in values:
            # Were 255 void here, nothing but background would be left: it is black and white.
            return ClassMap.build(("background", "foreground"), values=(0, 255), ignore=())
        largest = max(classes, default=0)
        looks_grey = len(classes) > MAX_UNNAMED or largest - len(classes) > MAX_UNNAMED
        if largest >= MAX_CLASSES or looks_grey:
            raise MaskError(
                f"{records[0].masks[0].parent} must hold class ids counted from 0. "
                f"Got {len(classes)} values from {classes[0]} to {classes[-1]}, which look like "
                "grey levels, as of a mask that was smoothed, scaled or saved as JPEG. Export the "
                "masks without that, or say in a dataset.yaml what each value means (classes with "
                "values), or which are void with --ignore"
            )
        return ClassMap.build(numbered_names(largest + 1))

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode image and mask; values that are neither class nor void are refused by name."""
        image = read_image(record.image)
        (mask_path,) = record.masks
        values = read_mask_values(mask_path)
        check_same_size(record.image, image, mask_path, values)
        ids = to_class_ids(values, class_map, mask_path, self.strays)
        return Sample(record.name, image, ids, "exclusive")

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Palette PNGs of the stored values where they fit, in ``SPLIT/images`` and ``/masks``."""
        values = np.full(IGNORE_INDEX + 1, next(iter(class_map.ignore), IGNORE_INDEX), np.uint8)
        values[: class_map.num_classes] = class_map.values
        palette = [(0, 0, 0)] * (IGNORE_INDEX + 1)
        for value, colour in zip(class_map.values, class_map.colours, strict=True):
            palette[value] = colour
        for record, sample in samples:
            home = folder / (record.split or "")
            write_image(home / IMAGE_FOLDERS[0], record, sample)
            target = home / MASK_FOLDERS[0] / stem_of(record)
            write_mask(target, values[sample.mask], palette)

    def refusal(self, truth: Truth) -> str | None:
        """Only exclusive masks whose stored values are bytes."""
        if max((*truth.class_map.values, *truth.class_map.ignore)) > IGNORE_INDEX:
            return "its masks hold values up to 255"
        if truth.has_void and not truth.class_map.ignore:
            return "no stored value means void"
        return super().refusal(truth)


def _stored_values(records: Sequence[Record]) -> set[int]:
    """Every value in any of the masks."""

    def values_of(record: Record) -> set[int]:
        return set(np.unique(read_mask_values(record.masks[0])).tolist())

    with ThreadPoolExecutor() as threads:
        return set().union(*threads.map(values_of, records))
