"""``labelbox``: the NDJSON export of Labelbox, one line for each image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np
from pydantic_core import from_json

from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats import formats
from pixelwise.data.formats.annotation_files import head_of, read_text
from pixelwise.data.formats.annotation_search import files_of_tool
from pixelwise.data.formats.class_properties import STANDARD
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
from pixelwise.io.images import IMAGE_SUFFIXES

SUFFIXES = (".ndjson", ".jsonl", ".json")

MASKS = ("mask", "composite_mask", "instanceURI")
"""Keys of masks, which are addresses on Labelbox's servers."""

Entry = Mapping[str, Any]


@formats.register("labelbox")
class Labelbox(DrawnFormat):
    """A file of JSON lines, and the images anywhere below, named as in Labelbox.

    Polygons and boxes are read. Masks are only addresses in these files: they are counted as
    annotations that cannot be used, because pixelwise downloads nothing. Smaller objects cover
    larger ones; rows without labels are left out.
    """

    name: ClassVar[str] = "labelbox"
    layout: ClassVar[str] = "export.ndjson of Labelbox + images"
    tool: ClassVar[str] = "Labelbox"

    def files(self, folder: Path) -> list[Path]:
        """Return the files whose first line is a data row."""
        return files_of_tool(folder, SUFFIXES, _is_export)

    def read(self, path: Path) -> DrawnFile:
        """Parse a file."""
        return _read(path)


def _is_export(path: Path) -> bool:
    head = head_of(path, 65_536).lstrip(b"\xef\xbb\xbf \r\n\t")
    return head.startswith(b"{") and b'"data_row"' in head


@kept_while_unchanged
def _read(path: Path) -> DrawnFile:
    images: dict[str, DrawnImage] = {}
    bad: list[BadAnnotation] = []
    num_unlabeled = 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = from_json(line)
        except ValueError as error:
            raise FormatError(
                f"{path} line {number} must be JSON. Got {str(error)[:80]}. Export it again"
            ) from error
        labels = [
            label for project in _values(row, "projects") for label in _list(project, "labels")
        ]
        if not labels:
            num_unlabeled += 1
            continue
        objects = [
            found
            for label in labels
            for found in _objects(label, path, f"line {number}", bad)
        ]  # fmt: skip
        images[f"line {number}"] = DrawnImage(_name(row, path, number), _size(row), tuple(objects))
    lost = f"rows without a label are left out: {num_unlabeled:,}"
    return DrawnFile(images, tuple(bad), remarks=(lost,) if num_unlabeled else ())


def _name(row: Any, path: Path, number: int) -> str:
    """Return the name of an image: one of its keys, or the end of its address."""
    data = _dict(row, "data_row")
    for key in ("external_id", "global_key", "row_data"):
        value = data.get(key)
        if isinstance(value, str):
            name = unquote(urlsplit(value).path) if "://" in value else value
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                return name
    raise FormatError(
        f"{path} line {number} must name an image by its external id, global key or address. Got "
        "none with the suffix of an image. Export it with these keys"
    )


def _size(row: Any) -> tuple[int, int] | None:
    attributes = _dict(row, "media_attributes")
    height, width = attributes.get("height"), attributes.get("width")
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    return None


def _objects(
    label: Entry, path: Path, line: str, bad: list[BadAnnotation]
) -> Iterator[DrawnObject]:
    """Yield the objects of a label with an outline, and list the others."""
    for number, entry in enumerate(_list(_dict(label, "annotations"), "objects")):
        name = f"{line} object {number}"
        kind = next((kind for kind in RINGS if kind in entry), None)
        title = entry.get("name") or entry.get("title") or entry.get("value")
        if kind is None:
            is_mask = any(key in entry for key in MASKS)
            got = "a mask at an address, which is not downloaded" if is_mask else (
                str(entry.get("annotation_kind"))[:40])  # fmt: skip
            bad.append(BadAnnotation(path, name, "an outline", got))
            continue
        try:
            ring = RINGS[kind](entry[kind])
        except (LookupError, TypeError, ValueError):
            ring = np.zeros((0, 2))
        if len(ring) < 3:
            bad.append(BadAnnotation(path, name, "at least 3 corners", str(entry[kind])[:60]))
            continue
        properties = {STANDARD[0]: title if isinstance(title, str) else None}
        drawn_as = BOX if kind == "bounding_box" else kind
        yield DrawnObject(f"{path}: {name}", drawn_as, properties, _drawing(ring))


def _drawing(ring: Ring) -> Callable[[tuple[int, int]], Shape]:
    shape = Shape(None, (ring,))
    return lambda _: shape


def _polygon(corners: Any) -> Ring:
    return np.array([(corner["x"], corner["y"]) for corner in corners], np.float64)


def _box(box: Any) -> Ring:
    left, top, width, height = (float(box[key]) for key in ("left", "top", "width", "height"))
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


RINGS: dict[str, Callable[[Any], Ring]] = {"polygon": _polygon, "bounding_box": _box}
"""The outline of each kind of object, by its key."""


def _dict(entry: Any, key: str) -> Entry:
    found = entry.get(key) if isinstance(entry, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _values(entry: Any, key: str) -> list[Entry]:
    return [value for value in _dict(entry, key).values() if isinstance(value, Mapping)]


def _list(entry: Entry, key: str) -> list[Entry]:
    found = entry.get(key)
    listed = found if isinstance(found, list) else []
    return [value for value in listed if isinstance(value, Mapping)]
