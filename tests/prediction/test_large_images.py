"""Images in rows of tiles give what the whole image gives."""

import numpy as np
import pytest
import tifffile
import torch
from large_scenes import (
    SIZE,
    TILE,
    make_small_large,
    predicted,
    predictor_for,
    read_as_stored,
    save_tiff,
    scene,
    whole_classes,
)

from pixelwise.io.images import read_image
from pixelwise.prediction import large_images, partial_files, scaled_rows
from pixelwise.prediction.predict import predict
from pixelwise.transforms.preprocessing import resize_image


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    make_small_large(monkeypatch)


LAYOUTS = {
    "tiles": {"tile": (32, 48), "compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 7, "compression": "lzw"},
    "raw strips": {"rowsperstrip": 5},
    "one raw strip": {},
    "big endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True, "tile": (16, 16)},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_tiles_give_what_the_whole_image_gives(tmp_path, layout, dtype):
    predictor = predictor_for(dtype=np.dtype(dtype).name)
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE, dtype=dtype), **LAYOUTS[layout])
    found = predicted(predictor, path, tmp_path / "out")
    expected = whole_classes(predictor, path)
    assert len(np.unique(expected)) > 1
    assert found["a.tif"].dtype == np.uint8
    assert np.array_equal(found["a.tif"], expected)


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_any_number_of_bands_together_or_apart(tmp_path, bands, planes, tile):
    pixels = scene(*SIZE, bands=bands)
    options = {"photometric": "minisblack", "planarconfig": planes, "tile": tile}
    if bands == 1:
        pixels, options["planarconfig"] = pixels[..., 0], None
    elif planes == "separate":
        pixels = np.moveaxis(pixels, -1, 0)
    path = save_tiff(tmp_path / "a.tif", pixels, **options)
    predictor = predictor_for(bands=bands)
    found = predicted(predictor, path, tmp_path / "out")
    assert np.array_equal(found["a.tif"], whole_classes(predictor, path))


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (49, 65), (48, 64), (33, 400), (400, 33)])
@pytest.mark.parametrize("tile", [(48, 64), (20, 20), (512, 512)])
def test_any_size_and_tile(tmp_path, size, tile):
    predictor = predictor_for(tile=tile)
    path = save_tiff(tmp_path / "a.tif", scene(*size), tile=(16, 16))
    found = predicted(predictor, path, tmp_path / "out")
    assert found["a.tif"].shape == size
    assert np.array_equal(found["a.tif"], whole_classes(predictor, path))


@pytest.mark.parametrize(
    "name", ["unet-elu", "stacked-fcn", "segnet", "encoder-decoder", "dilated"]
)
def test_models_of_any_stride(tmp_path, name):
    predictor = predictor_for(name)
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    found = predicted(predictor, path, tmp_path / "out")
    assert np.array_equal(found["a.tif"], whole_classes(predictor, path))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("scale", [0.75, 0.5, 0.3])
@pytest.mark.parametrize("size", [SIZE, (301, 77), (64, 200), (7, 500)])
def test_a_model_that_works_at_a_smaller_scale(tmp_path, size, scale, dtype):
    predictor = predictor_for(scale=scale, dtype=dtype, tile=(24, 32))
    path = save_tiff(tmp_path / "a.tif", scene(*size, dtype=np.dtype(dtype).type), tile=(16, 16))
    large = predicted(predictor, path, tmp_path / "out", save=("probabilities",))
    expected = predictor.probabilities(read_image(path))
    found = np.stack([large[f"a_class-{index}.tif"] for index in range(3)]) / 65535
    assert np.abs(found - expected).max() < 2e-4  # one step of the files is 1.5e-5


@pytest.mark.parametrize("size", [(150, 131), (301, 77), (64, 200)])
@pytest.mark.parametrize("scale", [0.9, 0.75, 0.5, 0.31])
def test_rows_are_shrunk_as_the_whole_image_is(size, scale):
    """Of 8 bits to the last bit, so that the model sees the same and no seam."""
    image = torch.from_numpy(scene(*size)).permute(2, 0, 1)
    fitted = (round(size[0] * scale), round(size[1] * scale))
    shrinking = scaled_rows._Shrinking(size, fitted)
    read = lambda start, stop: image[:, start:stop]  # noqa: E731
    expected = resize_image(image, fitted)
    for start in range(0, fitted[0], 13):
        stop = min(start + 17, fitted[0])
        assert torch.equal(shrinking.rows(read, start, stop), expected[:, start:stop])


