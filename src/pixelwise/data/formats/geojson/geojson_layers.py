"""The shapes of a GeoJSON file: reading them, laying them over a raster, writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from pixelwise.data.formats.annotation_files import checked, read_json
from pixelwise.data.formats.shapes import Ring, Shape, trace_regions
from pixelwise.errors import FormatError
from pixelwise.io.arrays import BoolArray
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.geotiff import LONGITUDE_LATITUDE, Grid, Points, Window, known_crs, transformed

GEOJSON_SUFFIXES = (".geojson", ".json")
"""A ``.json`` is one when it says that it is a FeatureCollection."""

CLASS_PROPERTIES = ("class", "class_name", "label", "category")
"""The first of these properties that a feature has, in any case of letters, names its class."""

FOREGROUND = "foreground"
"""The class of features that have none of them."""

MAX_GEOJSON_BYTES = 512 * 1024**2
"""A larger file takes more memory than is to be had; its objects take some five times as much."""

AREAS = ("Polygon", "MultiPolygon", "GeometryCollection")


class _Geometry(BaseModel):
    type: str
    coordinates: Any = None
    geometries: list[_Geometry] = []


class _Feature(BaseModel):
    properties: dict[str, Any] | None = None
    geometry: _Geometry | None = None


class _Crs(BaseModel):
    properties: dict[str, Any] = {}


class _Collection(BaseModel):
    type: Literal["FeatureCollection"]
    crs: _Crs | None = None
    features: list[_Feature]


@dataclass(frozen=True, eq=False)
class Layer:
    """The polygons of a file, in the order in which they are painted.

    Attributes:
        crs: The name of their reference system; ``None`` where the file names none.
        labels: The class of each polygon; ``None`` where it says none.
        polygons: The rings of each, float64 (P, 2) of (x, y), in that system or, once placed, in
            pixels.
        boxes: float64 (N, 4), the smallest x and y and the largest x and y of each.
    """

    crs: str | None
    labels: list[str | None] = field(repr=False)
    polygons: list[tuple[Ring, ...]] = field(repr=False)
    boxes: npt.NDArray[np.float64] = field(repr=False)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Smallest x and y, largest x and y of all; only of layers with polygons."""
        left, low = self.boxes[:, :2].min(0).tolist()
        right, high = self.boxes[:, 2:].max(0).tolist()
        return left, low, right, high

    def shapes_in(
        self, window: Window, class_name: Callable[[str | None], str | None]
    ) -> Iterator[Shape]:
        """The shapes that touch a window, in its pixels; of layers that are placed.

        Args:
            window: Row, column, height and width.
            class_name: Gives the class name of a label; ``None`` is ignored.
        """
        row, column, height, width = window
        left, top, right, bottom = self.boxes.T
        near = (left < column + width) & (right > column) & (top < row + height) & (bottom > row)
        for index in np.flatnonzero(near).tolist():
            rings = tuple(ring - (column, row) for ring in self.polygons[index])
            yield Shape(class_name(self.labels[index]), rings)


@kept_while_unchanged
def read_layer(path: Path) -> Layer:
    """Read the polygons of a GeoJSON file; it is kept in memory for the next time.

    Features without a geometry are passed over. Every polygon of a MultiPolygon counts alone.

    Raises:
        FormatError: It is no GeoJSON, holds points or lines, or is in an unknown reference system.
        DataError: It cannot be read.
    """
    if path.stat().st_size > MAX_GEOJSON_BYTES:
        raise FormatError(
            f"{path} must have at most {MAX_GEOJSON_BYTES // 1024**2} MiB. "
            f"Got {path.stat().st_size // 1024**2}. Cut it into a GeoJSON for each raster"
        )
    collection = checked(_Collection, read_json(path), path)
    crs = None
    if collection.crs is not None:
        crs = known_crs(str(collection.crs.properties.get("name")), path)
    labels: list[str | None] = []
    polygons = []
    for number, feature in enumerate(collection.features):
        where = f"{path}: feature {number}"
        label = _label(feature.properties or {}, where)
        for rings in _polygons(feature.geometry, where):
            labels.append(label)
            polygons.append(rings)
    return Layer(crs, labels, polygons, _boxes(polygons))


@kept_while_unchanged
def place_layer(path: Path, raster: Path, grid: Grid) -> Layer:
    """Bring the polygons of a GeoJSON to the pixels of a raster; the result is kept in memory.

    Corners are brought, and joined by straight lines in the raster's system.

    Args:
        path: The GeoJSON.
        raster: The raster's file, for messages.
        grid: Its grid.

    Returns:
        The layer in pixels, without polygons that have no place in the raster's system.

    Raises:
        FormatError: The raster names no reference system though the GeoJSON does, or the shapes lie
            elsewhere.
    """
    layer = read_layer(path)
    if grid.crs is None and layer.crs is not None:
        raise FormatError(
            f"{raster} must name its reference system, for the shapes of {path.name} are in "
            f"{layer.crs}. Got none. Export it as GeoTIFF with one, or move it elsewhere if it is "
            "a mask or a preview"
        )
    if not layer.polygons:
        return layer
    corners = np.concatenate([ring for rings in layer.polygons for ring in rings])
    if grid.crs is not None:
        corners = transformed(corners, layer.crs or LONGITUDE_LATITUDE, grid.crs)
    ends = np.cumsum([len(ring) for rings in layer.polygons for ring in rings])
    placed = iter(np.split(grid.to_pixels(corners), ends[:-1]))
    labels, polygons = [], []
    for number, rings in enumerate(layer.polygons):
        moved = tuple(next(placed) for _ in rings)
        is_there = np.isfinite(np.concatenate(moved)).all(1)
        if is_there.all():
            labels.append(layer.labels[number])
            polygons.append(moved)
        elif is_there.any():
            raise FormatError(
                f"{path}: polygon {number} must lie where the reference system of {raster.name} "
                f"({grid.crs_name}) is defined. It reaches beyond. Clip it to the raster"
            )
    found = Layer(layer.crs, labels, polygons, _boxes(polygons))
    if not _touches(found, grid):
        raise FormatError(_elsewhere(path, layer, raster, grid))
    return found


