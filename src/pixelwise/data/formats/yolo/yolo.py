"""``yolo``: a text file of polygons per image, as in Ultralytics' segmentation format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.classes import (
    BACKGROUND_NAMES,
    IGNORE_INDEX,
    ClassMap,
    LabelMode,
    numbered_names,
)
from pixelwise.data.bad_annotations import AnnotationCount, added
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_search import files_below, split_in_folders
from pixelwise.data.formats.shapes import (
    Ring,
    Shape,
    classes_of,
    labels_to_name,
    largest_first,
    paint_shapes,
    shapes_of,
    trace_regions,
    unpainted_id,
)
from pixelwise.data.formats.yolo.data_yaml import (
    SPLIT_KEYS,
    DataFile,
    data_files,
    find_data_file,
    said_by,
)
from pixelwise.data.formats.yolo.label_files import (
    LABEL_SUFFIX,
    is_box_line,
    is_label_line,
    read_labels,
    text_of,
)
from pixelwise.data.pairing import end_inside, image_files
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample
from pixelwise.data.writing import stem_of, write_image
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.files import write_text
from pixelwise.io.images import IMAGE_SUFFIXES, read_image
from pixelwise.text import listed

IMAGES, LABELS = "images", "labels"
"""The last folder called images in an image's path is replaced by labels to find its labels."""

MAX_SHOWN = 4
"""Number of folders that a remark names."""

WRITTEN_SUFFIXES = IMAGE_SUFFIXES - {".gif", ".jp2", ".npy"}
"""Suffixes of image files that Ultralytics can read."""


