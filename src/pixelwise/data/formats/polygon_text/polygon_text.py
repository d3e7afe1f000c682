"""``polygon-text``: polygons as lists of points, or as WKT in a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import BACKGROUND_NAMES, IGNORE_INDEX, ClassMap, LabelMode
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import (
    NUM_EXAMPLES,
    Place,
    annotation_places,
    class_label,
    files_of_kind,
    head_of,
    labeled_class_map,
    read_text,
)
from pixelwise.data.formats.polygon_text.polygon_lists import (
    NAME,
    Region,
    read_lists,
    read_table,
    shape_of,
    write_list,
)
from pixelwise.data.formats.shapes import paint_shapes, shapes_of, trace_regions, unpainted_id
from pixelwise.data.pairing import IMAGE_FOLDERS, by_stem, image_files
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample
from pixelwise.data.writing import stem_of, write_image
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.images import read_image

POLYGON_FOLDER = "polygons"
"""Folder of the written text files, beside ``images``."""

NO_POLYGONS = "[]\n"
"""Content of the file of an image without polygons."""

UNNAMED = "foreground"
"""The class of polygons without a class name."""

LIST_HEAD = re.compile(r"\s*(?:[^\[\]{}\r\n]*:\s*)?\[\s*[\[\]]|\s*\{\s*\"[^\"]*\"\s*:\s*\[\s*\[")
"""The beginning of a file of lists; other tools' lists hold objects, and YOLO has no brackets."""

TABLE_HEAD = re.compile(r"(MULTI)?POLYGON\s*(Z\s*)?(\(|EMPTY)", re.IGNORECASE)

LIST_SUFFIXES = (".txt", ".json")
TABLE_SUFFIXES = (".csv", ".tsv")

_Pair = tuple[Path, Path, str | None]
"""An image, the file of its polygons, and its name there if the file has many images."""


@formats.register("polygon-text")
class PolygonText(Format):
    """``NAME.txt`` with ``[[x, y], ...]`` for each image, or a table of images and WKT polygons.

    A list of points may hold several polygons: each ends where its first point is repeated. They
    are filled separately and merged; a polygon completely inside earlier ones of its list is a
    hole. A class name and a colon may precede a list.
    """

    name: ClassVar[str] = "polygon-text"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "images/NAME.* + polygons/NAME.txt with [[x, y], ...], or CSV of WKT"

    def detect(self, folder: Path) -> Confidence:
        """Certain if text files begin like lists of points, or a table contains WKT."""
        for is_kind, what in ((_is_list, "lists of points"), (_is_table, "a table of WKT")):
            places = annotation_places(folder, is_kind, NUM_EXAMPLES)
            if places:
                where = places[0].annotations.relative_to(folder)
                return Confidence(0.9, f"polygons as {what} in {where}/")
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image; each must have a text file or a row in the table."""
        pairs_of, places = _list_pairs, annotation_places(folder, _is_list)
        if not places:
            pairs_of, places = _table_pairs, annotation_places(folder, _is_table)
        records = []
        for place in places:
            for image, annotation, entry in pairs_of(place):
                name = image.relative_to(folder).with_suffix("").as_posix()
                records.append(Record(name, image, (annotation,), place.split, entry=entry))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002
    ) -> ClassMap:
        """Return background, then the class names; polygons without a name are foreground."""
        labels = {region.label or UNNAMED for record in records for region in _regions(record)}
        return labeled_class_map(sorted(labels, key=_by_number), self.label_mode, folder)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and fill its polygons."""
        image = read_image(record.image)
        (path,) = record.masks
        size = image.shape[:2]
        shapes = (
            shape_of(region, _class_of(region, class_map, path), size, path)
            for region in _regions(record)
        )
        mask = paint_shapes(shapes, size, class_map, self.label_mode, path)
        return Sample(record.name, image, mask, self.label_mode)

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse soft masks, ignored pixels besides background, and names with brackets."""
        if content.is_soft:
            return "its polygons have no soft edges"
        if content.has_ignored and unpainted_id(content.class_map) != IGNORE_INDEX:
            return "it cannot represent ignored pixels besides background"
        if not all(map(NAME.fullmatch, content.class_map.names)):
            return "a class name contains brackets or line breaks"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write ``SPLIT/images`` and ``SPLIT/polygons`` with a line per connected part."""
        for record, sample in samples:
            home = folder / (record.split or "")
            write_image(home / IMAGE_FOLDERS[0], record, sample)
            lines = [
                write_list(label, rings)
                for label, region in shapes_of(sample.mask, class_map, sample.label_mode)
                if label is not None
                for rings in trace_regions(region)
            ]
            (home / POLYGON_FOLDER).mkdir(exist_ok=True)
            target = home / POLYGON_FOLDER / f"{stem_of(record)}.txt"
            target.write_text("".join(lines) or NO_POLYGONS, encoding="utf-8")


