"""``label-studio``: the JSON and JSON-MIN exports of Label Studio."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats import formats
from pixelwise.data.formats.annotation_files import head_of, read_json
from pixelwise.data.formats.annotation_search import ImageFinder, files_of_tool
from pixelwise.data.formats.class_properties import STANDARD
from pixelwise.data.formats.drawn_images import (
    BOX,
    DrawnFile,
    DrawnFormat,
    DrawnImage,
    DrawnObject,
)
from pixelwise.data.formats.label_studio.brush_rle import decode_brush
from pixelwise.data.formats.shapes import Ring, Shape
from pixelwise.errors import FormatError
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.images import IMAGE_SUFFIXES

TASKS = re.compile(rb"^(?:\xef\xbb\xbf)?\s*\[\s*\{")
MARKS = (b'"polygonlabels"', b'"brushlabels"', b'"original_width"', b'"was_cancelled"')
"""The beginning of a list of tasks, and what occurs in it; other tools use neither name."""

HEAD_BYTES = 1024**2
"""Number of bytes in which one of the marks is searched; a brush stroke may be long."""

UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts in front of the name of an uploaded image."""

NUM_CORNERS = 64
"""Corners of the polygons that stand for ellipses."""

Result = Mapping[str, Any]


@formats.register("label-studio")
class LabelStudio(DrawnFormat):
    """A JSON file of tasks, and the images anywhere below; names may lack the prefix of an upload.

    Polygons, brushes, rectangles and ellipses are read. Of several annotations of a task, the
    ground truth or else the latest is used; tasks without annotations, and those that were skipped,
    are unlabeled and left out. Smaller objects cover larger ones.
    """

    name: ClassVar[str] = "label-studio"
    layout: ClassVar[str] = "project.json of Label Studio (JSON or JSON-MIN) + images"
    tool: ClassVar[str] = "Label Studio"

    def files(self, folder: Path) -> list[Path]:
        """Return the JSON files that are lists of tasks."""
        return files_of_tool(folder, (".json",), _is_export)

    def read(self, path: Path) -> DrawnFile:
        """Parse a file."""
        return _read(path)

    def find(self, image: DrawnImage, path: Path, finder: ImageFinder, split: str | None) -> Path:
        """Return the file of an image, of the whole name or without the prefix of an upload."""
        name = PurePosixPath(image.name)
        bare = UPLOADED.sub("", name.name)
        try:
            return finder.find(image.name, path, split)
        except FormatError:
            if bare == name.name:
                raise
            return finder.find(name.with_name(bare).as_posix(), path, split)


def _is_export(path: Path) -> bool:
    head = head_of(path, HEAD_BYTES)
    return TASKS.match(head) is not None and any(mark in head for mark in MARKS)


@kept_while_unchanged
def _read(path: Path) -> DrawnFile:
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise FormatError(
            f"{path} must be a list of tasks, as Label Studio exports it. Export it again as JSON"
        )
    images: dict[str, DrawnImage] = {}
    bad: list[BadAnnotation] = []
    num_unlabeled = num_several = 0
    for number, task in enumerate(tasks):
        results, num_others = _results(task)
        num_several += num_others > 0
        if results is None:
            num_unlabeled += 1
            continue
        key = str(task.get("id", number))
        objects = list(_objects(results, path, f"task {key}", bad))
        images[key] = DrawnImage(_image_name(task, path, key), _size(results), tuple(objects))
    remarks = [
        f"{what}: {count:,}"
        for what, count in (
            ("tasks without an annotation are left out", num_unlabeled),
            ("tasks of which the ground truth or the latest annotation counts", num_several),
        )
        if count
    ]
    return DrawnFile(images, tuple(bad), remarks=tuple(remarks))


def _results(task: Result) -> tuple[list[Result] | None, int]:
    """Return the results of the annotation to use, and the number of other annotations.

    The results are ``None`` if the task is not labeled.
    """
    if "annotations" not in task and "completions" not in task:  # JSON-MIN, a key per control
        found: list[Result] = [
            {**entry, "value": entry}
            for value in task.values()
            for entry in _entries(value)
            if _labels(entry)
        ]
        return found or None, 0
    listed = _entries(task.get("annotations", task.get("completions")))
    usable = [each for each in listed if not each.get("was_cancelled")]
    if not usable:
        return None, 0
    best = max(usable, key=_merit)
    return _entries(best.get("result")), len(usable) - 1


def _merit(annotation: Result) -> tuple[bool, str]:
    """Return what makes one of several annotations the right one: ground truth, then time."""
    time = annotation.get("updated_at") or annotation.get("created_at")
    return bool(annotation.get("ground_truth")), str(time)


