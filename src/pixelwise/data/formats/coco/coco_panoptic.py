"""``coco-panoptic``: PNG files of segment numbers, with their classes in a JSON file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, FailFast

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color
from pixelwise.data.formats import NO, Confidence, Format, formats
from pixelwise.data.formats.annotation_files import (
    checked,
    head_of,
    labeled_class_map,
    read_json,
)
from pixelwise.data.formats.annotation_search import (
    ImageFinder,
    files_of_tool,
    records_of_file,
    split_of_file,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.images import read_image

SEGMENTS = b'"segments_info"'
"""The key of the segments of an image, which only panoptic files have."""

HEAD_BYTES = 8 * 1024**2
"""Number of bytes in which it is searched, as a list of thousands of images may come first."""

PREFIX = "panoptic"
"""Beginning of the names of COCO's own files."""


class _Image(BaseModel):
    id: int | str
    file_name: str


class _Segment(BaseModel):
    id: int
    category_id: int
    iscrowd: bool | None = None


class _Annotation(BaseModel):
    image_id: int | str
    file_name: str
    segments_info: list[_Segment]


class _Category(BaseModel):
    id: int
    name: str
    color: Color | None = None


class _Content(BaseModel):
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]
    categories: Annotated[list[_Category], FailFast()]


@dataclass(frozen=True)
class _Panoptic:
    """The content of a file: annotations by the name of their PNG, and image names by id."""

    annotations: Mapping[str, _Annotation]
    images: Mapping[str, str]
    categories: Mapping[int, _Category]


@formats.register("coco-panoptic")
class CocoPanoptic(Format):
    """A JSON file whose annotations name a PNG each, and the images anywhere below.

    The number of a segment is red + 256 green + 65,536 blue. Segment 0 and crowds are ignored;
    things and stuff become the classes in the order of their ids.
    """

    name: ClassVar[str] = "coco-panoptic"
    layout: ClassVar[str] = "panoptic_train.json + panoptic_train/NAME.png + train/NAME.jpg"

    def detect(self, folder: Path) -> Confidence:
        """Certain if a JSON file lists segments; instances in the same folder are more usual."""
        files = _files(folder)
        if not files:
            return NO
        names = ", ".join(path.relative_to(folder).as_posix() for path in files[:4])
        return Confidence(0.93, f"segments of COCO panoptic in {names}")

    def records(self, folder: Path) -> list[Record]:
        """Return one record per annotation."""
        files = _files(folder)
        if not files:
            raise FormatError(
                f"{folder} must contain a JSON file with segments_info. Got none. Check the path"
            )
        finder = ImageFinder(folder)
        records = [record for path in files for record in _records_of(path, folder, finder)]
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  only for formats with stored values
    ) -> ClassMap:
        """Return the background, then all categories in the order of their ids."""
        categories: dict[int, _Category] = {}
        for path in dict.fromkeys(record.masks[0] for record in records):
            categories |= _read(path).categories
        ordered = [categories[number] for number in sorted(categories)]
        colors = {category.name: category.color for category in ordered if category.color}
        names = [category.name for category in ordered]
        return labeled_class_map(names, self.label_mode, folder, colors=colors)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and the PNG, and look up the class of each segment."""
        image = read_image(record.image)
        origin, path = record.masks
        content = _read(origin)
        annotation = content.annotations.get(record.entry or "")
        if annotation is None:
            raise MaskError(f"{origin} must contain {path}. It has changed. Open it again")
        pixels = read_image(path)
        if pixels.dtype != np.uint8 or pixels.shape[-1] != 3:
            raise MaskError(
                f"{path} must be a color PNG of segment numbers. Got {pixels.dtype} of "
                f"{pixels.shape[-1]} channels. Export it again"
            )
        check_same_size(record.image, image, path, pixels)
        ids = {name: index for index, name in enumerate(class_map.names)}
        class_of = {0: IGNORE_INDEX}
        for segment in annotation.segments_info:
            category = content.categories.get(segment.category_id)
            if category is None or category.name not in ids:
                raise MaskError(
                    f"{origin}: segment {segment.id} of {path.name} must have a category of the "
                    f"file. Got the category_id {segment.category_id}. Fix or remove it"
                )
            class_of[segment.id] = IGNORE_INDEX if segment.iscrowd else ids[category.name]
        mask = _looked_up(pixels, class_of, origin, path)
        return Sample(record.name, image, mask, self.label_mode)


def _looked_up(
    pixels: UInt8Array, class_of: Mapping[int, int], origin: Path, path: Path
) -> UInt8Array:
    """Return the class ids of segment numbers stored as colors, uint8 (H, W)."""
    numbers = pixels.astype(np.int64) @ np.array([1, 256, 256**2])
    found, places = np.unique(numbers, return_inverse=True)
    strangers = [number for number in found.tolist() if number not in class_of]
    if strangers:
        raise MaskError(
            f"{path} must hold the segments that {origin.name} lists for it. Got {strangers[0]}. "
            "Export both again"
        )
    classes = np.array([class_of[number] for number in found.tolist()], np.uint8)
    return classes[places].reshape(numbers.shape)


def is_panoptic(path: Path) -> bool:
    """Whether a JSON file lists the segments of images."""
    return path.name.startswith(PREFIX) or SEGMENTS in head_of(path, HEAD_BYTES)


def _files(folder: Path) -> list[Path]:
    def is_wanted(path: Path) -> bool:
        return is_panoptic(path) and SEGMENTS in head_of(path, 64 * HEAD_BYTES)

    return files_of_tool(folder, (".json",), is_wanted)


def _records_of(path: Path, folder: Path, finder: ImageFinder) -> list[Record]:
    """Return the images of one file, with the split in its name or folders."""
    try:
        content = _read(path)
    except DataError as error:
        report_problem("unreadable-labels", error, path)
        return []
    split = split_of_file(path, folder)
    pictures = path.with_suffix("").name

    def find(name: str) -> tuple[Path, ...]:
        image = content.images[str(content.annotations[name].image_id)]
        mask = finder.find(f"{pictures}/{name}", path, split)
        return finder.find(image, path, split), path, mask

    names = {name: name for name in content.annotations}
    return records_of_file(path, names, find, finder, split)


@kept_while_unchanged
def _read(path: Path) -> _Panoptic:
    content = checked(_Content, read_json(path), path)
    images = {str(image.id): image.file_name for image in content.images}
    annotations = {annotation.file_name: annotation for annotation in content.annotations}
    counts: defaultdict[str, int] = defaultdict(int)
    for annotation in content.annotations:
        counts[annotation.file_name] += 1
        if str(annotation.image_id) not in images or counts[annotation.file_name] > 1:
            raise FormatError(
                f"{path} must have one annotation for each image that it lists. Got the image_id "
                f"{str(annotation.image_id)[:80]!r} for {annotation.file_name[:80]}. Export it "
                "again"
            )
    return _Panoptic(annotations, images, {entry.id: entry for entry in content.categories})
