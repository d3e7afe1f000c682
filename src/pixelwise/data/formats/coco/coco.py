"""``coco``: JSON files with polygons and run lengths, and a folder of images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, FailFast

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import NUM_EXAMPLES, read_json
from pixelwise.data.formats.annotation_search import ImageFinder, split_in_folders, split_in_words
from pixelwise.data.formats.coco.rle import decode_runs, pack_region, unpack_counts
from pixelwise.data.formats.json_keys import HEAD_BYTES, has_entry
from pixelwise.data.formats.shapes import (
    Shape,
    bounding_box,
    classes_of,
    labels_to_name,
    paint_shapes,
    shapes_of,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_stated_size
from pixelwise.data.writing import write_image
from pixelwise.errors import ConfigError, DataError, FormatError, MaskError
from pixelwise.files import write_text
from pixelwise.io.arrays import BoolArray
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.images import read_image
from pixelwise.schemas import validated
from pixelwise.text import listed

LISTS = ("images", "annotations", "categories")
"""Top-level keys, one of which is enough to recognize a file; other tools do not use them."""

OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "image_info")
"""Prefixes of COCO's files for other tasks, which lie beside those of the instances."""

PLACES = ("*.json", "*/*.json", "*/*/*.json")
"""Locations of annotation files in a data set."""

MAX_EXAMPLES = 4
"""Number of invalid annotations of one kind that a message names."""


class _Image(BaseModel):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _Category(BaseModel):
    id: int
    name: str


class _Runs(BaseModel):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(BaseModel):
    id: int | str | None = None
    image_id: int | str
    category_id: int
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: bool | None = None


class _Content(BaseModel):
    # One invalid entry among millions is enough to report.
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]
    categories: Annotated[list[_Category], FailFast()]


@dataclass(frozen=True)
class _Labels:
    """The content of an annotation file by image; image ids are text, as in ``Record.entry``."""

    images: Mapping[str, _Image]
    annotations: Mapping[str, Sequence[_Annotation]]
    names: Mapping[int, str]


@formats.register("coco")
class Coco(Format):
    """JSON files in the format of COCO's instances and stuff, with the images anywhere below.

    The polygons of an annotation are united. ``iscrowd`` regions are ignored and lie below all
    others; otherwise later annotations cover earlier ones. Images without annotations are
    background.
    """

    name: ClassVar[str] = "coco"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "annotations/instances_train.json + train/NAME.*"

    def detect(self, folder: Path) -> Confidence:
        """Certain if a JSON file has one of COCO's lists at its top level."""
        files = _annotation_files(folder)
        if not files:
            return NO
        names = ", ".join(path.relative_to(folder).as_posix() for path in files[:4])
        return Confidence(0.95, f"images, annotations and categories in {names}")

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image in the files, with or without annotations."""
        files = _annotation_files(folder)
        if not files:
            raise FormatError(
                f"{folder} must contain a JSON file with images, annotations and categories. "
                "Got none. Check the path"
            )
        finder = ImageFinder(folder)
        found = [_records_of(path, folder, finder) for path in files]
        records = [record for of_file in found for record in of_file]
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  only for formats with stored values
    ) -> ClassMap:
        """Return the background, then all categories in the order of their ids."""
        names: dict[int, str] = {}
        for path in dict.fromkeys(record.masks[0] for record in records):
            for number, name in _labels_of(path).names.items():
                if names.setdefault(number, name) != name:
                    raise FormatError(
                        f"{path} must name the categories as the other files do. Got {name!r} for "
                        f"the id {number}, which is {names[number]!r} elsewhere. Use the same name"
                    )
        return classes_of([names[number] for number in sorted(names)], self.label_mode, folder)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and paint its annotations."""
        image = read_image(record.image)
        (path,) = record.masks
        labels = _labels_of(path)
        entry = labels.images.get(record.entry or "")
        if entry is None:
            raise MaskError(f"{path} must contain {record.image}. It has changed. Open it again")
        height, width = image.shape[:2]
        stated = (entry.height or height, entry.width or width)
        check_stated_size(record.image, image, path, stated)
        # The sort is stable, so equal ranks keep the order of the file.
        ordered = sorted(labels.annotations.get(record.entry or "", ()), key=_is_above)
        shapes = (
            shape
            for annotation in ordered
            for shape in _shapes_of(annotation, labels.names, (height, width), path)
        )
        mask = paint_shapes(shapes, (height, width), class_map, self.label_mode, path)
        return Sample(record.name, image, mask, self.label_mode)

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse soft masks."""
        if content.is_soft:
            return "a pixel is either inside a region or outside, but these masks are soft"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write one annotation per class and image, as packed run lengths, without loss."""
        numbers = {
            name: number
            for number, name in enumerate(labels_to_name(class_map, self.label_mode), start=1)
        }
        images: dict[str | None, list[Any]] = defaultdict(list)
        annotations: dict[str | None, list[Any]] = defaultdict(list)
        for record, sample in samples:
            split = record.split
            file = write_image(folder / (split or "images"), record, sample)
            height, width = sample.image.shape[:2]
            image_id = len(images[split]) + 1
            images[split].append(
                {"id": image_id, "file_name": file.name, "width": width, "height": height}
            )
            for label, region in shapes_of(sample.mask, class_map, sample.label_mode):
                annotations[split].append(
                    {
                        "id": len(annotations[split]) + 1,
                        "image_id": image_id,
                        "category_id": 1 if label is None else numbers[label],
                        "iscrowd": int(label is None),
                        **_region_entries(region),
                    }
                )
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        for split, entries in images.items():
            content = {
                "images": entries,
                "annotations": annotations[split],
                "categories": categories,
            }
            name = f"instances_{split}.json" if split else "instances.json"
            write_text(folder / "annotations" / name, json.dumps(content))


