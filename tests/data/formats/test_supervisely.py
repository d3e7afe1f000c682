"""Projects of Supervisely are read as its SDK reads them."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats.supervisely import Supervisely
from pixelwise.errors import MaskError

RING = (
    "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTwebo4hlTMSa44"
    "sKHhISMDuxpTYrr03F6gDIOnq5/LOqeEJgDM5ht6"
)
"""The example of ``Bitmap.base64_2_data`` in the SDK: 3 x 3 pixels around one."""


def save_image(path, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)


def packed(region, mode="palette"):
    """A bitmap as the SDK packs it (palette), and as early versions did (alpha)."""
    content = io.BytesIO()
    pixels = np.asarray(region, np.uint8)
    if mode == "palette":
        picture = Image.fromarray(pixels)
        picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(content, "PNG", transparency=0, optimize=0)
    else:
        Image.fromarray(np.stack([pixels * 0] * 3 + [pixels * 255], -1)).save(content, "PNG")
    return base64.b64encode(zlib.compress(content.getvalue())).decode()


def thing(title, kind, **entries):
    return {"id": 5, "classId": 1, "classTitle": title, "geometryType": kind, "labelerLogin": "me",
            "description": "", "tags": [], **entries}  # fmt: skip


def polygon(title, exterior, *interior):
    points = {"exterior": exterior, "interior": list(interior)}
    return thing(title, "polygon", points=points)


def bitmap(title, data, origin):
    points = {"exterior": [], "interior": []}
    return thing(title, "bitmap", bitmap={"data": data, "origin": list(origin)}, points=points)


CLASSES = [
    {"title": "road", "shape": "polygon", "color": "#0A141E", "id": 1},
    {"title": "car", "shape": "bitmap", "color": "#FF0000", "id": 2},
    {"title": "way", "shape": "line", "color": "#FF00FF", "id": 3},
]


def save(folder, name, *things, dataset="ds0", size=(20, 30)):
    home = folder / dataset if dataset else folder
    save_image(home / "img" / name, size)
    (home / "ann").mkdir(exist_ok=True)
    content = {"description": "", "tags": [], "size": {"height": size[0], "width": size[1]},
               "objects": list(things)}  # fmt: skip
    (home / "ann" / f"{name}.json").write_text(json.dumps(content))
    (folder / "meta.json").write_text(json.dumps({"classes": CLASSES, "tags": []}))
    return home / "ann" / f"{name}.json"


SQUARE = [[2, 3], [12, 3], [12, 13], [2, 13]]


@pytest.mark.parametrize("mode", ["palette", "alpha"])
def test_polygons_with_holes_and_bitmaps_come_to_their_pixels(tmp_path, mode):
    region = np.zeros((4, 5), np.uint8)
    region[1:, 2:] = 1
    hole = [[4, 5], [8, 5], [8, 9], [4, 9]]
    save(
        tmp_path,
        "a.png",
        polygon("road", SQUARE, hole),
        bitmap("car", packed(region, mode), (20, 1)),
    )
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "supervisely"
    assert dataset.class_map.names == ("background", "road", "car")
    assert dataset.class_map.colors[1:] == ((10, 20, 30), (255, 0, 0))
    mask = dataset.load(dataset.records[0]).mask
    expected = np.zeros((20, 30), np.uint8)
    expected[3:13, 2:12] = 1
    expected[5:9, 4:8] = 0
    expected[1:5, 20:25][region == 1] = 2
    assert np.array_equal(mask, expected)


def test_a_bitmap_of_the_sdk_is_decoded_as_it_says(tmp_path):
    save(tmp_path, "a.png", bitmap("car", RING, (4, 6)))
    dataset = open_dataset(tmp_path)
    mask = dataset.load(dataset.records[0]).mask
    assert mask[6:9, 4:7].tolist() == [[2, 2, 2], [2, 0, 2], [2, 2, 2]]
    assert mask.sum() == 16


def test_a_later_object_covers_an_earlier_one_as_in_the_tool(tmp_path):
    small = [[4, 5], [6, 5], [6, 7], [4, 7]]
    save(tmp_path, "a.png", polygon("car", small), polygon("road", SQUARE))
    dataset = open_dataset(tmp_path)
    assert set(np.unique(dataset.load(dataset.records[0]).mask)) == {0, 1}


def test_the_data_sets_of_a_project_give_the_splits(tmp_path):
    for split in ("train", "val"):
        save(tmp_path, f"{split}.png", polygon("road", SQUARE), dataset=split)
    dataset = open_dataset(tmp_path)
    assert [record.split for record in dataset.records] == ["train", "val"]


def test_a_word_in_the_name_of_an_image_is_no_split(tmp_path):
    for name in ("train_1.png", "test_2.png", "street.png"):
        save(tmp_path, name, polygon("road", SQUARE))
    assert {record.split for record in Supervisely().records(tmp_path)} == {None}


def test_a_single_data_set_may_lie_in_the_folder_itself(tmp_path):
    save(tmp_path, "a.png", polygon("road", SQUARE), dataset="")
    assert [record.name for record in open_dataset(tmp_path).records] == ["img/a"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (thing("way", "line", points={"exterior": [[1, 2], [3, 4]], "interior": []}), "an area"),
        (polygon("road", [[1, 2], [3, 4]]), "at least 3 corners but have 2"),
        (thing("road", "polygon"), "an area"),
        ({"geometryType": "polygon"}, "the keys of an object"),
        (7, "the keys of an object"),
    ],
)
def test_objects_without_an_area_are_left_out_and_counted(tmp_path, bad, message):
    save(tmp_path, "a.png", *[polygon("road", SQUARE)] * 24, bad)
    (note,) = [note for note in open_dataset(tmp_path).notes if "left out" in note]
    assert note.startswith("1 of 25 annotations are left out: 1 (object 24) must have")
    assert message in note


@pytest.mark.parametrize(
    ("data", "origin", "message"),
    [
        ("AAAA", (0, 0), "as Supervisely packs them"),
        ("not base64", (0, 0), r"a\.png\.json"),
        (RING, (28, 6), "inside its image of 30 x 20"),
        (RING, (-1, 6), "inside its image of 30 x 20"),
        (base64.b64encode(zlib.compress(b"no picture")).decode(), (0, 0), "readable image"),
    ],
)
def test_a_damaged_bitmap_is_refused(tmp_path, data, origin, message):
    save(tmp_path, "a.png", bitmap("car", data, origin))
    dataset = open_dataset(tmp_path)
    with pytest.raises((MaskError, ValueError), match=message):
        dataset.load(dataset.records[0])


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, damaged, is_read):
    path = save(tmp_path, "a.png", polygon("road", SQUARE), bitmap("car", RING, (4, 6)))
    class_map = ClassMap.build(("background", "road", "car"))
    assert is_read(Supervisely(), tmp_path, class_map)
    for content in damaged(path.read_bytes(), 200):
        path.write_bytes(content)
        is_read(Supervisely(), tmp_path, class_map)
