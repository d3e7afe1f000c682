import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats.polygon_text.polygon_lists import _rows
from pixelwise.data.formats.polygon_text.polygon_text import PolygonText
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, FormatError, MaskError

SIZE = (12, 20)

SQUARE = [[2, 3], [6, 3], [6, 8], [2, 8], [2, 3]]
"""The pixels of rows 3 to 7 and columns 2 to 5."""

OTHER = [[10, 0], [12, 0], [12, 2], [10, 2], [10, 0]]
"""The pixels of rows 0 and 1 and columns 10 and 11."""

# As a tutorial prints it, with its gaps filled by corners of our own.
PRINTED = """[[441, 562], [441, 529], [458, 529], [458, 540], [475, 540], [475, 561], [441, 562],
 [545, 541], [545, 520], [560, 520], [560, 541], [545, 541], [545, 541]]"""


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return path


def lay(folder, text, size=SIZE, suffix=".txt"):
    """One image with its text in ``polygons``."""
    picture(folder / "images" / "0001.png", size)
    (folder / "polygons").mkdir(exist_ok=True)
    path = folder / "polygons" / f"0001{suffix}"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder, class_map=None, **options):
    found = PolygonText(**options)
    (record,) = found.records(folder)
    class_map = class_map or found.class_map(folder, [record])
    return found.load(record, class_map).mask, class_map


def expected(*boxes):
    """A mask of (value, top, bottom, left, right)."""
    mask = np.zeros(SIZE, np.uint8)
    for value, top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = value
    return mask


def test_a_list_with_closed_rings_reads_as_two_polygons(tmp_path):
    lay(tmp_path, PRINTED, (600, 600))
    assert detect_format(tmp_path)[0].name == "polygon-text"
    mask, class_map = read(tmp_path)
    assert class_map.names == ("background", "foreground")
    target = np.zeros((600, 600), np.uint8)
    target[520:541, 545:560] = 1
    target[529:561, 441:458] = target[540:561, 458:475] = 1
    target[561, 441:458] = 1  # the last edge goes down to the first corner by one pixel
    assert np.array_equal(mask, target)


TWO = expected((1, 3, 8, 2, 6), (1, 0, 2, 10, 12))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SQUARE + OTHER),
        json.dumps(SQUARE + SQUARE[:1] + OTHER),
        json.dumps(SQUARE + OTHER + OTHER[:1]),
        json.dumps(SQUARE + OTHER[:-1]),
        f"{SQUARE}\n{OTHER}\n",
        f"{SQUARE},\n{OTHER},\n",
        json.dumps([SQUARE, OTHER], indent=2),
        f"\ufeff{SQUARE}; {OTHER}",
        f"foreground: {SQUARE}\nforeground : {OTHER}",
    ],
)
def test_every_way_of_writing_two_polygons_reads_alike(tmp_path, text):
    lay(tmp_path, text)
    assert np.array_equal(read(tmp_path)[0], TWO)


def test_class_names_stand_in_front_or_are_keys_of_json(tmp_path):
    lay(tmp_path / "text", f"road: {SQUARE}\nsmall car: {OTHER}\n")
    lay(tmp_path / "json", json.dumps({"road": SQUARE, "small car": [OTHER]}), suffix=".json")
    for folder in (tmp_path / "text", tmp_path / "json"):
        mask, class_map = read(folder)
        assert class_map.names == ("background", "road", "small car")
        assert np.array_equal(mask, expected((1, 3, 8, 2, 6), (2, 0, 2, 10, 12)))


def test_lists_without_a_name_are_of_the_only_class(tmp_path):
    lay(tmp_path, str(SQUARE))
    mask, _ = read(tmp_path, ClassMap.build(("building", "background")))
    assert np.array_equal(mask == 0, expected((1, 3, 8, 2, 6)) == 1)
    with pytest.raises(MaskError, match="must name the class"):
        read(tmp_path, ClassMap.build(("background", "building", "road")))


