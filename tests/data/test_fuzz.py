"""Foreign bytes, damaged at random: a pixelwise error or a result, never anything else."""

import functools
import io
import itertools
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.card import CARD_NAME, card_of, find_card
from pixelwise.data.detection import detect_format
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.camvid import CAMVID
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import PixelwiseError
from pixelwise.io import limits
from pixelwise.io.images import MASK_SUFFIXES, read_grayscale_mask, read_image, read_mask_values

FUZZ = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TOKEN = re.compile(rb'-?\d+(?:\.\d+)?|"[^"\n]*"|\b(?:true|false|null)\b|[\w.]+(?==)')
"""A value of JSON, YAML or XML, or the name of an attribute."""

VALUES = (
    b"null", b"true", b"0", b"-1", b"0.5", b"1e999", b"NaN", b"999999999", b"1" * 30, b"9" * 5000,
    b'""', b'"a"', b'"../../a.png"', b'"\\u0000"', b"[]", b"{}", b"[[[[1]]]]", b"", b"\xff", b"<a>",
)  # fmt: skip
"""What stands there instead."""

WORDS = (
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x01",
)

CLOCK_NS = itertools.count(10**18, 10**9)


@st.composite
def damages(draw):
    """What happens to some bytes: one to three of (kind, place, other place, value)."""
    kinds = st.sampled_from(["flip", "cut", "splice", "drop", "word", "token", "token", "token"])
    share = st.floats(0, 1, exclude_max=True)
    one = st.tuples(kinds, share, share, st.integers(0, 255))
    return draw(st.lists(one, min_size=1, max_size=3))


def damaged(content, damage):
    for kind, place, other, value in damage:
        at, end = int(place * len(content)), int(other * len(content))
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ 1 << value % 8]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "splice":
            content = content[:at] + content[end : end + value] + content[at:]
        elif kind == "drop":
            content = content[:at] + content[at + 1 + value % 16 :]
        elif kind == "word":
            word = WORDS[value % len(WORDS)]
            content = content[:at] + word + content[at + len(word) :]
        elif kind == "token":
            tokens = list(TOKEN.finditer(content))
            if tokens:
                token = tokens[int(place * len(tokens))]
                new = VALUES[value % len(VALUES)]
                content = content[: token.start()] + new + content[token.end() :]
    return content


def put(path, content):
    """Write a file under a time that no file had before; what is parsed is kept by that time."""
    path.write_bytes(content)
    now = next(CLOCK_NS)
    os.utime(path, ns=(now, now))


@pytest.fixture(autouse=True)
def _little_room(monkeypatch):
    """Files that promise more than 64 MiB are refused, as they are beyond 2 GiB for real."""
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 64 * 1024**2)