def test_numpy_files_are_read_in_rows_too(tmp_path):
    np.save(tmp_path / "a.npy", scene(*SIZE))
    predictor = predictor_for()
    found = predicted(predictor, tmp_path / "a.npy", tmp_path / "out")
    assert np.array_equal(found["a.tif"], whole_classes(predictor, tmp_path / "a.npy"))


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "deflate", "zstd"])
def test_compressed_tiles_are_read_as_the_whole_file_is(tmp_path, compression):
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64), compression=compression)
    predictor = predictor_for()
    found = predicted(predictor, path, tmp_path / "out")
    assert np.array_equal(found["a.tif"], whole_classes(predictor, path))


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_every_kind_holds_what_it_holds_of_a_small_image(tmp_path, monkeypatch, mode):
    predictor = predictor_for(mode=mode)
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    kinds = ("index", "binary", "probabilities", "overlay")
    large = predicted(predictor, path, tmp_path / "large", save=kinds)
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 10**9)
    small = predict(predictor, [path], tmp_path / "small", save=kinds).written
    assert len(large) == len(small) == 8
    for file in small:
        name = file.relative_to(tmp_path / "small").with_suffix(".tif").as_posix()
        # Small overlays have a legend below.
        pixels = read_as_stored(file)[: SIZE[0], (240 - SIZE[1]) // 2 if "over" in name else 0 :]
        assert np.array_equal(large[name], pixels[:, : SIZE[1]]), name


def test_the_palette_holds_the_colors_of_the_classes(tmp_path):
    predictor = predictor_for()
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    predicted(predictor, path, tmp_path / "out")
    classes = whole_classes(predictor, path)
    colors = np.array(predictor.card.class_map.colors, np.uint8)
    assert np.array_equal(read_image(tmp_path / "out" / "a.tif"), colors[classes])


@pytest.mark.parametrize("limit", [0, 10**6])
def test_results_beyond_four_gigabytes_are_bigtiff(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(partial_files, "MAX_CLASSIC_BYTES", limit)
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    predictor = predictor_for()
    found = predicted(predictor, path, tmp_path / "out")
    assert np.array_equal(found["a.tif"], whole_classes(predictor, path))
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as file:
        assert file.is_bigtiff == (limit == 0)


def geotiff(path, pixels, **options):
    rasterio = pytest.importorskip("rasterio")
    height, width, bands = pixels.shape
    place = rasterio.Affine(0.5, 0.1, 400_000.25, -0.1, -0.5, 5_000_000.75)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype=pixels.dtype,
        crs="EPSG:32616", transform=place, tiled=True, blockxsize=64, blockysize=64,
        compress="deflate", **options,
    ) as raster:  # fmt: skip
        raster.write(np.moveaxis(pixels, -1, 0))
    return path, place


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_the_georeference_is_kept(tmp_path, interleave):
    rasterio = pytest.importorskip("rasterio")
    path, place = geotiff(tmp_path / "a.tif", scene(*SIZE), interleave=interleave)
    predictor = predictor_for()
    predicted(predictor, path, tmp_path / "out", save=("index", "overlay", "probabilities"))
    files = sorted((tmp_path / "out").rglob("*.tif"))
    assert len(files) == 5
    for file in files:
        with rasterio.open(file) as raster:
            assert raster.crs.to_epsg() == 32616
            assert raster.transform.almost_equals(place, 1e-9)
            assert raster.shape == SIZE
            assert raster.nodata is None
            if file.parent.name == "index":
                assert np.array_equal(raster.read(1), whole_classes(predictor, path))


def test_a_world_file_goes_along(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(64, 64))
    (tmp_path / "a.tfw").write_text("0.5\n0.0\n0.0\n-0.5\n400000.25\n5000000.75\n")
    predicted(predictor_for(), path, tmp_path / "out")
    with rasterio.open(path) as image, rasterio.open(tmp_path / "out" / "a.tif") as result:
        assert result.transform == image.transform
        assert not result.transform.is_identity


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("float32", "nan"), ("uint16", 7)])
def test_nodata_is_ignored_in_the_result(tmp_path, dtype, nodata):
    rasterio = pytest.importorskip("rasterio")
    pixels = scene(*SIZE, dtype=np.dtype(dtype).type)
    pixels[pixels == float(nodata)] += 1
    pixels[20:90, 5:70] = float(nodata)
    pixels[100, 100, 0] = float(nodata)  # one band alone does not make it ignored
    path, _ = geotiff(tmp_path / "a.tif", pixels, nodata=float(nodata))
    predictor = predictor_for(dtype=dtype)
    predicted(predictor, path, tmp_path / "out")
    expected = whole_classes(predictor, path)
    expected[20:90, 5:70] = 255
    with rasterio.open(tmp_path / "out" / "a.tif") as raster:
        assert raster.nodata == 255
        assert np.array_equal(raster.read(1), expected)


