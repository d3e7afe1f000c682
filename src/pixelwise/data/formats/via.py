"""``via``: regions of the VGG Image Annotator, as JSON or CSV, also as makesense.ai writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel
from pydantic_core import from_json

from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats import formats
from pixelwise.data.formats.annotation_files import checked, head_of, read_json, read_text
from pixelwise.data.formats.annotation_search import files_of_tool
from pixelwise.data.formats.drawn_images import (
    BOX,
    DrawnFile,
    DrawnFormat,
    DrawnImage,
    DrawnObject,
)
from pixelwise.data.formats.shapes import Ring, Shape
from pixelwise.errors import FormatError
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.text import whole_number

METADATA = "_via_img_metadata"
"""The key of the images in a saved project; exported annotations have them at the top level."""

CSV_COLUMNS = ("filename", "file_size", "region_shape_attributes", "region_attributes")
"""Columns that are needed in a CSV file; early versions write ``#filename``."""

NUM_CORNERS = 64
"""Corners of the polygons that stand for circles and ellipses."""

Attributes = Mapping[str, Any]


class _Region(BaseModel):
    shape_attributes: dict[str, Any]
    region_attributes: dict[str, Any] = {}


class _Image(BaseModel):
    filename: str
    size: int | None = None
    regions: list[_Region] | dict[str, _Region] = []


class _Metadata(BaseModel):
    images: dict[str, _Image]


@formats.register("via")
class Via(DrawnFormat):
    """JSON or CSV files of VIA 1 and 2 beside their images or above folders of images.

    Polygons, rectangles, circles and ellipses are read; a set of rectangles alone is refused as one
    for object detection. VIA has no order of objects, so smaller ones cover larger ones. The class
    is a region attribute, see :mod:`pixelwise.data.formats.class_properties`.
    """

    name: ClassVar[str] = "via"
    layout: ClassVar[str] = "via_region_data.json or .csv of VIA, beside or above the images"
    tool: ClassVar[str] = "VIA"
    has_properties: ClassVar[bool] = True

    def files(self, folder: Path) -> list[Path]:
        """Return the JSON and CSV files that begin as VIA's do."""
        return files_of_tool(folder, (".json", ".csv"), _is_via)

    def read(self, path: Path) -> DrawnFile:
        """Parse a file."""
        return _read(path)


def _is_via(path: Path) -> bool:
    if path.suffix.lower() == ".csv":
        header = head_of(path).split(b"\n")[0].decode("utf-8", errors="replace")
        return all(column in header for column in CSV_COLUMNS)
    head = head_of(path, 65_536)
    names = (b'"_via_', b'"shape_attributes"', b'"region_attributes"')
    is_empty = b'"regions"' in head and b'"file_attributes"' in head
    return any(name in head for name in names) or is_empty


@kept_while_unchanged
def _read(path: Path) -> DrawnFile:
    is_csv = path.suffix.lower() == ".csv"
    entries = _rows(path) if is_csv else _metadata(path)
    bad: list[BadAnnotation] = []
    images = {}
    for key, entry in entries.items():
        regions = entry.regions
        listed = regions if isinstance(regions, list) else list(regions.values())
        found = []
        for number, region in enumerate(listed):
            name = f"region {number} of {entry.filename}"
            drawn = _object(region, path, name)
            if isinstance(drawn, BadAnnotation):
                bad.append(drawn)
            else:
                found.append(drawn)
        images[key] = DrawnImage(entry.filename, None, tuple(found), entry.size)
    return DrawnFile(images, tuple(bad))


def _metadata(path: Path) -> Mapping[str, _Image]:
    """Return the images of a JSON file, of a saved project or of exported annotations."""
    content = read_json(path)
    if isinstance(content, dict):
        content = content.get(METADATA, content)
    return checked(_Metadata, {"images": content}, path).images