@formats.register("yolo")
class Yolo(Format):
    """``images/`` and ``labels/`` with a text file per image, and a ``data.yaml`` that names both.

    A line is one polygon: its class, then x and y of each corner relative to width and height. An
    image with an empty or missing label file is all background, as in Ultralytics. If polygons
    overlap, smaller ones cover larger ones.
    """

    name: ClassVar[str] = "yolo"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "images/train/NAME.* + labels/train/NAME.txt + data.yaml"

    def detect(self, folder: Path) -> Confidence:
        """Certain if a data.yaml names classes and images, or label files have the right lines."""
        files = data_files(folder)
        labels = list(islice(_label_files(folder), 20))
        lines = [line for line in map(_first_line, labels) if line]
        num_right = sum(map(is_label_line, lines))
        # A data.yaml leaves little doubt: then a few damaged files do not count.
        enough = num_right >= len(lines) / 2 if files else 0 < num_right == len(lines)
        if not labels or not enough:
            return NO
        place = labels[0].parent.relative_to(folder).as_posix()
        if lines and all(map(is_box_line, lines)):
            # Masks in the same folder are a better reading; boxes alone are refused for that.
            return Confidence(0.35, f"text files of boxes in {place}/")
        seen = f"text files of polygons in {place}/"
        if files:
            return Confidence(0.95, f"{seen}, with their classes in {files[0].name}")
        return Confidence(0.85, seen)

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image, with its label file if it exists."""
        data_file = find_data_file(folder)
        said = said_by(data_file) if data_file else None
        found = list(
            _images_named(folder, data_file, said)
            if data_file and said and said.splits
            else _images_below(folder)
        )
        labels = {image: _label_file(folder, image) for image, _ in found}
        labeled = {split for image, split in found if labels[image].is_file()}
        records = []
        for image, split in found:
            if split not in labeled:
                if split == "test":  # test images may be unlabeled
                    continue
                raise FormatError(
                    f"{image}, or another image of its split, must have labels in {labels[image]}. "
                    "Got no label file at all. Add the label files, or check the path"
                )
            masks = [path for path in (labels[image], data_file) if path and path.is_file()]
            name = image.relative_to(folder).with_suffix("").as_posix()
            records.append(Record(name, image, tuple(masks), split))
        _refuse_lonely_labels(folder, labels)
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  only for formats with stored values
    ) -> ClassMap:
        """Return background, then the names in the data.yaml, or numbers up to the largest id."""
        data_file = find_data_file(folder)
        names = said_by(data_file).names if data_file else None
        if names is None:
            ids = {number for record in records for number, _ in read_labels(record).polygons}
            names = numbered_names(max(ids, default=0) + 1)
        return classes_of(names, self.label_mode, data_file or folder)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and paint its polygons."""
        image = read_image(record.image)
        height, width = image.shape[:2]
        names = _names_for(record, class_map)
        objects = []
        for number, shares in read_labels(record).polygons:
            if number >= len(names):
                raise MaskError(
                    f"{record.masks[0]} must contain the class ids 0 to {len(names) - 1}. Got "
                    f"{number}. Fix the label, or name the class in data.yaml"
                )
            objects.append([Shape(names[number], (shares * (width, height),))])
        origin = record.masks[0] if record.masks else record.image
        shapes = largest_first(objects)
        mask = paint_shapes(shapes, (height, width), class_map, self.label_mode, origin)
        return Sample(record.name, image, mask, self.label_mode)

    def annotations(self, records: Sequence[Record]) -> AnnotationCount:
        """Count the lines of the label files that can be read."""
        return added(map(_count, records))

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Say where :meth:`records` departs from the data.yaml."""
        data_file = next((path for path in records[0].masks if path.suffix != LABEL_SUFFIX), None)
        said = said_by(data_file) if data_file else None
        if data_file is None or said is None:
            return []
        lines = []
        if said.is_leaky:
            lines.append(
                f"{data_file.name} names the same images as train and val, a leak that makes "
                "metrics meaningless: validation images are set aside from train instead"
            )
        renamed = {
            record.image.parent.name
            for record in records
            if IMAGES not in record.name.split("/") and _is_of_images(record.image.parent.name)
        }
        if renamed:
            names = listed(sorted(renamed), MAX_SHOWN)
            lines.append(f"{data_file.name} names folders that do not exist; read instead: {names}")
        return lines

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse soft masks, and ignored pixels besides background."""
        if content.is_soft:
            return "a pixel is either inside a polygon or outside, but these masks are soft"
        if content.has_ignored and unpainted_id(content.class_map) != IGNORE_INDEX:
            return "it cannot represent ignored pixels"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write a polygon per connected part, and a data.yaml; see :func:`_joined` for holes."""
        names = labels_to_name(class_map, self.label_mode)
        splits = set()
        for record, sample in samples:
            split = record.split or ""
            splits.add(split)
            write_image(folder / IMAGES / split, record, sample, WRITTEN_SUFFIXES)
            height, width = sample.image.shape[:2]
            lines = [
                _line(names.index(label), _joined(rings) / (width, height))
                for label, region in shapes_of(sample.mask, class_map, sample.label_mode)
                if label is not None
                for rings in trace_regions(region)
            ]
            write_text(folder / LABELS / split / f"{stem_of(record)}.txt", "".join(lines))
        entries: dict[str, Any] = {
            split: f"{IMAGES}/{split}" for split in SPLIT_KEYS if split in splits
        }
        write_text(folder / "data.yaml", _to_yaml({**entries, "names": dict(enumerate(names))}))


def _count(record: Record) -> AnnotationCount:
    try:
        labels = read_labels(record)
    except DataError:  # loading the image says why
        return AnnotationCount()
    return AnnotationCount(len(labels.polygons) + len(labels.bad), labels.bad)


def _images_named(
    folder: Path, data_file: Path, said: DataFile
) -> Iterator[tuple[Path, str | None]]:
    """Yield (image, split) as given in the data.yaml, even with paths of another machine."""
    renamed = {split: _renamed_folders(folder, split) for split in said.splits}
    # Exports often name a test folder that does not exist; with renamed folders, others may lack.
    may_lack = {"test", "val"} if any(renamed.values()) else {"test"}
    for split, entries in said.splits.items():
        if split == "val" and said.is_leaky:
            continue
        for entry in entries:
            place = end_inside(folder, f"{said.root}/{entry}") or end_inside(folder, entry)
            if place is None and not renamed[split] and split not in may_lack:
                raise FormatError(
                    f"{data_file}: {split} must name a folder or a list in {folder}. Got "
                    f"{entry[:200]}, which is not found there. Fix the file"
                )
            for home in [place] if place else renamed[split]:
                is_list = home.is_file()
                found = _listed(folder, home) if is_list else files_below(home, IMAGE_SUFFIXES)
                yield from ((image, split) for image in found)


def _renamed_folders(folder: Path, split: str) -> list[Path]:
    """Return folders such as ``train/images_part_1`` that have labels beside them."""
    return [
        path
        for path in sorted(folder.glob("*/*"))
        if split_in_folders(path.relative_to(folder).parts) == split
        and path.name != IMAGES
        and _is_of_images(path.name)
        and path.with_name(path.name.replace(IMAGES, LABELS)).is_dir()
    ]


def _is_of_images(name: str) -> bool:
    """Whether a folder is called images, or has that word in its name."""
    return IMAGES in re.findall("[a-z]+", name)


def _listed(folder: Path, list_file: Path) -> Iterator[Path]:
    """Yield the images in a list, one per line."""
    for line in text_of(list_file).splitlines():
        if not line.strip():
            continue
        image = end_inside(folder, line.strip())
        if image is None or image.suffix.lower() not in IMAGE_SUFFIXES or not image.is_file():
            error = FormatError(
                f"{list_file} must name images in {folder}. Got {line.strip()[:200]!r}, which is "
                "not found there. Fix the list or add the file"
            )
            report_problem("listed-file-missing", error, list_file, name=line.strip()[:80])
            continue
        yield image


def _images_below(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield (image, split) for all images in folders called images, without a data.yaml."""
    images = [
        (image, split_in_folders(parts))
        for image in files_below(folder, IMAGE_SUFFIXES)
        if IMAGES in (parts := image.relative_to(folder).parts[:-1])
    ]
    if not images:
        raise FormatError(
            f"{folder} must contain {Yolo.layout}. Got no such images. Check the path"
        )
    all_said = all(split for _, split in images)
    return ((image, split if all_said else None) for image, split in images)