def _touches(layer: Layer, grid: Grid) -> bool:
    """The extent of the shapes and the raster have a part in common."""
    if not layer.polygons:
        return False
    left, top, right, bottom = layer.extent
    # All within a pixel, of a raster whose coordinates are pixels: degrees, most likely.
    is_dot = grid.crs is None and max(right - left, bottom - top) < 1
    return left < grid.width and right > 0 and top < grid.height and bottom > 0 and not is_dot


def _elsewhere(path: Path, layer: Layer, raster: Path, grid: Grid) -> str:
    own = f"{layer.crs or 'no stated crs'}"
    if layer.crs is None and grid.crs is not None:
        own = f"{LONGITUDE_LATITUDE}, which GeoJSON is in that states no crs"
    return (
        f"{path} must hold shapes that touch {raster.name}. They span {_span(layer.extent)} in "
        f"{own}; the raster spans {_span(grid.extent)} in {grid.crs_name or 'its own coordinates'}"
        ". State the right crs in the GeoJSON, or move the raster elsewhere"
    )


def _span(extent: tuple[float, float, float, float]) -> str:
    left, low, right, high = extent
    return f"x {left:.10g} to {right:.10g}, y {low:.10g} to {high:.10g}"


def _boxes(polygons: Sequence[tuple[Ring, ...]]) -> npt.NDArray[np.float64]:
    boxes = np.zeros((len(polygons), 4))
    for box, rings in zip(boxes, polygons, strict=True):
        box[:2] = np.min([ring.min(0) for ring in rings], 0)
        box[2:] = np.max([ring.max(0) for ring in rings], 0)
    return boxes


def _label(properties: dict[str, Any], where: str) -> str | None:
    """The class that a feature's properties name."""
    lowered = {name.lower(): value for name, value in properties.items()}
    for name in CLASS_PROPERTIES:
        value = lowered.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # as tables keep whole numbers
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise FormatError(
                f"{where} must name its class by a word or a whole number in {name!r}. "
                f"Got {str(value)[:40]!r}. Fix the property"
            )
        label = str(value).strip()
        if label:
            return label
    return None


def _polygons(geometry: _Geometry | None, where: str) -> Iterator[tuple[Ring, ...]]:
    """The polygons of a geometry; empty ones are left out."""
    if geometry is None:
        return
    if geometry.type not in AREAS:
        raise FormatError(
            f"{where} must be a Polygon or a MultiPolygon. Got {geometry.type[:40]!r}, which "
            "covers no pixels. Buffer it to an area, or remove it"
        )
    for part in geometry.geometries:
        yield from _polygons(part, where)
    parts = [geometry.coordinates] if geometry.type == "Polygon" else geometry.coordinates or []
    for rings in parts if isinstance(parts, list) else [parts]:
        if not isinstance(rings, list | None):
            raise FormatError(f"{where} must hold lists of rings. Got {str(rings)[:40]!r}")
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
            f"{where} must hold rings of finite (x, y). Got {str(corners)[:60]!r}. Fix it"
        )
    return ring


def feature_collection(
    regions: Sequence[tuple[str, BoolArray]], grid: Grid | None, origin: Path
) -> dict[str, Any]:
    """Regions as the content of a GeoJSON file, one feature for each connected part.

    Args:
        regions: (label, bool (H, W)) each, all of one size.
        grid: Where that image lies; ``None`` writes pixels and no reference system.
        origin: The image's file, for messages.

    Raises:
        FormatError: The image lies where longitude and latitude do not reach.
    """
    name = grid.crs_name if grid is not None else None

    def closed(ring: Ring) -> Any:
        """A ring as GeoJSON writes it, its first corner again at its end."""
        points: Points = np.concatenate([ring, ring[:1]])
        if grid is not None:
            points = grid.to_coordinates(points)
            if grid.crs is not None and name is None:  # in no system that a GeoJSON could name
                points = transformed(points, grid.crs, LONGITUDE_LATITUDE)
        if not np.isfinite(points).all():
            raise FormatError(f"{origin} must lie on the earth to be written. Its CRS says no")
        return points.tolist()

    features = [
        {
            "type": "Feature",
            "properties": {CLASS_PROPERTIES[0]: label},
            "geometry": {
                "type": "Polygon",
                "coordinates": [closed(ring) for ring in rings],
            },
        }
        for label, region in regions
        for rings in trace_regions(region)
    ]
    content: dict[str, Any] = {"type": "FeatureCollection"}
    if name is not None and name != LONGITUDE_LATITUDE:
        urn = name.replace("EPSG:", "urn:ogc:def:crs:EPSG::")
        content["crs"] = {"type": "name", "properties": {"name": urn}}
    elif grid is None or grid.crs is None:
        content["crs"] = None  # "no reference system can be assumed" (GeoJSON of 2008)
    return {**content, "features": features}
