"""Label Studio's JSON exports are read as its own converter reads them."""

import json

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats.label_studio.brush_rle import decode_brush
from pixelwise.data.formats.label_studio.label_studio import LabelStudio
from pixelwise.errors import FormatError, MaskError

STROKE = np.zeros((6, 9), np.uint8)
STROKE[1:5, 2:7] = 1
STROKE[2:4, 3:5] = 0
STROKE[0, 8] = 1

RLE = [
    0, 0, 0, 216, 57, 27, 254, 34, 0, 3, 254, 208, 0, 31, 241, 0, 1, 255, 16, 0, 31, 241, 0, 1,
    255, 16, 0, 31, 248, 72, 0, 15, 251, 64, 0, 127, 196, 0, 7, 254, 18, 0, 3, 254, 208, 0, 31,
    241, 0, 1, 255, 132, 128, 0, 255, 136, 0, 15, 248, 128, 0, 255, 136, 0, 15, 248, 128, 0, 255,
    197, 96, 0,
]  # fmt: skip
"""``encode_rle`` of label-studio-sdk 2.1.2 for the stroke as the alpha of an RGBA image."""


def save_image(path, size=(6, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return path


def result(value, kind, size=(6, 9)):
    return {
        "id": "zX1", "type": kind, "from_name": "tag", "to_name": "image", "origin": "manual",
        "original_width": size[1], "original_height": size[0], "image_rotation": 0, "value": value,
    }  # fmt: skip


def polygon(label, *points, **options):
    value = {"points": list(points), "closed": True, "polygonlabels": [label]}
    return result(value, "polygonlabels", **options)


def brush(label, rle=RLE):
    return result({"format": "rle", "rle": rle, "brushlabels": [label]}, "brushlabels")


def task(number, image, *results, **entries):
    annotation = {"id": 7 + number, "completed_by": 1, "was_cancelled": False,
                  "ground_truth": False, "result": list(results)}  # fmt: skip
    return {
        "id": number, "annotations": [annotation], "predictions": [], "file_upload": image,
        "data": {"image": f"/data/upload/3/{image}"}, **entries,
    }  # fmt: skip


def save(folder, *tasks, name="project-3-at-2024-05-01-10-20-abcdef.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(tasks))
    return folder / name


def test_brush_strokes_are_those_of_the_tools_own_encoder(tmp_path):
    assert np.array_equal(decode_brush(RLE, (6, 9), tmp_path), STROKE)


@pytest.mark.parametrize("seed", range(3))
def test_brush_strokes_are_decoded_as_the_tool_decodes_them(tmp_path, seed):
    brush_of_tool = pytest.importorskip("label_studio_sdk.converter.brush")
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, rng.integers(1, 40, 2))
    pixels = np.stack([mask * 0, mask * 3, mask * 7, mask * 255], -1).astype(np.uint8)
    rle = list(brush_of_tool.encode_rle(pixels.ravel()))
    assert np.array_equal(decode_brush(rle, mask.shape, tmp_path), mask)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ([], "a stream that ends early"),
        (RLE[:20], "a stream that ends early"),
        ([0, 0, 0, 217, *RLE[4:]], "217 values"),
        ([255] * 40, "4294967295 values"),
        (["a"], "ends early"),
        ([-1, 300], "ends early"),
    ],
)
def test_damaged_brush_strokes_are_refused(tmp_path, rle, message):
    with pytest.raises(MaskError, match=message):
        decode_brush(rle, (6, 9), tmp_path / "a.json")


def test_polygons_and_brushes_come_to_their_pixels(tmp_path):
    save_image(tmp_path / "images" / "0a1b2c3d-cat.png")
    ring = (0, 0), (100 / 3, 0), (100 / 3, 50), (0, 50)
    save(tmp_path, task(1, "0a1b2c3d-cat.png", polygon("Sky", *ring), brush("Cat")))
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "label-studio"
    assert dataset.class_map.names == ("background", "Cat", "Sky")
    expected = np.zeros((6, 9), np.uint8)
    expected[STROKE == 1] = 1
    expected[:3, :3] = 2  # the smaller one lies on top
    assert np.array_equal(dataset.load(dataset.records[0]).mask, expected)


