"""COCO's panoptic files: segment numbers in PNG colors become the classes that the JSON names."""

import json

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats.coco.coco_panoptic import CocoPanoptic
from pixelwise.errors import FormatError, MaskError

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60], "supercategory": "person"},
    {"id": 92, "name": "banner", "isthing": 0, "color": [1, 2, 3], "supercategory": "textile"},
]


def save_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def colored(numbers):
    """Segment numbers as the colors of a PNG, as panopticapi's ``id2rgb`` writes them."""
    numbers = np.asarray(numbers)
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 256**2], -1)


def save(folder, split, numbers, segments, *, file="a", name=None):
    save_png(folder / f"{split}2017" / f"{file}.jpg", np.zeros((*np.shape(numbers), 3)))
    name = name or f"panoptic_{split}2017"
    pictures = folder / "annotations" / name
    save_png(pictures / f"{file}.png", colored(numbers))
    content = {
        "info": {}, "licenses": [],
        "images": [{"id": 9, "file_name": f"{file}.jpg", "height": 4, "width": 6}],
        "annotations": [{"image_id": 9, "file_name": f"{file}.png", "segments_info": [
            {"id": number, "category_id": category, "iscrowd": crowd, "bbox": [], "area": 1}
            for number, category, crowd in segments
        ]}],
        "categories": CATEGORIES,
    }  # fmt: skip
    (folder / "annotations" / f"{name}.json").write_text(json.dumps(content))
    return folder / "annotations" / f"{name}.json"


SEGMENTS = [(70000, 1, 0), (300, 1, 0), (255, 92, 0), (5, 1, 1)]


def numbers():
    found = np.zeros((4, 6), np.int64)
    found[0, :] = 70000
    found[1, :3] = 300
    found[2, 2:] = 255
    found[3, 0] = 5
    return found


@pytest.mark.parametrize("name", [None, "mine"])
def test_segments_become_classes_and_crowds_are_ignored(tmp_path, name):
    save(tmp_path, "train", numbers(), SEGMENTS, name=name)
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "coco-panoptic"
    assert dataset.class_map.names == ("background", "person", "banner")
    assert dataset.class_map.colors[1:] == ((220, 20, 60), (1, 2, 3))
    expected = np.full((4, 6), IGNORE_INDEX)
    expected[0, :] = expected[1, :3] = 1
    expected[2, 2:] = 2
    assert np.array_equal(dataset.load(dataset.records[0]).mask, expected)


def test_the_names_of_the_files_give_the_splits(tmp_path):
    for split in ("train", "val"):
        save(tmp_path, split, numbers(), SEGMENTS, file=f"0{split}")
    assert [record.split for record in open_dataset(tmp_path).records] == ["train", "val"]


def test_instances_in_the_same_folder_go_first(tmp_path):
    save(tmp_path, "train", numbers(), SEGMENTS)
    ring = [0, 0, 3, 0, 3, 3, 0, 3]
    content = {
        "images": [{"id": 9, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 1, "segmentation": [ring]}],
        "categories": CATEGORIES,
    }
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    assert open_dataset(tmp_path).format.name == "coco"


def test_more_than_255_segments_in_an_image_are_told_apart(tmp_path):
    many = np.arange(1, 25).reshape(4, 6) * 1000
    segments = [(number, (1, 92)[number % 2000 > 0], 0) for number in many.ravel().tolist()]
    save(tmp_path, "train", many, segments)
    dataset = open_dataset(tmp_path)
    mask = dataset.load(dataset.records[0]).mask
    assert np.array_equal(mask, np.where(many % 2000 > 0, 2, 1))


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (SEGMENTS[:3], r"a\.png must hold the segments .* Got 5\."),
        ([*SEGMENTS[:3], (5, 7, 0)], "segment 5 of a.png must have a category"),
    ],
)
def test_a_segment_without_a_class_is_refused(tmp_path, segments, message):
    save(tmp_path, "train", numbers(), segments)
    dataset = open_dataset(tmp_path)
    with pytest.raises(MaskError, match=message):
        dataset.load(dataset.records[0])


def test_a_missing_png_is_refused_by_name(tmp_path):
    save(tmp_path, "train", numbers(), SEGMENTS)
    (tmp_path / "annotations" / "panoptic_train2017" / "a.png").unlink()
    with pytest.raises(FormatError, match=r"panoptic_train2017/a\.png"):
        open_dataset(tmp_path)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, damaged, is_read):
    path = save(tmp_path, "train", numbers(), SEGMENTS)
    class_map = ClassMap.build(("background", "person", "banner"))
    assert is_read(CocoPanoptic(), tmp_path, class_map)
    for content in damaged(path.read_bytes(), 200):
        path.write_bytes(content)
        is_read(CocoPanoptic(), tmp_path, class_map)
