"""``rle-table``: tables of run lengths, ``id, rle``, as competitions of Kaggle publish them."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats import NO, Confidence, formats
from pixelwise.data.formats.annotation_files import head_of, read_text
from pixelwise.data.formats.annotation_search import ImageFinder, files_of_tool
from pixelwise.data.formats.drawn_images import (
    DrawnFile,
    DrawnFormat,
    DrawnImage,
    DrawnObject,
)
from pixelwise.data.formats.polygon_text.polygon_lists import MAX_FIELD
from pixelwise.data.formats.shapes import Shape
from pixelwise.data.pairing import image_files
from pixelwise.data.sample import Record
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.arrays import BoolArray
from pixelwise.io.counting import spread
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.images import IMAGE_SUFFIXES, read_image
from pixelwise.pairing.roles import role_of

IMAGE_COLUMNS = ("imageid", "image_id", "id", "img", "image", "image_name", "filename", "file_name",
                 "imageid_classid")  # fmt: skip
"""Names of the column with the image, in lower case, the likeliest first."""

RUN_COLUMNS = ("encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "segmentation",
               "annotation", "mask")  # fmt: skip
"""Names of the column with the run lengths, in lower case, the likeliest first."""

CLASS_COLUMNS = ("classid", "class_id", "class", "class_name", "label", "category")
"""Names of the column with the class, in lower case, the likeliest first."""

NOTHING = ("", "-1", "nan")
"""Cells of an image without an object, in lower case."""

PREDICTIONS = "submission"
"""Part of the name of a table of predictions, which lists the test images."""

NUM_TRIED = 6
"""Images by which the direction of the runs is checked."""

ROUGHER = 2.0
"""If runs by column give outlines this many times as long as runs by row, they run by row."""

_RUNS = re.compile(r"\s*\d+\s+\d+(?:\s+\d+\s+\d+)*\s*")
_WITH_CLASS = re.compile(r"(.+\.\w+)_(\w+)")

Runs = npt.NDArray[np.int64]
"""First pixel, counted from 0, and length of each run, int64 (N, 2)."""


class _Columns(NamedTuple):
    image: int
    runs: int
    label: int | None


@formats.register("rle-table")
class RleTables(DrawnFormat):
    """CSV files with an image and the runs of an object in each row, beside or above the images.

    Runs are pairs of a first pixel, counted from 1, and a length; pixels are counted down each
    column. An image has one row, or one for each object or class; an empty cell means no object.
    The class is a column, or follows the name of the image as in ``0002cc93b.jpg_1``. Masks in
    picture files beside the table take precedence.
    """

    name: ClassVar[str] = "rle-table"
    layout: ClassVar[str] = (
        "train.csv of id, rle (run lengths by column) beside or above the images"
    )
    tool: ClassVar[str] = "run lengths"

    def detect(self, folder: Path) -> Confidence:
        """Likely if a table has a column of images and one of run lengths."""
        found = super().detect(folder)
        return Confidence(0.6, found.reason) if found.score else NO

    def files(self, folder: Path) -> list[Path]:
        """Return the CSV files with run lengths, but for those of predictions."""
        return files_of_tool(folder, (".csv",), _is_table)

    def read(self, path: Path) -> DrawnFile:
        """Parse a table."""
        return _read(path)

    def find(self, image: DrawnImage, path: Path, finder: ImageFinder, split: str | None) -> Path:
        """Return the file of an image, whose name in the table may have no ending."""
        stem = PurePosixPath(image.name.replace("\\", "/"))
        is_whole = stem.suffix.lower() in IMAGE_SUFFIXES
        found = [
            path
            for path in finder.alike(stem.name, is_stem=not is_whole)
            if role_of(path.parent.relative_to(finder.folder).as_posix()) != "mask"
        ]
        if len(found) == 1:
            return found[0]
        if found and is_whole:
            return finder.find(image.name, path, split)
        if not found:
            raise FormatError(
                f"{path} must name images below {finder.folder}. Got {image.name[:200]!r}, which "
                "does not exist. Add it, or remove it from the table"
            )
        raise FormatError(
            f"{path} must name its images uniquely. Got {image.name[:200]!r}, which may be "
            f"{found[0]} or {found[1]}. Move one of them elsewhere"
        )

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image of the tables.

        Raises:
            FormatError: The runs go along the rows, as in the Carvana data.
        """
        records = super().records(folder)
        drawn = [record for record in records if self._image(record).objects]
        down, along = 0, 0
        for record in spread(drawn, NUM_TRIED):
            try:
                height, width = read_image(record.image).shape[:2]
                regions = [one.draw((height, width)).bitmap for one in self._image(record).objects]
            except DataError:  # reported when it is loaded
                continue
            for region in regions:
                assert region is not None
                down += _outline(region)
                along += _outline(region.T.reshape(region.shape))
        if down > ROUGHER * along:
            raise FormatError(
                f"{drawn[0].masks[0]} must count pixels down each column, as Kaggle's tables do. "
                "Its runs give regions that are torn into lines, and whole ones along the rows. "
                "Use the masks in picture files, or convert the runs"
            )
        return records

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Say also how many images beside the listed ones have no row."""
        listed = {record.image for record in records}
        beside = [
            path for place in {image.parent for image in listed} for path in image_files(place)
        ]
        count = sum(path not in listed for path in beside)
        left = [f"images without a row are left out: {count:,} of {len(beside):,}"] if count else []
        return [*super().remarks(records), *left]


def _outline(region: BoolArray) -> int:
    """Return the number of neighboring pixels of which one is inside."""
    return int((region[1:] != region[:-1]).sum() + (region[:, 1:] != region[:, :-1]).sum())


def _is_table(path: Path) -> bool:
    if PREDICTIONS in path.stem.lower():
        return False
    lines = head_of(path, 65_536).decode("utf-8", errors="replace").splitlines()
    header = next(iter(_rows(lines[0])), []) if lines else []
    columns = _columns_of(header)
    if columns is None:
        return False
    cells = [row[columns.runs] for row in _rows("\n".join(lines[1:])) if len(row) > columns.runs]
    filled = [cell for cell in cells[:-1] or cells if cell.strip().lower() not in NOTHING]
    return bool(filled) and all(map(_RUNS.fullmatch, filled))


def _rows(text: str) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_FIELD)  # a global setting, not reset because of other threads
    return iter(csv.reader(io.StringIO(text)))


def _columns_of(header: Sequence[str]) -> _Columns | None:
    names = [name.strip().strip("\ufeff").lower() for name in header]

    def find(wanted: Sequence[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    image, runs = find(IMAGE_COLUMNS), find(RUN_COLUMNS)
    if image is None or runs is None or image == runs:
        return None
    return _Columns(image, runs, find(CLASS_COLUMNS))


@kept_while_unchanged
def _read(path: Path) -> DrawnFile:
    objects: defaultdict[str, list[DrawnObject]] = defaultdict(list)
    bad: list[BadAnnotation] = []
    try:
        rows = _rows(read_text(path))
        columns = _columns_of(next(rows, []))
        if columns is None:
            raise FormatError(
                f"{path} must have a column of images and one of run lengths. Got neither. "
                "Export it again"
            )
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            name, label, cell = _cells(row, columns)
            found = objects[name]
            if cell.lower() in NOTHING:
                continue
            runs = _runs_of(cell)
            if runs is None:
                must = "pairs of a first pixel and a length, in ascending order"
                bad.append(BadAnnotation(path, f"line {number}", must, repr(cell[:40])))
                continue
            properties = {"class": label} if label else {}
            draw = partial(_draw, runs, f"{path} line {number}")
            found.append(DrawnObject(f"{path} line {number}", "run lengths", properties, draw))
    except (csv.Error, IndexError) as error:
        raise FormatError(
            f"{path} must contain a table of run lengths. Got: {str(error)[:120]}. Export it again"
        ) from error
    return DrawnFile(
        {name: DrawnImage(name, None, tuple(found)) for name, found in objects.items()}, tuple(bad)
    )


def _cells(row: Sequence[str], columns: _Columns) -> tuple[str, str, str]:
    """Return image, class and run lengths of a row; the class may follow the name of the image."""
    name = row[columns.image].strip()
    label = row[columns.label].strip() if columns.label is not None else ""
    joined = _WITH_CLASS.fullmatch(name)
    if joined and PurePosixPath(joined[1]).suffix.lower() in IMAGE_SUFFIXES:
        name, label = joined[1], label or joined[2]
    return name, f"class-{label}" if label.isdecimal() else label, row[columns.runs].strip()


def _runs_of(cell: str) -> Runs | None:
    """Parse run lengths; ``None`` if they are none, overlap or go backwards.

    Some tables count each run from the end of the one before, so that their numbers do not ascend.
    """
    if not _RUNS.fullmatch(cell):
        return None
    try:
        runs = np.array(cell.split(), np.int64).reshape(-1, 2)
    except (OverflowError, ValueError):
        return None
    first, length = runs[:, 0] - 1, runs[:, 1]
    is_possible = first[0] >= 0 and (length > 0).all() and (runs < 2**48).all()
    if not is_possible or (first[1:] < first[:-1] + length[:-1]).any():
        return None
    return np.stack([first, length], 1)


def _draw(runs: Runs, where: str, size: tuple[int, int]) -> Shape:
    """Return the region of some runs down the columns of an image.

    Raises:
        MaskError: They go beyond the image.
    """
    height, width = size
    first, length = runs.T
    if int(first[-1] + length[-1]) > height * width:
        raise MaskError(
            f"{where} must have runs inside its image of {width} x {height}. Got "
            f"{int(first[-1] + length[-1]):,} pixels of {height * width:,}. Check the size of the "
            "image"
        )
    steps = np.zeros(height * width + 1, np.int8)
    steps[first] = 1
    steps[first + length] -= 1
    region = np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)
    return Shape(None, bitmap=region.reshape(width, height).T)
