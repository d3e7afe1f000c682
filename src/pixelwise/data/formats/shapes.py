"""Converts labeled polygons and bitmaps to masks and back without loss.

Coordinates are (x, y) in pixels, x to the right and y down; (0, 0) is the upper left corner of the
image, so that the center of its first pixel is (0.5, 0.5). A pixel is inside a polygon if its
center is; holes are further rings, by the even-odd rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from pixelwise.classes import BACKGROUND_NAMES, IGNORE_INDEX, MAX_CLASSES, ClassMap, LabelMode
from pixelwise.data.problems import is_collecting, record_polygon, record_shape
from pixelwise.errors import FormatError, MaskError
from pixelwise.io.arrays import BoolArray, UInt8Array
from pixelwise.label_modes import mode_of

Ring = npt.NDArray[np.float64]
"""The corners of a polygon, float64 (P, 2) of (x, y); the last one is joined to the first."""

MAX_POINTS = 500_000
"""Largest number of corners of one shape; a shape with more is refused as damaged."""

MAX_COORDINATE = 1e9
"""Largest coordinate of a corner in pixels, so that products of coordinates stay finite and
sufficiently exact."""

CROSSINGS_AT_ONCE = 1_000_000
"""Edges are processed in portions with about this many row crossings, which limits memory to about
50 MB."""


@dataclass(frozen=True)
class Shape:
    """One labeled region of an image.

    Attributes:
        label: The name of its class; ``None`` means ignored.
        rings: The corners of its polygons and of their holes.
        bitmap: The region as bool (h, w), instead of rings.
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
    """Paint shapes into a mask; later shapes cover earlier ones.

    Args:
        shapes: In the order in which they are painted.
        size: Height and width of the image.
        class_map: The classes; labels are class names.
        label_mode: ``multilabel`` paints the classes into separate masks.
        origin: The file with the shapes, for messages.

    A shape called background removes what lies below it, if no class is called so. During a data
    check, the visible part of each shape is recorded.

    Returns:
        Multiclass: uint8 (H, W); pixels without a shape are background, or ignored if no class is
        called background. Multilabel: uint8 (K, H, W), 0 or 255.

    Raises:
        MaskError: A label is not a class, or a shape has too many corners.
    """
    ids = {name: index for index, name in enumerate(class_map.names)}
    mode = mode_of(label_mode)
    mask = mode.blank(size, class_map.num_classes, unpainted_id(class_map))
    painted: dict[int, list[tuple[tuple[slice, slice], BoolArray]]] = {}
    for shape in shapes:
        is_eraser = shape.label in BACKGROUND_NAMES and shape.label not in ids
        if shape.label is not None and shape.label not in ids and not is_eraser:
            raise MaskError(
                f"{origin} must contain shapes of the classes {', '.join(class_map.names[:12])}. "
                f"Got {shape.label!r}. Fix the label, or add the class to dataset.yaml"
            )
        corner, region = _region(shape, size, origin)
        (top, left), (height, width) = corner, region.shape
        place = slice(top, top + height), slice(left, left + width)
        if is_eraser:
            for erased in range(class_map.num_classes):
                mode.erase(mask, place, region, erased)
        index = IGNORE_INDEX if shape.label is None or is_eraser else ids[shape.label]
        mode.paint(mask, place, region, index)
        if index != IGNORE_INDEX and is_collecting():
            painted.setdefault(index, []).append((place, region))
    planes = enumerate(mode.planes(mask, class_map.num_classes)) if painted else ()
    for index, plane in planes:
        for place, region in painted.get(index, ()):
            num_visible = int(plane[place][region].sum())
            record_shape(class_map.names[index], int(region.sum()), num_visible)
    return mask


def largest_first(objects: Iterable[Sequence[Shape]]) -> list[Shape]:
    """Return the shapes of objects in the order in which small objects stay visible.

    Tools without an order of their own list objects as they were drawn: a facade after its windows
    would hide them all. Equal areas keep their order.

    Args:
        objects: The shapes of each object; they stay together.
    """
    ordered = sorted(objects, key=lambda shapes: -sum(map(_area, shapes)))
    return [shape for shapes in ordered for shape in shapes]


