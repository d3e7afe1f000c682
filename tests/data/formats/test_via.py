"""VIA's JSON and CSV files, and those of makesense.ai, are read as the tools write them."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats.via import Via
from pixelwise.errors import FormatError


def save_image(path, size=(20, 30), value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def square(left, top, side, **attributes):
    right, bottom = left + side, top + side
    shape = {
        "name": "polygon",
        "all_points_x": [left, right, right, left],
        "all_points_y": [top, top, bottom, bottom],
    }
    return {"shape_attributes": shape, "region_attributes": attributes}


def rect(left, top, width, height, **attributes):
    shape = {"name": "rect", "x": left, "y": top, "width": width, "height": height}
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(path, *regions, as_dict=False):
    found = {str(number): region for number, region in enumerate(regions)}
    return {
        "filename": path.name,
        "size": path.stat().st_size,
        "regions": found if as_dict else list(regions),
        "file_attributes": {},
    }


def metadata(*entries):
    return {f"{each['filename']}{each['size']}": each for each in entries}


def save_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def save_csv(path, content, header="filename"):
    """The rows that VIA 2 writes for the same annotations."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow([header, "file_size", "file_attributes", "region_count", "region_id",
                   "region_shape_attributes", "region_attributes"])  # fmt: skip
    for each in content.values():
        regions = each["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        for number, region in enumerate(regions):
            rows.writerow([
                each["filename"], each["size"], "{}", len(each["regions"]), number,
                json.dumps(region["shape_attributes"]), json.dumps(region["region_attributes"]),
            ])  # fmt: skip
    path.write_text(text.getvalue())
    return path


LAYOUTS = ("VIA 2", "VIA 1", "project", "csv", "csv of VIA 1")


def save(path, layout, *entries):
    """The same annotations in each kind of file."""
    if layout.startswith("csv"):
        header = "#filename" if "1" in layout else "filename"
        return save_csv(path.with_suffix(".csv"), metadata(*entries), header)
    if layout == "VIA 1":
        entries = [
            {**each, "fileref": "", "base64_img_data": "",
             "regions": {str(n): region for n, region in enumerate(each["regions"])}}
            for each in entries
        ]  # fmt: skip
    content = metadata(*entries)
    if layout == "project":
        content = {"_via_settings": {"core": {}}, "_via_img_metadata": content,
                   "_via_attributes": {"region": {}, "file": {}}}  # fmt: skip
    return save_json(path.with_suffix(".json"), content)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_kind_of_file_gives_the_same_masks(tmp_path, layout):
    images = [save_image(tmp_path / f"{name}.png") for name in "abc"]
    save(
        tmp_path / "via_region_data", layout,
        entry(images[0], square(2, 3, 5, kind="cat"), square(12, 3, 4, kind="dog")),
        entry(images[1], square(0, 0, 9, kind="dog")),
        entry(images[2]),
    )  # fmt: skip
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "via"
    assert dataset.class_map.names == ("background", "cat", "dog")
    masks = [dataset.load(record).mask for record in dataset.records]
    assert (masks[0][3:8, 2:7] == 1).all()
    assert [np.bincount(mask.ravel(), minlength=3).tolist() for mask in masks] == [
        [600 - 25 - 16, 25, 16], [600 - 81, 0, 81], [600, 0, 0],
    ]  # fmt: skip
    assert "classes are the values of kind: cat, dog" in dataset.notes
    assert "images without an object are background: 1 of 3" in dataset.notes


def test_circles_and_ellipses_are_filled(tmp_path):
    image = save_image(tmp_path / "a.png", (100, 100))
    circle = {"shape_attributes": {"name": "circle", "cx": 30, "cy": 30, "r": 20},
              "region_attributes": {}}  # fmt: skip
    turned = {"name": "ellipse", "cx": 70, "cy": 70, "rx": 20, "ry": 5, "theta": np.pi / 2}
    ellipse = {"shape_attributes": turned, "region_attributes": {}}
    save(tmp_path / "via", "VIA 2", entry(image, circle, ellipse))
    dataset = open_dataset(tmp_path)
    mask = dataset.load(dataset.records[0]).mask
    assert mask.sum() == pytest.approx(np.pi * (400 + 100), rel=0.01)
    assert mask[88, 70]
    assert not mask[70, 88]
    assert "all shapes are foreground: no property tells their classes" in dataset.notes


def test_a_window_in_a_facade_stays_visible_in_any_order(tmp_path):
    image = save_image(tmp_path / "a.png")
    found = [square(0, 0, 12, type="facade"), square(2, 2, 3, type="window")]
    for regions in (found, found[::-1]):
        save(tmp_path / "via", "VIA 2", entry(image, *regions))
        dataset = open_dataset(tmp_path)
        assert np.bincount(dataset.load(dataset.records[0]).mask.ravel()).tolist()[1:] == [135, 9]


def test_one_file_serves_nested_folders_and_sizes_tell_equal_names_apart(tmp_path):
    first = save_image(tmp_path / "one" / "photos" / "a.png")
    second = save_image(tmp_path / "two" / "photos" / "a.png", (40, 50), 255)
    save(tmp_path / "all", "project", entry(first, square(0, 0, 4)), entry(second, square(0, 0, 7)))
    dataset = open_dataset(tmp_path)
    found = {record.name: int(dataset.load(record).mask.sum()) for record in dataset.records}
    assert found == {"one/photos/a": 16, "two/photos/a": 49}


def test_a_saved_project_beside_its_export_is_not_counted_twice(tmp_path):
    images = {split: save_image(tmp_path / split / f"{split}.png") for split in ("train", "val")}
    entries = {split: entry(path, square(0, 0, 5)) for split, path in images.items()}
    for split, each in entries.items():
        save(tmp_path / split / "via_region_data", "VIA 2", each)
    save(tmp_path / "via_project", "project", *entries.values())
    dataset = open_dataset(tmp_path)
    assert [(record.name, record.split) for record in dataset.records] == [
        ("train/train", "train"), ("val/val", "val"),
    ]  # fmt: skip
    save(tmp_path / "other", "VIA 2", entry(images["train"], square(0, 0, 9)))
    with pytest.raises(FormatError, match=r"every image once\. Got train/train 3 times"):
        open_dataset(tmp_path)


def test_a_set_of_boxes_alone_is_refused_and_a_box_among_outlines_is_filled(tmp_path):
    image = save_image(tmp_path / "a.png")
    save(tmp_path / "via", "VIA 2", entry(image, rect(1, 1, 4, 6), rect(9, 9, 2, 2)))
    with pytest.raises(FormatError, match="Got 2 boxes and nothing else, as for object detection"):
        open_dataset(tmp_path)
    save(tmp_path / "via", "VIA 2", entry(image, rect(1, 1, 4, 6), square(9, 9, 2)))
    dataset = open_dataset(tmp_path)
    assert dataset.load(dataset.records[0]).mask.sum() == 24 + 4


def corners(kind, x, y):
    return {"name": kind, "all_points_x": x, "all_points_y": y}


BAD_REGIONS = {
    "a point": ({"name": "point", "cx": 1, "cy": 2}, "an area but have 'point'"),
    "a line": (corners("polyline", [1, 2, 3], [1, 2, 9]), "an area but have 'polyline'"),
    "two corners": (corners("polygon", [1, 2], [1, 2]), "3 corners"),
    "unequal": (corners("polygon", [1, 2, 3], [1]), "3 corners"),
    "words": (corners("polygon", ["a"] * 3, [1] * 3), "3 corners"),
    "no name": ({}, "an area but have 'None'"),
}


@pytest.mark.parametrize("case", BAD_REGIONS)
def test_a_region_without_an_area_is_left_out_and_counted(tmp_path, case):
    shape, message = BAD_REGIONS[case]
    image = save_image(tmp_path / "a.png")
    bad = {"shape_attributes": shape, "region_attributes": {}}
    good = [square(number, 0, 2) for number in range(24)]
    save(tmp_path / "via", "VIA 2", entry(image, *good, bad))
    (note,) = [note for note in open_dataset(tmp_path).notes if "left out" in note]
    assert note.startswith("1 of 25 annotations are left out: 1 (region 24 of a.png)")
    assert message in note


def test_options_of_checkboxes_are_classes_if_one_is_ticked(tmp_path):
    image = save_image(tmp_path / "a.png")
    found = [square(n, 0, 1, state={"ripe": n % 2 == 0, "raw": n % 2 == 1}) for n in range(24)]
    both = square(0, 10, 4, state={"ripe": True, "raw": True})
    save(tmp_path / "via", "VIA 2", entry(image, *found, both))
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("background", "raw", "ripe")
    assert any("must have one class but have ripe, raw" in note for note in dataset.notes)


def test_attributes_that_say_the_same_are_one_and_two_others_are_a_question(tmp_path):
    image = save_image(tmp_path / "a.png")
    same = [square(n, 0, 1, inseto="kudzu", insect="kudzu") for n in range(4)]
    save(tmp_path / "via", "VIA 2", entry(image, *same, square(9, 9, 2)))
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("background", "kudzu")
    assert "shapes without a class are kudzu: 1" in dataset.notes
    assert dataset.load(dataset.records[0]).mask.sum() == 4 + 4
    words = ("oak", "elm"), ("old", "young")
    two = [square(n, 0, 1, tree=words[0][n % 2], age=words[1][n // 5]) for n in range(10)]
    save(tmp_path / "via", "VIA 2", entry(image, *two))
    with pytest.raises(FormatError, match=r"Got tree \(oak, elm\); age \(old, young\)"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, class_property="age").class_map.names[1:] == ("old", "young")


def test_the_exports_of_makesense_open_under_their_names_with_a_date(tmp_path):
    image = save_image(tmp_path / "images" / "a.png")
    name = "labels_my-project-name_2024-05-01-10-20-30.json"
    found = {"a.png": {"fileref": "", "size": image.stat().st_size, "filename": "a.png",
                       "base64_img_data": "", "file_attributes": {},
                       "regions": {"0": square(2, 3, 5, label="cat")}}}  # fmt: skip
    save_json(tmp_path / name, found)
    dataset = open_dataset(tmp_path)
    assert (dataset.format.name, dataset.class_map.names) == ("via", ("background", "cat"))
    assert dataset.load(dataset.records[0]).mask.sum() == 25
    ring = [2, 3, 7, 3, 7, 8, 2, 8]
    coco = {
        "info": {"description": "my-project-name"},
        "images": [{"id": 1, "width": 30, "height": 20, "file_name": "a.png"}],
        "annotations": [{"id": 0, "iscrowd": 0, "image_id": 1, "category_id": 1,
                         "segmentation": [ring], "bbox": [2, 3, 5, 5], "area": 25}],
        "categories": [{"id": 1, "name": "cat"}],
    }  # fmt: skip
    save_json(tmp_path / name, coco)
    dataset = open_dataset(tmp_path)
    assert (dataset.format.name, dataset.class_map.names) == ("coco", ("background", "cat"))
    assert dataset.load(dataset.records[0]).mask.sum() == 25


@pytest.mark.parametrize("text", ['{"a": {"b": 1}}', "[]", '{"shapes": [], "imagePath": "a.png"}'])
def test_json_of_other_tools_is_not_detected(tmp_path, text):
    save_image(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "a.csv").write_text("image,mask\na.png,b.png\n")
    assert Via().detect(tmp_path).score == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, damaged, is_read, layout):
    image = save_image(tmp_path / "a.png")
    path = save(tmp_path / "via", layout, entry(image, square(2, 3, 5, kind="cat")))
    assert detect_format(tmp_path)[0].name == "via"
    class_map = ClassMap.build(("background", "cat"))
    assert is_read(Via(), tmp_path, class_map)
    for content in damaged(path.read_bytes(), 150):
        path.write_bytes(content)
        is_read(Via(), tmp_path, class_map)


@pytest.mark.real_data
def test_a_published_set_of_via_opens_as_it_should(test_data):
    dataset = open_dataset(test_data / "wild" / "kudzu-via")
    assert dataset.class_map.names == ("background", "kudzu")
    assert [record.split for record in dataset.records].count("val") == 2
    with pytest.raises(FormatError, match="18 boxes and nothing else"):
        open_dataset(test_data / "wild" / "drone-people-via")