def pictures():
    """A small file of each kind, by name."""
    rng = np.random.default_rng(0)
    color = rng.integers(0, 255, (19, 23, 3)).astype(np.uint8)
    gray = rng.integers(0, 4, (19, 23)).astype(np.uint8)
    palette = Image.fromarray(gray)
    palette.putpalette([level for level in range(256) for _ in range(3)])
    found = {}

    def save(name, picture, **options):
        buffer = io.BytesIO()
        picture.save(buffer, name.rsplit(".", 1)[-1], **options)
        found[name] = buffer.getvalue()

    save("color.png", Image.fromarray(color))
    save("gray.png", Image.fromarray(gray))
    save("palette.png", palette)
    save("deep.png", Image.fromarray(color[..., 0].astype(np.uint16) * 257))
    save("color.jpeg", Image.fromarray(color))
    save("progressive.jpeg", Image.fromarray(color), progressive=True)
    save("color.bmp", Image.fromarray(color))
    save("palette.bmp", palette)
    save("lossy.webp", Image.fromarray(color))
    save("lossless.webp", Image.fromarray(color), lossless=True)
    save("palette.gif", palette)
    for name, pixels, options in (
        ("plain.tif", color, {}),
        ("deflated.tif", gray, {"compression": "zlib", "tile": (16, 16)}),
        ("bands.tif", rng.random((9, 11, 5)).astype(np.float32), {"planarconfig": "separate"}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        found[name] = buffer.getvalue()
    for name, array in (("plain.npy", color), ("float.npy", gray.astype(np.float64))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found[name] = buffer.getvalue()
    return found


PICTURES = pictures()


@pytest.mark.parametrize("name", PICTURES)
def test_a_damaged_picture_is_read_or_refused(tmp_path, name):
    path = tmp_path / f"picture.{name.rsplit('.', 1)[-1]}"

    @settings(FUZZ, max_examples=40)
    @given(damage=damages())
    def check(damage):
        put(path, damaged(PICTURES[name], damage))
        for read in (read_image, read_mask_values, read_grayscale_mask):
            try:
                read(path)
            except PixelwiseError as error:
                assert "\n" not in str(error)  # noqa: PT017  one line, and both ways are right
                assert path.name in str(error)  # noqa: PT017

    check()


CARD = """\
format: index-masks
classes:
  - {name: background, color: [0, 0, 0], value: 0}
  - &road {name: road, color: [1, 2, 3], value: 7}
  - {<<: *road, name: car, value: 9}
ignore: [255]
label_mode: multiclass
unexpected: ignore
split: 70/15/15
augmentation: {orientation: free, scale: [0.5, 2.0], contrast: 0.1}
"""


def test_a_damaged_card_is_read_or_refused(tmp_path):
    @settings(FUZZ, max_examples=150)
    @given(damage=damages())
    def check(damage):
        put(tmp_path / CARD_NAME, damaged(CARD.encode(), damage))
        try:
            card, file, _ = find_card(tmp_path)
            card.class_map(file)
        except PixelwiseError as error:
            assert str(tmp_path) in str(error)  # noqa: PT017  it may as well be right

    check()


CLASS_MAPS = (
    ClassMap.build(("background", "thing")),
    ClassMap.build(("background", "thing"), values=(0, 128)),
    ClassMap.build(("road", "sidewalk")),
    CAMVID,
)
"""Every format holds one of them, if it can be written."""

STEMS = ("aachen_000000_000019", "0001TP_006690")


@functools.cache
def data_set_of(name):
    """The files of a data set of two pictures in one format, by path; ``None``: it writes none."""
    found = formats.create(name)
    mode = found.label_modes[0]
    ids = np.zeros((12, 17), np.uint8)
    ids[2:9, 3:14] = 1
    ids[4:6, 5:8] = 0
    mask = ids if mode == "multiclass" else np.stack([255 - ids * 255, ids * 255])
    image = np.random.default_rng(0).integers(0, 255, (12, 17, 3)).astype(np.uint8)
    sample = Sample("0001", image, mask, mode)
    held = [known for known in CLASS_MAPS if not found.refusal(MaskContent.of(sample, known))]
    if not held:
        return None
    class_map = held[0]
    with tempfile.TemporaryDirectory() as temporary:
        source, out = Path(temporary) / "0001.png", Path(temporary) / "out"
        Image.fromarray(image).save(source)
        out.mkdir()
        pairs = [(Record(stem, source), sample) for stem in STEMS]
        found.write(out, pairs, class_map)
        (out / CARD_NAME).write_text(card_of(class_map).to_yaml())
        return {
            path.relative_to(out): path.read_bytes()
            for path in sorted(out.rglob("*"))
            if path.is_file()
        }


def use(folder, name):
    """All that opening a data set and loading it does, by looking and as that format."""
    with suppress(PixelwiseError):
        detect_format(folder)
    for label_mode in formats.create(name).label_modes:
        found = formats.create(name, label_mode=label_mode)
        with suppress(PixelwiseError):
            records = found.records(folder)
            if not records:
                continue
            classes = found.class_map(folder, records)
            for record, class_map in itertools.product(records, (classes, CLASS_MAPS[0])):
                with suppress(PixelwiseError):
                    sample = found.load(record, class_map)
                    assert sample.mask.shape[-2:] == sample.image.shape[:2]


@pytest.mark.parametrize("name", formats.names())
def test_a_data_set_with_a_damaged_file_is_opened_or_refused(tmp_path, name):
    files = data_set_of(name)
    if files is None:
        pytest.skip(f"{name} is not written")
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / path, content)
    files = {path: content for path, content in files.items() if path.name != CARD_NAME}
    pictured = {path for path in files if path.suffix in (".png", ".tif")}
    # Pictures are damaged above, one by one; here it is rather the files that only a format reads.
    targets = [*(path for path in files if path not in pictured)] * 4 + sorted(pictured)

    @settings(FUZZ, max_examples=40)
    @given(damage=damages(), target=st.sampled_from(targets))
    def check(damage, target):
        put(tmp_path / target, damaged(files[target], damage))
        try:
            use(tmp_path, name)
        finally:
            put(tmp_path / target, files[target])

    use(tmp_path, name)
    check()


def chunk(kind, content):
    ending = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + ending


def png(width, height, *, color=2, depth=8, before=b"", content=b"\0" * 300):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", zlib.compress(content))
        + chunk(b"IEND", b"")
    )


def sized(kind, marker, skip, layout, width, height):
    """A picture of 16 x 16 whose header says another size."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    at = content.index(marker) + skip
    struct.pack_into(layout, content, at, width, height)
    return bytes(content)


def tiff(tags, *, tail=b"", **options):
    """A TIFF of 16 x 16 whose tags say something else; ``END`` is where ``tail`` begins."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((16, 16, 3), np.uint8), photometric="rgb", **options)
    end = len(buffer.getvalue())
    content = bytearray(buffer.getvalue() + tail)
    buffer = io.BytesIO(content)
    with tifffile.TiffFile(buffer) as file:
        places = {tag.code: tag.valueoffset for tag in file.pages[0].tags}
        types = {tag.code: tag.dtype for tag in file.pages[0].tags}
    for code, value in tags.items():
        layout = "<H" if types[code] == 3 else "<I"
        struct.pack_into(layout, content, places[code], end if value == "END" else value)
    return bytes(content)


def gif(width, height):
    """A GIF of 16 x 16 whose headers, of the screen and of the picture, say another size."""
    content = bytearray(sized("GIF", b"GIF", 6, "<HH", width, height))
    struct.pack_into("<HH", content, content.rindex(b"\x2c\0\0\0\0") + 5, width, height)
    return bytes(content)


def array_file(shape, num_bytes=100):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + b"\0" * num_bytes


def bombs():
    """Small files that stand for gigabytes, by name."""
    zeros = zlib.compress(b"\0" * 200_000_000, 9)
    standard = imagecodecs.zstd_encode(b"\0" * 200_000_000)
    lzma = imagecodecs.lzma_encode(b"\0" * 50_000_000, level=1)
    jpeg = tiff({}, compression="jpeg")
    frame = jpeg.index(b"\xff\xc0") + 5
    aliases = "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
    )
    merges = "".join(
        f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n"
        for level in range(1, 12)
    )
    return {
        "rgb.png": png(60_000, 60_000),
        "deep.png": png(20_000, 20_000, depth=16),
        "truncated.png": png(40_000, 40_000, color=0),
        "text.png": png(8, 8, before=chunk(b"zTXt", b"a\0\0" + zeros)),
        "international.png": png(8, 8, before=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros)),
        "profile.png": png(8, 8, before=chunk(b"iCCP", b"a\0\0" + zeros)),
        "pixels.png": png(8, 8, content=b"\0" * 200_000_000),
        "huge.jpg": sized("JPEG", b"\xff\xc0", 5, ">HH", 65_000, 65_000),
        "huge.bmp": sized("BMP", b"BM", 18, "<ii", 50_000, 50_000),
        "truncated.bmp": sized("BMP", b"BM", 18, "<ii", 25_000, 25_000),
        "huge.gif": sized("GIF", b"GIF", 6, "<HH", 65_000, 65_000),
        "huge.tif": tiff({256: 60_000, 257: 60_000, 278: 60_000}),
        "truncated.tif": tiff({256: 25_000, 257: 25_000, 278: 25_000}),
        "strip.tif": tiff({279: 2**31 - 1}),
        "deflated.tif": tiff({273: "END", 279: len(zeros)}, tail=zeros, compression="zlib"),
        "zstd.tif": tiff({273: "END", 279: len(standard)}, tail=standard, compression="zstd"),
        "lzma.tif": tiff({273: "END", 279: len(lzma)}, tail=lzma, compression="lzma"),
        **{
            f"truncated-{compression}.tif": tiff(
                {256: 25_000, 257: 25_000, 278: 25_000}, compression=compression
            )
            for compression in ("zlib", "zstd", "lzma", "lzw")
        },
        "truncated.jpg": sized("JPEG", b"\xff\xc0", 5, ">HH", 25_000, 25_000),
        "truncated.gif": gif(25_000, 25_000),
        "clear.png": png(40_000, 40_000, color=6),
        "tile.tif": jpeg[:frame] + struct.pack(">HH", 30_000, 30_000) + jpeg[frame + 4 :],
        "huge.npy": array_file((10**6, 10**6)),
        "truncated.npy": array_file((40_000, 40_000)),
        "aliases.yaml": f"a0: &a0 [a]\n{aliases}classes: *a11\n".encode(),
        "merges.yaml": f"a0: &a0 {{a: b}}\n{merges}".encode(),
        "loop.yaml": b"classes: &a [*a]\n",
        "long.yaml": b"classes: [" + b"a" * 20_000_000 + b"]\n",
        "digits.yaml": b"ignore: [0x" + b"f" * 50_000 + b"]\n",
    }


