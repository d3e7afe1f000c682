"""Labelled regions, polygons or bitmaps, to masks and back, pixel by pixel.

Coordinates are (x, y) in pixels, x to the right and y down; (0, 0) is the upper left corner of the
image, so that the centre of its first pixel is (0.5, 0.5). A pixel is inside a polygon when its
centre is; holes are further rings, by the even-odd rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from pixelwise.classes import BACKGROUND_NAMES, IGNORE_INDEX, ClassMap, LabelMode
from pixelwise.data.reading import UInt8Array
from pixelwise.errors import MaskError

Ring = npt.NDArray[np.float64]
"""The corners of a polygon, float64 (P, 2) of (x, y); the last one joins the first."""

BoolArray = npt.NDArray[np.bool_]

MAX_POINTS = 500_000
"""Corners of one shape; a shape with more is refused as damaged."""

CROSSINGS_AT_ONCE = 1_000_000
"""Edges are cut into rows in portions of about so many, which bounds the memory to some 50 MB."""


@dataclass(frozen=True)
class Shape:
    """One labelled region of an image.

    Attributes:
        label: The name of its class; ``None`` is void.
        rings: The corners of its polygons and of their holes.
        bitmap: The region instead, as bool (h, w).
        corner: Row and column of the bitmap's first pixel.
    """

    label: str | None
    rings: tuple[Ring, ...] = field(default=(), repr=False)
    bitmap: BoolArray | None = field(default=None, repr=False)
    corner: tuple[int, int] = (0, 0)


def paint_shapes(
    shapes: Iterable[Shape],
    size: tuple[int, int],
    class_map: ClassMap,
    label_mode: LabelMode,
    origin: Path,
) -> UInt8Array:
    """Paint shapes into a mask, a later one over an earlier one.

    Args:
        shapes: In the order in which they are painted.
        size: Height and width of the image.
        class_map: The classes; a shape is of the class of its label's name.
        label_mode: ``overlapping`` keeps the shapes of different classes beside each other.
        origin: The file that the shapes are from, for messages.

    Returns:
        Exclusive: uint8 (H, W); pixels without a shape are of the class that is called background,
        and void where there is none. Overlapping: uint8 (K, H, W), 0 or 255.

    Raises:
        MaskError: A label is no class, or a shape has too many corners.
    """
    ids = {name: index for index, name in enumerate(class_map.names)}
    if label_mode == "exclusive":
        mask = np.full(size, unpainted_id(class_map), np.uint8)
    else:
        mask = np.zeros((class_map.num_classes, *size), np.uint8)
    for shape in shapes:
        if shape.label is not None and shape.label not in ids:
            raise MaskError(
                f"{origin} must hold shapes of the classes {', '.join(class_map.names[:12])}. "
                f"Got {shape.label!r}. Mend the label, or add the class to dataset.yaml"
            )
        corner, region = _region(shape, size, origin)
        rows, columns = (
            slice(start, start + length) for start, length in zip(corner, region.shape, strict=True)
        )
        if label_mode == "exclusive":
            value = IGNORE_INDEX if shape.label is None else ids[shape.label]
            mask[rows, columns][region] = value
        elif shape.label is not None:
            mask[ids[shape.label], rows, columns][region] = 255
    return mask


def unpainted_id(class_map: ClassMap) -> int:
    """The class id of pixels that no shape covers: the background, or void where there is none."""
    for index, name in enumerate(class_map.names):
        if name in BACKGROUND_NAMES:
            return index
    return IGNORE_INDEX


def _region(shape: Shape, size: tuple[int, int], origin: Path) -> tuple[tuple[int, int], BoolArray]:
    """The part of a shape that is inside the image, and the row and column where it begins."""
    if shape.bitmap is None:
        return paint_polygon(shape.rings, size, origin)
    row, column = shape.corner
    top, left = max(0, -row), max(0, -column)
    bottom, right = max(0, size[0] - row), max(0, size[1] - column)
    return (max(0, row), max(0, column)), shape.bitmap[top:bottom, left:right]


def paint_polygon(
    rings: Sequence[Ring], size: tuple[int, int], origin: Path
) -> tuple[tuple[int, int], BoolArray]:
    """The pixels whose centre is inside a polygon, by the even-odd rule.

    Every row's centre line is crossed by the edges; between an odd and an even crossing is inside.

    Args:
        rings: The polygon and its holes.
        size: Height and width of the image; what lies beyond is cut.
        origin: The file that it is from, for messages.

    Returns:
        Row and column of the first pixel of its box, and the box as bool (h, w).

    Raises:
        MaskError: It has more than ``MAX_POINTS`` corners, or one that is no number.
    """
    if sum(map(len, rings)) > MAX_POINTS:
        raise MaskError(
            f"{origin} must hold shapes of at most {MAX_POINTS:,} corners. "
            f"Got one of {sum(map(len, rings)):,}. Simplify it"
        )
    rings = [ring for ring in rings if len(ring) > 2]
    if not rings:
        return (0, 0), np.zeros((0, 0), np.bool_)
    corners = np.concatenate(rings)
    if not np.isfinite(corners).all():
        raise MaskError(f"{origin} must hold shapes with finite corners. Got one that is not")
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = corners.min(0), corners.max(0)
    left, right = (int(edge) for edge in np.clip([low[0] - 1, high[0] + 2], 0, size[1]))
    top, bottom = (int(edge) for edge in np.clip([low[1] - 1, high[1] + 2], 0, size[0]))
    if right <= left or bottom <= top:
        return (0, 0), np.zeros((0, 0), np.bool_)
    # From top to bottom whatever its direction, so that an edge that is passed twice cancels out.
    goes_down = (corners[:, 1] <= ends[:, 1])[:, None]
    upper, lower = np.where(goes_down, corners, ends), np.where(goes_down, ends, corners)
    # One column more, for crossings to the right of the box; int32, for many may meet in one pixel.
    crossings = np.zeros((bottom - top, right - left + 1), np.int32)
    # The first row whose centre an edge reaches, and the first one that it does not, lower end in.
    starts = np.clip(np.ceil(upper[:, 1] - 0.5), top, bottom)
    stops = np.clip(np.ceil(lower[:, 1] - 0.5), top, bottom)
    counts = (stops - starts).astype(np.int64)
    for portion in _portions(counts):
        count = counts[portion]
        edge = np.repeat(portion, count)
        first = np.repeat(np.cumsum(count) - count, count)
        row = starts[edge].astype(np.int64) + np.arange(len(edge)) - first
        (x0, y0), (x1, y1) = upper[edge].T, lower[edge].T
        x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)
        np.add.at(crossings, (row - top, column - left), 1)
    inside = np.cumsum(crossings, axis=1, dtype=np.int32)[:, :-1] % 2 == 1
    return (top, left), inside


def _portions(counts: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of edges that cross a row, in portions of a bounded number of crossings."""
    crossing = np.flatnonzero(counts)
    portion = np.cumsum(counts[crossing]) // CROSSINGS_AT_ONCE
    for number in np.unique(portion):
        yield crossing[portion == number]


