"""``labelme``: one JSON file per image, as the tool LabelMe saves it beside the image."""

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
from pixelwise.io.images import IMAGE_SUFFIXES, decoding, read_image

VERSION = "5.5.0"
"""Of the LabelMe whose files are written."""

LABELS_FILE = "labels.txt"
"""Lists the labels in the order of their ids, as LabelMe's own converters take it."""

LABELME_BACKGROUND = BACKGROUND_NAMES[1]
"""What LabelMe calls the pixels without a shape."""

MAX_FILE_BYTES = 256 * 1024**2
"""A larger JSON file is of a whole data set, not of one image with its shapes."""

IMAGES = IMAGE_SUFFIXES - {".npy"}
"""The image files that LabelMe opens."""


class LabelmeShape(BaseModel):
    """One shape of a LabelMe file.

    Attributes:
        label: The name of its class.
        points: Corners as (x, y); of a mask, the centers of its first and its last pixel.
        shape_type: Polygons of early versions have none.
        mask: A PNG as base64, of masks alone.
    """

    label: str
    points: list[tuple[FiniteFloat, FiniteFloat]]
    shape_type: str | None = None
    mask: str | None = None


class LabelmeFile(BaseModel):
    """What is read of a LabelMe file; the image inside it (``imageData``) never is.

    Attributes:
        shapes: In the order in which they are painted. The parts of a group (``group_id``) are of
            one object, and of one class by their label.
        imagePath: The image, relative to the file.
        imageHeight: In pixels.
        imageWidth: In pixels.
    """

    shapes: list[LabelmeShape]
    imagePath: str  # noqa: N815  the names of the file
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815


@formats.register("labelme")
class Labelme(Format):
    """``NAME.json`` beside ``NAME.jpg``, or in a folder of annotations, also in split folders.

    Images without a file are not labeled yet and left out, as by LabelMe's own converters. Shapes
    are painted as LabelMe does it: lines are 10 pixels wide, points are discs of 5 pixels' radius.
    """

    name: ClassVar[str] = "labelme"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "NAME.json of LabelMe beside NAME.jpg"

    def detect(self, folder: Path) -> Confidence:
        """Sure when JSON files hold shapes and name an image."""
        places = annotation_places(folder, _is_labelme, NUM_EXAMPLES)
        if not places:
            return NO
        where = " and ".join(f"{place.annotations.relative_to(folder)}/" for place in places)
        return Confidence(0.95, f"JSON files of LabelMe in {where}")

    def records(self, folder: Path) -> list[Record]:
        """One record per JSON file, with the image that it names."""
        records = []
        for place in annotation_places(folder, _is_labelme):
            by_stem = images_by_stem(place.images)
            for path in files_of_kind(place.annotations, (".json",)):
                if path.stem not in by_stem and not _is_labelme(path):
                    continue  # JSON of something else, such as COCO's
                try:
                    named = _read(path).imagePath
                except DataError as error:
                    report_problem("corrupt-mask", error, path)
                    continue
                image = _image_of(path, named, place, folder) or by_stem.get(path.stem)
                if image is None:
                    missing = FormatError(
                        f"{path} must have its image {named!r}. There is none, and one inside the "
                        "JSON file (imageData) is not read. Add the image, or remove the JSON file"
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
        """Background, then the labels in the order of ``labels.txt``, or by name without one."""
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
        """Decode the image and paint its shapes in their order."""
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
        """Anything but soft masks, and classes named like the label."""
        if content.is_soft:
            return "its shapes have no soft edges"
        if IGNORE_LABEL in content.class_map.names:
            return f"a shape called {IGNORE_LABEL} is ignored"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """A JSON file beside each image in its split's folder, and the list of the labels."""
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
    """A JSON file with LabelMe's two marks, found without reading it as JSON: it may be large."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    if path.stat().st_size > MAX_FILE_BYTES:
        return False
    content = read_bytes(path)
    return b'"shapes"' in content and b'"imagePath"' in content


def _read(path: Path) -> LabelmeFile:
    return checked(LabelmeFile, read_json(path), path)


def _image_of(path: Path, named: str, place: Place, folder: Path) -> Path | None:
    """The image that a LabelMe file names, also where file or image were moved since."""
    # Files in a folder of annotations name images beside that folder: ../images/NAME.jpg
    image = find_image(named, (path.parent,), folder / os.pardir)
    return image or find_image(PureWindowsPath(named).name, place.images, folder)


def _listed_labels(path: Path) -> list[str]:
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _shape(shape: LabelmeShape, size: tuple[int, int], class_map: ClassMap, path: Path) -> Shape:
    """A shape as pixels."""
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
    """The row and column of a mask's first pixel, and its pixels, which are not 0 inside.

    Raises:
        MaskError: It is no PNG, or not as large as its corners say.
    """
    if len(shape.points) != 2 or shape.mask is None:
        raise MaskError(
            f"{path} must hold masks with two corners and a picture. Got one of {shape.label!r} "
            "without. Remove the shape, or draw it again"
        )
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in shape.points)
    height, width = bottom - top + 1, right - left + 1
    if not (0 <= top <= bottom < size[0] and 0 <= left <= right < size[1]):
        raise MaskError(
            f"{path} must hold masks inside its image of {size[1]} x {size[0]}. Got one from "
            f"({left}, {top}) to ({right}, {bottom}). Check that the annotation is of this image"
        )
    with decoding(path):
        content = io.BytesIO(base64.b64decode(shape.mask))
        with Image.open(content, formats=("PNG",)) as picture:
            if picture.size != (width, height):  # before it is decoded: it may promise any size
                raise MaskError(
                    f"{path} must hold masks as large as their corners say, {width} x {height}. "
                    f"Got {picture.size[0]} x {picture.size[1]}. Export it again"
                )
            values = np.asarray(picture).reshape(height, width, -1)
    return (top, left), (values != 0).any(axis=-1)


def _written_shapes(sample: Sample, class_map: ClassMap) -> list[dict[str, Any]]:
    """Shapes that are painted back to the mask, pixel by pixel.

    Regions are polygons where those give them back, for a person to edit. What then still differs
    is written last, as one bitmap per class, so that the whole is exact whatever the polygons are.
    """
    if sample.label_mode == "multilabel":
        return [
            shape
            for name, plane in zip(class_map.names, sample.mask, strict=True)
            for shape in _shapes_of((plane > 0).astype(np.uint8), 0, {1: name}, can_repaint=False)
        ]
    unpainted = unpainted_id(class_map)
    labels = {**dict(enumerate(class_map.names)), IGNORE_INDEX: IGNORE_LABEL}
    # Where no class is the background, ignored pixels are written out: LabelMe would call it
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