def _annotation_files(folder: Path) -> list[Path]:
    """Return the JSON files in COCO's format, without those of its other tasks."""
    found, num_others = [], 0
    for path in _json_files(folder):
        if has_entry(path, _is_list_of_coco, HEAD_BYTES):
            found.append(path)
        elif path.stat().st_size > HEAD_BYTES and num_others < NUM_EXAMPLES:
            # Long entries may precede the lists. To limit the time with thousands of large files
            # of another tool, only some are examined this deeply.
            if has_entry(path, _is_list_of_coco):
                found.append(path)
            else:
                num_others += 1
    return found


def _json_files(folder: Path) -> Iterator[Path]:
    for pattern in PLACES:
        for path in sorted(folder.glob(pattern)):
            is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if not is_hidden and not path.name.startswith(OTHER_TASKS) and path.is_file():
                yield path


def _is_list_of_coco(key: str, value: bytes) -> bool:
    return key in LISTS and value.startswith(b"[")


def _records_of(path: Path, folder: Path, finder: ImageFinder) -> list[Record]:
    """Return the images of one annotation file, with the split in its name or folders."""
    split = split_in_words(path.stem) or split_in_folders(
        reversed(path.relative_to(folder).parts[:-1])
    )
    records = []
    try:
        images = _labels_of(path).images
    except DataError as error:
        report_problem("unreadable-labels", error, path)
        return []
    for key, entry in images.items():
        try:
            image = finder.find(entry.file_name, path, split)
        except FormatError as error:
            report_problem("listed-file-missing", error, path, name=entry.file_name[:80])
            continue
        name = image.relative_to(folder).with_suffix("").as_posix()
        records.append(Record(name, image, (path,), split, entry=key))
    if split is None:
        splits = [finder.split_of(record.image) for record in records]
        if None not in splits:
            pairs = zip(records, splits, strict=True)
            return [replace(record, split=own) for record, own in pairs]
    return records


