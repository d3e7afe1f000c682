"""GeoTIFF: georeference, windows, nodata, and headers that promise too much."""

import importlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import rasterio
import tifffile

from pixelwise.errors import DataError, FormatError, MissingExtraError
from pixelwise.io.geotiff import (
    LONGITUDE_LATITUDE,
    Grid,
    known_crs,
    read_grid,
    read_window,
    transformed,
    write_raster,
)
from pixelwise.io.image_rows import open_rows
from pixelwise.io.images import read_image, read_mask_colors

UTM = rasterio.CRS.from_epsg(32616)
PLACE = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139)
RNG = np.random.default_rng(0)


def write(path, bands, **profile):
    """A GeoTIFF of (C, H, W) by rasterio itself."""
    count, height, width = bands.shape
    profile = {"crs": UTM, "transform": PLACE, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=bands.dtype,
        **profile,
    ) as raster:  # fmt: skip
        raster.write(bands)
    return path


def test_a_grid_says_where_its_pixels_lie_and_the_way_back(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, 40, 60), np.uint8))
    grid = read_grid(path)
    assert (grid.height, grid.width, grid.crs_name) == (40, 60, "EPSG:32616")
    assert grid.extent == (733601, 3725119, 733631, 3725139)
    corners = RNG.uniform(-100, 100, (50, 2))
    with rasterio.open(path) as raster:
        expected = raster.xy(corners[:, 1], corners[:, 0], offset="ul")
    np.testing.assert_allclose(grid.to_coordinates(corners).T, expected)
    np.testing.assert_allclose(grid.to_pixels(grid.to_coordinates(corners)), corners, atol=1e-8)


def test_a_turned_and_sheared_grid_finds_its_pixels_again():
    grid = Grid(9, 9, None, (0.4, 0.3, 10.0, -0.2, 0.5, -7.0))
    corners = RNG.uniform(-9, 9, (50, 2))
    np.testing.assert_allclose(grid.to_pixels(grid.to_coordinates(corners)), corners, atol=1e-9)


@pytest.mark.parametrize(
    ("system", "units"),
    [("EPSG:32616", "meters"), ("EPSG:4326", "degrees"), ("EPSG:2249", "units (US survey foot)"),
     ('LOCAL_CS["x",UNIT["m",1]]', "units of the raster"), (None, "units of the raster")],
)  # fmt: skip
def test_a_grid_names_the_units_of_its_coordinates(system, units):
    crs = None if system is None else rasterio.CRS.from_user_input(system)
    assert Grid(4, 6, crs, (0.5, 0, 10, 0, -0.5, 20)).units == units


def test_a_grid_without_a_place_has_pixels():
    assert Grid(4, 6, None, (1, 0, 0, 0, 1, 0)).units == "pixels"


