"""What is refused by its header, and what must not be refused though it looks odd."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.io import limits
from pixelwise.io.images import read_image, read_mask_values

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".jpg", ".gif", ".tif", ".npy"])
def test_a_picture_may_be_as_large_as_the_limit_and_no_larger(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"picture{suffix}"
    if suffix == ".npy":
        np.save(path, PIXELS)
    else:
        Image.fromarray(PIXELS).save(path)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 40 * 50 * 3)
    assert read_image(path).shape == (40, 50, 3)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 40 * 50 * 3 - 1)
    with pytest.raises(DataError, match=rf"picture\{suffix} must decode to at most .*40 x 50"):
        read_image(path)


def test_sixteen_bits_and_the_colors_of_a_palette_count_as_they_are_decoded(tmp_path, monkeypatch):
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    palette = Image.fromarray(PIXELS).quantize(16)
    palette.save(tmp_path / "palette.png")
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 40 * 50 * 2)
    read_image(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"palette\.png must decode"):
        read_image(tmp_path / "palette.png")
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 40 * 50 * 2 - 1)
    with pytest.raises(DataError, match=r"deep\.png must decode"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_refused_rather_than_cut(tmp_path, suffix):
    path = tmp_path / f"moving{suffix}"
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for read in (read_image, read_mask_values):
        with pytest.raises(
            DataError, match=rf"moving\{suffix} must contain one picture\. Got an an"
        ):
            read(path)


def test_of_a_jpeg_with_several_views_the_first_is_read(tmp_path):
    path = tmp_path / "drone.jpg"
    flat = [Image.new("RGB", (50, 40), color) for color in ((200, 10, 10), (10, 10, 200))]
    flat[0].save(path, "MPO", save_all=True, append_images=flat[1:])
    with Image.open(path) as picture:
        assert picture.format == "MPO"
    assert np.abs(read_image(path).astype(int) - (200, 10, 10)).max() < 5


def test_a_picture_of_a_kind_that_runs_other_programs_is_not_opened(tmp_path):
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, "EPS")
    (tmp_path / "picture.png").write_bytes(content.getvalue())
    with pytest.raises(DataError, match=r"picture\.png must be a readable image"):
        read_image(tmp_path / "picture.png")


@pytest.mark.parametrize("compression", ["jpeg", "webp", "png", "jpeg2000"])
@pytest.mark.parametrize("tile", [None, (16, 16), (64, 64)])
def test_a_tiff_of_honest_pictures_is_read(tmp_path, compression, tile):
    path = tmp_path / "picture.tif"
    options = {} if compression == "png" else {"compressionargs": {"level": 95}}
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression=compression, tile=tile, **options)
    assert read_image(path).shape == (40, 50, 3)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "lzma", "packbits"])
def test_a_tiff_that_fills_its_tiles_is_read(tmp_path, compression):
    tifffile.imwrite(tmp_path / "picture.tif", PIXELS, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "picture.tif"), PIXELS)


@pytest.mark.parametrize("compression", ["lerc", "jpegxl", "jpegxr"])
def test_a_tiff_of_tiles_whose_headers_nobody_reads_is_refused_by_name(tmp_path, compression):
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression=compression)
    with pytest.raises(DataError, match=rf"picture\.tif must be .*(?i:{compression})"):
        read_image(path)


def test_a_tile_that_promises_more_than_its_room_is_refused(tmp_path):
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="jpeg", tile=(16, 16))
    content = bytearray(path.read_bytes())
    frame = content.rindex(b"\xff\xc0") + 5
    content[frame : frame + 4] = b"\x50\x00\x50\x00"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"tiles of 16 x 16 pixels\. One unpacks to 419,430,400"):
        read_image(path)


def test_a_pyramid_is_read_and_an_endless_chain_of_pages_is_not(tmp_path):
    path = tmp_path / "picture.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(PIXELS, photometric="rgb", subfiletype=0)
        for step in (2, 4):
            file.write(PIXELS[::step, ::step], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(path), PIXELS)
    with tifffile.TiffWriter(path) as file:
        for _ in range(limits.MAX_TIFF_PAGES + 1):
            file.write(PIXELS[:2, :2], photometric="rgb", subfiletype=1)
    with pytest.raises(DataError, match=r"must contain one page\. Got 65"):
        read_image(path)
