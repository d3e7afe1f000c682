"""Ultralytics' polygons are read as it reads them, never from outside the folder, and written."""

from collections import Counter

import numpy as np
import pytest
import shapely
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import MaskContent
from pixelwise.data.formats.yolo.yolo import Yolo
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, FormatError, PixelwiseError

NAMES = ["road", "car"]


def save_image(path, size=(8, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return path


def save_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def square(class_id, left, top, side):
    """A line of a square in an image of 10 x 8."""
    right, bottom = (left + side) / 10, (top + side) / 8
    left, top = left / 10, top / 8
    return f"{class_id} {left} {top} {right} {top} {right} {bottom} {left} {bottom}\n"


def read(folder, label_mode="multiclass"):
    """The masks of a folder and its class map."""
    yolo = Yolo(label_mode=label_mode)
    records = yolo.records(folder)
    class_map = yolo.class_map(folder, records)
    return [yolo.load(record, class_map).mask for record in records], class_map


@pytest.fixture
def mask_of(tmp_path):
    """The mask of one image with the given lines."""

    def load(text, label_mode="multiclass", **entries):
        save_image(tmp_path / "images" / "train" / "a.png")
        save_text(tmp_path / "labels" / "train" / "a.txt", text)
        content = {"train": "images/train", "names": NAMES, **entries}
        save_text(tmp_path / "data.yaml", yaml.safe_dump(content))
        (mask,), _ = read(tmp_path, label_mode)
        return mask

    return load


def test_a_polygon_is_painted_at_its_place(mask_of):
    expected = np.zeros((8, 10), np.uint8)
    expected[2:5, 3:6] = 2
    assert np.array_equal(mask_of(square(1, 3, 2, 3)), expected)


@pytest.mark.parametrize("order", [1, -1])
def test_the_smaller_polygon_lies_over_the_larger_one(mask_of, order):
    lines = [square(0, 0, 0, 6), square(1, 2, 2, 2)]
    mask = mask_of("".join(lines[::order]))
    assert mask[3, 3] == 2
    assert mask[0, 0] == 1


def test_multilabel_classes_keep_both(mask_of):
    mask = mask_of(square(0, 0, 0, 6) + square(1, 2, 2, 2), label_mode="multilabel")
    assert mask.shape == (2, 8, 10)
    assert mask[:, 3, 3].tolist() == [255, 255]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_label_file_is_background(mask_of, text):
    assert not mask_of(text).any()


def test_a_missing_label_file_is_background(tmp_path):
    for name in ("a", "b"):
        save_image(tmp_path / "images" / f"{name}.png")
    save_text(tmp_path / "labels" / "b.txt", square(0, 0, 0, 4))
    (first, second), class_map = read(tmp_path)
    assert not first.any()
    assert second[0, 0] == 1
    assert class_map.names == ("background", "class-0")


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"names": ["road", "car"]}, ("background", "road", "car")),
        ({"names": {1: "car", 0: "road"}, "nc": 2}, ("background", "road", "car")),
        ({"names": ["sky", "background"]}, ("sky", "background")),
        ({"names": [1, 2]}, ("background", "1", "2")),
        ({"nc": 2}, ("background", "class-0", "class-1")),
    ],
)
def test_the_data_yaml_names_the_classes(tmp_path, entries, names):
    save_image(tmp_path / "images" / "a.png")
    save_text(tmp_path / "labels" / "a.txt", "")
    save_text(tmp_path / "data.yaml", yaml.safe_dump({"train": "images", **entries}))
    assert read(tmp_path)[1].names == names


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"names": ["yes", True]}, "into quotes"),
        ({"names": {0: "road", 2: "car"}}, "numbered from 0"),
        ({"names": "road"}, "listed or numbered"),
        ({"names": ["road", "road"]}, "'road' twice"),
        ({"names": ["road"], "nc": 2}, "nc must be the number of names, 1"),
        ({"names": ["road"], "kpt_shape": [17, 3]}, "kpt_shape"),
        ({"names": ["road"], "train": 3}, "train must be a folder"),
        ({"names": ["road"], "train": "elsewhere"}, "which is not found there"),
        ({"names": [f"c{number}" for number in range(255)]}, "1 to 255 classes"),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_refused(mask_of, entries, message):
    with pytest.raises(FormatError, match=message) as error_info:
        mask_of("", **entries)
    assert "data.yaml" in str(error_info.value)