def _area(shape: Shape) -> float:
    """Return the area of a shape in square pixels, of its largest ring without the others."""
    if shape.bitmap is not None:
        return int(np.count_nonzero(shape.bitmap))
    areas = sorted(map(ring_area, shape.rings), reverse=True)
    return areas[0] - sum(areas[1:]) if areas else 0.0


def ring_area(ring: Ring) -> float:
    """Return the area inside a ring, independent of its direction."""
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    with np.errstate(over="ignore", invalid="ignore"):  # painting refuses such corners
        return abs(float(np.sum(x * next_y - y * next_x))) / 2


def unpainted_id(class_map: ClassMap) -> int:
    """Return the class id of pixels without a shape: background, or ignored without one."""
    for index, name in enumerate(class_map.names):
        if name in BACKGROUND_NAMES:
            return index
    return IGNORE_INDEX


def _region(shape: Shape, size: tuple[int, int], origin: Path) -> tuple[tuple[int, int], BoolArray]:
    """Return the part of a shape inside the image, and its first row and column."""
    if shape.bitmap is None:
        return paint_polygon(shape.rings, size, origin)
    row, column = shape.corner
    top, left = max(0, -row), max(0, -column)
    bottom, right = max(0, size[0] - row), max(0, size[1] - column)
    return (max(0, row), max(0, column)), shape.bitmap[top:bottom, left:right]


def paint_polygon(
    rings: Sequence[Ring], size: tuple[int, int], origin: Path
) -> tuple[tuple[int, int], BoolArray]:
    """Return the pixels whose center is inside a polygon, by the even-odd rule.

    The edges cross the center line of each row; pixels between an odd and an even crossing are
    inside.

    Args:
        rings: The polygon and its holes.
        size: Height and width of the image; parts outside are clipped.
        origin: The file with the polygon, for messages.

    Returns:
        Row and column of the first pixel of its bounding box, and the box as bool (h, w).

    Raises:
        MaskError: There are more than ``MAX_POINTS`` corners, or one is not a number or exceeds
            ``MAX_COORDINATE``.
    """
    if sum(map(len, rings)) > MAX_POINTS:
        raise MaskError(
            f"{origin} must contain shapes of at most {MAX_POINTS:,} corners. "
            f"Got one of {sum(map(len, rings)):,}. Simplify it"
        )
    rings = [ring for ring in rings if len(ring) > 2]
    if not rings:
        return (0, 0), np.zeros((0, 0), np.bool_)
    corners = np.concatenate(rings)
    if not (np.abs(corners) <= MAX_COORDINATE).all():  # also true for NaN
        raise MaskError(
            f"{origin} must contain shapes with finite corners within {MAX_COORDINATE:,.0f} "
            "pixels. Got a shape with another corner. Fix or remove the shape"
        )
    record_polygon(rings, size)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = corners.min(0), corners.max(0)
    left, right = (int(edge) for edge in np.clip([low[0] - 1, high[0] + 2], 0, size[1]))
    top, bottom = (int(edge) for edge in np.clip([low[1] - 1, high[1] + 2], 0, size[0]))
    if right <= left or bottom <= top:
        return (0, 0), np.zeros((0, 0), np.bool_)
    # All edges are oriented downwards, so that an edge that is passed twice cancels out.
    goes_down = (corners[:, 1] <= ends[:, 1])[:, None]
    upper, lower = np.where(goes_down, corners, ends), np.where(goes_down, ends, corners)
    # One extra column for crossings right of the box; int32, as many edges may cross in one pixel.
    crossings = np.zeros((bottom - top, right - left + 1), np.int32)
    # The first row whose center the edge reaches, and the first row below its lower end.
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
    """Yield indices of edges that cross a row, in portions with limited numbers of crossings."""
    crossing = np.flatnonzero(counts)
    portion = np.cumsum(counts[crossing]) // CROSSINGS_AT_ONCE
    for number in np.unique(portion):
        yield crossing[portion == number]