def test_the_part_of_a_grid_lies_where_the_window_lies(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, 40, 60), np.uint8))
    part = read_grid(path).part((10, 20, 5, 7))
    with rasterio.open(path) as raster:
        expected = raster.xy([10, 10, 15], [20, 27, 20], offset="ul")
    assert (part.height, part.width) == (5, 7)
    np.testing.assert_allclose(part.to_coordinates(np.array([(0, 0), (7, 0), (0, 5)])).T, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16", "float64"])
@pytest.mark.parametrize("num_bands", [1, 3, 4, 7])
def test_every_depth_and_number_of_bands_comes_in_as_read_image_reads_it(
    tmp_path, dtype, num_bands
):
    bands = RNG.integers(0, 255, (num_bands, 12, 17)).astype(dtype)
    path = write(tmp_path / "a.tif", bands, photometric="minisblack", alpha="no")
    pixels, is_valid = read_window(path, None)
    np.testing.assert_array_equal(pixels, read_image(path))
    assert pixels.dtype == (dtype if dtype in ("uint8", "uint16") else "float32")
    assert is_valid.all()
    part, _ = read_window(path, (2, 3, 5, 7))
    np.testing.assert_array_equal(part, pixels[2:7, 3:10])


@pytest.mark.parametrize("photometric", ["MINISWHITE", "MINISBLACK"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_come_in_as_read_image_reads_them(tmp_path, photometric, bits):
    values = RNG.integers(0, 2**bits, (1, 6, 8)).astype(np.uint8)
    path = write(tmp_path / "a.tif", values, nbits=bits, photometric=photometric)
    white = 2**bits - 1
    shown = white - values[0] if photometric == "MINISWHITE" else values[0]
    pixels, _ = read_window(path, None)
    np.testing.assert_array_equal(pixels[..., 0], shown * 255 if bits == 1 else shown)
    np.testing.assert_array_equal(pixels, read_image(path))


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", -3.4028234663852886e38), ("float32", -9999), ("uint16", 7)]
)
def test_pixels_without_data_are_zero_for_every_reader(tmp_path, dtype, nodata):
    bands = RNG.integers(10, 255, (2, 6, 8)).astype(dtype)
    bands[:, 2, 3] = nodata
    bands[0, 4, 4] = nodata  # one band alone is measured there
    path = write(tmp_path / "a.tif", bands, nodata=nodata)
    expected = np.moveaxis(bands, 0, -1).copy()
    expected[2, 3] = 0
    pixels, is_valid = read_window(path, None)
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(read_image(path), expected)
    assert np.argwhere(~is_valid).tolist() == [[2, 3]]
    with open_rows(path) as rows:
        np.testing.assert_array_equal(rows.read(0, 6).pixels, expected)


def test_white_stays_white_in_pictures_of_bytes(tmp_path):
    bands = np.full((3, 6, 8), 255, np.uint8)
    bands[:, 2] = 9
    path = write(tmp_path / "a.tif", bands, nodata=255, photometric="rgb")
    np.testing.assert_array_equal(read_image(path), np.moveaxis(bands, 0, -1))
    np.testing.assert_array_equal(read_window(path, None)[0], read_image(path))
    assert (read_mask_colors(path)[0] == 0xFFFFFF).all()


def test_alpha_is_left_out_wherever_it_lies(tmp_path):
    path = tmp_path / "a.tif"
    pixels = RNG.integers(1, 255, (6, 8, 5)).astype(np.uint8)
    pixels[2, 3, 3] = 0
    tifffile.imwrite(
        path, pixels, photometric="rgb", planarconfig="contig",
        extrasamples=["unassalpha", "unspecified"],
        extratags=[(33550, 12, 3, (0.5, 0.5, 0.0), True)],
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path), pixels[..., [0, 1, 2, 4]])
    np.testing.assert_array_equal(read_window(path, None)[0], read_image(path))
    with open_rows(path) as rows:
        is_ignored = rows.read(0, 6).is_ignored
    assert np.argwhere(is_ignored).tolist() == [[2, 3]]


@pytest.mark.parametrize("photometric", ["miniswhite", "palette", "rgb with alpha"])
def test_odd_ways_of_storing_come_in_as_read_image_reads_them(tmp_path, photometric):
    path = tmp_path / "a.tif"
    if photometric == "palette":
        colors = RNG.integers(0, 255, (3, 256)).astype(np.uint16) * 257
        values = RNG.integers(0, 9, (6, 8)).astype(np.uint8)
        tifffile.imwrite(path, values, photometric="palette", colormap=colors)
    elif photometric == "miniswhite":
        tifffile.imwrite(
            path, RNG.integers(0, 255, (6, 8)).astype(np.uint8), photometric="miniswhite"
        )
    else:
        pixels = RNG.integers(1, 255, (6, 8, 4)).astype(np.uint8)
        pixels[2, 3, 3] = 0
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    pixels, is_valid = read_window(path, None)
    np.testing.assert_array_equal(pixels, read_image(path))
    assert is_valid.sum() == 48 - (photometric == "rgb with alpha")


def test_only_pixels_without_data_in_any_band_have_none(tmp_path):
    bands = np.full((2, 3, 3), 5, np.uint16)
    bands[0, 0, 0] = 0
    bands[:, 1, 1] = 0
    _, is_valid = read_window(write(tmp_path / "a.tif", bands, nodata=0), None)
    assert np.argwhere(~is_valid).tolist() == [[1, 1]]
    floats = bands.astype(np.float32)
    floats[0, 0, 1] = np.nan
    floats[:, 2, 2] = np.nan
    pixels, is_valid = read_window(write(tmp_path / "b.tif", floats), None)
    assert np.argwhere(~is_valid).tolist() == [[2, 2]]
    assert np.isfinite(pixels).all()


@pytest.mark.parametrize("shape", [(5, 7, 1), (5, 7, 3), (5, 7, 4), (1, 1, 9)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_what_is_written_reads_back_with_its_place(tmp_path, shape, dtype):
    pixels = RNG.integers(0, 255, shape).astype(dtype)
    grid = Grid(*shape[:2], UTM, tuple(PLACE)[:6])
    write_raster(tmp_path / "a.tif", pixels, grid)
    assert read_grid(tmp_path / "a.tif") == grid
    again, is_valid = read_window(tmp_path / "a.tif", None)
    assert again.dtype == pixels.dtype
    np.testing.assert_array_equal(again, pixels)
    assert is_valid.all()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_a_picture_without_georeference_lies_in_its_own_pixels_and_warns_nobody(tmp_path):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        write_raster(tmp_path / "a.tif", np.zeros((4, 6, 3), np.uint8), None)
        grid = read_grid(tmp_path / "a.tif")
    assert grid == Grid(4, 6, None, (1, 0, 0, 0, 1, 0))
    assert seen == []


@pytest.mark.parametrize(
    "name",
    ["EPSG:32616", "urn:ogc:def:crs:EPSG::32616", "urn:ogc:def:crs:EPSG:9.8.11:32616",
     "http://www.opengis.net/def/crs/EPSG/0/32616", "epsg:32616"],
)  # fmt: skip
def test_a_reference_system_is_known_by_any_of_its_names(tmp_path, name):
    assert known_crs(name, tmp_path) == "EPSG:32616"


def test_longitude_and_latitude_go_by_their_old_name_too(tmp_path):
    assert known_crs("urn:ogc:def:crs:OGC:1.3:CRS84", tmp_path) == LONGITUDE_LATITUDE


@pytest.mark.parametrize("name", ["EPSG:999999", "/etc/passwd", "http://127.0.0.1/crs", "", "None"])
def test_an_unknown_reference_system_is_refused_and_not_looked_for(tmp_path, name):
    with pytest.raises(FormatError, match="crs must name a reference system"):
        known_crs(name, tmp_path / "a.geojson")


def test_points_without_a_place_in_the_other_system_do_not_take_the_rest_with_them():
    degrees = np.array([(-84.4, 33.6), (733601, 3725139), (np.nan, 0), (-84.5, 33.5)])
    moved = transformed(degrees, LONGITUDE_LATITUDE, UTM)
    assert np.isfinite(moved).all(1).tolist() == [True, False, False, True]
    (x,), (y,) = rasterio.warp.transform(LONGITUDE_LATITUDE, UTM, [-84.5], [33.5])
    np.testing.assert_allclose(moved[3], (x, y))
    # PROJ refuses the whole call for one point that its projection does not reach.
    degrees = np.array([(-84.4, 33.6), (3.0, 0.0), (-84.5, 33.5)])
    moved = transformed(degrees, LONGITUDE_LATITUDE, UTM)
    assert np.isfinite(moved).all(1).tolist() == [True, False, True]
    np.testing.assert_allclose(moved[2], (x, y))


def damaged(kind, path):
    """A file that has to be refused, and a word of the refusal."""
    bands = np.zeros((1, 16, 16), np.uint8)
    if kind == "control points":
        corners = [(0, 0), (0, 16), (16, 0), (16, 16)]
        points = [rasterio.control.GroundControlPoint(r, c, c + 5.0, r) for r, c in corners]
        write(path, bands, transform=None, gcps=points)
        return "affine transform"
    if kind == "turned":
        tifffile.imwrite(path, bands[0], extratags=[(274, "H", 1, 6, True)])
        return "upright"
    if kind == "pages":
        tifffile.imwrite(path, np.zeros((3, 16, 16), np.uint8), photometric="minisblack")
        return "one upright page"
    if kind == "flat":
        write(path, bands, transform=rasterio.Affine(0, 0, 5, 0, 0, 5))
        return "map its pixels to an area"
    content = write(path, RNG.integers(0, 255, (1, 99, 99)).astype(np.uint8)).read_bytes()
    path.write_bytes({"text": b"no picture", "head": content[:100], "empty": b""}[kind])
    return {"empty": "zero bytes"}.get(kind, "readable image")


@pytest.mark.parametrize(
    "kind", ["control points", "turned", "pages", "flat", "text", "head", "empty"]
)
def test_a_raster_that_cannot_be_laid_out_is_refused_by_its_name(tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rasterio, which says what is odd in the test's files
        word = damaged(kind, tmp_path / "scene.tif")
    with pytest.raises(DataError, match=rf"scene\.tif .*{word}"):
        read_grid(tmp_path / "scene.tif")


@pytest.mark.parametrize("length", [300, 4000])
def test_a_truncated_raster_is_refused_by_its_name(tmp_path, length):
    path = write(tmp_path / "scene.tif", RNG.integers(0, 255, (1, 99, 99)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"scene\.tif must be a readable image"):
        read_window(path, None)


def test_a_file_that_only_calls_itself_a_tiff_opens_no_other_file(tmp_path):
    secret = write(tmp_path / "secret.tif", np.ones((1, 8, 8), np.uint8))
    band = f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
    (tmp_path / "a.tif").write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        f"{band}</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(DataError, match=r"a\.tif must be a readable image"):
        read_window(tmp_path / "a.tif", None)


def test_a_raster_of_a_trillion_pixels_is_refused_by_its_header(tmp_path):
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=10**6, width=10**6, dtype="uint8", crs=UTM,
        transform=PLACE, tiled=True, blockxsize=8192, blockysize=8192, sparse_ok=True,
        bigtiff="yes", compress="deflate",
    ):  # fmt: skip
        pass
    with pytest.raises(DataError, match=r"scene\.tif must have at most 500,000 pixels a side"):
        read_grid(path)


WINDOWS_OF_A_GIANT = """
import resource, sys
from pathlib import Path
from pixelwise.io.geotiff import read_grid, read_window
from pixelwise.io.image_windows import even_windows
path = Path(sys.argv[1])
grid = read_grid(path)
windows = even_windows((grid.height, grid.width), 1024)
read_window(path, windows[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for window in windows[:: max(1, len(windows) // 40)]:
    read_window(path, window)
print(len(windows), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_scene_of_gigabytes_takes_the_memory_of_a_window(tmp_path):
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=4, height=30_000, width=30_000, dtype="uint16", crs=UTM,
        transform=PLACE, tiled=True, sparse_ok=True, compress="deflate",
    ) as raster:  # fmt: skip
        block = np.ones((4, 256, 256), np.uint16)
        raster.write(block, window=rasterio.windows.Window(15_000, 15_000, 256, 256))
    answer = subprocess.run(
        [sys.executable, "-c", WINDOWS_OF_A_GIANT, path], capture_output=True, text=True, check=True
    )
    num_windows, grown_mib = map(int, answer.stdout.split())
    assert num_windows == 841
    assert grown_mib < 64  # 7.2 GB decoded; a window is 8 MB, and one more lives beside it


def test_without_rasterio_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8))
    original = importlib.import_module

    def without(name, *arguments):
        if name.startswith("rasterio"):
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[geo\]'"):
        read_grid(path)


def test_finding_and_opening_data_sets_loads_no_rasterio():
    code = (
        "import sys; from pathlib import Path; from pixelwise.data.formats import formats; "
        "formats.create('geojson').detect(Path('.')); assert 'rasterio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
