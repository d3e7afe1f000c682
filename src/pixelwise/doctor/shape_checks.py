"""Checks annotations: those that are left out, and those that others cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pixelwise.data.dataset import Dataset
from pixelwise.data.problems import PaintedShape
from pixelwise.data.sample import Record
from pixelwise.data.scene_windows import whole_records
from pixelwise.doctor.findings import Observation
from pixelwise.errors import DataError
from pixelwise.text import listed

MAX_LABELS = 4
"""Number of classes named in the line of a file."""


class ShapeCount(NamedTuple):
    """The shapes of one class.

    Attributes:
        shapes: Number of shapes.
        hidden: Number of those that others cover by more than half.
        pixels: Number of their pixels.
        visible: Number of their pixels that have the class in the finished masks.
    """

    shapes: int
    hidden: int
    pixels: int
    visible: int


ShapeCounts = Mapping[str, ShapeCount]
"""By class name."""


def bad_annotations(dataset: Dataset) -> list[Observation]:
    """List all annotations of a data set that are left out."""
    try:
        count = dataset.format.annotations(whole_records(dataset.records))
    except DataError:  # loading the images reports the file
        return []
    return [Observation("bad-annotations", bad.file, str(bad)) for bad in count.bad]


def count_shapes(shapes: Iterable[PaintedShape]) -> ShapeCounts:
    """Add up the shapes of one image by class."""
    return _added(
        (shape.label, ShapeCount(1, int(shape.is_hidden), shape.pixels, shape.visible))
        for shape in shapes
    )


def _added(entries: Iterable[tuple[str, ShapeCount]]) -> ShapeCounts:
    total: defaultdict[str, ShapeCount] = defaultdict(lambda: ShapeCount(0, 0, 0, 0))
    for label, count in entries:
        total[label] = ShapeCount(*(a + b for a, b in zip(total[label], count, strict=True)))
    return dict(total)


def look_at_shapes(record: Record, shapes: Sequence[PaintedShape]) -> list[Observation]:
    """Report the shapes of one image that others cover by more than half."""
    hidden = [shape.label for shape in shapes if shape.is_hidden]
    if not hidden:
        return []
    file = record.masks[0] if record.masks else record.image
    labels = listed(sorted(set(hidden)), MAX_LABELS)
    detail = f"{len(hidden):,} of {len(shapes):,} shapes in {record.image.name}: {labels}"
    return [Observation("hidden-shapes", file, detail, len(hidden), record.image)]


def hidden_classes(images: Iterable[ShapeCounts]) -> list[str]:
    """Return a line for each class that is covered by more than half in all images together."""
    total = _added(entry for counts in images for entry in counts.items())
    lost = sorted(total.items(), key=lambda entry: entry[1].visible - entry[1].pixels)
    return [
        f"{label}: {count.pixels - count.visible:,} of {count.pixels:,} pixels are covered, "
        f"{count.hidden:,} of {count.shapes:,} shapes by more than half"
        for label, count in lost
        if 2 * count.visible < count.pixels
    ]