@kept_while_unchanged
def _labels_of(path: Path) -> _Labels:
    """Read an annotation file."""
    raw = read_json(path)
    try:
        content = validated(_Content, raw, str(path))
    except ConfigError as error:
        raise FormatError(f"{error}. It must be as COCO defines it; export it again") from error
    images = {str(image.id): image for image in content.images}
    names = {category.id: category.name for category in content.categories}
    for what, count, total in (
        ("image", len(images), len(content.images)),
        ("category", len(names), len(content.categories)),
    ):
        if count != total:
            raise FormatError(
                f"{path} must give every {what} its own id. Got {count} ids for {total}. "
                "Export it again"
            )
    annotations: dict[str, list[_Annotation]] = defaultdict(list)
    _check_annotations(content.annotations, images, names, path)
    for annotation in content.annotations:
        annotations[str(annotation.image_id)].append(annotation)
    return _Labels(images, dict(annotations), names)


def _check_annotations(
    annotations: Sequence[_Annotation],
    images: Mapping[str, _Image],
    names: Mapping[int, str],
    path: Path,
) -> None:
    """Refuse annotations without image, category or segmentation, all in one message."""
    wrong: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for annotation in annotations:
        if str(annotation.image_id) not in images:
            what, got = "an image of the file", f"the image_id {str(annotation.image_id)[:80]!r}"
        elif annotation.category_id not in names:
            what, got = "a category of the file", f"the category_id {annotation.category_id}"
        elif not annotation.segmentation:
            what, got = "a segmentation", "none, as in boxes for object detection"
        else:
            continue
        wrong[what].append((str(annotation.id)[:80], got))
    if wrong:
        sentences = (_wrong_annotations(*of_kind, len(annotations)) for of_kind in wrong.items())
        raise FormatError(f"{path}: {'. '.join(sentences)}. Fix or remove them")


def _wrong_annotations(what: str, entries: Sequence[tuple[str, str]], total: int) -> str:
    """Describe invalid annotations, each given by its id and its value."""
    ids = [name for name, _ in entries]
    got = list(dict.fromkeys(has for _, has in entries))
    subject = f"the annotation with the id {ids[0]}"
    if len(entries) > 1:
        some = listed(ids, MAX_EXAMPLES)
        subject = f"{len(entries):,} of {total:,} annotations (ids {some})"
    return f"{subject} must have {what}. Got {listed(got, MAX_EXAMPLES)}"


def _is_above(annotation: _Annotation) -> bool:
    """Whether the annotation covers ignored ones: objects inside a crowd are not hidden by it."""
    return not annotation.iscrowd


def _shapes_of(
    annotation: _Annotation, names: Mapping[int, str], size: tuple[int, int], path: Path
) -> Iterator[Shape]:
    """Return each part of an annotation as a shape, so that they are united."""
    label = None if annotation.iscrowd else names[annotation.category_id]
    segmentation = annotation.segmentation
    if isinstance(segmentation, _Runs):
        yield Shape(label, bitmap=_bitmap(segmentation, size, annotation, path))
        return
    for part in segmentation or ():
        if len(part) % 2 or len(part) < 6:
            raise MaskError(
                f"{path}: the annotation with the id {annotation.id} must have polygons of at "
                f"least 3 corners (x, y). Got {len(part)} numbers. Fix or remove the polygon"
            )
        yield Shape(label, (np.array(part, np.float64).reshape(-1, 2),))


def _bitmap(runs: _Runs, size: tuple[int, int], annotation: _Annotation, path: Path) -> BoolArray:
    if runs.size != size:
        raise MaskError(
            f"{path}: the annotation with the id {annotation.id} must have run lengths for the "
            f"image's height and width {size}. Got {runs.size}. Export it again"
        )
    counts = unpack_counts(runs.counts, path) if isinstance(runs.counts, str) else runs.counts
    return decode_runs(counts, size, "columns", path)


def _region_entries(region: BoolArray) -> dict[str, Any]:
    """Return segmentation, box and area of a region in COCO's format."""
    rows, columns = bounding_box(region)
    return {
        "segmentation": {
            "size": list(region.shape),
            "counts": pack_region(region),
        },
        "bbox": [
            columns.start,
            rows.start,
            columns.stop - columns.start,
            rows.stop - rows.start,
        ],
        "area": int(region.sum()),
    }
