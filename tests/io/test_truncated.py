"""A file that was cut, or whose header promises rows that are not there, is never read in part."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.io.image_rows import open_rows
from pixelwise.io.images import read_image, read_mask_values

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 255, (64, 48, 3)).astype(np.uint8)
FLAT = np.zeros((64, 48), np.uint8)
FLAT[20:40] = 1
COMPRESSIONS = (None, "zlib", "lzw", "zstd", "lzma", "packbits", "jpeg", "png", "jpeg2000")
LAYOUTS = ({"rowsperstrip": 16}, {"rowsperstrip": 64}, {"tile": (16, 16)})


def tiff(pixels, **options):
    buffer = io.BytesIO()
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(buffer, pixels, photometric=photometric, **options)
    return buffer.getvalue()


def picture(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def array_file():
    buffer = io.BytesIO()
    np.save(buffer, COLOR)
    return buffer.getvalue()


FILES = {
    **{
        f"{kind}-{compression}-{number}.tif": tiff(pixels, compression=compression, **layout)
        for kind, pixels in (("color", COLOR), ("flat", FLAT))
        for compression in COMPRESSIONS
        for number, layout in enumerate(LAYOUTS)
    },
    "tags-behind.tif": picture(COLOR, "TIFF", compression="tiff_lzw"),
    "color.png": picture(COLOR, "PNG"),
    "flat.png": picture(FLAT, "PNG"),
    "color.jpg": picture(COLOR, "JPEG"),
    "progressive.jpg": picture(COLOR, "JPEG", progressive=True),
    "lossy.webp": picture(COLOR, "WEBP"),
    "lossless.webp": picture(COLOR, "WEBP", lossless=True),
    "color.bmp": picture(COLOR, "BMP"),
    "flat.gif": picture(FLAT, "GIF"),
    "color.npy": array_file(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_refused_or_has_all_its_pixels(tmp_path, name):
    path, content = tmp_path / name, FILES[name]
    path.write_bytes(content)
    read = read_mask_values if name.startswith("flat") else read_image
    whole = read(path)
    length = len(content)
    for place in sorted({*range(0, length, length // 25), *range(length - 15, length)}):
        path.write_bytes(content[:place])
        try:
            np.testing.assert_array_equal(read(path), whole)
        except DataError as error:
            assert name in str(error)  # noqa: PT017  both ways are right


def with_tags(content, tags):
    """Return a TIFF whose tags have other values."""
    content = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        places = {tag.code: (tag.valueoffset, tag.dtype) for tag in file.pages[0].tags}
    for code, value in tags.items():
        if code in places:
            place, kind = places[code]
            struct.pack_into("<H" if kind == 3 else "<I", content, place, value)
    return bytes(content)


@pytest.mark.parametrize("tags", [{257: 640}, {257: 640, 278: 640}, {257: 65}, {256: 96}], ids=str)
@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(("color-", "flat-"))])
def test_a_tiff_that_promises_more_than_it_holds_is_refused(tmp_path, name, tags):
    path = tmp_path / name
    path.write_bytes(with_tags(FILES[name], tags))
    with pytest.raises(DataError, match=rf"{name} must "):
        read_image(path)
    with pytest.raises(DataError, match=rf"{name} must "), open_rows(path) as rows:
        rows.read(0, rows.height)


def test_a_tile_that_is_not_stored_is_no_missing_one(tmp_path):
    path = tmp_path / "sparse.tif"
    options = {"tile": (16, 16), "compression": "zlib", "photometric": "minisblack"}
    tifffile.imwrite(path, FLAT, **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        places = [tags[code].valueoffset for code in (324, 325)]
    for place in places:
        struct.pack_into("<I", content, place, 0)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_mask_values(path)[16:], FLAT[16:])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_promises_more_than_its_bytes_can_hold_is_refused(tmp_path, progressive):
    path = tmp_path / "picture.jpg"
    content = bytearray(picture(COLOR, "JPEG", progressive=progressive))
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    struct.pack_into(">HH", content, at, 20_000, 20_000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"picture\.jpg must be .* 20000 x 20000 pixels, which its"):
        read_image(path)
    Image.new("RGB", (4000, 4000)).save(path, quality=1)  # nothing is smaller
    assert read_image(path).shape == (4000, 4000, 3)