def _rows(path: Path) -> Mapping[str, _Image]:
    """Return the images of a CSV file, which has one row per region."""
    images: dict[str, _Image] = {}
    lines = csv.DictReader(io.StringIO(read_text(path)))
    try:
        for number, row in enumerate(lines, start=2):
            cells = {(name or "").lstrip("#"): cell for name, cell in row.items()}
            name, size = cells["filename"], cells["file_size"] or ""
            image = images.setdefault(
                f"{name}{size}",
                _Image(filename=name, size=whole_number(size), regions=[]),
            )
            shape = _cell(cells["region_shape_attributes"], path, number)
            attributes = _cell(cells["region_attributes"], path, number)
            if shape and isinstance(image.regions, list):
                region = _Region(shape_attributes=shape, region_attributes=attributes)
                image.regions.append(region)
    except (csv.Error, ValueError, KeyError) as error:
        raise FormatError(
            f"{path} must have rows as VIA writes them. Got: {str(error)[:120]}. Export it again"
        ) from error
    return images


def _cell(cell: str | None, path: Path, number: int) -> dict[str, Any]:
    try:
        content = from_json(cell or "{}")
    except ValueError as error:
        raise FormatError(
            f"{path} line {number} must hold JSON in its cells. Got {(cell or '')[:40]!r}. Export "
            "it again"
        ) from error
    return content if isinstance(content, dict) else {}


def _object(region: _Region, path: Path, name: str) -> DrawnObject | BadAnnotation:
    attributes = region.shape_attributes
    kind = str(attributes.get("name"))
    if kind not in RINGS:
        return BadAnnotation(path, name, "an area", f"{kind[:40]!r}")
    try:
        ring = RINGS[kind](attributes)
    except (LookupError, TypeError, ValueError):
        ring = np.zeros((0, 2))
    if len(ring) < 3 or not np.isfinite(ring).all():
        return BadAnnotation(path, name, "at least 3 corners", f"{str(dict(attributes))[:60]}")
    properties = {key: _ticked(value) for key, value in region.region_attributes.items()}
    several = [value for value in properties.values() if isinstance(value, list)]
    if several:
        return BadAnnotation(path, name, "one class", f"{', '.join(several[0])[:60]}")
    shape = Shape(None, (ring,))
    return DrawnObject(f"{path}: {name}", BOX if kind == "rect" else kind, properties,
                       lambda _: shape)  # fmt: skip


def _ticked(value: Any) -> Any:
    """Return the option of an attribute with checkboxes, or a list of several."""
    if not isinstance(value, Mapping):
        return value
    ticked = [str(option) for option, is_on in value.items() if is_on]
    return ticked if len(ticked) > 1 else next(iter(ticked), None)


def _polygon(attributes: Attributes) -> Ring:
    return np.array([attributes["all_points_x"], attributes["all_points_y"]], np.float64).T


def _rect(attributes: Attributes) -> Ring:
    left, top, width, height = (float(attributes[key]) for key in ("x", "y", "width", "height"))
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _circle(attributes: Attributes) -> Ring:
    return _ellipse({**attributes, "rx": attributes["r"], "ry": attributes["r"]})


def _ellipse(attributes: Attributes) -> Ring:
    x, y, radius_x, radius_y = (float(attributes[key]) for key in ("cx", "cy", "rx", "ry"))
    turn = float(attributes.get("theta", 0))  # in radians, clockwise on the screen
    angles = np.linspace(0, 2 * np.pi, NUM_CORNERS, endpoint=False)
    along, aside = radius_x * np.cos(angles), radius_y * np.sin(angles)
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.stack([x + along * cosine - aside * sine, y + along * sine + aside * cosine], 1)


RINGS: dict[str, Callable[[Attributes], Ring]] = {
    "polygon": _polygon,
    "rect": _rect,
    "circle": _circle,
    "ellipse": _ellipse,
}
"""The outline of each kind of region; points and polylines have no area."""
