"""Converts LabelMe's shapes to pixels and back, like its ``labelme.utils.shape_to_mask``.

LabelMe draws with Pillow: corners are truncated to whole pixels, and the outline belongs to the
region. This differs from :mod:`pixelwise.data.formats.shapes`, where corners lie between pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import binary_fill_holes, find_objects, label

from pixelwise.data.formats.shapes import MAX_POINTS, Ring, trace_regions
from pixelwise.data.problems import record_polygon
from pixelwise.errors import MaskError
from pixelwise.io.arrays import BoolArray, UInt8Array

LINE_WIDTH_PX = 10
"""Width of lines, as in LabelMe."""

POINT_RADIUS_PX = 5
"""Radius of points, as in LabelMe."""

NUM_CORNERS = {
    "polygon": (3, MAX_POINTS),
    "oriented_rectangle": (4, 4),
    "rotation": (4, 4),  # the name of oriented_rectangle in X-AnyLabeling
    "rectangle": (2, 4),  # two opposite corners, or all four
    "circle": (2, 2),  # its center and a point on its edge
    "line": (2, 2),
    "linestrip": (2, MAX_POINTS),
    "point": (1, 1),
}
"""Smallest and largest number of corners of each kind of shape."""

POLYGONS = ("polygon", "oriented_rectangle", "rotation")
"""Kinds of shapes whose points are the corners of the filled area."""

MAX_POLYGONS = 1000
"""Largest number of regions of one mask written as polygons; the smallest become bitmaps."""


def paint_labelme(
    kind: str, corners: Ring, size: tuple[int, int], origin: Path
) -> tuple[tuple[int, int], BoolArray]:
    """Return the pixels of a shape that is not a bitmap.

    Args:
        kind: One of ``NUM_CORNERS``.
        corners: float64 (P, 2) of (x, y).
        size: Height and width of the image; parts outside are clipped.
        origin: The file with the shape, for messages.

    Returns:
        Row and column of the first pixel of its bounding box, and the box as bool (h, w).

    Raises:
        MaskError: The kind is unknown, the number of corners is wrong, or a corner is not near the
            image.
    """
    _check(kind, corners, size, origin)
    outline = _outline(kind, corners)
    if kind in POLYGONS:
        record_polygon([outline], size)
    # Pillow truncates to whole pixels. Moving the box by whole pixels without crossing zero does
    # not change which pixels are drawn.
    whole = np.trunc(outline).astype(np.int64)
    margin = LINE_WIDTH_PX if kind in ("line", "linestrip") else 0
    low = np.maximum(whole.min(0) - margin, 0)
    high = np.minimum(whole.max(0) + margin + 1, size[::-1])
    if (high <= low).any():
        return (0, 0), np.zeros((0, 0), np.bool_)
    canvas = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
    draw = ImageDraw.Draw(canvas)
    points = [(int(x), int(y)) for x, y in whole - low]
    if kind in ("circle", "point"):
        draw.ellipse(points, outline=1, fill=1)
    elif kind == "rectangle":
        draw.rectangle(points, outline=1, fill=1)
    elif kind in ("line", "linestrip"):
        draw.line(points, fill=1, width=LINE_WIDTH_PX)
    else:
        draw.polygon(points, outline=1, fill=1)
    return (int(low[1]), int(low[0])), np.asarray(canvas) > 0


def _outline(kind: str, corners: Ring) -> Ring:
    """Return what is drawn: the corners of a box, or the points of a line or polygon."""
    if kind == "rectangle":
        return np.stack([corners.min(0), corners.max(0)])
    if kind not in ("circle", "point"):
        return corners
    radius = math.dist(corners[0], corners[1]) if kind == "circle" else POINT_RADIUS_PX
    return np.stack([corners[0] - radius, corners[0] + radius])


def _check(kind: str, corners: Ring, size: tuple[int, int], origin: Path) -> None:
    if kind not in NUM_CORNERS:
        raise MaskError(
            f"{origin} must contain shapes of the types {', '.join((*NUM_CORNERS, 'mask'))}. "
            f"Got {kind!r}. Remove the shape, or draw it as a polygon"
        )
    least, most = NUM_CORNERS[kind]
    if not least <= len(corners) <= most:
        allowed = f"{least}" if least == most else f"{least} to {most:,}"
        raise MaskError(
            f"{origin} must contain shapes of type {kind} with {allowed} points. "
            f"Got one with {len(corners)}. Remove the shape, or draw it again"
        )
    # Farther corners belong to another image, and Pillow would iterate over every pixel there.
    reach = np.array(size[::-1], np.float64)
    outside = corners[((corners < -reach) | (corners > 2 * reach)).any(1)]
    if len(outside):
        raise MaskError(
            f"{origin} must contain shapes in its image of {size[1]} x {size[0]}. Got a corner at "
            f"({outside[0][0]:g}, {outside[0][1]:g}). Check that the annotation is of this image"
        )


@dataclass(frozen=True)
class Polygon:
    """A region of a mask that its polygon restores.

    Attributes:
        value: Value of its pixels.
        corners: float64 (P, 2) of (x, y), integers: the centers of its outermost pixels.
    """

    value: int
    corners: Ring = field(repr=False)


def polygons_of(
    mask: UInt8Array, unpainted: int, *, can_repaint: bool
) -> tuple[list[Polygon], npt.NDArray[np.int16]]:
    """Return polygons that, painted in order, approximate a mask, and the painted result.

    Larger regions are painted before smaller ones, so that regions inside holes are painted over
    those around them. Regions that no polygon restores exactly are left out.

    Args:
        mask: uint8 (H, W).
        unpainted: Value of unpainted pixels, only painted inside holes; -1 if there is none.
        can_repaint: Whether later polygons cover earlier ones. If not, regions with holes and the
            unpainted value are left out.

    Returns:
        The polygons in the order of painting, and what they paint, int16 (H, W), with
        ``unpainted`` for pixels without polygon.
    """
    canvas = np.full(mask.shape, unpainted, np.int16)
    values = [value for value in np.unique(mask).tolist() if can_repaint or value != unpainted]
    parts = [part for value in values for part in _parts(mask, value, can_repaint)]
    parts.sort(key=lambda part: -part.area)
    polygons = []
    for part in parts[:MAX_POLYGONS]:
        target = canvas[part.place]
        if (target[part.own] == part.value).all():
            continue
        ring = _polygon(part.filled)
        if ring is not None:
            target[part.filled] = part.value
            corner = np.array([part.place[1].start, part.place[0].start])
            polygons.append(Polygon(part.value, ring + corner))
    return polygons, canvas


@dataclass(frozen=True)
class _Part:
    """A connected part of one value of a mask, with and without its holes."""

    value: int
    place: tuple[slice, slice]
    own: BoolArray
    filled: BoolArray

    @property
    def area(self) -> int:
        return int(self.filled.sum())


def _parts(mask: UInt8Array, value: int, can_have_holes: bool) -> list[_Part]:
    """Return the largest parts of one value by bounding box; noise has millions of tiny ones."""
    numbered, _ = label(mask == value)
    boxes = [
        (number, place)
        for number, place in enumerate(find_objects(numbered), start=1)
        if min(_side(place[0]), _side(place[1])) > 1  # lines cannot be edited as polygons
    ]
    largest = nlargest(MAX_POLYGONS, boxes, key=lambda box: _side(box[1][0]) * _side(box[1][1]))
    parts = []
    for number, place in largest:
        own = numbered[place] == number
        filled = binary_fill_holes(own)
        if can_have_holes or np.array_equal(own, filled):
            parts.append(_Part(value, place, own, filled))
    return parts


def _side(place: slice) -> int:
    return int(place.stop - place.start)


def _polygon(filled: BoolArray) -> Ring | None:
    """Return the polygon through the outermost pixels of a region, if it restores the region."""
    ((ring, *_),) = trace_regions(filled)
    following = np.roll(ring, -1, axis=0)
    area = (ring[:, 0] * following[:, 1] - following[:, 0] * ring[:, 1]).sum()
    steps = np.sign(following - ring)
    # Move each edge to its inner side; a corner moves with both of its edges.
    inwards: Ring = np.stack([-steps[:, 1], steps[:, 0]], 1) * np.sign(area)
    corners: Ring = (ring + (inwards + np.roll(inwards, 1, axis=0)) / 2 - 0.5)[
        (steps != np.roll(steps, 1, axis=0)).any(1)  # a ring may begin in the middle of an edge
    ]
    _, painted = paint_labelme("polygon", corners, filled.shape, Path())
    return corners if np.array_equal(painted, filled) else None
