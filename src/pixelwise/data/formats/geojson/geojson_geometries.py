"""The geometries of GeoJSON: polygons, and the points and lines that a half width makes areas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import BaseModel

from pixelwise.data.formats.shapes import Ring
from pixelwise.errors import FormatError

AREAS = ("Polygon", "MultiPolygon", "GeometryCollection")

WITHOUT_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")
"""Geometries that are left out, unless they get a half width."""


QUARTER_CORNERS = 16
"""Corners of a quarter of a circle around a point: its radius is at most 0.2 % too small."""


class Geometry(BaseModel):
    """A geometry, with its coordinates as in the file, or with the geometries in it."""

    type: str
    coordinates: Any = None
    geometries: list[Geometry] = []


def num_without_area(geometry: Geometry | None) -> int:
    """Count the points and lines of a geometry."""
    if geometry is None:
        return 0
    inside = sum(map(num_without_area, geometry.geometries))
    return inside + (geometry.type in WITHOUT_AREA)


def polygons_of(geometry: Geometry | None, where: str) -> Iterator[tuple[Ring, ...]]:
    """Yield the non-empty polygons of a geometry."""
    if geometry is None or geometry.type in WITHOUT_AREA:
        return
    if geometry.type not in AREAS:
        raise FormatError(
            f"{where} must be a Polygon or another geometry of GeoJSON. "
            f"Got {geometry.type[:40]!r}. Fix or remove it"
        )
    for part in geometry.geometries:
        yield from polygons_of(part, where)
    parts = [geometry.coordinates] if geometry.type == "Polygon" else geometry.coordinates or []
    for rings in parts if isinstance(parts, list) else [parts]:
        if not isinstance(rings, list | None):
            raise FormatError(f"{where} must contain lists of rings. Got {str(rings)[:40]!r}")
        found = tuple(_ring(ring, where) for ring in rings or () if ring != [])
        if found:
            yield found


def _ring(corners: Any, where: str) -> Ring:
    try:
        ring = np.array([corner[:2] for corner in corners], np.float64)
    except (LookupError, OverflowError, TypeError, ValueError):
        ring = np.zeros(0)
    if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise FormatError(
            f"{where} must contain rings of finite (x, y). Got {str(corners)[:60]!r}. Fix it"
        )
    return ring


def thin_parts(geometry: Geometry | None, where: str) -> Iterator[Ring]:
    """Yield the non-empty points and lines of a geometry, float64 (P, 2); a point has one corner.

    Raises:
        FormatError: Coordinates are not finite, or a line has a single point.
    """
    if geometry is None:
        return
    for part in geometry.geometries:
        yield from thin_parts(part, where)
    if geometry.type not in WITHOUT_AREA or geometry.coordinates in (None, []):
        return
    is_multiple, is_line = geometry.type.startswith("Multi"), "Line" in geometry.type
    parts = geometry.coordinates if is_multiple else [geometry.coordinates]
    if not isinstance(parts, list):
        raise FormatError(f"{where} must contain lists of (x, y). Got {str(parts)[:40]!r}. Fix it")
    for corners in parts:
        found = _ring(corners if is_line else [corners], where)
        if is_line and len(found) < 2:
            raise FormatError(f"{where} must have lines of at least two points. Got one. Fix it")
        yield found


def moved(
    polygons: Sequence[tuple[Ring, ...]], move: Callable[[Ring], Ring]
) -> list[tuple[Ring, ...]]:
    """Return polygons with all corners moved by one call, which is much faster than many."""
    if not polygons:
        return []
    corners = np.concatenate([ring for rings in polygons for ring in rings])
    ends = np.cumsum([len(ring) for rings in polygons for ring in rings])
    parts = iter(np.split(move(corners), ends[:-1]))
    return [tuple(next(parts) for _ in rings) for rings in polygons]


def widened(
    polygons: Sequence[tuple[Ring, ...]], is_thin: npt.NDArray[np.bool_], half_width: float
) -> list[tuple[Ring, ...]]:
    """Return polygons with the points and lines among them as areas with round ends and corners.

    Args:
        polygons: Rings of each polygon; a point or a line has one, the first corner is not
            repeated.
        is_thin: Which of them are points and lines, bool (N,).
        half_width: The largest distance of the area from the point or line. What does not lie at
            finite coordinates is left as it is.
    """
    wide = list(polygons)
    for index in np.flatnonzero(is_thin).tolist():
        (corners,) = polygons[index]
        if np.isfinite(corners).all():
            is_point = len(corners) == 1
            thin = shapely.Point(corners[0]) if is_point else shapely.LineString(corners)
            area = shapely.buffer(thin, half_width, quad_segs=QUARTER_CORNERS)
            rings = (area.exterior, *area.interiors)
            wide[index] = tuple(shapely.get_coordinates(ring)[:-1] for ring in rings)
    return wide
