"""``labelme``: one JSON file per image, as written by the tool LabelMe."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, FiniteFloat

from pixelwise.classes import BACKGROUND_NAMES, IGNORE_INDEX, ClassMap, LabelMode
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import (
    IGNORE_LABEL,
    NUM_EXAMPLES,
    Place,
    annotation_places,
    checked,
    class_label,
    files_of_kind,
    find_image,
    images_by_stem,
    labeled_class_map,
    read_bytes,
    read_json,
    record_name,
)
from pixelwise.data.formats.labelme.labelme_shapes import paint_labelme, polygons_of
from pixelwise.data.formats.shapes import Shape, bounding_box, paint_shapes, unpainted_id
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_stated_size
from pixelwise.data.writing import stem_of, write_image
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.arrays import BoolArray, UInt8Array
from pixelwise.io.decoding import decoding
from pixelwise.io.images import IMAGE_SUFFIXES, read_image
from pixelwise.label_modes import mode_of

VERSION = "5.5.0"
"""Version of LabelMe in the written files."""

LABELS_FILE = "labels.txt"
"""List of the labels in the order of their ids, as in LabelMe's own converters."""

LABELME_BACKGROUND = BACKGROUND_NAMES[1]
"""LabelMe's name for pixels without a shape."""

MAX_FILE_BYTES = 256 * 1024**2
"""Size limit of a JSON file; larger files hold whole data sets and not one image."""

IMAGES = IMAGE_SUFFIXES - {".npy"}
"""Suffixes of image files that LabelMe can open."""


class LabelmeShape(BaseModel):
    """A shape in a LabelMe file.

    Attributes:
        label: Name of its class.
        points: Corners as (x, y); for masks, the centers of the first and the last pixel.
        shape_type: Kind of shape; polygons of early versions have none.
        mask: A PNG as base64; only for masks.
    """

    label: str
    points: list[tuple[FiniteFloat, FiniteFloat]]
    shape_type: str | None = None
    mask: str | None = None


class LabelmeFile(BaseModel):
    """The part of a LabelMe file that is used; the embedded image (``imageData``) is not read.

    Attributes:
        shapes: In the order in which they are painted. The parts of a group (``group_id``) belong
            to one object, and share its class.
        imagePath: Path of the image, relative to the file.
        imageHeight: Height in pixels.
        imageWidth: Width in pixels.
    """

    shapes: list[LabelmeShape]
    imagePath: str  # noqa: N815  the name in the file
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815


