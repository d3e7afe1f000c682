"""``supervisely``: a project of Supervisely, with a JSON file for each image."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import BaseModel

from pixelwise.classes import Color
from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats import formats
from pixelwise.data.formats.annotation_files import checked, head_of, read_json
from pixelwise.data.formats.annotation_search import ImageFinder, files_of_tool
from pixelwise.data.formats.class_properties import STANDARD
from pixelwise.data.formats.drawn_images import (
    BOX,
    DrawnFile,
    DrawnFormat,
    DrawnImage,
    DrawnObject,
)
from pixelwise.data.formats.shapes import Ring, Shape
from pixelwise.errors import FormatError, MaskError
from pixelwise.io.decoding import decoding
from pixelwise.io.file_state import kept_while_unchanged

META = "meta.json"
"""File with the classes of the project, in its folder."""

ANNOTATIONS, IMAGES = "ann", "img"
"""Folders of a data set of the project."""

WITHOUT_AREA = ("line", "point", "graph", "multipoint", "cuboid")
"""Shapes of classes that no mask can show."""

MAX_BITMAP_BYTES = 256 * 1024**2
"""Size limit of an unpacked bitmap file."""


class _Size(BaseModel):
    height: int
    width: int


class _Points(BaseModel):
    exterior: list[tuple[float, float]] = []
    interior: list[list[tuple[float, float]]] = []


class _Bitmap(BaseModel):
    data: str
    origin: tuple[int, int]


class _Object(BaseModel):
    classTitle: str  # noqa: N815  the names in the file
    geometryType: str | None = None  # noqa: N815
    points: _Points | None = None
    bitmap: _Bitmap | None = None


class _Annotation(BaseModel):
    size: _Size
    objects: list[Any]


class _Class(BaseModel):
    title: str
    color: str = ""
    shape: str = ""


class _Meta(BaseModel):
    classes: list[_Class]


@formats.register("supervisely")
class Supervisely(DrawnFormat):
    """``meta.json`` and, for each data set of the project, ``img/NAME`` with ``ann/NAME.json``.

    Polygons with holes, bitmaps and rectangles are read; later objects cover earlier ones, as in
    the tool. Data sets called train, val or test are the splits.
    """

    name: ClassVar[str] = "supervisely"
    layout: ClassVar[str] = "meta.json + DATASET/img/NAME.jpg + DATASET/ann/NAME.jpg.json"
    tool: ClassVar[str] = "Supervisely"
    is_one_per_image: ClassVar[bool] = True
    has_order: ClassVar[bool] = True

    def files(self, folder: Path) -> list[Path]:
        """Return the JSON files in folders called ``ann``."""
        places = [*sorted(folder.glob(f"*/{ANNOTATIONS}")), folder / ANNOTATIONS]
        places += sorted(folder.glob(f"*/*/{ANNOTATIONS}"))
        return [
            path
            for place in places
            if place.is_dir() and files_of_tool(place, (".json",), _is_annotation, depth=1)
            for path in sorted(place.glob("*.json"))
            if not path.name.startswith(".")
        ]

    def read(self, path: Path) -> DrawnFile:
        """Parse the file of an image, and the classes of its project."""
        meta = _meta_of(path)
        file = _read(path)
        return replace(file, labels=_classes(meta)) if meta else file

    def find(self, image: DrawnImage, path: Path, finder: ImageFinder, split: str | None) -> Path:
        """Return the image of the same name in the folder of images beside that of the file."""
        del finder, split
        beside = path.parent.parent / IMAGES / image.name
        if beside.is_file():
            return beside
        raise FormatError(f"{path} must have its image {beside}. There is none. Add the image")


def _is_annotation(path: Path) -> bool:
    head = head_of(path, 65_536)
    return b'"objects"' in head and (b'"size"' in head or b'"tags"' in head)


def _meta_of(path: Path) -> Path | None:
    """Return the nearest ``meta.json`` above a file, at most three folders above."""
    return next((home / META for home in path.parents[:4] if (home / META).is_file()), None)


@kept_while_unchanged
def _classes(path: Path) -> Mapping[str, Color | None]:
    meta = checked(_Meta, read_json(path), path)
    return {
        entry.title: _color(entry.color)
        for entry in meta.classes
        if entry.shape not in WITHOUT_AREA
    }


def _color(text: str) -> Color | None:
    digits = text.removeprefix("#")
    if len(digits) != 6:
        return None
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        return None
    return red, green, blue


@kept_while_unchanged
def _read(path: Path) -> DrawnFile:
    annotation = checked(_Annotation, read_json(path), path)
    size = annotation.size.height, annotation.size.width
    objects: list[DrawnObject] = []
    bad = []
    for number, entry in enumerate(annotation.objects):
        name = f"object {number}"
        found = _object(entry, path, name)
        if isinstance(found, BadAnnotation):
            bad.append(found)
        else:
            objects.append(found)
    image = DrawnImage(path.stem, size, tuple(objects))
    return DrawnFile({path.stem: image}, tuple(bad))


def _object(entry: Any, path: Path, name: str) -> DrawnObject | BadAnnotation:
    """Return an object, or what it must have and has not."""
    try:
        thing = checked(_Object, entry, path)
    except FormatError as error:
        return BadAnnotation(path, name, "the keys of an object", str(error)[-60:])
    kind = thing.geometryType or ("bitmap" if thing.bitmap else "polygon")
    draw: Callable[[tuple[int, int]], Shape]
    if kind == "bitmap" and thing.bitmap is not None:
        draw = partial(_bitmap, thing.bitmap, path)
    elif kind in ("polygon", "rectangle") and thing.points is not None:
        corners = thing.points.exterior
        if kind == "rectangle" and len(corners) == 2:
            (left, top), (right, bottom) = corners
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        if len(corners) < 3:
            return BadAnnotation(path, name, "at least 3 corners", f"{len(corners)}")
        rings: tuple[Ring, ...] = tuple(map(np.array, (corners, *thing.points.interior)))
        draw = partial(_outline, rings)
    else:
        return BadAnnotation(path, name, "an area", f"{kind[:40]!r}")
    drawn_as = BOX if kind == "rectangle" else kind
    return DrawnObject(f"{path}: {name}", drawn_as, {STANDARD[0]: thing.classTitle}, draw)


def _outline(rings: tuple[Ring, ...], size: tuple[int, int]) -> Shape:
    del size
    return Shape(None, rings)


def _bitmap(bitmap: _Bitmap, path: Path, size: tuple[int, int]) -> Shape:
    """Return the region of a packed PNG, whose alpha or palette index is above 0 inside."""
    left, top = bitmap.origin
    try:
        content = base64.b64decode(bitmap.data)
        if not content.startswith(b"\x89PNG"):
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(content, MAX_BITMAP_BYTES)
    except (ValueError, zlib.error) as error:
        raise MaskError(
            f"{path} must contain bitmaps as Supervisely packs them. Got {error}. Export it again"
        ) from error
    with decoding(path), Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        width, height = picture.size
        if not (top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]):
            raise MaskError(
                f"{path} must contain bitmaps inside its image of {size[1]} x {size[0]}. Got one "
                f"of {width} x {height} at ({left}, {top}). Check that the file is of this image"
            )
        has_alpha = "transparency" in picture.info or picture.mode in ("RGBA", "LA")
        plane = picture.convert("RGBA").getchannel("A") if has_alpha else picture
        values = np.asarray(plane).reshape(height, width, -1)
    return Shape(None, bitmap=values.max(axis=-1) > 0, corner=(top, left))