def _by_number(label: str) -> tuple[bool, int, str]:
    """Sort key that orders numbers by value and before names: 2, 10, road."""
    is_number = label.isdecimal()
    return not is_number, len(label) if is_number else 0, label


def _is_list(path: Path) -> bool:
    """Whether a text file begins like a list of points."""
    if path.suffix.lower() not in LIST_SUFFIXES:
        return False
    head = head_of(path).removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
    return LIST_HEAD.match(head) is not None


def _is_table(path: Path) -> bool:
    """Whether the first rows of a table contain WKT."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return False
    return TABLE_HEAD.search(head_of(path).decode("utf-8", errors="replace")) is not None


def _images(place: Place) -> dict[str, Path]:
    """Index the images of a place by stem, from the first folder that contains any."""
    found = (image_files(home) for home in place.images)
    return by_stem(next((files for files in found if files), []), "image")


def _list_pairs(place: Place) -> list[_Pair]:
    """Pair images with their text files; other text files are skipped."""
    images = _images(place)
    files = by_stem(
        [
            path
            for path in files_of_kind(place.annotations, LIST_SUFFIXES)
            if path.stem in images or _is_list(path)
        ],
        "file of polygons",
    )
    _refuse_unpaired(
        [image for stem, image in images.items() if stem not in files],
        [(path, stem) for stem, path in files.items() if stem not in images],
        place,
    )
    return [(images[stem], files[stem], None) for stem in sorted(images.keys() & files.keys())]


def _table_pairs(place: Place) -> list[_Pair]:
    """Pair images with the tables that have rows for them."""
    images = list(_images(place).values())
    pairs: list[_Pair] = []
    lacking: list[tuple[Path, str]] = []
    for path in files_of_kind(place.annotations, TABLE_SUFFIXES):
        if not _is_table(path):
            continue
        try:
            table = _table(path)
        except DataError as error:
            report_problem("corrupt-mask", error, path)
            continue
        named = {image: name for image in images if (name := _name_in(table, image))}
        pairs.extend((image, path, name) for image, name in named.items())
        lacking.extend((path, name) for name in sorted(table.keys() - set(named.values())))
        _refuse_shared(named, path)
    paired = {image for image, _, _ in pairs}
    _refuse_unpaired([image for image in images if image not in paired], lacking, place)
    return pairs


def _refuse_shared(named: dict[Path, str], path: Path) -> None:
    """Refuse a row that matches two images, such as by two prefixes of one name."""
    owners: dict[str, Path] = {}
    for image, name in named.items():
        if name in owners:
            error = FormatError(
                f"{path} must name every image uniquely. Got {name!r} for "
                f"{owners[name].name} and {image.name}. Use the file names, or move one"
            )
            report_problem("paired-twice", error, owners[name], image)
        owners[name] = image


def _refuse_unpaired(
    images: Sequence[Path], annotations: Sequence[tuple[Path, str]], place: Place
) -> None:
    """Refuse images without polygons, except test images, and polygons without an image.

    Args:
        images: Images without polygons.
        annotations: Files with the names of missing images.
        place: The place of both.
    """
    for image in images if place.split != "test" else ():
        error = FormatError(
            f"{image} must have its polygons in {place.annotations}: a file {image.stem}.txt, or "
            "rows of the table. There are none. Add them ([] or POLYGON EMPTY if there is "
            "nothing), or move the image elsewhere"
        )
        report_problem("image-without-mask", error, image)
    for path, name in annotations:
        error = FormatError(
            f"{path} must have an image {name!r} in {place.images[0]} or beside it. There is none. "
            "Add the image, or remove its polygons"
        )
        report_problem("mask-without-image", error, path, name=name)


@kept_while_unchanged
def _table(path: Path) -> dict[str, list[Region]]:
    return read_table(read_text(path), path)


def _name_in(table: dict[str, list[Region]], image: Path) -> str | None:
    """Return the name of an image in a table; SpaceNet's file names add a prefix to it."""
    parts = image.stem.split("_")
    tails = ("_".join(parts[start:]) for start in range(len(parts)))
    return next((name for name in (image.name, *tails) if name in table), None)


def _regions(record: Record) -> list[Region]:
    """Return the polygons of an image.

    Raises:
        FormatError: The polygons cannot be read.
    """
    (path,) = record.masks
    if path.suffix.lower() in LIST_SUFFIXES:
        return read_lists(read_text(path), path)
    return _table(path).get(record.entry or "", [])


def _class_of(region: Region, class_map: ClassMap, path: Path) -> str | None:
    """Return the class of a region; without a name, it is the only class."""
    if region.label is not None:
        return class_label(region.label, class_map)
    classes = [name for name in class_map.names if name not in BACKGROUND_NAMES]
    if UNNAMED in classes or len(classes) == 1:
        return UNNAMED if UNNAMED in classes else classes[0]
    raise MaskError(
        f"{path} must name the class of its polygons, because there are {len(classes)}. Got "
        "polygons without a name. Write 'NAME: ' before each list"
    )
