import struct
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.masks.coding import to_class_ids
from pixelwise.data.sample import check_same_size
from pixelwise.errors import DataError, MaskError
from pixelwise.io import images as reading_module
from pixelwise.io.images import read_grayscale_mask, read_image, read_mask_values

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GRAY = RNG.integers(0, 256, (5, 7), np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7), np.uint16)
ORIENTATION = 274


def write_png16(path, pixels):
    """A 16-bit PNG of any number of channels, written byte by byte."""
    height, width, channels = pixels.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def with_orientation(pixels, orientation, path):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def reference_upright(pixels, orientation):
    """What a viewer shows, by the definition of the EXIF orientations."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: np.swapaxes(pixels, 0, 1),
        6: np.swapaxes(pixels, 0, 1)[:, ::-1],
        7: np.swapaxes(pixels, 0, 1)[::-1, ::-1],
        8: np.swapaxes(pixels, 0, 1)[::-1],
    }[orientation]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_a_color_image_comes_in_whole(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(COLOR).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, COLOR)


def test_a_grayscale_image_has_one_channel(tmp_path):
    path = tmp_path / "gray.png"
    Image.fromarray(GRAY).save(path)
    np.testing.assert_array_equal(read_image(path), GRAY[..., None])


def test_sixteen_bits_of_a_grayscale_png_are_kept(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(DEEP).save(path)
    image = read_image(path)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, DEEP[..., None])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_of_a_color_png_are_kept_and_alpha_left_out(tmp_path, channels):
    pixels = RNG.integers(0, 65536, (4, 6, channels), np.uint16)
    image = read_image(write_png16(tmp_path / "deep.png", pixels))
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, pixels[..., : channels - (channels % 2 == 0)])


def test_sixteen_bits_of_a_tiff_and_of_an_array_file_are_kept(tmp_path):
    tifffile.imwrite(tmp_path / "deep.tif", DEEP)
    np.save(tmp_path / "deep.npy", DEEP)
    np.save(tmp_path / "other-end.npy", DEEP.astype(">u2"))
    for name in ("deep.tif", "deep.npy", "other-end.npy"):
        image = read_image(tmp_path / name)
        assert image.dtype == np.uint16, name
        np.testing.assert_array_equal(image, DEEP[..., None])


def test_many_bands_of_a_tiff_stay_in_either_order_on_disk(tmp_path):
    bands = RNG.random((5, 7, 6)).astype(np.float32)
    tifffile.imwrite(tmp_path / "last.tif", bands, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(
        tmp_path / "first.tif",
        np.moveaxis(bands, -1, 0),
        photometric="minisblack",
        planarconfig="separate",
    )
    for name in ("last.tif", "first.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name), bands)


def test_alpha_is_left_out_whatever_it_hides(tmp_path):
    alpha = RNG.integers(0, 256, (5, 7, 1), np.uint8)
    rgba = np.concatenate([COLOR, alpha], axis=-1)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    Image.fromarray(np.stack([GRAY, alpha[..., 0]], -1), "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), COLOR)
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.tif"), COLOR)
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), GRAY[..., None])


def test_a_palette_image_is_read_as_its_colors_and_a_palette_mask_as_its_indices(tmp_path):
    indices = RNG.integers(0, 3, (5, 7), np.uint8)
    palette = np.array([(10, 20, 30), (200, 0, 0), (0, 99, 255)], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(palette.ravel().tolist())
    for name in ("mask.png", "mask.tif", "mask.bmp", "mask.gif"):
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), palette[indices], name)
        np.testing.assert_array_equal(read_mask_values(tmp_path / name), indices, name)


def test_a_palette_with_transparency_is_still_read_as_indices(tmp_path):
    indices = RNG.integers(0, 3, (5, 7), np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "mask.png", transparency=0)
    np.testing.assert_array_equal(read_mask_values(tmp_path / "mask.png"), indices)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_rotation_is_applied_to_images(tmp_path, orientation, suffix):
    quadrants = np.zeros((16, 24, 3), np.uint8)
    quadrants[:8, :8], quadrants[8:, 16:] = 255, 128
    path = with_orientation(quadrants, orientation, tmp_path / f"photo{suffix}")
    expected = reference_upright(quadrants, orientation).astype(int)
    image = read_image(path).astype(int)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= (40 if suffix == ".jpg" else 0)


def test_exif_rotation_is_applied_to_masks_too(tmp_path):
    stored = RNG.integers(0, 3, (5, 7), np.uint8)
    for name in ("mask.png", "mask.tif"):
        path = with_orientation(stored, 6, tmp_path / name)
        np.testing.assert_array_equal(read_mask_values(path), reference_upright(stored, 6))


@pytest.mark.parametrize("name", ["photo.jpg", "photo.tif"])
def test_a_mask_drawn_on_the_unrotated_photo_is_refused_with_the_cause(tmp_path, name):
    photo = with_orientation(COLOR, 6, tmp_path / name)
    image = read_image(photo)
    with pytest.raises(MaskError, match=r"mask\.png .* 5 x 7\. Got 7 x 5\. .*EXIF rotation"):
        check_same_size(photo, image, tmp_path / "mask.png", np.zeros((5, 7)))


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(COLOR).save(path)
    with pytest.raises(MaskError, match=r"mask\.png .*image\.png, 7 x 5\. Got 9 x 4"):
        check_same_size(path, COLOR, tmp_path / "mask.png", np.zeros((4, 9)))


def test_a_grayscale_mask_saved_as_color_is_read_as_its_one_value(tmp_path):
    ids = RNG.integers(0, 4, (5, 7), np.uint8)
    Image.fromarray(np.stack([ids] * 3, -1)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask_values(tmp_path / "mask.png"), ids)


def test_a_color_mask_is_not_read_as_one_channel(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "mask.png")
    with pytest.raises(MaskError, match=r"mask\.png .*3 channels that differ"):
        read_mask_values(tmp_path / "mask.png")


def test_fractions_in_a_mask_are_refused_with_the_value(tmp_path):
    mask = np.zeros((3, 3), np.float32)
    mask[1, 1] = 0.5
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(MaskError, match=r"mask\.npy .*fraction 0\.5"):
        read_mask_values(tmp_path / "mask.npy")
    np.save(tmp_path / "whole.npy", np.full((3, 3), 2.0, np.float32))
    np.testing.assert_array_equal(read_mask_values(tmp_path / "whole.npy"), np.full((3, 3), 2))


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_mask_with_values_that_are_no_numbers_is_refused(tmp_path, unknown):
    mask = np.zeros((3, 3), np.float32)
    mask[0, 2] = unknown
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(MaskError, match=rf"mask\.npy .*{unknown}"):
        read_mask_values(tmp_path / "mask.npy")


@pytest.mark.parametrize("mask", [np.zeros(5, np.uint8), np.zeros((2, 3, 3, 1), np.uint8),
                                  np.full((3, 3), "a")])  # fmt: skip
def test_an_array_that_is_no_mask_is_refused_by_name(tmp_path, mask):
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(DataError, match=r"mask\.npy"):
        read_mask_values(tmp_path / "mask.npy")


def test_sixteen_bit_masks_keep_their_values(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask_values(tmp_path / "mask.png"), DEEP)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0, 1]], np.uint8), [[0, 255]]),
        (np.array([[0, 255]], np.uint8), [[0, 255]]),
        (np.array([[0, 77]], np.uint8), [[0, 77]]),
        (np.array([[0, 65535]], np.uint16), [[0, 255]]),
        (np.array([[0, 0]], np.uint8), [[0, 0]]),
        (np.array([[False, True]]), [[0, 255]]),
        (np.array([[0, 0]], np.uint16), [[0, 0]]),
    ],
)
def test_grayscale_masks_mean_the_same_in_every_depth(tmp_path, stored, expected):
    Image.fromarray(stored).save(tmp_path / "mask.png")
    mask = read_grayscale_mask(tmp_path / "mask.png")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


def test_faint_gray_beside_brighter_masks_stays_faint(tmp_path):
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "faint.png")
    Image.fromarray(np.array([[0, 200]], np.uint16)).save(tmp_path / "deep.png")
    assert read_grayscale_mask(tmp_path / "faint.png", lambda: 77).tolist() == [[0, 1]]
    assert read_grayscale_mask(tmp_path / "faint.png", lambda: 1).tolist() == [[0, 255]]
    assert read_grayscale_mask(tmp_path / "deep.png", lambda: 60_000).tolist() == [[0, 0]]


def test_a_grayscale_mask_of_8_bits_in_16_is_refused_rather_than_black(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint16)).save(tmp_path / "mask.png")
    with pytest.raises(MaskError, match=r"mask\.png must use the range 0 to 65535.*Got 0 to 255"):
        read_grayscale_mask(tmp_path / "mask.png")


def test_a_grayscale_mask_below_zero_is_refused(tmp_path):
    np.save(tmp_path / "mask.npy", np.array([[-1, 0]]))
    with pytest.raises(MaskError, match=r"mask\.npy .*-1"):
        read_grayscale_mask(tmp_path / "mask.npy")


def test_stored_values_become_class_ids_and_ignored_ones_become_255(tmp_path):
    class_map = ClassMap.build(("a", "b", "c"), values=(7, 0, 30), ignore=(255, 11))
    values = np.array([[7, 0, 30], [255, 11, 7]])
    ids = to_class_ids(values, class_map, tmp_path / "mask.png")
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, [[0, 1, 2], [255, 255, 0]])


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i2", "i4", "u4", "i8"])
def test_values_mean_the_same_in_every_type(tmp_path, dtype):
    class_map = ClassMap.build(("a", "b"), values=(7, 3), ignore=(255, -1, 70_000))
    values = np.array([[7, 3, 100], [3, 7, 0]], dtype)
    expected = np.array([[0, 1, 0], [1, 0, 1]])
    path = tmp_path / "mask.png"
    assert (to_class_ids(values, class_map, path, "nearest") == expected).all()
    expected[values % 100 == 0] = 255
    assert (to_class_ids(values, class_map, path, "ignore") == expected).all()
    with pytest.raises(MaskError, match=r"Got 0 \(1 pixels, nearest class 3\), 100 \(1 pixels"):
        to_class_ids(values, class_map, path)


@pytest.mark.parametrize(("dtype", "most_bytes"), [(np.uint8, 3), (np.uint16, 4)])
def test_a_mask_takes_little_more_memory_than_its_file_says(tmp_path, dtype, most_bytes):
    side = 3000
    path = tmp_path / "mask.npy"
    np.save(path, np.zeros((side, side), dtype))
    tracemalloc.start()
    values = read_mask_values(path)
    to_class_ids(values, ClassMap.build(("a", "b")), path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values.dtype == dtype
    assert peak < (most_bytes + 1) * side**2


def test_a_value_outside_the_class_map_is_refused_with_its_pixel_count(tmp_path):
    values = np.array([[0, 1, 9], [9, 9, 300]])
    with pytest.raises(
        MaskError,
        match=r"mask\.png .*9 \(3 pixels, nearest class 1\), 300 \(1 "
        r"pixels.*`ignore=.*`unexpected=",
    ):
        to_class_ids(values, ClassMap.build(("a", "b")), tmp_path / "mask.png")


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    values=st.lists(st.integers(0, 65535), min_size=2, max_size=12, unique=True),
)
def test_index_masks_survive_the_way_through_a_png(tmp_path_factory, data, values):
    *classes, ignored = values
    ids = data.draw(arrays(np.int64, (3, 4), elements=st.integers(0, len(classes))))
    stored = np.array(values, np.uint16)[ids]
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    Image.fromarray(stored).save(path)
    names = [f"name {index}" for index in range(len(classes))]
    class_map = ClassMap.build(names, values=classes, ignore=(ignored,))
    read = to_class_ids(read_mask_values(path), class_map, path)
    np.testing.assert_array_equal(read, np.where(ids == len(classes), 255, ids))


def test_values_that_are_not_finite_in_an_image_become_zero(tmp_path):
    np.save(tmp_path / "image.npy", np.array([[1.5, np.nan], [np.inf, -np.inf]], np.float64))
    image = read_image(tmp_path / "image.npy")
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[..., 0], [[1.5, 0], [0, 0]])


def test_an_image_is_never_scaled_by_its_own_brightest_pixel(tmp_path):
    dark = np.array([[0, 1], [1, 0]], np.uint8)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    np.save(tmp_path / "dark.npy", dark.astype(np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "dark.png")[..., 0], dark)
    np.testing.assert_array_equal(read_image(tmp_path / "dark.npy")[..., 0], dark)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_extreme_sizes_come_in_whole(tmp_path, size, suffix):
    pixels = RNG.integers(0, 256, (*size, 3), np.uint8)
    path = tmp_path / f"thin{suffix}"
    if suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_image(path), pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy", ".bmp", ".gif", ".webp"])
@pytest.mark.parametrize("damage", ["empty", "text", "half", "missing"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path, suffix, damage):
    path = tmp_path / f"broken{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    if suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "text": b"hello\n", "half": whole[: len(whole) // 2]}[damage]
        )
    word = {"empty": "zero bytes", "missing": "must exist"}.get(damage, "readable image")
    with pytest.raises(DataError, match=rf"broken\{suffix}.*{word}"):
        read_image(path)


def test_an_array_file_that_would_run_code_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"objects\.npy"):
        read_image(tmp_path / "objects.npy")


def test_a_tiff_of_several_pages_is_refused_rather_than_cut(tmp_path):
    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((3, 20, 21), np.uint8), photometric="minisblack"
    )
    with pytest.raises(DataError, match=r"stack\.tif must contain one page. Got 3"):
        read_image(tmp_path / "stack.tif")


def test_a_tiff_where_zero_is_white_is_read_as_it_looks(tmp_path):
    tifffile.imwrite(tmp_path / "gray.tif", GRAY, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.tif")[..., 0], 255 - GRAY)


def test_reading_in_threads_does_not_change_warning_filters(tmp_path, monkeypatch):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", GRAY)
    inside = {name: threading.Event() for name in "ab"}
    leave = {name: threading.Event() for name in "ab"}
    original = reading_module.read_npy

    def slow(path):
        inside[path.stem].set()
        assert leave[path.stem].wait(10)
        return original(path)

    monkeypatch.setattr(reading_module, "read_npy", slow)
    before = list(warnings.filters)
    threads = {
        name: threading.Thread(target=read_image, args=(tmp_path / f"{name}.npy",)) for name in "ab"
    }
    for name in "ab":  # a enters, b enters, a leaves, b leaves: the order that goes wrong
        threads[name].start()
        assert inside[name].wait(10)
    for name in "ab":
        leave[name].set()
        threads[name].join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grayscale_masks_of_few_bits_keep_the_numbers_in_the_file(tmp_path, bits):
    values = (np.arange(24).reshape(4, 6) % 2**bits).astype(np.uint8)
    write_grayscale_png(tmp_path / "mask.png", values, bits)
    assert (read_mask_values(tmp_path / "mask.png") == values).all()
    # As an image, the same file is gray from black to white.
    assert read_image(tmp_path / "mask.png").max() == 255


def test_a_tiff_of_one_bit_is_read_as_a_png_of_one_bit(tmp_path):
    values = RNG.integers(0, 2, (5, 7)).astype(bool)
    for name in ("mask.png", "mask.tif"):
        Image.fromarray(values).save(tmp_path / name)
        np.testing.assert_array_equal(read_mask_values(tmp_path / name), values)
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], values * 255)
    Image.fromarray(values).save(tmp_path / "fax.tif", compression="group4")
    np.testing.assert_array_equal(read_mask_values(tmp_path / "fax.tif"), values)


def test_class_ids_stay_what_they_are_where_white_is_zero(tmp_path):
    ids = RNG.integers(0, 3, (5, 7), np.uint8)
    tifffile.imwrite(tmp_path / "mask.tif", ids, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask_values(tmp_path / "mask.tif"), ids)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.tif")[..., 0], 255 - ids)


def write_grayscale_png(path, values, bits):
    """A grayscale PNG of 1, 2 or 4 bits, written by hand: Pillow writes 8 at least."""

    height, width = values.shape
    rows = b""
    for row in values:
        digits = "".join(f"{value:0{bits}b}" for value in row)
        digits += "0" * (-len(digits) % 8)
        rows += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")

    def chunk(kind, body):
        content = kind + body
        return struct.pack(">I", len(body)) + content + struct.pack(">I", zlib.crc32(content))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_colors_for_printing_are_read_as_their_colors(tmp_path):
    colors = np.repeat(np.array([[[200, 30, 40], [20, 90, 220]]], np.uint8), 8, axis=0)
    colors = np.repeat(colors, 8, axis=1)
    Image.fromarray(colors).convert("CMYK").save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.mode == "CMYK"
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - colors).max() < 12


def test_a_mask_of_gray_and_alpha_is_read_as_its_gray(tmp_path):
    ids = RNG.integers(0, 4, (5, 7), np.uint8)
    alpha = RNG.integers(0, 256, (5, 7), np.uint8)
    Image.fromarray(np.stack([ids, alpha], -1), "LA").save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask_values(tmp_path / "mask.png"), ids)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("bigtiff", [True, False])
def test_bands_of_a_tiff_keep_their_values_in_every_layout(tmp_path, dtype, layout, bigtiff):
    bands = RNG.integers(0, 30_000, (4, 20, 21)).astype(dtype)
    stored = bands if layout == "separate" else np.moveaxis(bands, 0, -1)
    options = {"photometric": "minisblack", "planarconfig": layout, "bigtiff": bigtiff}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.moveaxis(bands, 0, -1))
