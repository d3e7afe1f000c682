"""``geojson``: shapes come to the right pixels, or the data set is refused with the reason."""

import dataclasses
import json
import shutil
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
import shapely.geometry
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats import formats
from pixelwise.data.problems import collect_problems
from pixelwise.errors import ConfigError, DataError, FormatError, MaskError
from pixelwise.io.images import read_image

UTM = rasterio.CRS.from_epsg(32616)
PLACE = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139)
URN = "urn:ogc:def:crs:EPSG::32616"


def scene(path, size=(40, 60), *, bands=1, crs=UTM, transform=PLACE, seed=0, **profile):
    """A GeoTIFF of noise above 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 4000, (bands, *size)).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scenes that have no georeference on purpose
        with rasterio.open(
            path, "w", driver="GTiff", count=bands, height=size[0], width=size[1], dtype="uint16",
            crs=crs, transform=transform, **profile,
        ) as raster:  # fmt: skip
            raster.write(pixels)
    return path


def box(left, top, right, bottom):
    """A rectangle of pixels as a geometry in the raster's coordinates."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return polygon(corners)


def polygon(*rings):
    placed = [[(PLACE.a * x + PLACE.c, PLACE.e * y + PLACE.f) for x, y in ring] for ring in rings]
    return {"type": "Polygon", "coordinates": placed}


