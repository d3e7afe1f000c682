"""Labelbox's NDJSON export is read line by line; masks at addresses are counted and left out."""

import json

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats.labelbox import Labelbox
from pixelwise.errors import FormatError


def save_image(path, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)


def square(name, left, top, side):
    right, bottom = left + side, top + side
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {
        "feature_id": "cl1", "feature_schema_id": "cl2", "name": name, "value": name.lower(),
        "annotation_kind": "ImagePolygon", "classifications": [],
        "polygon": [{"x": x, "y": y} for x, y in corners],
    }  # fmt: skip


MASK = {
    "feature_id": "cl1", "name": "Car", "value": "car", "annotation_kind": "ImageSegmentationMask",
    "composite_mask": {"url": "https://api.labelbox.com/masks/1", "color_rgb": [1, 2, 3]},
}  # fmt: skip


def row(image, *objects, key="external_id", labels=None):
    label = {"label_kind": "Default", "version": "1.0.0", "id": "cl3",
             "annotations": {"objects": list(objects), "classifications": [],
                             "relationships": []}}  # fmt: skip
    return {
        "data_row": {"id": "cl4", key: image},
        "media_attributes": {"height": 20, "width": 30, "mime_type": "image/png"},
        "projects": {"cl5": {"name": "Streets", "labels": [label] if labels is None else labels}},
    }


def save(folder, *rows):
    path = folder / "Export v2 project - Streets - 5_1_2024.ndjson"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    return path


def test_polygons_and_boxes_come_to_their_pixels(tmp_path):
    for name in "ab":
        save_image(tmp_path / "images" / f"{name}.png")
    box = {"name": "Sign", "bounding_box": {"top": 1, "left": 20, "height": 3, "width": 5}}
    save(tmp_path, row("a.png", square("Car", 2, 3, 5), box), row("b.png", square("Car", 0, 0, 4)))
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "labelbox"
    assert dataset.class_map.names == ("background", "Car", "Sign")
    mask = dataset.load(dataset.records[0]).mask
    assert (mask[3:8, 2:7] == 1).all()
    assert (mask[1:4, 20:25] == 2).all()
    assert np.bincount(mask.ravel()).tolist() == [600 - 40, 25, 15]


@pytest.mark.parametrize("key", ["external_id", "global_key", "row_data"])
def test_an_image_is_named_by_any_key(tmp_path, key):
    save_image(tmp_path / "a b.png")
    name = "https://storage.labelbox.com/1/a%20b.png?Expires=1" if key == "row_data" else "a b.png"
    save(tmp_path, row(name, square("Car", 2, 3, 5), key=key))
    assert [record.name for record in open_dataset(tmp_path).records] == ["a b"]
    save(tmp_path, row("cl9", square("Car", 2, 3, 5), key=key))
    with pytest.raises(FormatError, match="line 1 must name an image"):
        open_dataset(tmp_path)


def test_rows_without_labels_are_left_out(tmp_path):
    for name in "ab":
        save_image(tmp_path / f"{name}.png")
    save(tmp_path, row("a.png", square("Car", 2, 3, 5)), row("b.png", labels=[]))
    dataset = open_dataset(tmp_path)
    assert [record.name for record in dataset.records] == ["a"]
    assert "rows without a label are left out: 1" in dataset.notes


def test_masks_at_addresses_are_counted_and_too_many_are_refused(tmp_path):
    save_image(tmp_path / "a.png")
    good = [square("Car", number, 3, 5) for number in range(24)]
    save(tmp_path, row("a.png", *good, MASK))
    (note,) = [note for note in open_dataset(tmp_path).notes if "left out" in note]
    assert "must have an outline but have a mask at an address, which is not downloaded" in note
    save(tmp_path, row("a.png", MASK, square("Car", 1, 3, 5)))
    with pytest.raises(FormatError, match="1 of 2"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"shapes": []}', "[]", '{"type": "FeatureCollection"}'])
def test_json_of_other_tools_is_not_detected(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert Labelbox().detect(tmp_path).score == 0


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, damaged, is_read):
    save_image(tmp_path / "a.png")
    path = save(tmp_path, row("a.png", square("Car", 2, 3, 5)))
    class_map = ClassMap.build(("background", "Car"))
    assert is_read(Labelbox(), tmp_path, class_map)
    for content in damaged(path.read_bytes(), 200):
        path.write_bytes(content)
        is_read(Labelbox(), tmp_path, class_map)
