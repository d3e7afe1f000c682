"""Folders as people published them open with the classes that a person reads in them."""

import json

import numpy as np
import pytest

from pixelwise.data.dataset import open_dataset
from pixelwise.errors import FormatError

pytestmark = pytest.mark.real_data


def names_in(test_data, name):
    described = json.loads((test_data / "wild" / f"{name}.json").read_text())
    return tuple(entry["name"] for entry in described["classes"])


@pytest.mark.parametrize(
    ("name", "label_format", "count"), [("cats-yolo", "yolo", 5), ("kudzu-via", "via", 6)]
)
def test_a_published_set_has_the_classes_that_its_description_says(
    test_data, name, label_format, count
):
    dataset = open_dataset(test_data / "wild" / name)
    assert dataset.format.name == label_format
    assert dataset.class_map.names == names_in(test_data, name)
    assert len(dataset.records) == count
    for record in dataset.records:
        assert set(np.unique(dataset.load(record).mask).tolist()) == {0, 1}


def test_a_placeholder_is_no_class_and_facades_hide_no_windows(test_data):
    dataset = open_dataset(test_data / "wild" / "rf-coco-facade")
    names = dataset.class_map.names
    assert names[0] == "background"
    assert names.count("facade") == 1
    window = names.index("window")
    for record in dataset.records:
        content = json.loads(record.masks[0].read_text())
        number = next(each["id"] for each in content["categories"] if each["name"] == "window")
        drawn = sum(
            each["area"]
            for each in content["annotations"]
            if each["category_id"] == number and str(each["image_id"]) == record.entry
        )
        visible = int((dataset.load(record).mask == window).sum())
        assert visible > 0.8 * drawn


def test_cracks_are_no_aeroplanes(test_data):
    dataset = open_dataset(test_data / "wild" / "concrete-voc-npy")
    assert dataset.class_map.names == ("class-0", "class-1", "class-2")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("drone-people-via", "boxes and nothing else, as for object detection"),
        ("tomato-roles", "as in a box for object detection"),
    ],
)
def test_a_set_of_boxes_is_refused_for_that_reason(test_data, name, reason):
    with pytest.raises(FormatError, match=reason):
        open_dataset(test_data / "wild" / name)