def test_a_polygon_inside_another_of_its_list_is_a_hole_and_beside_it_is_not(tmp_path):
    inner = [[3, 4], [5, 4], [5, 6], [3, 6], [3, 4]]
    across = [[4, 5], [9, 5], [9, 7], [4, 7], [4, 5]]
    lay(tmp_path, str(SQUARE + inner))
    assert np.array_equal(read(tmp_path)[0], expected((1, 3, 8, 2, 6), (0, 4, 6, 3, 5)))
    lay(tmp_path, f"{SQUARE}\n{inner}")
    assert np.array_equal(read(tmp_path)[0], expected((1, 3, 8, 2, 6)))
    lay(tmp_path, str(SQUARE + across))
    assert np.array_equal(read(tmp_path)[0], expected((1, 3, 8, 2, 6), (1, 5, 7, 4, 9)))
    lay(tmp_path, str(SQUARE + SQUARE))
    assert np.array_equal(read(tmp_path)[0], expected((1, 3, 8, 2, 6)))


@pytest.mark.parametrize("text", ["", "\n", "[]", "[[]]"])
def test_an_image_may_be_without_polygons(tmp_path, text):
    lay(tmp_path, f"{SQUARE}")
    picture(tmp_path / "images" / "0002.png")
    (tmp_path / "polygons" / "0002.txt").write_text(text)
    dataset = open_dataset(tmp_path)
    masks = {record.name: dataset.load(record).mask for record in dataset.records}
    assert masks["images/0001"].any()
    assert not masks["images/0002"].any()


@pytest.mark.parametrize("home", ["labels", "annotations", "masks", "polygons", "images", "."])
@pytest.mark.parametrize("split", ["", "train"])
def test_text_files_lie_beside_the_images_or_in_their_own_folder(tmp_path, home, split):
    images = "." if home == "." else "images"
    picture(tmp_path / split / images / "a.b.png")
    (tmp_path / split / home).mkdir(exist_ok=True)
    (tmp_path / split / home / "a.b.txt").write_text(str(SQUARE))
    (tmp_path / split / home / "readme.txt").write_text("labeled by hand")
    found, _ = detect_format(tmp_path)
    assert found.name == "polygon-text"
    (record,) = found.records(tmp_path)
    assert record.split == (split or None)
    assert record.masks[0].name == "a.b.txt"


@pytest.mark.parametrize(
    "text",
    ["0 0.1 0.1 0.5 0.1 0.5 0.5\n", "images/0001.png masks/0001.png\n", "", '{"shapes": []}',
     '{"images": [], "annotations": []}', "[1, 2]", "a: b"],
)  # fmt: skip
def test_text_of_other_formats_is_not_taken_for_polygons(tmp_path, text):
    lay(tmp_path, text)
    assert PolygonText().detect(tmp_path).score == 0


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[[1, 2], [3, 4]]", "at least 3 points"),
        (f"{SQUARE[:-1] + SQUARE[:1] + [[9, 9]]}", r"Got \[\[9\.0, 9\.0\]\]"),
        ("[[1, 2], [3, 4], [5, 6, 7]]", "lists of points"),
        ("[[1, 2], [3, 4], ['a', 7]]", "lists of points"),
        ('[["1", "2"], ["3", "4"], ["5", "7"]]', "lists of points"),
        ("[[1, 2], [3, 4], [NaN, 7]]", "lists of points"),
        ("[[1, 2], [3, 4], [1e999, 7]]", "lists of points"),
        ("[[1, 2], [3, 4], [" + "9" * 400 + ", 7]]", "lists of points"),
        ("[[1, 2], [3, 4], [5, 6]", "lists of points"),
        (f"{SQUARE} and more", "lists of points"),
        ("[[__import__('os').getcwd()]]", "lists of points"),
        (f"bus: {SQUARE}", "Got 'bus'"),
    ],
)
def test_what_is_no_list_of_polygons_is_refused(tmp_path, text, match):
    lay(tmp_path, text)
    with pytest.raises(DataError, match=match):
        read(tmp_path, ClassMap.build(("background", "building", "road")))


def test_images_and_text_files_must_pair(tmp_path):
    lay(tmp_path, str(SQUARE))
    picture(tmp_path / "images" / "0002.png")
    with pytest.raises(FormatError, match=r"0002\.png must have its polygons"):
        PolygonText().records(tmp_path)
    (tmp_path / "images" / "0001.png").unlink()
    (tmp_path / "polygons" / "0002.txt").write_text(str(SQUARE))
    with pytest.raises(FormatError, match=r"0001\.txt must have an image '0001'"):
        PolygonText().records(tmp_path)


