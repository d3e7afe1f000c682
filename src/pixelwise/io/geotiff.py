"""Reads and writes GeoTIFF files window by window, with their georeference.

This is the only module that imports rasterio, which is installed with the extra ``geo``. A scene
may be larger than memory, so pixels are only read in windows.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError, FormatError, MissingExtraError
from pixelwise.io.arrays import Array, BoolArray, Window
from pixelwise.io.decoding import decoding
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.io.images import is_rotated, with_channels
from pixelwise.io.limits import require_decodable
from pixelwise.io.quiet import quietly
from pixelwise.io.tiff import white_of

MAX_SIDE_PX = 500_000
"""Largest height and width of a raster; a header with a larger size is considered damaged."""

GRID_BYTES = 10_000
"""About the memory of a grid."""

NUM_PROBES = 24
"""Number of rows and of columns at whose crossings a scene is probed for missing data."""

Points = npt.NDArray[np.float64]
"""float64 (P, 2) of (x, y)."""

LONGITUDE_LATITUDE = "EPSG:4326"
"""The reference system of GeoJSON that does not name one (RFC 7946)."""

CRS_NAME = re.compile(r"(?:^|[:/])EPSG[:/](?:[\d.]*[:/])?(\d{1,6})$", re.IGNORECASE)
"""``EPSG:32616``, ``urn:ogc:def:crs:EPSG::32616``, ``http://www.opengis.net/def/crs/EPSG/0/32616``.
"""


@dataclass(frozen=True)
class Grid:
    """The size of a raster and its position on the earth.

    Attributes:
        height: In pixels.
        width: In pixels.
        crs: Its coordinate reference system as a rasterio object; ``None`` if it has none.
        to_world: (a, b, c, d, e, f) of the map from pixels to coordinates, x a + y b + c and
            x d + y e + f. The identity if the raster has no georeference, so that coordinates are
            pixels.
    """

    height: int
    width: int
    crs: Any
    to_world: tuple[float, float, float, float, float, float]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Smallest x and y, then largest x and y, of its four corners."""
        corners = np.array([(x, y) for x in (0, self.width) for y in (0, self.height)], float)
        placed = self.to_coordinates(corners)
        (left, low), (right, high) = placed.min(0).tolist(), placed.max(0).tolist()
        return left, low, right, high

    @property
    def crs_name(self) -> str | None:
        """``EPSG:`` and the code; ``None`` if the system has no EPSG code."""
        code = self.crs.to_epsg() if self.crs is not None else None
        return (
            None if code is None or type(self.crs).from_epsg(code) != self.crs else f"EPSG:{code}"
        )

    @property
    def units(self) -> str:
        """The units of its coordinates in the plural: meters, degrees, pixels or others."""
        if self.crs is None and self.to_world == (1, 0, 0, 0, 1, 0):
            return "pixels"
        if self.crs is None or not (self.crs.is_geographic or self.crs.is_projected):
            return "units of the raster"
        if self.crs.is_geographic:
            return "degrees"
        name, meters = self.crs.linear_units_factor
        return "meters" if meters == 1 else f"units ({name})"

    def to_coordinates(self, points: Points) -> Points:
        """Convert pixel positions to coordinates; (0, 0) is the corner of the first pixel."""
        a, b, c, d, e, f = self.to_world
        x, y = points.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], 1)

    def to_pixels(self, points: Points) -> Points:
        """The inverse of :meth:`to_coordinates`."""
        a, b, c, d, e, f = self.to_world
        x, y = points.T - np.array([[c], [f]])
        return np.stack([e * x - b * y, a * y - d * x], 1) / (a * e - b * d)

    def part(self, window: Window | None) -> Grid:
        """Return the grid of one of its windows."""
        if window is None:
            return self
        row, column, height, width = window
        (corner,) = self.to_coordinates(np.array([(column, row)], float)).tolist()
        a, b, _, d, e, _ = self.to_world
        return Grid(height, width, self.crs, (a, b, corner[0], d, e, corner[1]))


