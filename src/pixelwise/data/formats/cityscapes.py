"""``cityscapes``: the folder layout of Cityscapes, with its 19 classes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.masks.coding import to_class_ids, to_stored_values, with_ignored_value
from pixelwise.data.masks.kinds import MAX_LOOKED_AT
from pixelwise.data.pairing import (
    SPLIT_FOLDERS,
    by_stem,
    image_files,
    mask_files,
    named_folder,
    subfolders,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.data.writing import stem_of, write_image, write_mask
from pixelwise.errors import FormatError
from pixelwise.io.counting import spread
from pixelwise.io.images import read_image, read_mask_values

IMAGES = "leftImg8bit"
LABELS = ("gtFine", "gtCoarse")
SPLITS = {**SPLIT_FOLDERS, "train_extra": "train"}

LABEL_IDS = range(34)
"""Values in the files called ``labelIds``; 0 means unlabeled."""

MASK_NAME = re.compile(r"(?P<stem>.+)_gt(Fine|Coarse)_(?P<kind>labelIds|labelTrainIds)")
CITY = re.compile(r"(?P<city>.+)_\d{6}_\d{6}")


class Label(NamedTuple):
    """One of the 19 evaluated classes; its position among them is its training id."""

    name: str
    label_id: int
    color: Color


CLASSES = (
    Label("road", 7, (128, 64, 128)),
    Label("sidewalk", 8, (244, 35, 232)),
    Label("building", 11, (70, 70, 70)),
    Label("wall", 12, (102, 102, 156)),
    Label("fence", 13, (190, 153, 153)),
    Label("pole", 17, (153, 153, 153)),
    Label("traffic light", 19, (250, 170, 30)),
    Label("traffic sign", 20, (220, 220, 0)),
    Label("vegetation", 21, (107, 142, 35)),
    Label("terrain", 22, (152, 251, 152)),
    Label("sky", 23, (70, 130, 180)),
    Label("person", 24, (220, 20, 60)),
    Label("rider", 25, (255, 0, 0)),
    Label("car", 26, (0, 0, 142)),
    Label("truck", 27, (0, 0, 70)),
    Label("bus", 28, (0, 60, 100)),
    Label("train", 31, (0, 80, 100)),
    Label("motorcycle", 32, (0, 0, 230)),
    Label("bicycle", 33, (119, 11, 32)),
)


@formats.register("cityscapes")
class Cityscapes(Format):
    """``leftImg8bit/SPLIT/CITY`` and ``gtFine/SPLIT/CITY``, or ``gtCoarse`` if that is missing.

    Ids of other classes than the 19 are ignored. The masks of the test images are placeholders
    without classes, so these images are left out, as are splits that were not downloaded.
    """

    name: ClassVar[str] = "cityscapes"
    layout: ClassVar[str] = (
        "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png + gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png"
    )

    def detect(self, folder: Path) -> Confidence:
        """Certain if both folders exist."""
        labels = named_folder(folder, LABELS)
        if labels is None or not (folder / IMAGES).is_dir():
            return NO
        return Confidence(0.95, f"Cityscapes' {IMAGES}/ and {labels.name}/")

    def records(self, folder: Path) -> list[Record]:
        """Return a record per image; ``labelTrainIds`` takes precedence over ``labelIds``."""
        labels = named_folder(folder, LABELS)
        records: list[Record] = []
        if labels is None or not (folder / IMAGES).is_dir():
            return []
        for home in subfolders(folder / IMAGES):
            found = [
                record
                for city in subfolders(home)
                for record in _city_records(city, labels / home.name / city.name)
            ]
            if SPLITS.get(home.name) == "test" and not _has_class(found):
                continue
            records.extend(found)
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,  # noqa: ARG002
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  all other ids are ignored already
    ) -> ClassMap:
        """Return the 19 classes with the ids that the files store."""
        values = [
            number if _has_train_ids(records[0]) else label.label_id
            for number, label in enumerate(CLASSES)
        ]
        return ClassMap.build(
            [label.name for label in CLASSES],
            colors=[label.color for label in CLASSES],
            values=values,
        )

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode image and mask; classes are matched by name, whatever ids a file stores."""
        image = read_image(record.image)
        (path,) = record.masks
        values = read_mask_values(path)
        check_same_size(record.image, image, path, values)
        known = _as_stored(class_map, has_train_ids=_has_train_ids(record))
        ids = to_class_ids(values, known, path, self.unexpected)
        return Sample(record.name, image, ids, "multiclass")

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse other classes than the 19."""
        others = [
            name
            for name in content.class_map.names
            if name not in {label.name for label in CLASSES}
        ]
        if others:
            return f"it can only store the 19 classes of Cityscapes, not {others[0]!r}"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write ``labelIds``; ignored pixels become 0, unlabeled."""
        stored = _as_stored(class_map, has_train_ids=False)
        for record, sample in samples:
            stem = stem_of(record)
            city = CITY.fullmatch(stem)
            place = Path(record.split or "all", city["city"] if city else "images")
            named = dataclasses.replace(record, name=f"{stem}_{IMAGES}")
            write_image(folder / IMAGES / place, named, sample)
            target = folder / LABELS[0] / place / f"{stem}_{LABELS[0]}_labelIds"
            write_mask(target, to_stored_values(sample.mask, stored, 0))


def _city_records(images: Path, labels: Path) -> Iterator[Record]:
    """Yield the records of a city's folder; only test images may lack a mask."""
    place = f"{images.parent.name}/{images.name}"
    split = SPLITS.get(images.parent.name.lower())
    masks: dict[str, Path] = {}
    for path in mask_files(labels):  # labelIds are listed before labelTrainIds and replaced
        named = MASK_NAME.fullmatch(path.stem)
        if named:
            masks[named["stem"]] = path
    for name, image in sorted(by_stem(image_files(images), "image").items()):
        stem = name.removesuffix(f"_{IMAGES}")
        if stem in masks:
            yield Record(f"{place}/{stem}", image, (masks[stem],), split)
        elif split != "test":
            error = FormatError(
                f"{image} must have a mask in {labels}. There is none. "
                "Add the mask, or move the image elsewhere"
            )
            report_problem("image-without-mask", error, image)


def _has_train_ids(record: Record) -> bool:
    return record.masks[0].stem.endswith("_labelTrainIds")


def _has_class(records: Sequence[Record]) -> bool:
    """Whether some of the masks, spread over all, hold more than ignored ids."""
    classes = [label.label_id for label in CLASSES]
    for record in spread(records, MAX_LOOKED_AT):
        ids = range(len(CLASSES)) if _has_train_ids(record) else classes
        if np.isin(read_mask_values(record.masks[0]), list(ids)).any():
            return True
    return False


def _as_stored(class_map: ClassMap, *, has_train_ids: bool) -> ClassMap:
    """Return a class map with the ids of a file; classes not in Cityscapes keep their values."""
    numbers = {label.name: number for number, label in enumerate(CLASSES)}
    ids = {label.name: label.label_id for label in CLASSES}
    official = numbers if has_train_ids else ids
    values = tuple(
        official.get(name, value)
        for name, value in zip(class_map.names, class_map.values, strict=True)
    )
    stored = class_map.model_copy(update={"values": values, "ignore": ()})
    others = official.values() if has_train_ids else LABEL_IDS
    return with_ignored_value(stored, *others, IGNORE_INDEX)