def shapes(path, *geometries, crs=URN, properties=None, **members):
    """A GeoJSON; a geometry may come with its properties."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = [
        {"type": "Feature", "properties": properties, "geometry": geometry}
        if not isinstance(geometry, tuple)
        else {"type": "Feature", "properties": geometry[1], "geometry": geometry[0]}
        for geometry in geometries
    ]
    named = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    content = {"type": "FeatureCollection", **named, "features": features, **members}
    path.write_text(json.dumps(content))
    return path


def masks_of(folder, **options):
    dataset = open_dataset(folder, **options)
    return dataset, {record.name: dataset.load(record).mask for record in dataset.records}


def only_mask(folder, **options):
    _, masks = masks_of(folder, **options)
    (mask,) = masks.values()
    return mask


def rasterized(raster, layer):
    """The mask that GDAL makes of the file, each feature burned in order."""
    features = json.loads(layer.read_text())["features"]
    with rasterio.open(raster) as opened:
        pairs = [(feature["geometry"], 1) for feature in features]
        return rasterio.features.rasterize(pairs, opened.shape, transform=opened.transform)


@pytest.fixture
def buildings(test_data, tmp_path):
    """The real scene and its footprints, without the other rasters that lie beside them."""
    folder = tmp_path / "buildings"
    folder.mkdir()
    for name in ("sample_geotiff.tif", "geotiff_labels.geojson"):
        shutil.copyfile(test_data / "buildings" / name, folder / name)
    (folder / "dataset.yaml").write_text("windows: off")
    return folder


@pytest.mark.real_data
def test_real_footprints_are_painted_as_gdal_paints_them(buildings):
    found, reason = detect_format(buildings)
    assert found.name == "geojson"
    assert "GeoTIFF" in reason
    dataset, masks = masks_of(buildings)
    assert dataset.class_map.names == ("background", "foreground")
    expected = rasterized(buildings / "sample_geotiff.tif", buildings / "geotiff_labels.geojson")
    assert expected.sum() == 33818
    np.testing.assert_array_equal(masks["sample_geotiff"], expected)
    sample = dataset.load(dataset.records[0])
    assert sample.image.dtype == np.uint16
    np.testing.assert_array_equal(sample.image, read_image(buildings / "sample_geotiff.tif"))


@pytest.mark.real_data
@pytest.mark.parametrize("code", [4326, 3857, 32617])
def test_real_footprints_come_to_the_same_pixels_from_any_reference_system(buildings, code):
    layer = buildings / "geotiff_labels.geojson"
    before = only_mask(buildings)
    content = json.loads(layer.read_text())
    geometries = [feature["geometry"] for feature in content["features"]]
    moved = rasterio.warp.transform_geom(UTM, f"EPSG:{code}", geometries, precision=12)
    crs = None if code == 4326 else f"EPSG:{code}"
    shapes(layer, *moved, crs=crs)
    np.testing.assert_array_equal(only_mask(buildings), before)


@pytest.mark.real_data
def test_real_footprints_are_kept_in_place_when_they_are_converted(buildings, tmp_path):
    dataset = open_dataset(buildings)
    convert_data(dataset, tmp_path / "out", "geojson", keep_splits=False)
    again = open_dataset(tmp_path / "out")
    (old,), (new,) = dataset.records, again.records
    np.testing.assert_array_equal(again.load(new).mask, dataset.load(old).mask)
    with rasterio.open(old.image) as one, rasterio.open(new.image) as other:
        assert (one.crs, one.transform) == (other.crs, other.transform)
    assert json.loads(new.masks[0].read_text())["crs"]["properties"]["name"] == URN
    areas = [
        sum(shapely.geometry.shape(feature["geometry"]).area for feature in content["features"])
        for content in (json.loads(path.read_text()) for path in (*old.masks, *new.masks))
    ]
    assert areas[1] == pytest.approx(areas[0], rel=0.01)  # square meters


@pytest.mark.real_data
def test_a_folder_with_a_raster_from_elsewhere_is_refused_with_both_extents(test_data):
    with pytest.raises(
        FormatError,
        match=r"touch multispectral_4band\.tif\. They span x 733601 .* EPSG:32616; .* EPSG:32631",
    ):
        open_dataset(test_data / "buildings")


@pytest.mark.real_data
def test_a_mask_without_place_among_the_scenes_is_refused(buildings, test_data):
    shutil.copyfile(test_data / "buildings/sample_fp_mask.tif", buildings / "sample_fp_mask.tif")
    with pytest.raises(FormatError, match=r"sample_fp_mask\.tif must name its reference system"):
        open_dataset(buildings)


def test_shapes_without_a_stated_system_are_in_longitude_and_latitude(tmp_path):
    scene(tmp_path / "a.tif")
    (moved,) = rasterio.warp.transform_geom(UTM, "EPSG:4326", [box(5, 7, 30, 20)], precision=12)
    shapes(tmp_path / "a.geojson", moved, crs=None)
    mask = only_mask(tmp_path)
    assert mask.sum() == 25 * 13
    assert mask[7:20, 5:30].all()


def test_a_raster_without_georeference_takes_coordinates_as_pixels(tmp_path):
    scene(tmp_path / "a.tif", crs=None, transform=None)
    ring = [[5, 7], [30, 7], [30, 20], [5, 20], [5, 7]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    shapes(tmp_path / "a.geojson", geometry, crs=None)
    assert only_mask(tmp_path)[7:20, 5:30].all()
    shapes(tmp_path / "a.geojson", geometry, crs=URN)
    with pytest.raises(FormatError, match=r"a\.tif must name its reference system"):
        open_dataset(tmp_path)


def test_degrees_over_a_raster_without_georeference_are_not_taken_for_pixels(tmp_path):
    scene(tmp_path / "a.tif", crs=None, transform=None)
    ring = [[16.37, 28.2], [16.38, 28.2], [16.38, 28.21]]
    shapes(tmp_path / "a.geojson", {"type": "Polygon", "coordinates": [ring]}, crs=None)
    with pytest.raises(FormatError, match=r"a\.geojson must contain shapes that touch a\.tif"):
        open_dataset(tmp_path)


def test_meters_that_call_themselves_nothing_are_refused_with_the_likely_cause(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", box(5, 7, 30, 20), crs=None)
    with pytest.raises(
        FormatError, match=r"EPSG:4326, the default for GeoJSON without crs; .*EPSG:32616"
    ):
        open_dataset(tmp_path)


def test_holes_and_parts_and_crossings_are_painted_as_gdal_paints_them(tmp_path):
    scene(tmp_path / "a.tif")
    hole = polygon([(2, 2), (30, 3), (28, 30), (3, 28)], [(8, 8), (20, 9), (9, 20.3)])
    parts = [box(35, 2, 40, 9)["coordinates"], box(41, 20, 55, 39)["coordinates"]]
    bow_tie = polygon([(40, 10), (58, 19), (58, 10), (40, 19)])
    beyond = box(50, -9, 99, 5)
    layer = shapes(
        tmp_path / "a.geojson",
        hole,
        {"type": "MultiPolygon", "coordinates": parts},
        {"type": "GeometryCollection", "geometries": [bow_tie, beyond]},
        None,
        {"type": "Polygon", "coordinates": []},
        {"type": "MultiPolygon", "coordinates": []},
    )
    mask = only_mask(tmp_path)
    content = json.loads(layer.read_text())
    content["features"] = content["features"][:3]
    layer.write_text(json.dumps(content))
    np.testing.assert_array_equal(mask, rasterized(tmp_path / "a.tif", layer))
    assert mask[12, 12] == 0


def test_random_polygons_are_painted_as_gdal_paints_them(tmp_path):
    rng = np.random.default_rng(0)
    scene(tmp_path / "a.tif", (90, 120))
    rings = [rng.uniform(-20, 130, (int(rng.integers(3, 9)), 2)) for _ in range(60)]
    hulls = [shapely.MultiPoint(ring).convex_hull for ring in rings]
    layer = shapes(
        tmp_path / "a.geojson", *(polygon(list(hull.exterior.coords)) for hull in hulls[:7])
    )
    np.testing.assert_array_equal(only_mask(tmp_path), rasterized(tmp_path / "a.tif", layer))


def test_a_third_coordinate_is_passed_over(tmp_path):
    scene(tmp_path / "a.tif")
    geometry = box(5, 7, 30, 20)
    geometry["coordinates"] = [[(*corner, 250.0) for corner in geometry["coordinates"][0]]]
    shapes(tmp_path / "a.geojson", geometry)
    assert only_mask(tmp_path).sum() == 25 * 13


@pytest.mark.parametrize("kind", ["Point", "LineString", "MultiPoint", "MultiLineString"])
def test_points_and_lines_are_left_out_and_counted(tmp_path, kind):
    scene(tmp_path / "a.tif")
    dot = {"type": kind, "coordinates": [1, 2]}
    mixed = {"type": "GeometryCollection", "geometries": [dot, box(20, 0, 29, 9)]}
    shapes(tmp_path / "a.geojson", box(0, 0, 9, 9), dot, mixed)
    dataset, masks = masks_of(tmp_path)
    assert masks["a"].sum() == 2 * 81
    left = "points and lines are left out, which have no area: 2; `buffer` paints them with a half "
    assert left + "width" in dataset.notes
    shapes(tmp_path / "a.geojson", dot)
    with pytest.raises(FormatError, match=r"shapes with an area\. Got only points and lines"):
        open_dataset(tmp_path)


def placed(corners, transform=PLACE):
    """Pixel positions (x, y) in the raster's coordinates."""
    x, y = np.asarray(corners, float).T
    across, down = transform.a * x + transform.c, transform.e * y + transform.f
    return np.stack([across, down], 1).tolist()