def _read_grid(path: Path) -> Grid:
    """Read the header of a GeoTIFF; it is kept while the file is unchanged.

    Raises:
        DataError: The file is not a TIFF, is damaged or rotated, has several pages, is
            georeferenced only by control points, or cannot be read in windows of bounded memory.
        MissingExtraError: rasterio is not installed.
    """
    with _opened(path) as raster:
        if raster.subdatasets or is_rotated(path):
            raise DataError(
                f"{path} must contain one upright page. Got several pages or a rotated one. "
                "Save it again as one GeoTIFF"
            )
        if raster.gcps[0] or raster.rpcs:
            raise DataError(
                f"{path} must be georeferenced by an affine transform. Got control points or RPCs. "
                "Rectify it first with gdalwarp"
            )
        if not raster.transform.determinant or not all(map(math.isfinite, raster.transform)):
            raise DataError(
                f"{path} must map its pixels to an area. Got {tuple(raster.transform)[:6]}. "
                "Fix its georeference"
            )
        if max(raster.height, raster.width) > MAX_SIDE_PX:
            raise DataError(
                f"{path} must have at most {MAX_SIDE_PX:,} pixels a side. "
                f"Got {raster.width} x {raster.height}. Restore it, or cut it into parts"
            )
        # Reading a window decodes every block that it touches, and a block is decoded whole.
        require_decodable(path, (*raster.block_shapes[0], raster.count), _itemsize(raster))
        return Grid(raster.height, raster.width, raster.crs, tuple(raster.transform)[:6])


read_grid = kept_while_unchanged(_read_grid, size_of=lambda _: GRID_BYTES)


def read_window(path: Path, window: Window | None) -> tuple[Array, BoolArray]:
    """Read a part of a GeoTIFF in the way ``read_image`` reads a whole image.

    Args:
        path: The file.
        window: The part; ``None`` is the whole raster.

    Returns:
        The pixels, (H, W, C), uint8, uint16 or float32, without alpha, and a bool array (H, W) that
        is True where there is data: False where the mask or alpha excludes a pixel, or where every
        band is NaN or the nodata value. Pixels with the nodata value are 0, except in uint8 files.

    Raises:
        DataError: The file cannot be read, or the window is too large to be decoded at once.
        MissingExtraError: rasterio is not installed.
    """
    rasterio = _rasterio()
    with _opened(path) as raster:
        row, column, height, width = window or (0, 0, raster.height, raster.width)
        bands = [
            number
            for number, meaning in zip(raster.indexes, raster.colorinterp, strict=True)
            if meaning != rasterio.enums.ColorInterp.alpha
        ]
        require_decodable(path, (height, width, raster.count), _itemsize(raster))
        place = rasterio.windows.Window(column, row, width, height)
        stored = raster.read(bands, window=place)
        is_valid = raster.dataset_mask(window=place) > 0
        if stored.dtype.kind == "f":
            is_valid &= ~np.isnan(stored).all(0)
        num_bits = _num_bits(raster)
        if raster.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
            stored = white_of(stored.dtype, num_bits) - stored
        elif raster.colorinterp[0] == rasterio.enums.ColorInterp.palette and num_bits > 1:
            stored = np.moveaxis(_palette(raster)[stored[0]], -1, 0)
        if num_bits == 1:  # GDAL reports black and white as a palette
            stored = stored > 0
        # Pixels under alpha or a mask still hold an image, and in uint8 nodata is a gray level.
        if raster.nodata is not None and raster.dtypes[0] != "uint8":
            stored[:, ~is_valid] = 0
        pixels = with_channels(np.moveaxis(stored, 0, -1), path)
        return np.require(pixels, requirements=["C", "W"]), is_valid


