"""Reads, transforms and writes the shapes of GeoJSON files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from pixelwise.data.formats.annotation_files import checked, read_json
from pixelwise.data.formats.class_properties import STANDARD, Properties
from pixelwise.data.formats.geojson.geojson_geometries import (
    Geometry,
    moved,
    num_without_area,
    polygons_of,
    thin_parts,
    widened,
)
from pixelwise.data.formats.shapes import Ring, Shape, trace_regions
from pixelwise.errors import FormatError
from pixelwise.io.arrays import BoolArray, Window
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.geotiff import (
    LONGITUDE_LATITUDE,
    Grid,
    Points,
    is_same_crs,
    known_crs,
    transformed,
)
from pixelwise.text import amount, listed

GEOJSON_SUFFIXES = (".geojson", ".json")
"""A ``.json`` file must begin like a FeatureCollection, a Feature or a list of them to be used."""

FOREGROUND = "foreground"
"""The class of features without such a property."""

MAX_GEOJSON_BYTES = 512 * 1024**2
"""Size limit of a file; its parsed objects take about five times as much memory."""

MAX_NAMES = 4
"""Number of scenes that a remark names."""


class _Feature(BaseModel):
    properties: dict[str, Any] | None = None
    geometry: Geometry | None = None


class _Crs(BaseModel):
    properties: dict[str, Any] = {}


class _Collection(BaseModel):
    type: Literal["FeatureCollection"]
    crs: _Crs | None = None
    features: list[_Feature]


class FeatureOf(NamedTuple):
    """The feature that a polygon belongs to.

    Attributes:
        where: File and number, for messages.
        properties: Its properties.
    """

    where: str
    properties: Properties


@dataclass(frozen=True, eq=False)
class Layer:
    """The polygons of a file in the order in which they are painted.

    Attributes:
        crs: Name of their reference system; ``None`` if the file names none.
        shapes: The feature of each polygon.
        polygons: Rings of each polygon, float64 (P, 2) of (x, y), in that system or, after
            :func:`place_layer`, in pixels.
        boxes: float64 (N, 4), the smallest x and y and the largest x and y of each.
        is_thin: Which of them are points and lines, bool (N,), whose only ring are their corners;
            after :func:`place_layer`, they are areas.
        num_without_area: Number of points and lines, whether they are polygons here or left out.
    """

    crs: str | None
    shapes: list[FeatureOf] = field(repr=False)
    polygons: list[tuple[Ring, ...]] = field(repr=False)
    boxes: npt.NDArray[np.float64] = field(repr=False)
    is_thin: npt.NDArray[np.bool_] = field(repr=False)
    num_without_area: int = 0

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Smallest x and y, then largest x and y, of all polygons; there must be some."""
        left, low = self.boxes[:, :2].min(0).tolist()
        right, high = self.boxes[:, 2:].max(0).tolist()
        return left, low, right, high

    def near(self, window: Window) -> list[int]:
        """Return which shapes of a placed layer touch a window, by their boxes.

        Args:
            window: Row, column, height and width.
        """
        row, column, height, width = window
        left, top, right, bottom = self.boxes.T
        near = (left < column + width) & (right > column) & (top < row + height) & (bottom > row)
        indices: list[int] = np.flatnonzero(near).tolist()
        return indices

    def shapes_in(
        self, window: Window, class_name: Callable[[FeatureOf], str | None]
    ) -> Iterator[Shape]:
        """Return the shapes of a placed layer that touch a window, in pixels of the window.

        Args:
            window: Row, column, height and width.
            class_name: Returns the class name for a feature; ``None`` means ignored.
        """
        row, column, _, _ = window
        for index in self.near(window):
            rings = tuple(ring - (column, row) for ring in self.polygons[index])
            yield Shape(class_name(self.shapes[index]), rings)

    def shrunk_shapes(
        self, grid: Grid, step: int, class_name: Callable[[FeatureOf], str | None]
    ) -> Iterator[Shape]:
        """Return the shapes of a placed layer for a mask of every ``step``-th pixel of the scene.

        Shapes of less than two such pixels become one pixel, which takes a fiftieth of the time.
        """
        # The center of a pixel of the mask is that of the pixel of the scene that it stands for.
        boxes = (self.boxes - 0.5) / step + 0.5
        is_small = ((boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) < 2).tolist()
        centers = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)[:, ::-1].tolist()
        for index in self.near((0, 0, grid.height, grid.width)):
            label = class_name(self.shapes[index])
            if is_small[index]:
                row, column = centers[index]
                yield Shape(label, bitmap=ONE_PIXEL, corner=(row, column))
            else:
                rings = tuple((ring - 0.5) / step + 0.5 for ring in self.polygons[index])
                yield Shape(label, rings)


