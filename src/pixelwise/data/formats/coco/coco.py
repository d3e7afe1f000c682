"""``coco``: JSON files with polygons and run lengths, and a folder of images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.data.bad_annotations import AnnotationCount, added
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import NUM_EXAMPLES
from pixelwise.data.formats.annotation_search import ImageFinder, records_of_file, split_of_file
from pixelwise.data.formats.coco.coco_file import CocoAnnotation, CocoRuns, read_coco
from pixelwise.data.formats.coco.coco_panoptic import is_panoptic
from pixelwise.data.formats.coco.rle import decode_runs, pack_region, unpack_counts
from pixelwise.data.formats.json_keys import HEAD_BYTES, has_entry
from pixelwise.data.formats.shapes import (
    Shape,
    bounding_box,
    classes_of,
    labels_to_name,
    largest_first,
    paint_shapes,
    shapes_of,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_stated_size
from pixelwise.data.writing import write_image
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.files import write_text
from pixelwise.io.arrays import BoolArray
from pixelwise.io.images import read_image

LISTS = ("images", "annotations", "categories")
"""Top-level keys, one of which is enough to recognize a file; other tools do not use them."""

OTHER_TASKS = ("captions", "person_keypoints", "image_info")
"""Prefixes of COCO's files for other tasks, which lie beside those of the instances."""

PLACES = ("*.json", "*/*.json", "*/*/*.json")
"""Locations of annotation files in a data set."""


@formats.register("coco")
class Coco(Format):
    """JSON files in the format of COCO's instances and stuff, with the images anywhere below.

    The polygons of an annotation are united. COCO knows no order of objects, so smaller ones cover
    larger ones, as windows cover the facade around them. ``iscrowd`` regions are ignored and lie
    below all others. Images without annotations are background.
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
        for path in _files_of(records):
            for number, name in read_coco(path).names.items():
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
        labels = read_coco(path)
        entry = labels.images.get(record.entry or "")
        if entry is None:
            raise MaskError(f"{path} must contain {record.image}. It has changed. Open it again")
        height, width = image.shape[:2]
        stated = (entry.height or height, entry.width or width)
        check_stated_size(record.image, image, path, stated)
        found = labels.annotations.get(record.entry or "", ())
        objects = [_shapes_of(each, labels.names, (height, width), path) for each in found]
        # Objects inside a crowd are not hidden by it; the sort keeps their order.
        shapes = sorted(largest_first(objects), key=lambda shape: shape.label is not None)
        mask = paint_shapes(shapes, (height, width), class_map, self.label_mode, path)
        return Sample(record.name, image, mask, self.label_mode)

    def annotations(self, records: Sequence[Record]) -> AnnotationCount:
        """Count the annotations of all files of the records."""
        files = map(read_coco, _files_of(records))
        return added(AnnotationCount(file.total, file.bad) for file in files)

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Say which category names the project and is no class."""
        names = {read_coco(path).placeholder for path in _files_of(records)} - {None}
        return [
            f"the unused category {name!r}, of which all others are parts, is no class"
            for name in sorted(filter(None, names))
        ]

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
            is_other = path.name.startswith(OTHER_TASKS)
            if not (is_hidden or is_other) and path.is_file() and not is_panoptic(path):
                yield path


def _is_list_of_coco(key: str, value: bytes) -> bool:
    return key in LISTS and value.startswith(b"[")


def _records_of(path: Path, folder: Path, finder: ImageFinder) -> list[Record]:
    """Return the images of one annotation file, with the split in its name or folders."""
    try:
        images = read_coco(path).images
    except DataError as error:
        report_problem("unreadable-labels", error, path)
        return []
    split = split_of_file(path, folder)
    names = {key: entry.file_name for key, entry in images.items()}
    return records_of_file(
        path, names, lambda key: (finder.find(names[key], path, split), path), finder, split
    )


def _files_of(records: Sequence[Record]) -> list[Path]:
    """Return the annotation files of some records, each once."""
    return list(dict.fromkeys(record.masks[0] for record in records))


def _shapes_of(
    annotation: CocoAnnotation, names: Mapping[int, str], size: tuple[int, int], path: Path
) -> list[Shape]:
    """Return each part of an annotation as a shape, so that they are united."""
    label = None if annotation.iscrowd else names[annotation.category_id]
    segmentation = annotation.segmentation
    if isinstance(segmentation, CocoRuns):
        return [Shape(label, bitmap=_bitmap(segmentation, size, annotation, path))]
    return [
        Shape(label, (np.array(part, np.float64).reshape(-1, 2),)) for part in segmentation or ()
    ]


def _bitmap(
    runs: CocoRuns, size: tuple[int, int], annotation: CocoAnnotation, path: Path
) -> BoolArray:
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