READ_ALL = """
import resource, sys
from pathlib import Path
import imagecodecs, tifffile
from pixelwise.data.card import find_card
from pixelwise.io.images import read_image
from pixelwise.errors import PixelwiseError

resource.setrlimit(resource.RLIMIT_AS, (5 * 1024**3, 5 * 1024**3))
for path in map(Path, sys.argv[1:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        find_card(path) if path.suffix == ".yaml" else read_image(path)
        answer = "read"
    except PixelwiseError as error:
        answer = str(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(path.name, grown // 1024, answer, sep="\t")
"""

CHECK_ALL = """
import resource, sys
import imagecodecs, tifffile
from pixelwise.doctor import check_data

resource.setrlimit(resource.RLIMIT_AS, (5 * 1024**3, 5 * 1024**3))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
examination = check_data(sys.argv[1])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown // 1024)
for finding in examination.findings:
    if finding.kind == "corrupt-mask":
        print(*(path.stem for path in finding.files), sep="\\n")
"""

UNHARMED = ("pixels.png", "strip.tif", "lzma.tif")
"""What their headers promise is there, and the rest is never unpacked."""


def test_a_small_file_that_stands_for_gigabytes_takes_no_memory(tmp_path):
    paths = []
    for name, content in bombs().items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    answer = subprocess.run(
        [sys.executable, "-c", READ_ALL, *paths], capture_output=True, text=True, check=True
    )
    lines = [line.split("\t") for line in answer.stdout.splitlines()]
    assert [name for name, _, _ in lines] == [path.name for path in paths]
    for name, grown_mib, message in lines:
        assert int(grown_mib) < 32, name
        assert (message == "read") == (name in UNHARMED), (name, message)
        assert message == "read" or name in message
    assert answer.stderr == ""


def test_the_doctor_names_masks_that_stand_for_gigabytes_and_decodes_none(tmp_path):
    held = {f"sound{n}.png": png(8, 8, color=0, content=b"\0\1" * 36) for n in range(3)}
    # What is truncated promises no more than may be decoded at once.
    bad = {
        name: content
        for name, content in bombs().items()
        if Path(name).suffix in MASK_SUFFIXES and not name.startswith("truncated")
    }
    for name, content in (held | bad).items():
        mask = tmp_path / "masks" / f"{name.replace('.', '-')}{Path(name).suffix}"
        image = tmp_path / "images" / f"{mask.stem}.png"
        for path, stored in ((mask, content), (image, png(8, 8))):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(stored)
    answer = subprocess.run(
        [sys.executable, "-c", CHECK_ALL, tmp_path], capture_output=True, text=True, check=True
    )
    grown_mib, *named = answer.stdout.splitlines()
    assert int(grown_mib) < 256
    assert set(named) == {name.replace(".", "-") for name in set(bad) - set(UNHARMED)}