ONE_PIXEL = np.ones((1, 1), np.bool_)


@kept_while_unchanged
def read_layer(path: Path, takes_thin: bool) -> Layer:
    """Read the polygons of a GeoJSON file; the result is kept in memory.

    Features without a geometry are skipped, points and lines are counted. Every polygon of a
    MultiPolygon counts separately.

    Args:
        path: The GeoJSON.
        takes_thin: Whether points and lines are read too.

    Raises:
        FormatError: The file is not GeoJSON, or has an unknown reference system.
        DataError: The file cannot be read.
    """
    if path.stat().st_size > MAX_GEOJSON_BYTES:
        raise FormatError(
            f"{path} must have at most {MAX_GEOJSON_BYTES // 1024**2} MiB. "
            f"Got {path.stat().st_size // 1024**2}. Divide it into a GeoJSON for each raster"
        )
    collection = checked(_Collection, _as_collection(read_json(path)), path)
    crs = None
    if collection.crs is not None:
        crs = known_crs(str(collection.crs.properties.get("name")), path)
    shapes: list[FeatureOf] = []
    polygons: list[tuple[Ring, ...]] = []
    is_thin: list[bool] = []
    count = 0
    for number, feature in enumerate(collection.features):
        of = FeatureOf(f"{path}: feature {number}", feature.properties or {})
        count += num_without_area(feature.geometry)
        areas = list(polygons_of(feature.geometry, of.where))
        thin = [(part,) for part in thin_parts(feature.geometry, of.where)] if takes_thin else []
        polygons += [*areas, *thin]
        shapes += [of] * (len(areas) + len(thin))
        is_thin += [False] * len(areas) + [True] * len(thin)
    return Layer(crs, shapes, polygons, _boxes(polygons), np.array(is_thin, np.bool_), count)


def _as_collection(content: Any) -> Any:
    """Return a FeatureCollection for a single feature, or for a list of them, as from QuPath."""
    if isinstance(content, dict) and content.get("type") == "Feature":
        content = [content]
    if isinstance(content, list) and content:
        return {"type": "FeatureCollection", "features": content}
    return content


@kept_while_unchanged
def place_layer(path: Path, raster: Path, grid: Grid, buffer: float | None) -> Layer:
    """Transform the polygons of a GeoJSON to the pixels of a raster; the result is cached.

    Only corners are transformed; edges are straight in the raster's system.

    Args:
        path: The GeoJSON.
        raster: The raster's file, for messages.
        grid: Its grid.
        buffer: Half width of points and lines in units of the raster's system; ``None`` leaves
            them out.

    Returns:
        The layer in pixels, without polygons outside the domain of the raster's system.

    Raises:
        FormatError: The GeoJSON has a reference system but the raster has none, or the shapes do
            not touch the raster.
    """
    layer = read_layer(path, buffer is not None)
    if grid.crs is None and layer.crs is not None:
        raise FormatError(
            f"{raster} must name its reference system, because the shapes of {path.name} are in "
            f"{layer.crs}. Got none. Export it as GeoTIFF with one, or move it elsewhere if it is "
            "a mask or a preview"
        )
    if not layer.polygons:
        return layer
    own = layer.polygons
    if grid.crs is not None:
        source, target = layer.crs or LONGITUDE_LATITUDE, grid.crs
        own = moved(own, lambda corners: transformed(corners, source, target))
    if buffer is not None:
        own = widened(own, layer.is_thin, buffer)
    shapes, polygons, is_thin = [], [], []
    for number, rings in enumerate(moved(own, grid.to_pixels)):
        is_there = np.isfinite(np.concatenate(rings)).all(1)
        if is_there.all():
            shapes.append(layer.shapes[number])
            polygons.append(rings)
            is_thin.append(layer.is_thin[number])
        elif is_there.any():
            raise FormatError(
                f"{path}: polygon {number} must lie where the reference system of {raster.name} "
                f"({grid.crs_name}) is defined. It extends beyond. Clip it to the raster"
            )
    found = Layer(layer.crs, shapes, polygons, _boxes(polygons), np.array(is_thin, np.bool_))
    if not _touches(found, grid):
        raise FormatError(_elsewhere(path, layer, raster, grid))
    return found