def shrunk_has_data(path: Path, grid: Grid, step: int) -> BoolArray:
    """Return about where a GeoTIFF has data: bool (h, w), for every ``step``-th pixel.

    A large file is probed at a few pixels, and each pixel of the result is the nearest of them.

    Raises:
        DataError: The file cannot be read.
    """
    rasterio = _rasterio()
    sides = grid.height, grid.width
    shape = tuple(-(-side // step) for side in sides)
    probed = [
        [(2 * number + 1) * side // (2 * count) for number in range(count)]
        for side, count in ((side, min(side, NUM_PROBES)) for side in sides)
    ]
    with _opened(path) as raster:
        is_float = np.dtype(raster.dtypes[0]).kind == "f"
        if raster.mask_flag_enums[0] == [rasterio.enums.MaskFlags.all_valid] and not is_float:
            return np.ones(shape, np.bool_)
        found = np.zeros([len(side) for side in probed], np.bool_)
        for at, across in np.ndindex(*found.shape):
            pixel = rasterio.windows.Window(probed[1][across], probed[0][at], 1, 1)
            is_nan = is_float and np.isnan(raster.read(window=pixel)).all()
            found[at, across] = raster.dataset_mask(window=pixel)[0, 0] > 0 and not is_nan
    nearest = [
        np.abs(np.arange(length)[:, None] * step - np.array(side)).argmin(1)
        for length, side in zip(shape, probed, strict=True)
    ]
    return np.asarray(found[np.ix_(*nearest)])


def is_same_crs(one: Any, other: Any) -> bool:
    """Whether two names or rasterio objects mean the same reference system."""
    first, second = (_rasterio().crs.CRS.from_user_input(crs) for crs in (one, other))
    return bool(first == second)


def write_raster(path: Path, pixels: Array, grid: Grid | None) -> None:
    """Write a GeoTIFF.

    Args:
        path: The file.
        pixels: (H, W, C), uint8, uint16 or float32.
        grid: The georeference; ``None`` if there is none.
    """
    rasterio = _rasterio()
    height, width, num_bands = pixels.shape
    place = {}
    if grid is not None:
        place = {"crs": grid.crs, "transform": rasterio.Affine(*grid.to_world)}
    colors = "rgb" if num_bands == 3 and pixels.dtype == np.uint8 else "minisblack"
    with (
        quietly,  # rasterio warns about images without a georeference
        rasterio.Env(),
        rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=num_bands,
            dtype=pixels.dtype, compress="deflate", bigtiff="if_safer", photometric=colors,
            alpha="no", **place,
        ) as raster,
    ):  # fmt: skip
        raster.write(np.moveaxis(pixels, -1, 0))


def known_crs(name: str, origin: Path) -> str:
    """Return the name of a coordinate reference system, ``EPSG:`` and the code if it has one.

    Args:
        name: The name in any of the spellings found in GeoJSON.
        origin: The file that contains the name, for messages.

    Raises:
        FormatError: The system is unknown.
    """
    if name.upper().endswith(("CRS84", "CRS:84")):
        return LONGITUDE_LATITUDE
    code = CRS_NAME.search(name.strip())
    found = f"EPSG:{int(code[1])}" if code is not None else name.strip()
    rasterio = _rasterio()
    try:
        with rasterio.Env():  # otherwise GDAL prints its errors
            rasterio.crs.CRS.from_user_input(found)
    except rasterio.errors.CRSError as error:
        raise FormatError(
            f"{origin}: crs must name a reference system, such as EPSG:32616, CRS84, ESRI:102003 "
            f"or WKT. Got {name[:80]!r}. Export it with one"
        ) from error
    return found


def transformed(points: Points, source: Any, target: Any) -> Points:
    """Transform coordinates from one reference system to another; NaN if that is not possible.

    Args:
        points: Coordinates in the source system, longitude before latitude.
        source: Name or rasterio object of the source system.
        target: Name or rasterio object of the target system.
    """
    rasterio = _rasterio()
    source, target = (rasterio.crs.CRS.from_user_input(crs) for crs in (source, target))
    if source == target:
        return points
    found = np.full_like(points, np.nan)
    possible = np.isfinite(points).all(1)
    if source.is_geographic:
        possible &= (np.abs(points) <= (540, 90)).all(1)
    with rasterio.Env():
        for chosen, moved in _portions(np.flatnonzero(possible), points, source, target):
            found[chosen] = moved
    return np.where(np.isfinite(found), found, np.nan)


def _portions(
    chosen: npt.NDArray[np.int64], points: Points, source: Any, target: Any
) -> Iterator[tuple[npt.NDArray[np.int64], Points]]:
    """Yield indices and transformed points; halves are tried, as PROJ fails if one point fails."""
    if not len(chosen):
        return
    try:
        placed = _rasterio().warp.transform(source, target, *points[chosen].T)
    except Exception:  # rasterio does not export its exception classes
        if len(chosen) > 1:
            for half in np.array_split(chosen, 2):
                yield from _portions(half, points, source, target)
        return
    yield chosen, np.array(placed, np.float64).T


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a GeoTIFF with the GTiff driver only; other drivers may open further files it names.

    The files that GDAL reads beside it are part of the cache key; see ``data.cache.cache_keys``.
    """
    rasterio = _rasterio()
    with decoding(path), rasterio.Env(), rasterio.open(path, driver="GTiff") as raster:
        yield raster


def _itemsize(raster: Any) -> int:
    return max(int(np.dtype(dtype).itemsize) for dtype in raster.dtypes)


def _num_bits(raster: Any) -> int:
    """Return the bits of each number in the file; GDAL returns whole bytes."""
    return int(raster.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * _itemsize(raster)))


def _palette(raster: Any) -> npt.NDArray[np.uint8]:
    """The colors of a palette raster, uint8 (values, 3); values without a color are black."""
    colors = np.zeros((np.iinfo(raster.dtypes[0]).max + 1, 3), np.uint8)
    for value, color in raster.colormap(1).items():
        colors[value] = color[:3]
    return colors


def _rasterio() -> ModuleType:
    try:
        for module in ("rasterio.warp", "rasterio.windows"):
            importlib.import_module(module)
        return importlib.import_module("rasterio")
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", "reading GeoTIFF with GeoJSON") from error
