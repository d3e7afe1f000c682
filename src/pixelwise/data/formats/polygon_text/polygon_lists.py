"""Parses and writes polygons as text: lists of points, and WKT in tables."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pixelwise.data.formats.shapes import Ring, Shape, paint_polygon
from pixelwise.errors import FormatError
from pixelwise.io.arrays import BoolArray

NAME = re.compile(r"[^\s\[\]{},;:\"](?:[^\[\]{}\r\n]*[^\s\[\]{}])?")
"""Class names that can precede a list."""

BETWEEN = re.compile(r"[\s,;]*")
"""Separators between lists."""

LABEL = re.compile(r"([^\[\]{}\r\n]*):\s*(?=\[)")
"""A class name and its colon before a list."""

IMAGE_COLUMNS = ("imageid", "image_id", "image", "imagename", "image_name", "filename", "file_name",
                 "file")  # fmt: skip
"""Names of the column with the image, in lower case, the most likely first."""

CLASS_COLUMNS = ("classtype", "class_type", "class", "classname", "class_name", "label", "category")
"""Names of the column with the class, in lower case, the most likely first."""

WKT = re.compile(r"\s*(MULTI)?POLYGON\b", re.IGNORECASE)
"""The beginning of a cell; other types can be nested infinitely, so they are not parsed."""

NUM_EXAMPLE_ROWS = 100
"""Number of rows that are examined to find the column of polygons."""

MAX_FIELD = 2**31 - 1
"""Largest number of characters in a cell, which may hold the polygons of a whole scene."""


@dataclass(frozen=True)
class Region:
    """The polygons of one list or one cell of a table.

    Attributes:
        label: The class; ``None`` if it is not named.
        rings: Closed polygons, float64 (P, 2) of (x, y), without the repeated first corner.
        has_holes: Whether rings form polygons with holes by the even-odd rule. Otherwise, a ring is
            a hole if it lies completely inside the rings before it.
    """

    label: str | None
    rings: tuple[Ring, ...] = field(repr=False)
    has_holes: bool = False


def read_lists(text: str, origin: Path) -> list[Region]:
    """Parse the polygon lists of one image.

    Accepted are any number of lists ``[[x, y], ...]``, each with or without a preceding class name
    and colon; lists of such lists; or a JSON object with class names as keys.

    Args:
        text: The content of a file.
        origin: The file, for messages.

    Raises:
        FormatError: The text has another form.
    """
    decoder = json.JSONDecoder()
    regions: list[Region] = []
    try:
        if text.lstrip().startswith("{"):
            for label, value in json.loads(text).items():
                regions.extend(_regions(label, value, origin))
            return regions
        place = BETWEEN.match(text).end()  # type: ignore[union-attr]  # it also matches nothing
        while place < len(text):
            named = LABEL.match(text, place)
            value, place = decoder.raw_decode(text, named.end() if named else place)
            regions.extend(_regions(named[1].strip() if named else None, value, origin))
            place = BETWEEN.match(text, place).end()  # type: ignore[union-attr]
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise _no_lists(origin, str(error)) from error
    return regions


def _regions(label: str | None, value: Any, origin: Path) -> Iterator[Region]:
    """Yield the regions of a list of points, or of a list of such lists."""
    if not isinstance(value, list):
        raise _no_lists(origin, repr(value)[:40])
    if not value:
        return
    first = value[0]
    is_nested = isinstance(first, list) and (not first or isinstance(first[0], list))
    for points in value if is_nested else [value]:
        rings = _closed_rings(_corners(points, origin), origin)
        if rings:
            yield Region(label or None, tuple(rings))


def _corners(points: Any, origin: Path) -> Ring:
    """Convert points to float64 (P, 2)."""
    if points == []:
        return np.zeros((0, 2))
    try:
        corners = np.array(points)
        is_numeric = corners.dtype.kind in "iuf" and corners.ndim == 2 and corners.shape[1] == 2
    except (ValueError, OverflowError) as error:  # not all of the same length
        raise _no_lists(origin, repr(points)[:40]) from error
    if not is_numeric or not np.isfinite(corners).all():
        raise _no_lists(origin, repr(points)[:40])
    return corners.astype(np.float64)


def _no_lists(origin: Path, got: str) -> FormatError:
    return FormatError(
        f"{origin} must contain lists of points, [[x, y], [x, y], ...], with or without a class "
        f"name and a colon in front. Got {got}. Fix the file"
    )


def _closed_rings(corners: Ring, origin: Path) -> list[Ring]:
    """Split a list of points into polygons, which end where their first point is repeated.

    The last point may be repeated several times, and the last polygon may be left open.

    Raises:
        FormatError: The remaining points do not form a polygon.
    """
    rings: list[Ring] = []
    start = 0
    for index in range(len(corners)):
        is_first = index > start and (corners[index] == corners[start]).all()
        if is_first and index == start + 1:
            start = index  # the same point again does not close a polygon
        elif is_first:
            rings.append(corners[start:index])
            start = index + 1
    left = corners[start:]
    is_repeated = len(left) == 1 and bool(rings) and bool((left[0] == rings[-1][0]).all())
    if len(left) > 2:
        rings.append(left)
    elif len(left) and not is_repeated:
        raise FormatError(
            f"{origin} must contain polygons of at least 3 points, each closed by its first point. "
            f"Got {left.tolist()} at the end of a list. Close the polygon, or remove the points"
        )
    return rings


def write_list(label: str, rings: Sequence[Ring]) -> str:
    """Format one polygon with its holes as a list, as the inverse of :func:`read_lists`.

    Args:
        label: Its class.
        rings: The polygon, then its holes, with integer corners.
    """
    points = [point for ring in rings for point in (*ring.tolist(), ring[0].tolist())]
    pairs = ", ".join(f"[{x:.0f}, {y:.0f}]" for x, y in points)
    return f"{label}: [{pairs}]\n"


def shape_of(region: Region, label: str | None, size: tuple[int, int], origin: Path) -> Shape:
    """Convert a region to a shape for painting.

    The polygons of one list are filled separately and merged. A polygon completely inside the
    filled area is a hole, unless it repeats an earlier one.

    Args:
        region: The polygons.
        label: The name of its class.
        size: Height and width of the image.
        origin: The file, for messages.
    """
    if region.has_holes or len(region.rings) == 1:
        return Shape(label, region.rings)
    corners = np.concatenate(region.rings)
    low = np.clip(np.floor(corners.min(0)), 0, size[::-1]).astype(np.int64)
    high = np.clip(np.ceil(corners.max(0)), low, size[::-1]).astype(np.int64)
    filled: BoolArray = np.zeros((high - low)[::-1], np.bool_)
    seen = set()
    for ring in region.rings:
        if (content := ring.tobytes()) in seen:
            continue
        seen.add(content)
        (row, column), inside = paint_polygon([ring - low], filled.shape, origin)
        target = filled[row : row + inside.shape[0], column : column + inside.shape[1]]
        target[inside] = not target[inside].all()
    return Shape(label, bitmap=filled, corner=(int(low[1]), int(low[0])))


def read_table(text: str, origin: Path) -> dict[str, list[Region]]:
    """Parse a table with a column of WKT polygons and any number of rows per image.

    Args:
        text: CSV with a header, separated by commas, semicolons or tabs.
        origin: The file, for messages.

    Returns:
        The regions by image name; an image with ``POLYGON EMPTY`` has none.

    Raises:
        FormatError: A column is missing, a cell is not a polygon, or the coordinates are not in
            pixels.
    """
    rows = _rows(text, origin)
    columns = [name.strip().lower() for name in next(rows, [])]
    images = next((columns.index(name) for name in IMAGE_COLUMNS if name in columns), None)
    classes = next((columns.index(name) for name in CLASS_COLUMNS if name in columns), None)
    cells = [row for row in rows if row]
    polygons = _wkt_column(columns, cells)
    if images is None or polygons is None:
        raise FormatError(
            f"{origin} must have a column ImageId and one of WKT polygons. Got the columns "
            f"{', '.join(columns)[:120]!r}. Rename them, or remove the file"
        )
    found: dict[str, list[Region]] = {}
    for number, row in enumerate(cells, start=2):
        if len(row) <= max(images, polygons, classes or 0):
            raise FormatError(
                f"{origin} row {number} must have {len(columns)} cells. Got {len(row)}. Fix it"
            )
        label = (row[classes].strip() or None) if classes is not None else None
        regions = found.setdefault(row[images].strip(), [])
        regions.extend(_wkt_regions(label, row[polygons], f"{origin} row {number}"))
    _require_pixels(found, origin)
    return found


def _rows(text: str, origin: Path) -> Iterator[list[str]]:
    """Yield the rows of a table."""
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    csv.field_size_limit(MAX_FIELD)  # a global setting, not reset because of other threads
    try:
        yield from csv.reader(io.StringIO(text), delimiter=separator)
    except csv.Error as error:
        raise FormatError(
            f"{origin} must contain a table. Got: {error}. Export it again"
        ) from error


def _wkt_column(columns: list[str], rows: list[list[str]]) -> int | None:
    """Return the column of polygons; with several, prefer the one in pixels."""
    found = [
        index
        for index in range(len(columns))
        if any(WKT.match(row[index]) for row in rows[:NUM_EXAMPLE_ROWS] if index < len(row))
    ]
    found.sort(key=lambda index: ("pix" not in columns[index], "geo" in columns[index]))
    return found[0] if found else None


def _wkt_regions(label: str | None, text: str, origin: str) -> Iterator[Region]:
    """Yield the polygons of a cell with their holes."""
    try:
        if not WKT.match(text):
            raise ValueError(text)
        geometry = shapely.from_wkt(text)
    except (shapely.errors.ShapelyError, ValueError) as error:
        raise FormatError(
            f"{origin} must contain a polygon as WKT. Got {text[:40]!r}. Fix the cell"
        ) from error
    for part in shapely.get_parts(geometry):
        if not isinstance(part, shapely.Polygon):
            raise FormatError(
                f"{origin} must contain a POLYGON or a MULTIPOLYGON. Got {part.geom_type}. Fix it"
            )
        if part.is_empty:
            continue
        rings = (part.exterior, *part.interiors)
        corners = tuple(shapely.get_coordinates(ring)[:-1] for ring in rings)
        yield Region(label, corners, has_holes=True)


def _require_pixels(found: dict[str, list[Region]], origin: Path) -> None:
    largest = max(
        (np.abs(ring).max() for regions in found.values() for region in regions
         for ring in region.rings if len(ring)),
        default=np.inf,
    )  # fmt: skip
    if largest <= 1:
        raise FormatError(
            f"{origin} must contain coordinates in pixels. Got none above {largest:g}: they are "
            "relative to the image or in map units. Multiply them by the size of the images"
        )