def test_images_to_predict_need_no_polygons(tmp_path):
    lay(tmp_path / "train", str(SQUARE))
    lay(tmp_path / "test", str(SQUARE))
    picture(tmp_path / "test" / "images" / "0002.png")
    assert len(PolygonText().records(tmp_path)) == 2


WKT_SQUARE = "POLYGON ((2 3, 6 3, 6 8, 2 8, 2 3))"
WKT_RING = "POLYGON ((2 3, 6 3, 6 8, 2 8, 2 3), (3 4, 5 4, 5 6, 3 6, 3 4))"


def table(folder, text, names=("a.png",), name="labels.csv"):
    for image in names:
        picture(folder / "images" / image)
    (folder / name).write_text(text, encoding="utf-8")


def test_a_table_of_wkt_holds_many_images_classes_and_holes(tmp_path):
    multi = "MULTIPOLYGON (((10 0, 12 0, 12 2, 10 2, 10 0)), ((14 0, 15 0, 15 1, 14 1, 14 0)))"
    table(
        tmp_path,
        f'ImageId,ClassType,MultipolygonWKT\na,10,"{WKT_RING}"\na,2,"{multi}"\n'
        "b.png,2,MULTIPOLYGON EMPTY\n",
        ("a.png", "b.png"),
    )
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "polygon-text"
    assert dataset.class_map.names == ("background", "2", "10")
    masks = {record.image.stem: dataset.load(record).mask for record in dataset.records}
    assert not masks["b"].any()
    boxes = ((2, 3, 8, 2, 6), (0, 4, 6, 3, 5), (1, 0, 2, 10, 12), (1, 0, 1, 14, 15))
    assert np.array_equal(masks["a"], expected(*boxes))


def test_spacenets_table_is_read_by_its_pixels_and_its_prefixed_files(tmp_path):
    geo = "POLYGON ((-115.1 36.1, -115.2 36.1, -115.2 36.2, -115.1 36.1))"
    rows = "\n".join(
        f'{image},0,"{geo}","{pixels}"'
        for image, pixels in (
            ("AOI_2_img1", "POLYGON ((2 3 0, 6 3 0, 6 8 0, 2 8 0, 2 3 0))"),
            ("AOI_2_img11", "POLYGON EMPTY"),
        )
    )
    table(
        tmp_path,
        f"ImageId,BuildingId,PolygonWKT_Geo,PolygonWKT_Pix\n{rows}\n",
        ("RGB_AOI_2_img1.png", "RGB_AOI_2_img11.png"),
    )
    dataset = open_dataset(tmp_path)
    masks = {record.image.stem: dataset.load(record).mask for record in dataset.records}
    assert np.array_equal(masks["RGB_AOI_2_img1"], expected((1, 3, 8, 2, 6)))
    assert not masks["RGB_AOI_2_img11"].any()