@formats.register("labelme")
class Labelme(Format):
    """``NAME.json`` beside ``NAME.jpg``, or in a folder of annotations, also in split folders.

    Images without a JSON file are unlabeled and left out, as in LabelMe's own converters. Shapes
    are painted as in LabelMe: lines are 10 pixels wide, points are discs with a radius of 5 pixels.
    """

    name: ClassVar[str] = "labelme"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "NAME.json of LabelMe beside NAME.jpg"

    def detect(self, folder: Path) -> Confidence:
        """Certain if JSON files contain shapes and name an image."""
        places = annotation_places(folder, _is_labelme, NUM_EXAMPLES)
        if not places:
            return NO
        where = " and ".join(f"{place.annotations.relative_to(folder)}/" for place in places)
        return Confidence(0.95, f"JSON files of LabelMe in {where}")

    def records(self, folder: Path) -> list[Record]:
        """Return one record per JSON file, with the image that it names."""
        records = []
        for place in annotation_places(folder, _is_labelme):
            by_stem = images_by_stem(place.images)
            for path in files_of_kind(place.annotations, (".json",)):
                if path.stem not in by_stem and not _is_labelme(path):
                    continue  # JSON of another kind, such as COCO
                try:
                    named = _read(path).imagePath
                except DataError as error:
                    report_problem("corrupt-mask", error, path)
                    continue
                image = _image_of(path, named, place, folder) or by_stem.get(path.stem)
                if image is None:
                    missing = FormatError(
                        f"{path} must have its image {named!r}. There is none, and an image inside "
                        "the JSON (imageData) is not read. Add the image, or remove the JSON file"
                    )
                    report_problem("mask-without-image", missing, path)
                    continue
                name = record_name(image, path, folder)
                records.append(Record(name, image, (path,), place.split))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002
    ) -> ClassMap:
        """Return background, then the labels in the order of ``labels.txt``, or by name."""
        for home in (folder, folder.absolute().parent):
            if (home / LABELS_FILE).is_file():
                labels = _listed_labels(home / LABELS_FILE)
                origin = home / LABELS_FILE
                break
        else:
            files = [_read(record.masks[0]) for record in records]
            labels = sorted({shape.label for file in files for shape in file.shapes})
            origin = folder
        return labeled_class_map(labels, self.label_mode, origin, background=LABELME_BACKGROUND)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and paint its shapes in order."""
        (path,) = record.masks
        image = read_image(record.image)
        file = _read(path)
        height, width = size = image.shape[:2]
        stated = (
            height if file.imageHeight is None else file.imageHeight,
            width if file.imageWidth is None else file.imageWidth,
        )
        check_stated_size(record.image, image, path, stated)
        shapes = (_shape(shape, size, class_map, path) for shape in file.shapes)
        mask = paint_shapes(shapes, size, class_map, self.label_mode, path)
        return Sample(record.name, image, mask, self.label_mode)

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse soft masks, and classes named like the label of ignored shapes."""
        if content.is_soft:
            return "its shapes have no soft edges"
        if IGNORE_LABEL in content.class_map.names:
            return f"shapes called {IGNORE_LABEL} are ignored"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write a JSON file beside each image in its split's folder, and the list of labels."""
        labels = "\n".join((IGNORE_LABEL, *class_map.names))
        (folder / LABELS_FILE).write_text(f"{labels}\n", encoding="utf-8")
        for record, sample in samples:
            image = write_image(folder / (record.split or ""), record, sample, IMAGES)
            height, width = sample.mask.shape[-2:]
            content = {
                "version": VERSION,
                "flags": {},
                "shapes": _written_shapes(sample, class_map),
                "imagePath": image.name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            target = image.with_name(f"{stem_of(record)}.json")
            target.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _is_labelme(path: Path) -> bool:
    """Whether a JSON file has LabelMe's two keys, without parsing it, as it may be large."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    if path.stat().st_size > MAX_FILE_BYTES:
        return False
    content = read_bytes(path)
    return b'"shapes"' in content and b'"imagePath"' in content


def _read(path: Path) -> LabelmeFile:
    return checked(LabelmeFile, read_json(path), path)


def _image_of(path: Path, named: str, place: Place, folder: Path) -> Path | None:
    """Return the image that a LabelMe file names, even if one of the two was moved."""
    # Files in a separate annotation folder refer to images by ../images/NAME.jpg.
    image = find_image(named, (path.parent,), folder / os.pardir)
    return image or find_image(PureWindowsPath(named).name, place.images, folder)


def _listed_labels(path: Path) -> list[str]:
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _shape(shape: LabelmeShape, size: tuple[int, int], class_map: ClassMap, path: Path) -> Shape:
    """Convert a shape to pixels."""
    label = class_label(shape.label, class_map)
    if shape.shape_type == "mask":
        corner, bitmap = _bitmap(shape, size, path)
    else:
        corners = np.array(shape.points, np.float64).reshape(-1, 2)
        corner, bitmap = paint_labelme(shape.shape_type or "polygon", corners, size, path)
    return Shape(label, bitmap=bitmap, corner=corner)


def _bitmap(
    shape: LabelmeShape, size: tuple[int, int], path: Path
) -> tuple[tuple[int, int], BoolArray]:
    """Return the row and column of a mask's first pixel, and its pixels, nonzero inside.

    Raises:
        MaskError: The mask is not a PNG, or its size does not match its corners.
    """
    if len(shape.points) != 2 or shape.mask is None:
        raise MaskError(
            f"{path} must contain masks with two corners and an image. Got one of {shape.label!r} "
            "without. Remove the shape, or draw it again"
        )
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in shape.points)
    height, width = bottom - top + 1, right - left + 1
    if not (0 <= top <= bottom < size[0] and 0 <= left <= right < size[1]):
        raise MaskError(
            f"{path} must contain masks inside its image of {size[1]} x {size[0]}. Got one from "
            f"({left}, {top}) to ({right}, {bottom}). Check that the annotation is of this image"
        )
    with decoding(path):
        content = io.BytesIO(base64.b64decode(shape.mask))
        with Image.open(content, formats=("PNG",)) as picture:
            if picture.size != (width, height):  # checked before decoding, to limit memory
                raise MaskError(
                    f"{path} must contain masks of the size of their corners, {width} x {height}. "
                    f"Got {picture.size[0]} x {picture.size[1]}. Export it again"
                )
            values = np.asarray(picture).reshape(height, width, -1)
    return (top, left), (values != 0).any(axis=-1)


def _written_shapes(sample: Sample, class_map: ClassMap) -> list[dict[str, Any]]:
    """Return shapes that restore the mask exactly.

    Regions that polygons restore are written as editable polygons. The remaining differences are
    written last, as one bitmap per class, so that the result is always exact.
    """
    if not mode_of(sample.label_mode).holds_ids:
        return [
            shape
            for name, plane in zip(class_map.names, sample.mask, strict=True)
            for shape in _shapes_of((plane > 0).astype(np.uint8), 0, {1: name}, can_repaint=False)
        ]
    unpainted = unpainted_id(class_map)
    labels = {**dict(enumerate(class_map.names)), IGNORE_INDEX: IGNORE_LABEL}
    # Without a background class, ignored pixels must be written, as LabelMe would treat them as
    # background.
    start = -1 if unpainted == IGNORE_INDEX else unpainted
    return _shapes_of(sample.mask, start, labels, can_repaint=True)


def _shapes_of(
    mask: UInt8Array, unpainted: int, labels: dict[int, str], *, can_repaint: bool
) -> list[dict[str, Any]]:
    polygons, painted = polygons_of(mask, unpainted, can_repaint=can_repaint)
    shapes = [
        _entry(labels[polygon.value], "polygon", polygon.corners.tolist()) for polygon in polygons
    ]
    differs = painted != mask
    for value in np.unique(mask[differs]).tolist():
        region = differs & (mask == value)
        rows, columns = box = bounding_box(region)
        content = io.BytesIO()
        Image.fromarray(region[box]).save(content, "PNG")
        picture = base64.b64encode(content.getvalue()).decode("ascii")
        corners = [
            [float(columns.start), float(rows.start)],
            [float(columns.stop - 1), float(rows.stop - 1)],
        ]
        shapes.append(_entry(labels[value], "mask", corners, picture))
    return shapes


def _entry(
    label: str, kind: str, corners: list[list[float]], picture: str | None = None
) -> dict[str, Any]:
    return {
        "label": label,
        "points": corners,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": picture,
    }