def _entries(content: Any) -> list[Result]:
    """Return the objects of a list, and nothing for other content."""
    listed = content if isinstance(content, list) else []
    return [entry for entry in listed if isinstance(entry, dict)]


def _image_name(task: Result, path: Path, key: str) -> str:
    """Return the path of the image of a task, from an upload, a local file or an address."""
    data = task.get("data", task)
    values = [task.get("file_upload"), *(data.values() if isinstance(data, dict) else ())]
    for value in filter(lambda value: isinstance(value, str), values):
        parts = urlsplit(str(value).replace("\\", "/"))
        # Local files are served as /data/local-files/?d=FOLDER/NAME.
        name = (parse_qs(parts.query).get("d") or [unquote(parts.path)])[0]
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            return name
    raise FormatError(
        f"{path}: task {key} must name an image in its data. Got none with the suffix of an image. "
        "Export it again"
    )


def _size(results: list[Result]) -> tuple[int, int] | None:
    for result in results:
        height, width = result.get("original_height"), result.get("original_width")
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    return None


def _labels(value: Result) -> list[str]:
    """Return the labels of a region, whose key is named after the kind of region."""
    kinds = [each for key, each in value.items() if key.endswith("labels") or key == "labels"]
    return [label for each in kinds if isinstance(each, list) for label in each
            if isinstance(label, str)]  # fmt: skip


def _objects(
    results: list[Result], path: Path, task: str, bad: list[BadAnnotation]
) -> Iterator[DrawnObject]:
    """Yield the regions of a task with an area, and list the others."""
    for number, result in enumerate(results):
        value = result.get("value")
        labels = _labels(value) if isinstance(value, dict) else []
        if not isinstance(value, dict) or not labels:
            continue  # a relation, or a choice for the whole image
        name = f"{task} region {number}"
        if len(labels) > 1:
            bad.append(BadAnnotation(path, name, "one label", ", ".join(labels)[:60]))
            continue
        kind = next((kind for kind, key in KEYS.items() if key in value), None)
        if kind is None:
            got = str(result.get("type") or sorted(value))[:40]
            bad.append(BadAnnotation(path, name, "an area", got))
            continue
        draw: Callable[[tuple[int, int]], Shape]
        if kind == "brush":
            draw = partial(_brush, value["rle"], path)
        else:
            try:
                ring = RINGS[kind](value)
            except (LookupError, TypeError, ValueError):
                ring = np.zeros((0, 2))
            if ring.ndim != 2 or ring.shape[1:] != (2,) or len(ring) < 3:
                bad.append(BadAnnotation(path, name, "at least 3 corners", str(value)[:60]))
                continue
            turn = value.get("rotation", 0)
            degrees = float(turn) if isinstance(turn, int | float) else 0.0
            pivot = (float(value["x"]), float(value["y"])) if degrees else (0.0, 0.0)
            draw = partial(_outline, ring, degrees, pivot)
        yield DrawnObject(f"{path}: {name}", kind, {STANDARD[0]: labels[0]}, draw)


def _brush(rle: Any, path: Path, size: tuple[int, int]) -> Shape:
    return Shape(None, bitmap=decode_brush(rle, size, path))


def _outline(
    ring: Ring, degrees: float, pivot: tuple[float, float], size: tuple[int, int]
) -> Shape:
    """Return the shape of a ring in percent of width and height, turned around a point.

    Rectangles turn around their first corner and ellipses around their center, in pixels.
    """
    percent = size[1] / 100, size[0] / 100
    corners: Ring = ring * percent
    if degrees:
        middle = np.array(pivot) * percent
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        corners = (corners - middle) @ np.array([(cosine, sine), (-sine, cosine)]) + middle
    return Shape(None, (corners,))


def _polygon(value: Result) -> Ring:
    return np.array(value["points"], np.float64)


def _rectangle(value: Result) -> Ring:
    width, height = float(value["width"]), float(value["height"])
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    return corners + np.array([value["x"], value["y"]], np.float64)


def _ellipse(value: Result) -> Ring:
    angles = np.linspace(0, 2 * np.pi, NUM_CORNERS, endpoint=False)
    radii = float(value["radiusX"]), float(value["radiusY"])
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    return circle * radii + np.array([value["x"], value["y"]], np.float64)


KEYS = {"polygon": "points", "brush": "rle", "ellipse": "radiusX", BOX: "width"}
"""The key that only a region of this kind has, in the order in which they are tried."""

RINGS: dict[str, Callable[[Result], Ring]] = {
    "polygon": _polygon,
    BOX: _rectangle,
    "ellipse": _ellipse,
}
"""The outline of each kind of region in percent."""