@pytest.mark.parametrize(
    ("text", "names", "match"),
    [
        (f'ImageId,wkt\na,"{WKT_SQUARE}"\nb,"{WKT_SQUARE}"\n', ["a.png"], "must have an image 'b'"),
        (f'ImageId,wkt\na,"{WKT_SQUARE}"\n', ["a.png", "b.png"], "b.png must have its polygons"),
        (f'ImageId,wkt\na,"{WKT_SQUARE}"\n', ["p_a.png", "q_a.png"], "uniquely"),
        (f'place,wkt\na,"{WKT_SQUARE}"\n', ["a.png"], "must have a column ImageId"),
        (f'ImageId,wkt\na,"{WKT_SQUARE}"\na,"POLYGON ((1 2, 3"\n', ["a.png"], "row 3 must contain"),
        (f'ImageId,wkt\na,"{WKT_SQUARE}"\na,POINT (1 2)\n', ["a.png"], "row 3 must contain"),
        (f'ImageId,wkt\na,"{WKT_SQUARE}"\na\n', ["a.png"], "row 3 must have 2 cells"),
        ('ImageId,wkt\na,"POLYGON ((0 0, 0.5 0, 0.5 0.5, 0 0))"\n', ["a.png"], "in pixels"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, names, match):
    table(tmp_path, text, names)
    with pytest.raises(DataError, match=match):
        PolygonText().records(tmp_path)


def test_a_cell_may_be_longer_than_the_csv_module_allows(tmp_path):
    corners = ", ".join(f"{2 + 4 * index / 20_000} 3" for index in range(20_000))
    table(tmp_path, f'ImageId;wkt\na;"POLYGON (({corners}, 6 8, 2 8, 2 3))"\n')
    assert np.array_equal(read(tmp_path)[0], expected((1, 3, 8, 2, 6)))


def test_a_table_read_meanwhile_does_not_shorten_the_cells_of_another():
    small = 'ImageId,wkt\na,"POLYGON ((0 0, 4 0, 4 4, 0 0))"\n'
    corners = ", ".join(f"{index} {index % 97}" for index in range(20_000))
    rows = _rows(small, Path("small.csv"))
    next(rows)
    other = _rows(f'ImageId,wkt\na,"POLYGON (({corners}))"\n', Path("large.csv"))
    next(other)
    assert len(list(rows)) == 1
    assert len(list(other)) == 1


def write(folder, mask, class_map):
    """Write one mask; gives the text."""
    source = picture(folder / "source.png", mask.shape)
    sample = Sample("0001", np.zeros((*mask.shape, 3), np.uint8), mask, "multiclass")
    (folder / "out").mkdir()
    PolygonText().write(folder / "out", [(Record("0001", source), sample)], class_map)
    return (folder / "out" / "polygons" / "0001.txt").read_text()


def test_a_hole_is_written_behind_its_polygon_in_one_list(tmp_path):
    mask = expected((1, 3, 8, 2, 6), (0, 4, 6, 3, 5))
    text = write(tmp_path, mask, ClassMap.build(("background", "lake: deep")))
    (line,) = text.splitlines()
    name, _, points = line.rpartition(": ")
    assert name == "lake: deep"
    assert len(json.loads(points)) == 10
    again, class_map = read(tmp_path / "out")
    assert class_map.names == ("background", "lake: deep")
    assert np.array_equal(again, mask)


@pytest.mark.parametrize(
    ("names", "ignored", "match"),
    [
        (("background", "thing"), True, "ignored pixels besides background"),
        (("background", "a [b]"), False, "brackets or line breaks"),
        (("background", "a\nb"), False, "brackets or line breaks"),
        (("background", " b"), False, "brackets or line breaks"),
    ],
)
def test_what_text_cannot_hold_is_refused(tmp_path, names, ignored, match):
    mask = expected((255 if ignored else 1, 3, 8, 2, 6))
    with pytest.raises(FormatError, match=match):
        write(tmp_path, mask, ClassMap.build(names))


def test_no_text_makes_anything_else_than_our_errors(tmp_path, is_read, damaged):
    found, class_map = PolygonText(), ClassMap.build(("background", "road", "a"))
    good = f"road: {SQUARE + OTHER}\na: {[SQUARE, OTHER]}\n"
    path = lay(tmp_path, good)
    num_read = 0
    for content in damaged(good.encode(), 250):
        path.write_bytes(content)
        num_read += is_read(found, tmp_path, class_map)
    odd = (
        b"[" * 100_000,
        b"[[" + b"9" * 5000 + b",1]]",
        b"\xff\xfe",
        b'{"a": ' * 50_000,
        b"[[1,2]",
        b'{"a": {}}',
        b"[[[[1, 2]]]]",
        b"[[{}, {}]]",
        b"[[null, null]]",
        b"[[true, false]]",
    )
    for content in odd:
        path.write_bytes(content)
        assert not is_read(found, tmp_path, class_map)
    assert num_read > 3


def test_no_table_makes_anything_else_than_our_errors(tmp_path, is_read, damaged):
    found, class_map = PolygonText(), ClassMap.build(("background", "1"))
    good = f'ImageId,ClassType,wkt\na,1,"{WKT_RING}"\na,1,POLYGON EMPTY\n'
    table(tmp_path, good)
    num_read = 0
    for content in damaged(good.encode(), 250):
        (tmp_path / "labels.csv").write_bytes(content)
        num_read += is_read(found, tmp_path, class_map)
    deep = "GEOMETRYCOLLECTION (" * 100_000
    for text in (
        f'ImageId,wkt\na,"{WKT_RING}"\na,"{deep}"\n',
        "POLYGON (\n",
        "ImageId,wkt\n\x00,POLYGON((",
    ):
        (tmp_path / "labels.csv").write_text(text)
        assert not is_read(found, tmp_path, class_map)
    assert num_read > 3