def trace_regions(region: BoolArray) -> list[tuple[Ring, ...]]:
    """Return polygons along pixel edges that :func:`paint_polygon` converts back exactly.

    Args:
        region: bool (H, W).

    Returns:
        For each part that is connected by pixel sides, its outer ring and the rings of its holes,
        with integer corners; the first corner is not repeated.
    """
    # The region's edges divide the plane into faces inside and outside, which shapely finds.
    # Uniting the boxes of all rows instead took three times as long.
    edges = np.atleast_1d(np.asarray(shapely.linestrings(_edges(region)), object))
    faces = shapely.get_parts(shapely.polygonize(edges))
    corners, owner = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    # A face contains the pixel to the right of and below its uppermost left corner.
    order = np.lexsort((corners[:, 0], corners[:, 1], owner))
    _, first = np.unique(owner[order], return_index=True)
    columns, rows = corners[order][first].astype(int).T
    return [
        tuple(
            shapely.get_coordinates(ring)[:-1]
            for ring in (shapely.get_exterior_ring(face), *face.interiors)
        )
        for face in faces[region[rows, columns]]
    ]


def _edges(region: BoolArray) -> npt.NDArray[np.float64]:
    """Return the straight edges of a region, float64 (N, 2, 2) of (x, y)."""
    padded = np.pad(region, 1)
    flat = padded[1:, 1:-1] != padded[:-1, 1:-1]
    upright = padded[1:-1, 1:] != padded[1:-1, :-1]
    flat, upright = np.pad(flat, ((0, 0), (1, 1))), np.pad(upright, ((1, 1), (0, 0)))
    corner = (flat[:, 1:] | flat[:, :-1]) & (upright[1:] | upright[:-1])
    ends = []
    for edges, corners, is_flat in ((flat, corner, True), (upright.T, corner.T, False)):
        # Every edge connects one corner with the next one on the same line.
        inner = edges[:, 1:-1]
        line, begin = np.nonzero(inner & corners[:, :-1])
        _, end = np.nonzero(inner & corners[:, 1:])
        start, stop = np.stack([begin, line], -1), np.stack([end + 1, line], -1)
        pair = np.stack([start, stop], 1)
        ends.append(pair if is_flat else pair[..., ::-1])
    return np.concatenate(ends).astype(np.float64)


def bounding_box(region: BoolArray) -> tuple[slice, slice]:
    """Return rows and columns of the bounding box of a non-empty region, bool (H, W)."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def shapes_of(
    mask: UInt8Array, class_map: ClassMap, label_mode: LabelMode
) -> list[tuple[str | None, BoolArray]]:
    """Return the regions to write so that :func:`paint_shapes` restores the mask.

    Args:
        mask: As in a sample; multilabel masks must be 0 or 255.
        class_map: Its classes.
        label_mode: Label mode of the mask.

    Returns:
        (label, bool (H, W)) for each class in the mask, without unpainted pixels; the label of
        ignored pixels is ``None``.
    """
    labels: dict[int, str | None] = {**dict(enumerate(class_map.names)), IGNORE_INDEX: None}
    regions = mode_of(label_mode).regions(mask, unpainted_id(class_map))
    return [(labels[index], region) for index, region in regions]


def classes_of(labels: Sequence[str], label_mode: LabelMode, origin: Path) -> ClassMap:
    """Make the class map for a file that names its classes: background first, then its labels.

    Args:
        labels: The names in the order of their ids; they may include the background.
        label_mode: ``multilabel`` adds no background.
        origin: The file with the names, for messages.

    Raises:
        FormatError: There are no names or too many, or a name appears twice.
    """
    repeated = sorted(label for label, times in Counter(labels).items() if times > 1)
    if repeated:
        raise FormatError(
            f"{origin} must name every class once. Got {repeated[0][:80]!r} twice. Rename one, or "
            "merge the two classes"
        )
    has_background = any(map(BACKGROUND_NAMES.__contains__, labels))
    is_added = mode_of(label_mode).needs_background and not has_background
    names = (BACKGROUND_NAMES[0], *labels) if is_added else labels
    if not 1 <= len(names) <= MAX_CLASSES:
        raise FormatError(
            f"{origin} must name 1 to {MAX_CLASSES} classes, with the background. "
            f"Got {len(names)}. Remove unused classes"
        )
    return ClassMap.build(names)


def labels_to_name(class_map: ClassMap, label_mode: LabelMode) -> tuple[str, ...]:
    """Return the names to write so that :func:`classes_of` returns all of them.

    A leading background is left out, as it is added when reading and other tools would take it for
    an object.
    """
    names = class_map.names
    is_first = names[0] == BACKGROUND_NAMES[0] and len(names) > 1
    return names[1:] if is_first and mode_of(label_mode).needs_background else names