def _label_file(folder: Path, image: Path) -> Path:
    """Return the path of an image's labels; without a folder of images, it is beside it."""
    *parts, name = image.relative_to(folder).with_suffix(LABEL_SUFFIX).parts
    places = [at for at, part in enumerate(parts) if part == IMAGES]
    places = places or [at for at, part in enumerate(parts) if _is_of_images(part)]
    if places:
        parts[places[-1]] = parts[places[-1]].replace(IMAGES, LABELS)
    return folder.joinpath(*parts, name)


def _label_files(folder: Path) -> Iterator[Path]:
    """Yield text files in folders called labels, sorted within each."""
    for pattern in (LABELS, f"{LABELS}/*", f"*/{LABELS}", f"*/{LABELS}/*"):
        for place in sorted(folder.glob(pattern)):
            if place.is_dir():
                yield from sorted(path for path in place.glob("*.txt") if _is_label(path))


def _is_label(path: Path) -> bool:
    """Whether a text file is a label file, and not the list of classes that some tools add."""
    return path.name != "classes.txt" and path.is_file()


def _refuse_lonely_labels(folder: Path, images: Iterable[Path]) -> None:
    """Refuse label files without an image, in folders that contain only labels.

    Images that a list leaves out count as images.
    """
    places = {image.parent for image in images if IMAGES in image.relative_to(folder).parts[:-1]}
    expected = {_label_file(folder, image) for place in places for image in image_files(place)}
    for place in sorted({path.parent for path in expected}):
        for path in sorted(place.glob("*.txt")):
            if path not in expected and _is_label(path):
                error = FormatError(
                    f"{path} must have an image of the same name. There is none. Add the image, "
                    "or move the labels elsewhere"
                )
                report_problem("mask-without-image", error, path)


def _names_for(record: Record, class_map: ClassMap) -> tuple[str, ...]:
    """Return the class names by the ids in a label file; unnamed classes use the class map."""
    for path in record.masks:
        if path.suffix != LABEL_SUFFIX:
            names = said_by(path).names
            if names is not None:
                return names
    return tuple(name for name in class_map.names if name not in BACKGROUND_NAMES)


def _first_line(path: Path) -> str:
    """Return the beginning of a file's first line, enough to recognize its format."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline(1000).strip()


def _joined(rings: Sequence[Ring]) -> Ring:
    """Join a ring and its holes into one ring by bridges that are passed in both directions.

    The two passes cancel out under the even-odd rule, so that every pixel is kept.
    """
    joined, *holes = rings
    for hole in holes:
        near = int(np.abs(joined - hole[0]).sum(1).argmin())
        joined = np.concatenate([joined[: near + 1], hole, hole[:1], joined[near:]])
    return joined


def _line(number: int, shares: Ring) -> str:
    # Seven digits resolve a hundredth of a pixel in images of 100,000; corners are integers.
    return f"{number} {' '.join(f'{share:.7g}' for share in shares.ravel().tolist())}\n"


def _to_yaml(content: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
