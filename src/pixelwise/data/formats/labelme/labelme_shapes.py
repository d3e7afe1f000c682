"""LabelMe's shapes to pixels and back, by the rule of its own ``labelme.utils.shape_to_mask``.

LabelMe draws with Pillow: corners are cut to whole pixels, and the outline belongs to the region.
This is not the rule of :mod:`pixelwise.data.formats.shapes`, whose corners lie between pixels.
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
"""Of lines, as LabelMe draws them."""

POINT_RADIUS_PX = 5
"""Of points, as LabelMe draws them."""

NUM_CORNERS = {
    "polygon": (3, MAX_POINTS),
    "oriented_rectangle": (4, 4),
    "rotation": (4, 4),  # the same, as X-AnyLabeling calls it
    "rectangle": (2, 4),  # two opposite corners, or all four
    "circle": (2, 2),  # its center and a point of its edge
    "line": (2, 2),
    "linestrip": (2, MAX_POINTS),
    "point": (1, 1),
}
"""How many corners each kind of shape may have, at least and at most."""

POLYGONS = ("polygon", "oriented_rectangle", "rotation")
"""The kinds whose points are the corners of what is filled."""

MAX_POLYGONS = 1000
"""Regions of one mask that are written as polygons, the largest first; the rest are bitmaps."""


def paint_labelme(
    kind: str, corners: Ring, size: tuple[int, int], origin: Path
) -> tuple[tuple[int, int], BoolArray]:
    """The pixels of a shape that is no bitmap.

    Args:
        kind: One of ``NUM_CORNERS``.
        corners: Float64 (P, 2) of (x, y).
        size: Height and width of the image; what lies beyond is cut.
        origin: The file that it is from, for messages.

    Returns:
        Row and column of the first pixel of its box, and the box as bool (h, w).

    Raises:
        MaskError: The kind is unknown, it has too few or too many corners, or one that is not near
            the image.
    """
    _check(kind, corners, size, origin)
    outline = _outline(kind, corners)
    if kind in POLYGONS:
        record_polygon([outline], size)
    # Pillow cuts to whole pixels itself, but the box must begin at one of them: moved by whole
    # pixels, and never across zero, the same pixels are drawn.
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
    """What is drawn: the two corners of a box, or the points of a line or polygon."""
    if kind == "rectangle":
        return np.stack([corners.min(0), corners.max(0)])
    if kind not in ("circle", "point"):
        return corners
    radius = math.dist(corners[0], corners[1]) if kind == "circle" else POINT_RADIUS_PX
    return np.stack([corners[0] - radius, corners[0] + radius])


def _check(kind: str, corners: Ring, size: tuple[int, int], origin: Path) -> None:
    if kind not in NUM_CORNERS:
        raise MaskError(
            f"{origin} must hold shapes of the types {', '.join((*NUM_CORNERS, 'mask'))}. "
            f"Got {kind!r}. Remove the shape, or draw it as a polygon"
        )
    least, most = NUM_CORNERS[kind]
    if not least <= len(corners) <= most:
        allowed = f"{least}" if least == most else f"{least} to {most:,}"
        raise MaskError(
            f"{origin} must hold shapes of type {kind} with {allowed} points. "
            f"Got one with {len(corners)}. Remove the shape, or draw it again"
        )
    # Beyond this it was drawn on another image, and Pillow would step through every pixel there.
    reach = np.array(size[::-1], np.float64)
    outside = corners[((corners < -reach) | (corners > 2 * reach)).any(1)]
    if len(outside):
        raise MaskError(
            f"{origin} must hold shapes in its image of {size[1]} x {size[0]}. Got a corner at "
            f"({outside[0][0]:g}, {outside[0][1]:g}). Check that the annotation is of this image"
        )


@dataclass(frozen=True)
class Polygon:
    """A region of a mask whose polygon gives it back.

    Attributes:
        value: Of its pixels.
        corners: Float64 (P, 2) of (x, y), whole numbers: the centers of its outermost pixels.
    """

    value: int
    corners: Ring = field(repr=False)


def polygons_of(
    mask: UInt8Array, unpainted: int, *, can_repaint: bool
) -> tuple[list[Polygon], npt.NDArray[np.int16]]:
    """Polygons that, painted one over another, come near to a mask, and what they come to.

    A larger region is painted before a smaller one, so that what lies in a hole is painted over
    what is around it. A region that no polygon gives back exactly is left out.

    Args:
        mask: uint8 (H, W).
        unpainted: The value that needs no painting but in holes; -1 where there is none.
        can_repaint: A later polygon takes pixels from an earlier one. Where it does not, regions
            with holes are left out, and so is the unpainted value.

    Returns:
        The polygons in the order of painting, and what they paint, int16 (H, W), where pixels
        without any are ``unpainted``.
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
    """A connected part of one value of a mask, and the same without its holes."""

    value: int
    place: tuple[slice, slice]
    own: BoolArray
    filled: BoolArray

    @property
    def area(self) -> int:
        return int(self.filled.sum())


def _parts(mask: UInt8Array, value: int, can_have_holes: bool) -> list[_Part]:
    """The largest parts of one value, by their boxes: noise has millions that are tiny."""
    numbered, _ = label(mask == value)
    boxes = [
        (number, place)
        for number, place in enumerate(find_objects(numbered), start=1)
        if min(_side(place[0]), _side(place[1])) > 1  # lines have nothing to take hold of
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
    """The polygon through the outermost pixels of a region without holes, if it gives it back."""
    ((ring, *_),) = trace_regions(filled)
    following = np.roll(ring, -1, axis=0)
    area = (ring[:, 0] * following[:, 1] - following[:, 0] * ring[:, 1]).sum()
    steps = np.sign(following - ring)
    # To the inner side of each edge; a corner moves with both of the edges that meet there.
    inwards: Ring = np.stack([-steps[:, 1], steps[:, 0]], 1) * np.sign(area)
    corners: Ring = (ring + (inwards + np.roll(inwards, 1, axis=0)) / 2 - 0.5)[
        (steps != np.roll(steps, 1, axis=0)).any(1)  # a ring may begin in the middle of an edge
    ]
    _, painted = paint_labelme("polygon", corners, filled.shape, Path())
    return corners if np.array_equal(painted, filled) else None