def placement_remarks(places: Sequence[tuple[Path, Path, Grid]], buffer: float | None) -> list[str]:
    """Say which shapes are reprojected, which lie outside, and which scenes have none.

    Args:
        places: Raster, GeoJSON and grid of each scene.
        buffer: Half width of points and lines, see :func:`place_layer`.
    """
    reprojected: dict[tuple[str, str], list[str]] = {}
    empty = []
    outside: dict[Path, set[str]] = {}
    for raster, path, grid in places:
        layer = read_layer(path, buffer is not None)
        placed = place_layer(path, raster, grid, buffer)
        inside = placed.near((0, 0, grid.height, grid.width))
        touching = {placed.shapes[index].where for index in inside}
        beyond = {shape.where for shape in layer.shapes} - touching
        outside[path] = outside.get(path, beyond) & beyond
        if not touching:
            empty.append(raster.name)
        source = layer.crs or LONGITUDE_LATITUDE
        if layer.polygons and grid.crs is not None and not is_same_crs(source, grid.crs):
            target = grid.crs_name or "the reference system of the scene"
            reprojected.setdefault((source, target), []).append(raster.name)
    return [
        *(
            f"shapes in {source} are reprojected to {target}: {listed(names, MAX_NAMES)}"
            for (source, target), names in reprojected.items()
        ),
        *(
            f"{amount(len(beyond), 'shape')} of {path.name} outside of the scene, not used (of "
            f"{len({shape.where for shape in read_layer(path, buffer is not None).shapes}):,})"
            for path, beyond in outside.items()
            if beyond
        ),
        *([f"no shapes, so that all is background: {listed(empty, MAX_NAMES)}"] if empty else []),
    ]


def _touches(layer: Layer, grid: Grid) -> bool:
    """Whether the bounding boxes of the shapes and of the raster overlap."""
    if not layer.polygons:
        return False
    left, top, right, bottom = layer.extent
    # All shapes within one pixel of a raster in pixel coordinates: most likely degrees.
    is_dot = grid.crs is None and max(right - left, bottom - top) < 1
    return left < grid.width and right > 0 and top < grid.height and bottom > 0 and not is_dot


def _elsewhere(path: Path, layer: Layer, raster: Path, grid: Grid) -> str:
    own = f"{layer.crs or 'no stated crs'}"
    if layer.crs is None and grid.crs is not None:
        own = f"{LONGITUDE_LATITUDE}, the default for GeoJSON without crs"
    return (
        f"{path} must contain shapes that touch {raster.name}. They span {_span(layer.extent)} in "
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


def feature_collection(
    regions: Sequence[tuple[str, BoolArray]], grid: Grid | None, origin: Path
) -> dict[str, Any]:
    """Convert regions to the content of a GeoJSON file, one feature for each connected part.

    Args:
        regions: (label, bool (H, W)) each, all of one size.
        grid: The georeference of the image; ``None`` writes pixels without reference system.
        origin: The image's file, for messages.

    Raises:
        FormatError: The image cannot be transformed to longitude and latitude.
    """
    name = grid.crs_name if grid is not None else None

    def closed(ring: Ring) -> Any:
        """Repeat the first corner at the end of a ring, as in GeoJSON."""
        points: Points = np.concatenate([ring, ring[:1]])
        if grid is not None:
            points = grid.to_coordinates(points)
            if grid.crs is not None and name is None:  # GeoJSON cannot name this system
                points = transformed(points, grid.crs, LONGITUDE_LATITUDE)
        if not np.isfinite(points).all():
            raise FormatError(
                f"{origin} must lie where its coordinate reference system is defined. It does not, "
                "so it cannot be written"
            )
        return points.tolist()

    features = [
        {
            "type": "Feature",
            "properties": {STANDARD[0]: label},
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