def distances(points, size, transform):
    """The distance of each pixel center from a point or a line, in the raster's coordinates."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    centers = np.stack([columns.ravel(), rows.ravel()], 1)
    centers = np.reshape(placed(centers, transform), (*size, 2))
    points = np.asarray(points, float)
    starts, ends = (points, points) if len(points) == 1 else (points[:-1], points[1:])
    found = np.full(size, np.inf)
    for start, end in zip(starts, ends, strict=True):
        along = end - start
        length = max(along @ along, 1e-30)
        share = np.clip((centers - start) @ along / length, 0, 1)[..., None]
        found = np.minimum(found, np.linalg.norm(centers - start - share * along, axis=-1))
    return found


def assert_within(mask, distance, half_width):
    """The mask holds what is nearer; circles are drawn by corners, so their edge may be missed."""
    is_edge = abs(distance - half_width) < 0.003 * half_width
    np.testing.assert_array_equal(mask[~is_edge], (distance < half_width)[~is_edge])
    assert (mask[~is_edge] == 1).any()


THIN = {
    "Point": lambda lines: lines[0][0],
    "MultiPoint": lambda lines: lines[0],
    "LineString": lambda lines: lines[0],
    "MultiLineString": lambda lines: lines,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("half_width", [0.8, 2.5, 7])
@pytest.mark.parametrize("kind", THIN)
def test_points_and_lines_are_painted_up_to_their_half_width(tmp_path, kind, half_width, seed):
    uneven = rasterio.Affine(0.5, 0, 733601, 0, -0.8, 3725139)
    scene(tmp_path / "a.tif", transform=uneven)
    random = np.random.default_rng(seed)
    lines = [placed(random.uniform((0, 0), (60, 40), (5, 2)), uneven) for _ in range(2)]
    shapes(tmp_path / "a.geojson", {"type": kind, "coordinates": THIN[kind](lines)})
    parts = {"Point": [lines[0][:1]], "MultiPoint": [[point] for point in lines[0]],
             "LineString": lines[:1], "MultiLineString": lines}[kind]  # fmt: skip
    expected = np.min([distances(part, (40, 60), uneven) for part in parts], 0)
    assert_within(only_mask(tmp_path, buffer=half_width), expected, half_width)


def test_a_half_width_is_in_meters_of_the_raster_where_shapes_are_in_degrees(tmp_path):
    scene(tmp_path / "a.tif")
    line = placed([(5, 5), (50, 9), (44, 33)])
    degrees = rasterio.warp.transform(UTM, "EPSG:4326", *zip(*line, strict=True))
    found = {"type": "LineString", "coordinates": np.stack(degrees, 1).tolist()}
    shapes(tmp_path / "a.geojson", found, crs=None)
    dataset, masks = masks_of(tmp_path, buffer=2.0)
    assert_within(masks["a"], distances(line, (40, 60), PLACE), 2.0)
    assert "points and lines are painted 2 meters to each side: 1" in dataset.notes


def test_a_half_width_is_in_pixels_of_a_picture(tmp_path):
    Image.fromarray(np.zeros((30, 50, 3), np.uint8)).save(tmp_path / "slide.png")
    line = [(4.5, 6), (40, 12), (22, 25)]
    shapes(tmp_path / "slide.geojson", {"type": "LineString", "coordinates": line}, crs=None)
    dataset, masks = masks_of(tmp_path, buffer=3)
    assert_within(masks["slide"], distances(line, (30, 50), rasterio.Affine.identity()), 3)
    assert "points and lines are painted 3 pixels to each side: 1" in dataset.notes


def test_lines_have_classes_and_are_painted_in_the_order_of_the_file(tmp_path):
    scene(tmp_path / "a.tif")
    road = {"type": "LineString", "coordinates": placed([(0, 20), (60, 20)])}
    shapes(tmp_path / "a.geojson", (box(0, 10, 30, 30), {"class": "field"}),
           (road, {"class": "road"}), (box(40, 10, 60, 30), {"class": "field"}))  # fmt: skip
    dataset, masks = masks_of(tmp_path, buffer=1)  # two pixels to each side
    assert dataset.class_map.names == ("background", "field", "road")
    assert masks["a"][16:24, 15].tolist() == [1, 1, 2, 2, 2, 2, 1, 1]
    assert masks["a"][16:24, 35].tolist() == [0, 0, 2, 2, 2, 2, 0, 0]
    assert masks["a"][16:24, 50].tolist() == [1] * 8
    assert open_dataset(tmp_path).class_map.names == ("background", "field")


def test_the_half_width_is_kept_in_cards_and_an_option_goes_first(tmp_path, run_cli):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", {"type": "Point", "coordinates": placed([(30, 20)])[0]})
    run_cli("data", "check", tmp_path, "--buffer", "3", "--write", tmp_path / "dataset.yaml")
    assert "buffer: 3" in (tmp_path / "dataset.yaml").read_text()
    kept, wider = only_mask(tmp_path).sum(), only_mask(tmp_path, buffer=6).sum()
    assert abs(kept - np.pi * 6**2) < 6
    assert abs(wider - np.pi * 12**2) < 12


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "wide"])
def test_a_half_width_that_is_no_length_is_refused(tmp_path, value):
    with pytest.raises(ConfigError, match="buffer must be"):
        open_dataset(tmp_path, buffer=value)


def test_a_half_width_is_refused_by_formats_without_one(tmp_path, make_index_dataset):
    data = make_index_dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match="`buffer` must be left out for index-masks, in which"):
        open_dataset(data, buffer=2.0)


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [("Point", "text"), ("Point", [1]), ("LineString", [[1, 2]]), ("LineString", 5),
     ("MultiPoint", 5), ("MultiLineString", [[[1, 2], [3]]]), ("LineString", [[1, 2], ["a", 3]]),
     ("Point", [1, float("nan")])],
)  # fmt: skip
def test_damaged_points_and_lines_are_refused_where_they_are_painted(tmp_path, kind, coordinates):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", box(0, 0, 9, 9), {"type": kind, "coordinates": coordinates})
    assert only_mask(tmp_path).sum() == 81
    with pytest.raises(FormatError, match=r"a\.geojson: feature 1 must"):
        open_dataset(tmp_path, buffer=1.0)


def test_a_line_that_stays_at_one_place_is_a_point_and_an_empty_one_is_nothing(tmp_path):
    scene(tmp_path / "a.tif")
    (place,) = placed([(30, 20)])
    still, empty = ({"type": "LineString", "coordinates": at} for at in ([place] * 3, []))
    shapes(tmp_path / "a.geojson", still, empty)
    assert_within(only_mask(tmp_path, buffer=4), distances([place], (40, 60), PLACE), 4)


def test_a_line_across_windows_is_painted_in_each_as_in_the_whole(tmp_path):
    scene(tmp_path / "a.tif", (1100, 1030), tiled=True)
    line = placed([(30, 40), (900, 560), (200, 1000)])
    shapes(tmp_path / "a.geojson", {"type": "LineString", "coordinates": line})
    (tmp_path / "dataset.yaml").write_text("windows: 512\nbuffer: 9\n")
    dataset = open_dataset(tmp_path)
    distance = distances(line, (1100, 1030), PLACE)
    num_inside = 0
    for record in dataset.records:
        row, column, height, width = record.window
        mask = dataset.load(record).mask
        is_edge = abs(distance - 9) < 0.03
        place = np.s_[row : row + height, column : column + width]
        inside = (distance < 9)[place]
        np.testing.assert_array_equal((mask == 1)[~is_edge[place]], inside[~is_edge[place]])
        num_inside += int(inside.any())
    assert num_inside > 1


def test_a_geometry_that_does_not_exist_is_refused_by_its_feature(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", box(0, 0, 9, 9), {"type": "Sphere", "coordinates": [1, 2]})
    with pytest.raises(FormatError, match=r"a\.geojson: feature 1 must be a Polygon .*Sphere"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("ending", ["geojson", "json"])
@pytest.mark.parametrize("kind", ["list", "feature"])
def test_a_bare_list_of_features_and_a_root_feature_are_read(tmp_path, kind, ending):
    scene(tmp_path / "a.tif", crs=None, transform=None)
    ring = [[5, 7, 1.5], [30, 7, 1.5], [30, 20, 1.5], [5, 20, 1.5], [5, 7, 1.5]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
               "properties": None}  # fmt: skip
    empty = {"type": "Feature", "geometry": None, "properties": {}}
    content = feature if kind == "feature" else [feature, empty]
    (tmp_path / f"a.{ending}").write_text(json.dumps(content))
    assert only_mask(tmp_path).sum() == 25 * 13


def qupath(name, left, top, side):
    """A feature as QuPath 0.5 exports it."""
    ring = [[left, top], [left + side, top], [left + side, top + side], [left, top + side]]
    classification = {"name": name, "color": [200, 0, 0]} if name else None
    properties = {"objectType": "annotation", "classification": classification, "isLocked": False}
    return {
        "type": "Feature",
        "id": f"9a2f-{left}",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": {key: value for key, value in properties.items() if value is not None},
    }


@pytest.mark.parametrize("is_list", [True, False])
@pytest.mark.parametrize("image", ["slide.png", "slide.tif"])
def test_an_export_of_qupath_opens_with_its_classes(tmp_path, image, is_list):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / image)
    features = [qupath("Tumor", 0, 0, 10), qupath("Stroma", 20, 0, 10), qupath("Tumor", 40, 0, 5)]
    content = features if is_list else {"type": "FeatureCollection", "features": features}
    (tmp_path / "slide.geojson").write_text(json.dumps(content))
    dataset, masks = masks_of(tmp_path)
    assert dataset.format.name == "geojson"
    assert dataset.class_map.names == ("background", "Stroma", "Tumor")
    assert np.bincount(masks["slide"].ravel()).tolist() == [2400 - 225, 100, 125]
    assert any("values of classification.name: Stroma, Tumor" in note for note in dataset.notes)


def test_the_class_that_qupath_ignores_is_ignored(tmp_path):
    scene(tmp_path / "slide.tif", crs=None, transform=None)
    features = [qupath("Tumor", 0, 0, 10), qupath("Ignore*", 20, 0, 10)]
    (tmp_path / "slide.geojson").write_text(json.dumps(features))
    dataset, masks = masks_of(tmp_path)
    assert dataset.class_map.names == ("background", "Tumor")
    assert (masks["slide"][:10, 20:30] == 255).all()
    assert (masks["slide"] == 1).sum() == 100


def parcels(**values):
    """Rectangles beside each other with the given properties, one each."""
    rows = zip(*values.values(), strict=True)
    return [(box(5 * n, 0, 5 * n + 5, 5), dict(zip(values, row, strict=True)))
            for n, row in enumerate(rows)]  # fmt: skip


USES = ("field", "forest") * 5


@pytest.mark.parametrize("name", ["landuse", "LandUse", "bewuchs", "Klasse"])
def test_the_only_property_of_few_values_gives_the_classes(tmp_path, name):
    scene(tmp_path / "a.tif")
    owners = [f"owner {number}" for number in range(10)]
    found = parcels(**{name: USES, "owner": owners, "area": range(10), "source": ["survey"] * 10})
    shapes(tmp_path / "a.geojson", *found)
    dataset, masks = masks_of(tmp_path)
    assert dataset.class_map.names == ("background", "field", "forest")
    assert any(f"values of {name}: field, forest" in note for note in dataset.notes)
    assert masks["a"][2, [2, 7]].tolist() == [1, 2]
    with collect_problems():
        again = dataset.load(dataset.records[0])
    assert np.array_equal(again.mask, masks["a"])


def test_two_properties_that_could_give_the_classes_are_a_question(tmp_path):
    scene(tmp_path / "a.tif")
    found = parcels(crop=USES, soil=("clay",) * 5 + ("sand",) * 5)
    shapes(tmp_path / "a.geojson", *found)
    with pytest.raises(FormatError, match=r"Got crop \(field, forest\); soil \(clay, sand\)"):
        open_dataset(tmp_path)
    for name, names in (("soil", ("clay", "sand")), ("crop", ("field", "forest")),
                        ("none", ("foreground",))):  # fmt: skip
        dataset, _ = masks_of(tmp_path, class_property=name)
        assert dataset.class_map.names == ("background", *names)
    (tmp_path / "dataset.yaml").write_text("class_property: soil\n")
    assert open_dataset(tmp_path).class_map.names == ("background", "clay", "sand")


def test_a_card_of_one_class_goes_before_a_property_that_nobody_named(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", *parcels(material=USES))
    (tmp_path / "dataset.yaml").write_text("classes: [background, building]\n")
    assert only_mask(tmp_path).sum() == 10 * 25


def test_shapes_that_become_one_class_are_said_to_be_one(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", *parcels(height=range(10)))
    notes = open_dataset(tmp_path).notes
    assert any(note.startswith("all shapes are foreground: no property") for note in notes)
    assert any("there are height; `class_property` takes one" in note for note in notes)
    assert open_dataset(tmp_path, class_property="height").class_map.num_classes == 11


@pytest.mark.parametrize("name", ["index-masks", "coco"])
def test_a_class_property_of_a_format_without_properties_is_refused(name):
    with pytest.raises(ConfigError, match=f"`class_property` must be left out for {name}"):
        formats.create(name, class_property="landuse")


@pytest.mark.parametrize(
    "crs", ["urn:ogc:def:crs:EPSG::32616", "EPSG:32616", "+proj=utm +zone=16 +datum=WGS84", "WKT"]
)
def test_any_name_of_a_reference_system_is_understood(tmp_path, crs):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", box(5, 7, 30, 20), crs=UTM.to_wkt() if crs == "WKT" else crs)
    assert only_mask(tmp_path)[7:20, 5:30].all()


@pytest.mark.parametrize(
    "coordinates",
    [5, "text", [5], [[5]], [[[5]]], [[[1, 2], [3]]], [[["a", "b"]]], [[[1, float("nan")]]],
     [[[1, 2], [3, 10**400]]], {"a": 1}, [[{"x": 1}]], [[[[1, 2]]]]],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_damaged_coordinates_are_refused_by_their_feature(tmp_path, coordinates, kind):
    scene(tmp_path / "a.tif")
    nested = coordinates if kind == "Polygon" else [coordinates]
    shapes(tmp_path / "a.geojson", {"type": kind, "coordinates": nested})
    with pytest.raises(FormatError, match=r"a\.geojson"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "text",
    ['{"type": "FeatureCollection"}', '{"type": "FeatureCollection", "features": 5}', "[]", "", "{",
     "[" * 100_000, '{"type": "FeatureCollection", "features": [], "crs": 7}', "\\x00\\xff",
     '{"type": "FeatureCollection", "features": [], "crs": {"properties": {}}}'],
)  # fmt: skip
def test_a_damaged_geojson_is_refused_by_its_name(tmp_path, text):
    scene(tmp_path / "a.tif")
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(FormatError, match=r"a\.geojson"):
        open_dataset(tmp_path)


def test_a_property_names_the_class_and_a_later_shape_lies_over_an_earlier_one(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(
        tmp_path / "a.geojson",
        (box(0, 0, 20, 20), {"class": "road", "label": "no"}),
        (box(10, 10, 30, 30), {"Class": "car", "name": "mine"}),
        (box(40, 0, 45, 9), {"category": 7.0, "label": ""}),
        (box(50, 0, 60, 9), {"other": "thing"}),
        (box(0, 35, 60, 40), {"label": "__ignore__"}),
    )
    dataset, masks = masks_of(tmp_path)
    assert dataset.class_map.names == ("background", "7", "car", "foreground", "road")
    mask = masks["a"]
    assert [mask[5, 5], mask[15, 15], mask[5, 42], mask[5, 55]] == [4, 2, 1, 3]
    assert (mask[35:] == 255).all()
    _, multilabel = masks_of(tmp_path, label_mode="multilabel")
    assert multilabel["a"].shape == (4, 40, 60)
    assert multilabel["a"][[1, 3], 15, 15].tolist() == [255, 255]


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, 0.5])
def test_a_class_that_is_no_word_is_refused(tmp_path, value):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", box(0, 0, 9, 9), properties={"class": value})
    with pytest.raises(FormatError, match=r"feature 0 must give its class as a word"):
        open_dataset(tmp_path)


def test_properties_that_number_the_shapes_make_no_thousand_classes(tmp_path):
    scene(tmp_path / "a.tif")
    numbered = [(box(0, 0, 9, 9), {"label": str(number)}) for number in range(300)]
    shapes(tmp_path / "a.geojson", *numbered)
    with pytest.raises(FormatError, match="1 to 255 classes"):
        open_dataset(tmp_path)


def test_a_card_names_the_only_class_and_refuses_unknown_ones(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson", box(0, 0, 20, 20))
    (tmp_path / "dataset.yaml").write_text("classes: [background, building]\n")
    assert only_mask(tmp_path).sum() == 400
    shapes(tmp_path / "a.geojson", box(0, 0, 20, 20), properties={"class": "shed"})
    dataset = open_dataset(tmp_path)
    with pytest.raises(MaskError, match=r"a\.geojson .*background, building.* Got 'shed'"):
        dataset.load(dataset.records[0])


def test_no_shape_at_all_is_background_everywhere(tmp_path):
    scene(tmp_path / "a.tif")
    shapes(tmp_path / "a.geojson")
    dataset, masks = masks_of(tmp_path)
    assert dataset.class_map.names == ("background", "foreground")
    assert not masks["a"].any()


def test_pixels_without_data_are_ignored(tmp_path):
    path = scene(tmp_path / "a.tif", bands=2, nodata=0)
    shapes(tmp_path / "a.geojson", box(0, 0, 20, 20))
    with rasterio.open(path, "r+") as raster:
        pixels = raster.read()
        pixels[:, 10:] = 0
        pixels[0, :10] = 0
        raster.write(pixels)
    mask = only_mask(tmp_path)
    assert (mask[10:] == 255).all()
    assert mask[:10].max() == 1
    assert not (only_mask(tmp_path, label_mode="multilabel")[:, 10:, 20:]).any()


LAYOUTS = {
    "flat": ("{0}.tif", "{0}.geojson"),
    "spacenet": ("images/{0}.tif", "labels/{0}.geojson"),
    "json": ("images/{0}.tiff", "annotations/{0}.json"),
    "splits": ("{1}/{0}.tif", "{1}/{0}.geojson"),
    "splits inside": ("images/{1}/{0}.tif", "labels/{1}/{0}.geojson"),
    "splits outside": ("{1}/images/{0}.tif", "{1}/labels/{0}.geojson"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_raster_has_the_shapes_of_its_stem(tmp_path, layout):
    image, label = LAYOUTS[layout]
    for number, split in enumerate(("train", "train", "val")):
        scene(tmp_path / image.format(f"tile{number}", split))
        shapes(tmp_path / label.format(f"tile{number}", split), box(0, 0, number + 1, 1))
    (tmp_path / "images" if "spacenet" in layout else tmp_path).joinpath("notes.txt").write_text("")
    found, _ = detect_format(tmp_path)
    assert found.name == "geojson"
    records = found.records(tmp_path)
    assert [record.split for record in records] == (
        ["train", "train", "val"] if "split" in layout else [None] * 3
    )
    class_map = found.class_map(tmp_path, records)
    assert [int(found.load(record, class_map).mask.sum()) for record in records] == [1, 2, 3]


@pytest.mark.parametrize("home", ["", "images/", "train/", "labels/"])
def test_one_geojson_serves_every_raster_of_the_folder(tmp_path, home):
    scene(tmp_path / home.replace("labels", "images") / "north.tif")
    south = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139 - 20)
    scene(tmp_path / home.replace("labels", "images") / "south.tif", transform=south)
    layer = "labels/all.geojson" if home == "labels/" else "all.geojson"
    shapes(tmp_path / layer, box(0, 30, 20, 50))
    _, masks = masks_of(tmp_path)
    assert [mask.sum() for mask in masks.values()] == [20 * 10, 20 * 10]
    assert all(mask[rows, :20].all() for mask, rows in
               zip(masks.values(), (slice(30, 40), slice(0, 10)), strict=True))  # fmt: skip


def test_an_only_geojson_with_the_name_of_one_raster_is_not_for_the_others(tmp_path):
    scene(tmp_path / "a.tif")
    scene(tmp_path / "b.tif")
    shapes(tmp_path / "a.geojson", box(0, 0, 9, 9))
    with pytest.raises(FormatError, match=r"b\.tif must have a GeoJSON .*b\.geojson"):
        open_dataset(tmp_path)


def test_rasters_and_shapes_of_different_stems_are_refused_both_ways(tmp_path):
    for stem in ("a", "b"):
        scene(tmp_path / "images" / f"RGB_{stem}.tif")
        shapes(tmp_path / "labels" / f"buildings_{stem}.geojson", box(0, 0, 9, 9))
    with pytest.raises(FormatError, match=r"RGB_a\.tif must have a GeoJSON .*RGB_a\.geojson"):
        open_dataset(tmp_path)
    with collect_problems() as log:
        assert formats.create("geojson").records(tmp_path) == []
    assert [problem.kind for problem in log.problems] == [
        "image-without-mask", "image-without-mask", "mask-without-image", "mask-without-image",
    ]  # fmt: skip


def test_a_mask_beside_its_scene_is_no_scene(tmp_path):
    scene(tmp_path / "a.tif")
    scene(tmp_path / "a_mask.tif")
    shapes(tmp_path / "all.geojson", box(0, 0, 9, 9))
    with pytest.raises(FormatError, match=r"a_mask\.tif must be a scene.* a mask of a\.tif"):
        open_dataset(tmp_path)


def test_training_rasters_without_shapes_are_refused_and_not_passed_over(tmp_path):
    scene(tmp_path / "train/a.tif")
    scene(tmp_path / "val/b.tif")
    shapes(tmp_path / "val/b.geojson", box(0, 0, 9, 9))
    with pytest.raises(FormatError, match=r"a\.tif must have a mask"):
        open_dataset(tmp_path)


def test_a_damaged_raster_is_refused_or_noted(tmp_path):
    for stem in ("a", "b"):
        scene(tmp_path / f"{stem}.tif")
        shapes(tmp_path / f"{stem}.geojson", box(0, 0, 9, 9))
    (tmp_path / "b.tif").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.tif must be a readable image"):
        open_dataset(tmp_path)
    with collect_problems() as log:
        (record,) = formats.create("geojson").records(tmp_path)
    assert (record.name, [r.kind for r in log.problems]) == ("a", ["corrupt-image"])


def test_masks_of_pictures_go_before_a_geojson_that_lies_about(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_images=2)
    shapes(tmp_path / "area-of-interest.geojson", box(0, 0, 9, 9))
    scene(tmp_path / "images/000.tif")
    assert detect_format(tmp_path)[0].name == "index-masks"


@pytest.mark.parametrize("order", ["long entry first", "sorted keys"])
def test_a_collection_is_known_wherever_it_says_its_type(tmp_path, order):
    scene(tmp_path / "a.tif")
    path = shapes(tmp_path / "a.json", *[box(0, 0, 9, 9)] * 700)
    content = json.loads(path.read_text())
    content = (
        dict(sorted(content.items()))
        if order == "sorted keys"
        else {"name": "x" * 100_000, **content}
    )
    path.write_text(json.dumps(content))
    assert path.read_text().find("FeatureCollection") > 65536
    assert detect_format(tmp_path)[0].name == "geojson"


@pytest.mark.parametrize(
    "text", ['{"features": ["area"]}', '{"shapes": []}', '{"images": [], "annotations": []}']
)
def test_json_of_other_tools_is_no_geojson(tmp_path, text):
    scene(tmp_path / "a.tif")
    (tmp_path / "a.json").write_text(text)
    assert formats.create("geojson").detect(tmp_path).score == 0


@pytest.fixture
def large(tmp_path):
    """A scene of 2 x 2 windows with a shape across them and two small scenes, and its mask."""
    scene(tmp_path / "in/city.tif", (1100, 1030), bands=2, tiled=True, compress="deflate")
    layer = shapes(
        tmp_path / "in/city.geojson",
        polygon([(100, 100), (1029, 300), (1010.3, 1090), (200, 1050.2)]),
        box(1000, 1000, 1029, 1050),
    )
    for name in ("town", "village"):
        scene(tmp_path / f"in/{name}.tif", bands=2)
        shapes(tmp_path / f"in/{name}.geojson")
    (tmp_path / "in/dataset.yaml").write_text("windows: 512")
    return tmp_path / "in", rasterized(tmp_path / "in/city.tif", layer)


def test_the_windows_of_a_large_scene_are_parts_of_the_whole(large):
    folder, expected = large
    dataset, masks = masks_of(folder)
    assert [record.name for record in dataset.records] == [
        "city/r00000_c00000_h550_w515", "city/r00000_c00515_h550_w515",
        "city/r00550_c00000_h550_w515", "city/r00550_c00515_h550_w515", "town", "village",
    ]  # fmt: skip
    image = read_image(folder / "city.tif")
    whole = np.full(expected.shape, 99, np.uint8)
    windows = [record for record in dataset.records if record.window]
    for record in windows:
        row, column, height, width = record.window
        place = np.s_[row : row + height, column : column + width]
        whole[place] = masks[record.name]
        np.testing.assert_array_equal(dataset.load(record).image, image[place])
    np.testing.assert_array_equal(whole, expected)
    assert len({record.key for record in windows}) == 4
    bare = dataclasses.replace(windows[0], window=None)
    assert bare.key not in {record.key for record in windows}
    assert len({record.split for record in windows}) == 1


@pytest.mark.parametrize("to", ["geojson", "index-masks"])
def test_the_windows_of_a_large_scene_are_written_as_pictures_of_their_own(large, tmp_path, to):
    folder, expected = large
    dataset = open_dataset(folder)
    convert_data(dataset, tmp_path / "out", to)
    again = open_dataset(tmp_path / "out")
    cut = [record for record in again.records if "city" in record.name]
    assert (len(cut), len(again.records)) == (4, 6)
    masks = [again.load(record).mask for record in cut]
    assert sum(int((mask == 1).sum()) for mask in masks) == expected.sum()
    assert sum(mask.size for mask in masks) == expected.size
    if to == "geojson":
        extents = set()
        for record in cut:
            with rasterio.open(record.image) as raster:
                assert raster.crs == UTM
                extents.add(tuple(raster.bounds))
        assert min(extents)[0] == PLACE.c
        assert len(extents) == 4


@pytest.mark.parametrize("crs", [None, "EPSG:4326", "a local one"])
def test_any_georeference_survives_writing_and_reading(tmp_path, crs):
    local = "+proj=tmerc +lat_0=33.6 +lon_0=-84.4 +k=0.9991 +x_0=733601 +y_0=3725139 +ellps=WGS84"
    place = rasterio.Affine(1e-5, 0, -84.4, 0, -1e-5, 33.6) if crs == "EPSG:4326" else PLACE
    scene(tmp_path / "in/a.tif", crs=local if crs == "a local one" else crs, transform=place)
    corners = [(3, 4), (50, 8), (30, 38), (3, 4)]
    ring = [(place.a * x + place.c, place.e * y + place.f) for x, y in corners]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    if crs == "a local one":
        (geometry,) = rasterio.warp.transform_geom(local, "EPSG:4326", [geometry], precision=12)
    shapes(tmp_path / "in/a.geojson", geometry, crs=None)
    dataset, masks = masks_of(tmp_path / "in")
    assert 0.2 < masks["a"].mean() < 0.6
    convert_data(dataset, tmp_path / "out", "geojson", keep_splits=False)
    again, written = masks_of(tmp_path / "out")
    np.testing.assert_array_equal(written["images/a"], masks["a"])
    with rasterio.open(again.records[0].image) as raster:
        assert (raster.crs, raster.transform) == (
            None if crs is None else rasterio.CRS.from_user_input(local if "local" in crs else crs),
            place,
        )


@pytest.mark.parametrize("name", ["__ignore__", " road"])
def test_a_class_that_no_property_could_name_is_refused(name):
    from pixelwise.data.formats import MaskContent

    content = MaskContent(ClassMap.build(("background", name)), "multiclass", False, False)
    assert "cannot be called" in formats.create("geojson").refusal(content)