@pytest.mark.parametrize("root", [None, ".", "/content/datasets/streets", "../datasets/streets"])
@pytest.mark.parametrize("prefix", ["", "./", "../", "/somewhere/else/"])
def test_the_paths_of_another_machine_lead_into_the_folder(tmp_path, root, prefix):
    for split in ("train", "valid"):
        save_image(tmp_path / split / "images" / "a.png")
        save_text(tmp_path / split / "labels" / "a.txt", square(0, 0, 0, 4))
    content = {
        "train": f"{prefix}train/images",
        "val": f"{prefix}valid/images",
        "test": f"{prefix}test/images",  # Roboflow names it even where there is none
        "names": NAMES,
    }
    save_text(tmp_path / "data.yaml", yaml.safe_dump(content | ({"path": root} if root else {})))
    assert Yolo().detect(tmp_path).score == 0.95
    assert [(record.name, record.split) for record in Yolo().records(tmp_path)] == [
        ("train/images/a", "train"),
        ("valid/images/a", "val"),
    ]


@pytest.mark.parametrize("root", [None, "/content/datasets/streets"])
def test_a_split_may_be_the_folder_itself(tmp_path, root):
    save_image(tmp_path / "a.png")
    save_text(tmp_path / "a.txt", square(0, 0, 0, 4))
    content = {"path": root, "train": ".", "names": NAMES}
    save_text(tmp_path / "data.yaml", yaml.safe_dump(content))
    assert read(tmp_path)[0][0][0, 0] == 1


def test_lists_name_the_images(tmp_path):
    for name in ("a", "b", "c"):
        save_image(tmp_path / "images" / "all" / f"{name}.png")
        save_text(tmp_path / "labels" / "all" / f"{name}.txt", square(0, 0, 0, 4))
    save_text(tmp_path / "train.txt", "./images/all/a.png\n\n/home/me/images/all/b.png\n")
    save_text(tmp_path / "val.txt", "images\\all\\c.png\n")
    content = {"path": "sets/streets", "train": "train.txt", "val": ["val.txt"], "names": NAMES}
    save_text(tmp_path / "data.yaml", yaml.safe_dump(content))
    records = Yolo().records(tmp_path)
    assert [(record.image.stem, record.split) for record in records] == [
        ("a", "train"),
        ("b", "train"),
        ("c", "val"),
    ]
    save_text(tmp_path / "val.txt", "images/all/d.png\n")
    with pytest.raises(FormatError, match=r"val\.txt must name images in .*d\.png"):
        Yolo().records(tmp_path)


def test_folders_that_were_renamed_after_the_export_are_found_and_said(tmp_path):
    for part in ("images_1st_500", "images_2nd_500"):
        save_image(tmp_path / "train" / part / f"{part}.png")
        labels = tmp_path / "train" / part.replace("images", "labels")
        save_text(labels / f"{part}.txt", square(0, 0, 0, 4))
    save_image(tmp_path / "test" / "images" / "a.png")
    save_text(tmp_path / "test" / "labels" / "a.txt", square(0, 0, 0, 4))
    content = {split: f"../{home}/images" for split, home in
               (("train", "train"), ("val", "valid"), ("test", "test"))}  # fmt: skip
    save_text(tmp_path / "data.yaml", yaml.safe_dump({**content, "names": NAMES}))
    dataset = open_dataset(tmp_path)
    assert [(record.image.parent.name, record.split) for record in Yolo().records(tmp_path)] == [
        ("images", "test"), ("images_1st_500", "train"), ("images_2nd_500", "train"),
    ]  # fmt: skip
    assert all(dataset.load(record).mask.sum() == 16 for record in dataset.records)
    assert any(
        note.endswith("do not exist; read instead: images_1st_500, images_2nd_500")
        for note in dataset.notes
    )


def test_no_path_leads_out_of_the_folder(tmp_path):
    save_image(tmp_path / "outside" / "images" / "secret.png")
    save_text(tmp_path / "outside" / "labels" / "secret.txt", square(0, 0, 0, 4))
    folder = tmp_path / "data"
    save_image(folder / "images" / "a.png")
    save_text(folder / "labels" / "a.txt", square(0, 0, 0, 4))
    outside = tmp_path / "outside" / "images"
    for entry in ("../outside/images", str(outside), "images/../../outside/images"):
        save_text(folder / "data.yaml", yaml.safe_dump({"train": entry, "names": NAMES}))
        assert [record.image.stem for record in Yolo().records(folder)] == ["a"]
    (folder / "train.txt").write_text(f"../outside/images/secret.png\n{outside}/secret.png\n")
    save_text(folder / "data.yaml", yaml.safe_dump({"train": "train.txt", "names": NAMES}))
    with pytest.raises(FormatError, match="must name images in"):
        Yolo().records(folder)


