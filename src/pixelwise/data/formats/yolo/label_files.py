"""Reads YOLO's label files; lines that are no polygons are left out and listed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.classes import MAX_CLASSES
from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats.shapes import Ring
from pixelwise.data.formats.yolo.data_yaml import said_by
from pixelwise.data.sample import Record
from pixelwise.errors import DataError
from pixelwise.files import open_regular

TOLERANCE = 0.01
"""Coordinates this far outside 0..1 count as rounding errors, as in Ultralytics."""

MAX_LABEL_BYTES = 64 * 1024**2
"""Size limit of a label file."""

LABEL_SUFFIX = ".txt"
"""Suffix of label files."""


@dataclass(frozen=True)
class Labels:
    """The lines of a label file.

    Attributes:
        polygons: Class id and relative corners of each.
        bad: The lines that are left out.
    """

    polygons: tuple[tuple[int, Ring], ...] = ()
    bad: tuple[BadAnnotation, ...] = ()


def read_labels(record: Record) -> Labels:
    """Read the label file of an image; without one, there are no polygons.

    Raises:
        DataError: The file cannot be read.
    """
    if not record.masks or record.masks[0].suffix != LABEL_SUFFIX:
        return Labels()
    path = record.masks[0]
    names = next((said_by(other).names for other in record.masks[1:]), None)
    num_classes = MAX_CLASSES if names is None else len(names)
    polygons, bad = [], []
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        if not line.strip():
            continue
        found = _polygon(line, num_classes)
        if isinstance(found[1], str):
            bad.append(BadAnnotation(path, f"line {number}", found[0], found[1]))
        else:
            polygons.append(found)
    return Labels(tuple(polygons), tuple(bad))


def text_of(path: Path) -> str:
    """Read a text file of bounded size.

    Raises:
        DataError: It is too large, not UTF-8, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_LABEL_BYTES + 1)
        if len(content) > MAX_LABEL_BYTES:
            raise ValueError(f"more than {MAX_LABEL_BYTES:,} bytes")
        return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} must be a readable text file. Got: {error}. Export it again"
        ) from error


def is_label_line(line: str) -> bool:
    """Whether a line has a class id and at least four numbers, as for a polygon or a box."""
    values = _numbers(line)[:5]
    return len(values) == 5 and values[0] >= 0 and all(map(math.isfinite, values)) and (
        values[0].is_integer()
    )  # fmt: skip


def is_box_line(line: str) -> bool:
    """Whether a line is a box: a class id and four numbers."""
    return is_label_line(line) and len(_numbers(line)) == 5


def _numbers(line: str) -> list[float]:
    """Return the numbers of a line; empty if there is anything else.

    A comma is the decimal mark of some languages; class ids may be floats, as numpy saves them.
    """
    try:
        return [float(word) for word in line.replace(",", ".").split()]
    except ValueError:
        return []


def _polygon(line: str, num_classes: int) -> tuple[int, Ring] | tuple[str, str]:
    """Return class id and corners of a line, or else what it must have and what it has."""
    values = _numbers(line)
    is_class = bool(values) and values[0].is_integer() and 0 <= values[0] < MAX_CLASSES
    if not is_class or not all(map(math.isfinite, values)):
        return "a class id and coordinates", f"{line[:60]!r}"
    if values[0] >= num_classes:
        return f"a class id of 0 to {num_classes - 1}", f"{values[0]:g}"
    corners = values[1:]
    if len(corners) == 4:
        return "a polygon of at least 3 corners", "4 numbers, as in a box for object detection"
    if len(corners) < 6 or len(corners) % 2:
        return "x and y of at least 3 corners, without scores or ids", f"{len(corners)} numbers"
    if min(corners) < -TOLERANCE or max(corners) > 1 + TOLERANCE:
        worst = max(corners, key=lambda value: abs(value - 0.5))
        return "coordinates of 0 to 1, relative to width and height", f"{worst:g}"
    return int(values[0]), np.array(corners).reshape(-1, 2)