def test_boxes_and_ellipses_turn_as_in_the_tool(tmp_path):
    size = (100, 200)
    save_image(tmp_path / "a.png", size)
    box = {"x": 50, "y": 20, "width": 20, "height": 10, "rotation": 90, "rectanglelabels": ["box"]}
    oval = {
        "x": 25,
        "y": 50,
        "radiusX": 10,
        "radiusY": 5,
        "rotation": 90,
        "ellipselabels": ["oval"],
    }
    results = result(box, "rectanglelabels", size), result(oval, "ellipselabels", size)
    save(tmp_path, task(1, "a.png", *results))
    dataset = open_dataset(tmp_path)
    mask = dataset.load(dataset.records[0]).mask
    # 40 x 10 pixels, turned clockwise around the first corner (100, 20).
    assert (mask[20:60, 90:100] == 1).all()
    assert (mask == 1).sum() == 400
    assert (mask == 2).sum() == pytest.approx(np.pi * 20 * 5, rel=0.03)
    assert mask[68, 50] == 2
    assert mask[50, 58] == 0


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("/data/upload/3/0a1b2c3d-my%20cat.png", "my cat.png"),
        ("/data/local-files/?d=set/photos/a.png", "photos/a.png"),
        ("s3://bucket/photos/a.png", "photos/a.png"),
        ("https://example.org/photos/a.png?size=large", "photos/a.png"),
        ("C:\\photos\\a.png", "photos/a.png"),
    ],
)
def test_the_image_of_a_task_is_found_by_its_name(tmp_path, image, file):
    save_image(tmp_path / file)
    whole = polygon("Sky", (0, 0), (100, 0), (100, 100), (0, 100))
    save(tmp_path, task(1, None, whole, data={"image": image}))
    (record,) = open_dataset(tmp_path).records
    assert record.image == tmp_path / file


def test_the_min_export_gives_the_same_mask(tmp_path):
    save_image(tmp_path / "a.png")
    ring = [[0, 0], [50, 0], [50, 100], [0, 100]]
    entry = {"points": ring, "closed": True, "polygonlabels": ["Sky"], "original_width": 9,
             "original_height": 6}  # fmt: skip
    stroke = {"format": "rle", "rle": RLE, "brushlabels": ["Cat"], "original_width": 9,
              "original_height": 6}  # fmt: skip
    save(tmp_path, {"image": "/data/upload/3/0a1b2c3d-a.png", "id": 4, "tag": [entry, stroke],
                    "annotator": 1, "annotation_id": 2, "created_at": "2024"})  # fmt: skip
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("background", "Cat", "Sky")
    assert (dataset.load(dataset.records[0]).mask == 1).sum() == STROKE.sum()


def test_unlabeled_and_skipped_tasks_are_left_out_and_an_empty_one_is_background(tmp_path):
    for name in "abcd":
        save_image(tmp_path / f"{name}.png")
    skipped = task(2, "b.png")
    skipped["annotations"][0]["was_cancelled"] = True
    save(tmp_path, task(1, "a.png", brush("Cat")), skipped, task(3, "c.png", annotations=[]),
         task(4, "d.png"))  # fmt: skip
    dataset = open_dataset(tmp_path)
    assert [record.name for record in dataset.records] == ["a", "d"]
    assert "tasks without an annotation are left out: 2" in dataset.notes
    assert "images without an object are background: 1 of 2" in dataset.notes


@pytest.mark.parametrize("best", [0, 1])
def test_the_ground_truth_goes_before_a_later_annotation(tmp_path, best):
    save_image(tmp_path / "a.png")
    both = task(1, "a.png", brush("first"))
    both["annotations"].append({"result": [brush("second")], "updated_at": "2025"})
    both["annotations"][0] |= {"updated_at": "2024", "ground_truth": best == 0}
    save(tmp_path, both)
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names[1] == ("first", "second")[best]
    assert "tasks of which the ground truth or the latest annotation counts: 1" in dataset.notes


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            result({"x": 1, "y": 2, "keypointlabels": ["nose"]}, "keypointlabels"),
            "an area but have",
        ),
        (polygon("Sky", (0, 0), (9, 9)), "at least 3 corners"),
        (polygon("Sky", (0, 0), ("a", 9), (3, 3)), "at least 3 corners"),
        (
            result({"points": [], "polygonlabels": ["a", "b"]}, "polygonlabels"),
            "one label but have",
        ),
    ],
)
def test_regions_that_cannot_be_used_are_left_out_and_counted(tmp_path, bad, message):
    save_image(tmp_path / "a.png")
    good = [brush("Cat") for _ in range(24)]
    choice = result({"choices": ["sharp"]}, "choices")
    save(tmp_path, task(1, "a.png", *good, bad, choice))
    (note,) = [note for note in open_dataset(tmp_path).notes if "left out" in note]
    assert note.startswith("1 of 25 annotations are left out: 1 (task 1 region 24) must have")
    assert message in note


def test_a_task_without_an_image_is_refused(tmp_path):
    save_image(tmp_path / "a.png")
    save(tmp_path, task(1, None, brush("Cat"), data={"text": "a letter"}))
    with pytest.raises(FormatError, match="task 1 must name an image"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["[]", "[{}]", '[{"type": "Feature"}]', '{"images": []}'])
def test_json_of_other_tools_is_not_detected(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert LabelStudio().detect(tmp_path).score == 0


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, damaged, is_read):
    save_image(tmp_path / "a.png")
    ring = (0, 0), (50, 0), (50, 100)
    path = save(tmp_path, task(1, "a.png", polygon("Sky", *ring), brush("Cat")))
    class_map = ClassMap.build(("background", "Cat", "Sky"))
    assert is_read(LabelStudio(), tmp_path, class_map)
    for content in damaged(path.read_bytes(), 200):
        path.write_bytes(content)
        is_read(LabelStudio(), tmp_path, class_map)
