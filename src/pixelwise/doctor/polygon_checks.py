"""Checks polygons: self-intersections, and corners outside the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import shapely

from pixelwise.data.formats.shapes import Ring, paint_polygon
from pixelwise.data.sample import Record
from pixelwise.doctor.findings import Observation, shrink_marks
from pixelwise.text import amount

TOLERANCE_PX = 1.0
"""Corners may be this far outside, as tools count from the center or the edge of a pixel."""

Polygon = tuple[Sequence[Ring], tuple[int, int]]


def look_at_polygons(
    record: Record, polygons: Sequence[Polygon], *, may_leave: bool = False
) -> list[Observation]:
    """Check the polygons of one image.

    Args:
        record: The image.
        polygons: Rings as they were drawn, and the size of the image.
        may_leave: Whether polygons may extend beyond the image.
    """
    if not polygons:
        return []
    file = record.masks[0] if record.masks else record.image
    found = []
    size = polygons[0][1]
    crossing = [rings for rings, _ in polygons if any(map(crosses_itself, rings))]
    if crossing:
        marks = np.zeros(size, np.bool_)
        for rings in crossing:
            (top, left), region = paint_polygon(rings, size, file)
            marks[top : top + region.shape[0], left : left + region.shape[1]] |= region
        found.append(
            Observation(
                "self-intersecting-polygons",
                file,
                f"{len(crossing):,} of {amount(len(polygons), 'polygon')} in {record.image.name}",
                len(crossing),
                record.image,
                shrink_marks(marks),
            )
        )
    excesses = [excess for rings, size in polygons if (excess := _excess(rings, size)) > 0]
    if excesses and not may_leave:
        detail = (
            f"{len(excesses):,} of {amount(len(polygons), 'polygon')} in {record.image.name}, "
            f"by up to {max(excesses):,.1f} px"
        )
        kind = "polygons-outside-image"
        found.append(Observation(kind, file, detail, len(excesses), record.image))
    return found


def crosses_itself(ring: Ring) -> bool:
    """Whether a ring crosses itself, so that the filled area depends on the tool.

    Rings that only touch themselves, or that reach a hole over an edge used twice, are filled the
    same by every rule and do not count.
    """
    if len(ring) < 4 or shapely.Polygon(ring).is_valid:
        return False
    x, y = ring[:, 0], ring[:, 1]
    wound = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    lines = shapely.MultiLineString(_edges_used_once(ring))
    return abs(float(shapely.build_area(shapely.node(lines)).area) - wound) > 0.5


def _edges_used_once(ring: Ring) -> list[shapely.LineString]:
    """Return the edges of a ring without those that it follows in both directions.

    They lead to its holes and enclose nothing, but may cross other edges.
    """
    corners = list(map(tuple, ring.tolist()))
    edges = Counter(zip(corners, [*corners[1:], corners[0]], strict=True))
    return [
        shapely.LineString((start, end))
        for (start, end), count in edges.items()
        if start != end and count != edges.get((end, start), 0)
    ]


def _excess(rings: Sequence[Ring], size: tuple[int, int]) -> float:
    """Return how far the corners are outside the image, in pixels; 0 within the tolerance."""
    corners = np.concatenate(list(rings))
    height, width = size
    beyond = float(max(-corners.min(), *(corners.max(0) - (width, height))))
    return beyond if beyond > TOLERANCE_PX else 0.0
