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
    drawn = open_dataset(test_data / "wild" / "rf-coco-facade", label_mode="multilabel")
    window, plane = names.index("window"), drawn.class_map.names.index("window")
    for record in dataset.records:
        # Fences of balconies stand in front of windows; facades do not.
        shown = dataset.load(record).mask[drawn.load(record).mask[plane] > 0]
        assert (shown == window).any()
        assert not (shown == names.index("facade")).any()


def test_cracks_are_no_aeroplanes(test_data):
    dataset = open_dataset(test_data / "wild" / "concrete-voc-npy")
    assert dataset.class_map.names == ("class-0", "class-1", "class-2")


def test_a_set_of_boxes_is_refused_for_that_reason(test_data):
    with pytest.raises(FormatError, match="boxes and nothing else, as for object detection"):
        open_dataset(test_data / "wild" / "drone-people-via")