def trace_regions(region: BoolArray) -> list[tuple[Ring, ...]]:
    """Polygons along the pixels' edges that :func:`paint_polygon` paints back, pixel by pixel.

    Args:
        region: bool (H, W).

    Returns:
        One entry for each connected part: its outer ring and the rings of its holes, with corners
        at whole numbers; the first corner of a ring is not repeated.
    """
    padded = np.zeros((region.shape[0], region.shape[1] + 2), np.int8)
    padded[:, 1:-1] = region
    steps = np.diff(padded, axis=1)
    # Runs of pixels along each row, as boxes that a geometry library unites.
    rows, lefts = np.nonzero(steps == 1)
    _, rights = np.nonzero(steps == -1)
    if not len(rows):
        return []
    united = shapely.union_all(shapely.box(lefts, rows, rights, rows + 1))
    found = []
    for part in shapely.get_parts(shapely.simplify(united, 0)):
        rings = (shapely.get_exterior_ring(part), *part.interiors)
        found.append(tuple(shapely.get_coordinates(ring)[:-1] for ring in rings))
    return found


def shapes_of(
    mask: UInt8Array, class_map: ClassMap, label_mode: LabelMode
) -> list[tuple[str | None, BoolArray]]:
    """The regions of a mask that have to be written so that :func:`paint_shapes` paints it back.

    Args:
        mask: As in a sample; overlapping masks must be 0 or 255.
        class_map: Its classes.
        label_mode: Of the mask.

    Returns:
        (label, bool (H, W)) for each class that is there, without what is left unpainted; the label
        of void is ``None``.
    """
    labels: dict[int, str | None] = dict(enumerate(class_map.names))
    if label_mode == "overlapping":
        return [(labels[index], plane > 0) for index, plane in enumerate(mask) if plane.any()]
    labels[IGNORE_INDEX] = None
    skipped = unpainted_id(class_map)
    return [(labels[i], mask == i) for i in np.unique(mask).tolist() if i != skipped]