def test_pixels_without_alpha_are_ignored_where_the_image_lies_on_the_earth(tmp_path):
    pixels = np.dstack([scene(*SIZE), np.full(SIZE, 255, np.uint8)])
    pixels[10:40, 50:90, 3] = 0
    path, _ = geotiff(tmp_path / "a.tif", pixels, photometric="rgb", alpha="yes")
    plain = save_tiff(tmp_path / "b.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    predictor = predictor_for()
    expected = whole_classes(predictor, path)
    found = predicted(predictor, plain, tmp_path / "plain")
    assert np.array_equal(found["b.tif"], expected)
    expected[10:40, 50:90] = 255
    found = predicted(predictor, path, tmp_path / "out")
    assert np.array_equal(found["a.tif"], expected)


@pytest.mark.parametrize("kind", ["model", "one compressed strip", "rotated", "columns"])
def test_what_needs_the_whole_image_is_still_predicted_where_it_fits(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("pixelwise.io.stored_pixels.MAX_PIECE_BYTES", 10_000)
    predictor = predictor_for(contrast="clahe") if kind == "model" else predictor_for()
    options = {"one compressed strip": {"compression": "zlib", "rowsperstrip": SIZE[0]}}
    options["rotated"] = {"tile": (16, 16), "extratags": [(274, 3, 1, 6, True)]}
    path = tmp_path / "a.npy"
    if kind == "columns":
        np.save(path, np.asfortranarray(scene(*SIZE)))
    else:
        path = save_tiff(tmp_path / "a.tif", scene(*SIZE), **options.get(kind, {}))
    done = predict(predictor, [path], tmp_path / "out")
    assert done.written == (tmp_path / "out" / "a.png",)
    assert np.array_equal(read_as_stored(done.written[0]), whole_classes(predictor, path))


def test_what_needs_the_whole_image_and_does_not_fit_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("pixelwise.io.limits.MAX_DECODED_BYTES", 1000)
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE), tile=(16, 16))
    done = predict(predictor_for(contrast="clahe"), [path], tmp_path / "out")
    (message,) = done.failed
    assert "clahe" in message
    assert str(path) in message
    assert "\n" not in message
    assert predict(predictor_for(), [path], tmp_path / "out").failed == ()


def test_no_more_rows_are_held_than_a_row_of_tiles_needs(tmp_path, monkeypatch):
    held, read = [], []
    move, stored = large_images.SlidingRows.move, large_images.ImageRows.read

    def moved(self, *rows):
        found = move(self, *rows)
        held.append(self.num_held)
        return found

    monkeypatch.setattr(large_images.SlidingRows, "move", moved)
    monkeypatch.setattr(
        large_images.ImageRows,
        "read",
        lambda self, start, stop: read.append((start, stop)) or stored(self, start, stop),
    )
    waiting = []
    add = large_images._Waiting.add
    monkeypatch.setattr(
        large_images._Waiting,
        "add",
        lambda self, *part: (add(self, *part), waiting.append(len(self._rows[0])))[0],
    )
    path = save_tiff(tmp_path / "a.tif", scene(1500, 40), tile=(16, 16))
    predicted(predictor_for(), path, tmp_path / "out")
    assert len(held) > 30
    assert max(held) == TILE[0]
    assert max(waiting) < 32 + TILE[0]
    assert [start for start, _ in read] == [0, *(stop for _, stop in read[:-1])]
    assert read[-1][1] == 1500


def test_small_images_are_written_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(large_images, "LARGE_PIXELS", SIZE[0] * SIZE[1])
    path = save_tiff(tmp_path / "a.tif", scene(*SIZE))
    larger = save_tiff(tmp_path / "b.tif", scene(SIZE[0] + 1, SIZE[1]))
    done = predict(predictor_for(), [path, larger], tmp_path / "out")
    assert [file.name for file in done.written] == ["a.png", "b.tif"]