@pytest.mark.parametrize("layout", ["images/{}", "{}/images", "set/images/{}2024"])
def test_folders_say_the_splits_where_no_data_yaml_does(tmp_path, layout):
    for split in ("train", "val"):
        place = layout.format(split)
        save_image(tmp_path / place / "a.png")
        save_text(tmp_path / place.replace("images", "labels") / "a.txt", square(0, 0, 0, 4))
    assert Yolo().detect(tmp_path).score == 0.85
    assert [record.split for record in Yolo().records(tmp_path)] == ["train", "val"]


def test_images_of_a_split_without_any_labels_are_refused_but_for_the_test(tmp_path):
    save_image(tmp_path / "images" / "train" / "a.png")
    save_text(tmp_path / "labels" / "train" / "a.txt", "")
    save_image(tmp_path / "images" / "test" / "b.png")
    assert len(Yolo().records(tmp_path)) == 1
    save_image(tmp_path / "images" / "val" / "c.png")
    with pytest.raises(FormatError, match=r"c\.png, .* must have labels in .*c\.txt"):
        Yolo().records(tmp_path)


def test_labels_without_an_image_are_refused(tmp_path):
    save_image(tmp_path / "images" / "a.png")
    save_text(tmp_path / "labels" / "a.txt", "")
    save_text(tmp_path / "labels" / "classes.txt", "road\ncar\n")
    assert len(Yolo().records(tmp_path)) == 1
    save_text(tmp_path / "labels" / "b.txt", square(0, 0, 0, 4))
    with pytest.raises(FormatError, match=r"b\.txt must have an image"):
        Yolo().records(tmp_path)


