import io
import itertools
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import object_masks
from pixelwise.errors import DataError, MaskError
from pixelwise.io.images import read_mask_values
from pixelwise.io.sparse_png import read_object_rows


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_rows(rows, *, num_parts=1, interlaced=0):
    """A grayscale PNG of rows that are filtered already, each behind the number of its filter."""
    height, width = rows.shape[0], rows.shape[1] - 1
    header = struct.pack(">II5B", width, height, 8, 0, 0, 0, interlaced)
    packed = zlib.compress(rows.tobytes())
    cuts = np.linspace(0, len(packed), num_parts + 1).astype(int)
    parts = [chunk(b"IDAT", packed[a:b]) for a, b in itertools.pairwise(cuts)]
    ends = (chunk(b"IHDR", header), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + ends[0] + b"".join(parts) + ends[1]


def read_whole(path, size):
    """The mask of that size as the fast reader sees it; ``None`` where it leaves the file."""
    rows = np.full((size[0], size[1] + 1), 77, np.uint8)
    part = read_object_rows(path, rows)
    if part is None:
        return None
    mask = np.zeros(size, np.uint8)
    first, pixels = part
    mask[first : first + len(pixels)] = pixels
    return mask


@st.composite
def filtered_rows(draw):
    """Rows as a PNG stores them: mostly zeros, with any filter, which any numbers are valid for."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    rows = np.zeros((height, width + 1), np.uint8)
    top = draw(st.integers(0, height))
    bottom = draw(st.integers(top, height))
    inside = rows[top:bottom]
    inside[:, 0] = draw(arrays(np.uint8, bottom - top, elements=st.integers(0, 4)))
    inside[:, 1:] = draw(arrays(np.uint8, (bottom - top, width), fill=st.just(0)))
    return rows


@settings(max_examples=200, deadline=None)
@given(rows=filtered_rows(), num_parts=st.integers(1, 3))
def test_every_filter_is_read_as_pillow_reads_it(tmp_path_factory, rows, num_parts):
    content = png_of_rows(rows, num_parts=num_parts)
    path = tmp_path_factory.getbasetemp() / "filtered.png"
    path.write_bytes(content)
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(read_whole(path, expected.shape), expected)


@pytest.mark.parametrize("ink", [(0, 0), (0, -1), (-1, 0), (-1, -1), (50, 60), None])
@pytest.mark.parametrize("size", [(1, 1), (7, 1), (1, 7), (64, 64), (101, 203)])
def test_a_single_pixel_is_found_wherever_it_lies(tmp_path, size, ink):
    mask = np.zeros(size, np.uint8)
    if ink is not None:
        mask[ink[0] % size[0], ink[1] % size[1]] = 3
    path = tmp_path / "a.png"
    Image.fromarray(mask).save(path)
    assert np.array_equal(read_whole(path, size), mask)


def saved(mode, **options):
    def make(path):
        Image.fromarray(np.full((6, 5), 255, np.uint8)).convert(mode).save(path, **options)

    return make


def with_orientation(path):
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(np.eye(6, 5, dtype=np.uint8)).save(path, exif=exif)


def with_text(path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "drawn by hand")
    Image.fromarray(np.eye(6, 5, dtype=np.uint8)).save(path, pnginfo=text)


def interlaced(path):
    path.write_bytes(png_of_rows(np.zeros((1, 2), np.uint8), interlaced=1))


def of_16_bits(path):
    Image.fromarray(np.full((6, 5), 300, np.uint16)).save(path)


def edited(edit):
    def make(path):
        Image.fromarray(np.eye(6, 5, dtype=np.uint8)).save(path)
        path.write_bytes(edit(path.read_bytes()))

    return make


LEFT_TO_THE_STRICT_READER = {
    "colors": saved("RGB"),
    "a palette": saved("P"),
    "one bit": saved("1"),
    "alpha": saved("LA"),
    "a transparent gray": saved("L", transparency=0),
    "16 bits": of_16_bits,
    "interlaced": interlaced,
    "an orientation": with_orientation,
    "a comment": with_text,
    "another size": lambda path: Image.fromarray(np.zeros((5, 6), np.uint8)).save(path),
    "JPEG": lambda path: Image.fromarray(np.zeros((6, 5), np.uint8)).save(path, "JPEG"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda _: None,
    "cut in its header": edited(lambda content: content[:20]),
    "cut in its pixels": edited(lambda content: content[:45]),
    "no end": edited(lambda content: content[:-12]),
    "a damaged header": edited(lambda content: content[:31] + b"\0" + content[32:]),
    "damaged pixels": edited(lambda content: content[:50] + b"\0\0\0" + content[53:]),
    "an unknown filter": lambda path: path.write_bytes(png_of_rows(np.full((6, 6), 9, np.uint8))),
    "too few rows": edited(
        lambda content: content[:33] + chunk(b"IDAT", zlib.compress(bytes(6))) + chunk(b"IEND", b"")
    ),
    "too many rows": edited(
        lambda content: (
            content[:33] + chunk(b"IDAT", zlib.compress(bytes(600))) + chunk(b"IEND", b"")
        )
    ),
}


@pytest.mark.parametrize("kind", LEFT_TO_THE_STRICT_READER)
def test_anything_else_is_left_to_the_strict_reader(tmp_path, kind):
    path = tmp_path / "a.png"
    LEFT_TO_THE_STRICT_READER[kind](path)
    assert read_whole(path, (6, 5)) is None


@pytest.mark.parametrize("kind", LEFT_TO_THE_STRICT_READER)
def test_object_masks_are_merged_or_refused_as_the_strict_reader_would(
    tmp_path, make_object_dataset, kind
):
    folder = make_object_dataset(tmp_path / "data", num_images=1, size=(6, 5))
    dataset = open_dataset(folder, cache=False)
    path = dataset.records[0].masks[0]
    path.unlink()
    LEFT_TO_THE_STRICT_READER[kind](path)
    try:
        expected = read_mask_values(path) > 0
    except DataError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            dataset.load(dataset.records[0])
        return
    if expected.shape != (6, 5):
        with pytest.raises(MaskError, match="must be as large as its image"):
            dataset.load(dataset.records[0])
        return
    other = read_mask_values(dataset.records[0].masks[1]) > 0
    assert np.array_equal(dataset.load(dataset.records[0]).mask, expected | other)


def test_without_the_fast_decoder_masks_are_read_all_the_same(
    tmp_path, make_object_dataset, monkeypatch
):
    import imagecodecs

    dataset = open_dataset(make_object_dataset(tmp_path, num_images=1), cache=False)
    expected = dataset.load(dataset.records[0]).mask

    def missing(*arguments, **options):
        raise ImportError("this build has no zlib-ng")

    monkeypatch.setattr(imagecodecs, "zlibng_decode", missing)
    assert np.array_equal(dataset.load(dataset.records[0]).mask, expected)
    assert expected.any()


@pytest.mark.real_data
def test_nuclei_are_merged_as_pillow_reads_them(test_data, monkeypatch):
    dataset = open_dataset(test_data / "nuclei", cache=False)
    records = dataset.records[::30]
    fast = [dataset.load(record).mask for record in records]
    monkeypatch.setattr(object_masks, "read_object_rows", lambda *_: None)
    slow = [dataset.load(record).mask for record in records]
    assert all(map(np.array_equal, fast, slow))
    assert all(mask.any() for mask in fast)