BAD_LINES = {
    "a box": ("0 0.5 0.5 0.2 0.2", "as in a box for object detection"),
    "a box with a score": ("0 0.5 0.5 0.2 0.2 0.9", "without scores"),
    "a polygon with a score": (square(0, 1, 1, 3).strip() + " 0.9", "without scores"),
    "an instance id": ("0 17 0.1 0.1 0.2 0.1 0.2 0.2", "without scores or ids"),
    "a class alone": ("0", "have 0 numbers"),
    "pixels": ("0 12 40 120 40 120 400", "relative to width and height but have 400"),
    "words": ("car 0.1 0.1 0.2 0.1 0.2 0.2", "a class id and coordinates"),
    "no number": ("0 nan 0.1 0.2 0.1 0.2 0.2", "a class id and coordinates"),
    "infinity": ("0 1e999 0.1 0.2 0.1 0.2 0.2", "a class id and coordinates"),
    "half a class": ("0.5 0.1 0.1 0.2 0.1 0.2 0.2", "a class id and coordinates"),
    "a negative class": ("-1 0.1 0.1 0.2 0.1 0.2 0.2", "a class id and coordinates"),
    "a huge class": ("1e15 0.1 0.1 0.2 0.1 0.2 0.2", "a class id and coordinates"),
    "an unnamed class": ("2 0.1 0.1 0.2 0.1 0.2 0.2", "a class id of 0 to 1 but have 2"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_is_no_polygon_is_left_out_among_many(mask_of, tmp_path, case):
    line, message = BAD_LINES[case]
    good = "".join(square(0, left % 4, 0, 1) for left in range(20))
    assert mask_of(f"{good}{line}\n").sum() == 4
    dataset = open_dataset(tmp_path)
    (note,) = [note for note in dataset.notes if "left out" in note]
    assert note.startswith("1 of 21 annotations are left out: 1 (line 21) must have")
    assert message in note
    mask_of(square(0, 0, 0, 4) + line + "\n")
    with pytest.raises(FormatError, match=rf"1 of 2 in a\.txt: 1 \(line 2\) .*{message}"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "line", ["1.0 0,1 0,125 0,3 0,125 0,3 0,375", "1.0000e+00 .1 .125 .3 .125 .3 .375"]
)
def test_decimal_commas_and_classes_as_floats_are_read(mask_of, tmp_path, line):
    expected = mask_of("1 0.1 0.125 0.3 0.125 0.3 0.375")
    assert expected.any()
    assert np.array_equal(mask_of(line), expected)
    assert Yolo().detect(tmp_path).score == 0.95
    (tmp_path / "data.yaml").unlink()
    assert Yolo().detect(tmp_path).score == 0.85


def test_masks_beside_labels_of_boxes_are_what_is_read(tmp_path):
    for name in "abc":
        save_image(tmp_path / "images" / f"{name}.png")
        save_text(tmp_path / "labels" / f"{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(FormatError, match=r"3 of 3 in .* as in a box for object"):
        open_dataset(tmp_path)
    for name in "abc":
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.eye(8, 10, dtype=np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    assert open_dataset(tmp_path).format.name == "index-masks"


def test_a_damaged_file_does_not_hide_the_kind_of_the_others(tmp_path):
    for name, text in (("a", "box 1 2 3"), ("b", square(0, 0, 0, 4)), ("c", square(0, 0, 0, 4))):
        save_image(tmp_path / "images" / f"{name}.png")
        save_text(tmp_path / "labels" / f"{name}.txt", text)
    assert Yolo().detect(tmp_path).score == 0
    save_text(tmp_path / "data.yaml", yaml.safe_dump({"train": "images", "names": NAMES}))
    assert Yolo().detect(tmp_path).score == 0.95


@pytest.mark.parametrize("val", ["images/all", "./images/all/"])
@pytest.mark.parametrize("has_test", [True, False])
def test_one_folder_for_train_and_val_is_called_a_leak_and_split(tmp_path, val, has_test):
    for place, count in (("all", 20), ("test", 3 * has_test)):
        for number in range(count):
            save_image(tmp_path / "images" / place / f"{number}.png")
            save_text(tmp_path / "labels" / place / f"{number}.txt", square(0, 0, 0, 4))
    content = {"train": "images/all", "val": val, "names": NAMES}
    content |= {"test": "images/test"} if has_test else {}
    save_text(tmp_path / "data.yaml", yaml.safe_dump(content))
    dataset = open_dataset(tmp_path)
    splits = Counter(record.split for record in dataset.records)
    assert splits == Counter({"train": 17, "val": 3, "test": 3 * has_test})
    assert any("data.yaml names the same images as train and val, a leak" in note
               for note in dataset.notes)  # fmt: skip


def test_coordinates_slightly_outside_are_cut(mask_of):
    mask = mask_of("0 -0.005 -0.005 1.005 -0.005 1.005 1.005 -0.005 1.005")
    assert (mask == 1).all()


def test_labels_that_are_no_text_are_refused(mask_of, tmp_path):
    mask_of("")
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a\.txt must be a readable text file"):
        read(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "Car 0.00 0 1.57 599.41 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56",
        "2753 2408",
        "10,20,30,40,50,60,70,80,plane,0",
        "images/a.png labels/a.png",
        "",
    ],
)
def test_other_text_files_are_not_detected_as_yolo(tmp_path, line):
    save_image(tmp_path / "images" / "a.png")
    save_text(tmp_path / "labels" / "a.txt", f"{line}\n")
    assert Yolo().detect(tmp_path).score == 0


def test_a_yaml_of_mask_folders_is_not_detected_as_yolo(tmp_path):
    save_image(tmp_path / "images" / "a.png")
    save_image(tmp_path / "masks" / "a.png")
    content = {"train": "images", "masks_dir": "masks", "names": NAMES}
    save_text(tmp_path / "data.yaml", yaml.safe_dump(content))
    assert Yolo().detect(tmp_path).score == 0


def test_ignored_pixels_beside_a_background_are_refused():
    without, beside = ClassMap.build(("sky", "road")), ClassMap.build(("background", "road"))
    yolo = Yolo()
    assert yolo.refusal(MaskContent(without, "multiclass", has_ignored=True, is_soft=False)) is None
    reason = yolo.refusal(MaskContent(beside, "multiclass", has_ignored=True, is_soft=False))
    assert reason == "it cannot represent ignored pixels"


def write(folder, mask, class_map=None):
    image = np.zeros((*mask.shape, 3), np.uint8)
    source = save_image(folder / "source.png", mask.shape)
    class_map = class_map or ClassMap.build(("background", *NAMES))
    sample = Sample("a", image, mask, "multiclass")
    out = folder / "out"
    Yolo().write(out, [(Record("train/a", source, split="train"), sample)], class_map)
    return out, class_map


@settings(deadline=None, max_examples=40)
@given(
    region=st.tuples(st.integers(1, 12), st.integers(1, 3000)).flatmap(
        lambda size: arrays(np.uint8, size, elements=st.sampled_from([0, 0, 1, 2]), fill=st.just(1))
    ),
    is_upright=st.booleans(),
)
def test_every_pixel_survives_shares_of_any_width_and_height(tmp_path_factory, region, is_upright):
    mask = region.T if is_upright else region
    out, class_map = write(tmp_path_factory.mktemp("one"), np.ascontiguousarray(mask))
    (again,), found = read(out)
    assert found.names == class_map.names
    assert np.array_equal(again, mask)


def test_a_region_with_holes_is_one_polygon(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[5:35, 5:55] = 1
    for left in (10, 25, 40):
        mask[10:20, left : left + 7] = 0
        mask[13:15, left + 2 : left + 4] = 2
    out, _ = write(tmp_path, mask)
    lines = (out / "labels" / "train" / "a.txt").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == ["0", "1", "1", "1"]
    x, y = np.array(lines[0].split()[1:], float).reshape(-1, 2).T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 * mask.size
    assert round(area) == (mask == 1).sum()  # holes wind the other way, for other fill rules
    assert np.array_equal(read(out)[0][0], mask)


def test_what_is_written_is_described_for_ultralytics(tmp_path):
    out, _ = write(tmp_path, np.ones((8, 10), np.uint8))
    content = yaml.safe_load((out / "data.yaml").read_text())
    assert content == {"train": "images/train", "names": {0: "road", 1: "car"}}
    class_id, *corners = (out / "labels/train/a.txt").read_text().split()
    assert class_id == "0"
    assert len(corners) == 8
    ring = shapely.Polygon(np.array(corners, float).reshape(4, 2))
    assert ring.normalize() == shapely.box(0, 0, 1, 1).normalize()


def test_an_image_without_splits_and_shapes_is_read_back(tmp_path):
    source = save_image(tmp_path / "a.png")
    mask = np.zeros((8, 10), np.uint8)
    sample = Sample("a", np.zeros((8, 10, 3), np.uint8), mask, "multiclass")
    class_map = ClassMap.build(("background", *NAMES))
    Yolo().write(tmp_path / "out", [(Record("a", source), sample)], class_map)
    (record,) = Yolo().records(tmp_path / "out")
    assert record.split is None
    assert not read(tmp_path / "out")[0][0].any()


def test_unpainted_pixels_are_ignored_where_there_is_no_background(tmp_path):
    mask = np.full((8, 10), IGNORE_INDEX, np.uint8)
    mask[2:5, 3:6] = 1
    out, class_map = write(tmp_path, mask, ClassMap.build(("sky", "road")))
    (record,) = Yolo().records(out)
    assert np.array_equal(Yolo().load(record, class_map).mask, mask)


def test_a_card_names_the_numbers_where_no_data_yaml_does(tmp_path):
    save_image(tmp_path / "images" / "a.png")
    save_text(tmp_path / "labels" / "a.txt", square(1, 0, 0, 4))
    save_text(tmp_path / "dataset.yaml", "format: yolo\nclasses: [background, road, car]\n")
    dataset = open_dataset(tmp_path)
    assert dataset.load(dataset.records[0]).mask[0, 0] == 2


TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["0", "1", "0.5", "-1", "1e999", "nan", "9" * 5000, "\x00", "٣", "\n", " "])
    ).map(" ".join),
)

YAML_TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["names: [a, b]", "names: {0: a}", "names: {a: 0}", "names:", "nc: 0x" + "f" * 5000,
             "nc: 3", "train: images", "train: [images, 3]", "train: '" + "a/" * 3000 + "'",
             "train: \"\\0\"", "path: [", "path: .", "val: {}", "!!int x: 1", "names: &a [*a]",
             "names: [0x" + "f" * 5000 + "]", "train: a.txt", "test: ..", "train: ''"]
        ),
        max_size=5,
    ).map("\n".join),
)  # fmt: skip


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(labels=TEXTS, data=YAML_TEXTS, listed=st.text(max_size=30))
def test_damaged_text_gives_a_mask_or_an_error_of_ours(tmp_path_factory, labels, data, listed):
    folder = tmp_path_factory.mktemp("one")
    save_image(folder / "images" / "a.png")
    for path, text in (("labels/a.txt", labels), ("data.yaml", data), ("a.txt", listed)):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(text.encode("utf-8", "surrogatepass"))
    Yolo().detect(folder)
    try:
        masks, class_map = read(folder)
    except PixelwiseError:
        return
    assert all(mask.shape == (8, 10) for mask in masks)
    assert class_map.num_classes >= 1
