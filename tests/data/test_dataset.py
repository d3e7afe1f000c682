import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.data.card import DatasetCard
from pixelwise.data.dataset import open_dataset
from pixelwise.data.sample import Record
from pixelwise.data.split_assignment import assign_splits, parse_split
from pixelwise.errors import ConfigError, DataError


def write_card(folder, **entries):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(yaml.safe_dump(entries))
    return folder / "dataset.yaml"


def records_named(*names, split=None):
    return [Record(name, Path(f"{name}.png"), split=split) for name in names]


def splits_of(records):
    return {record.name: record.split for record in records}


def test_a_missing_folder_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_the_notes_say_what_was_found_and_why(tmp_path, make_index_dataset):
    notes = open_dataset(make_index_dataset(tmp_path, num_images=10)).notes
    assert notes[0].startswith("format index-masks: image and mask files in images/ with masks/")
    assert notes[1].startswith("10 images, 3 multiclass classes: class-0, class-1, class-2")
    assert notes[2] == "splits drawn with seed 0 from 70/15/15: 6 train, 2 val, 2 test"


def test_a_card_names_classes_colors_values_and_ignored_ones(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_classes=3, ignored=9)
    write_card(
        tmp_path,
        classes=["ground", {"name": "house", "color": [1, 2, 3], "value": 2},
                 {"name": "road", "value": 1}],
        ignore=[9],
        split="50/25/25",
    )  # fmt: skip
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("ground", "house", "road")
    assert dataset.class_map.colors[1] == (1, 2, 3)
    assert dataset.class_map.values == (0, 2, 1)
    assert dataset.class_map.ignore == (9,)
    assert dataset.drawn_split == "50/25/25"
    record = dataset.records[0]
    with Image.open(record.masks[0]) as picture:
        stored = np.asarray(picture)
    expected = np.select([stored == 0, stored == 2, stored == 1], [0, 1, 2], 255)
    np.testing.assert_array_equal(dataset.load(record).mask, expected)


def test_a_card_beside_the_data_says_where_it_lies(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path / "data")
    card = write_card(tmp_path / "cards", path="../data", classes=["a", "b", "c"])
    for path in (card, tmp_path / "cards"):
        assert open_dataset(path).class_map.names == ("a", "b", "c")


def test_a_card_may_contain_only_the_ignore_value(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_classes=3, ignored=200)
    write_card(tmp_path, ignore=[200])
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.num_classes == 3
    assert (dataset.load(dataset.records[0]).mask[-1] == 255).all()


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"clases": ["a"]}, r"dataset\.yaml: clases .*Did you mean 'classes'"),
        ({"classes": ["a", "a"]}, r"dataset\.yaml.*names must be unique. Got a twice"),
        ({"classes": ["a", "b"], "ignore": [1]}, r"class or ignored, not both\. Got \[1\]"),
        ({"classes": [{"name": "a", "color": [0, 300, 0]}]}, r"dataset\.yaml.*255.*Got 300"),
        ({"classes": ["a", {"name": "b", "value": 10**20}]}, r"dataset\.yaml: classes.*Got 1000"),
        ({"ignore": [-(10**20)]}, r"dataset\.yaml: ignore.*Got -1000"),
        ({"path": "elsewhere"}, r"dataset\.yaml: path must be a folder\. Got elsewhere"),
        ({"format": "index"}, r"format must be a known name\. Got 'index'"),
        ({"split": "70/70"}, r"add up to 100.*'70/70'"),
        ({"augmentation": {"scale": [0, 1]}}, r"dataset\.yaml: augmentation\.scale"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(tmp_path, make_index_dataset, card, message):
    make_index_dataset(tmp_path)
    write_card(tmp_path, **card)
    with pytest.raises(ConfigError, match=message) as refused:
        open_dataset(tmp_path)
    assert "\n" not in str(refused.value)


def test_an_ignore_value_that_no_mask_can_store_is_refused(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"label options: ignore.*Got 1000"):
        open_dataset(tmp_path, ignore=(10**20,))


def test_a_value_outside_the_card_is_refused_with_file_and_value(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_classes=3, num_images=1, size=(6, 6))
    write_card(tmp_path, classes=["a", "b"])
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"masks/000\.png must contain class ids 0, 1 .*Got 2 \("):
        dataset.load(dataset.records[0])


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("70/15/15", (0.7, 0.15, 0.15)), ("0.5/0.25/0.25", (0.5, 0.25, 0.25)),
        ("70/30", (0.595, 0.105, 0.3)), ("90/10/0", (0.9, 0.1, 0.0)),
    ],
)  # fmt: skip
def test_split_shares_are_read(text, shares):
    assert parse_split(text) == pytest.approx(shares)


@pytest.mark.parametrize("text", ["70", "70/20", "a/b", "", "0/50/50", "120/-20", "50/25/25/0"])
def test_shares_that_do_not_add_up_are_refused(text):
    with pytest.raises(ConfigError, match="add up to 100"):
        parse_split(text)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(3, 60), seed=st.integers(0, 5), order=st.randoms(use_true_random=False))
def test_a_drawn_split_depends_on_names_and_seed_and_not_on_order(count, seed, order):
    records = records_named(*[f"image{number}" for number in range(count)])
    shuffled = records.copy()
    order.shuffle(shuffled)
    first, _ = assign_splits(records, "70/15/15", seed)
    second, _ = assign_splits(shuffled, "70/15/15", seed)
    assert first == second
    counts = [sum(record.split == name for record in first) for name in ("train", "val", "test")]
    assert sum(counts) == count
    assert min(counts) >= 1
    assert counts[1:] == [max(1, round(count * 0.15))] * 2


def test_another_seed_draws_another_split():
    records = records_named(*[f"image{number}" for number in range(40)])
    draws = [splits_of(assign_splits(records, "70/30", seed)[0]) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_drawing_a_split_does_not_change_global_random_generators():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    assign_splits(records_named("a", "b", "c"), "70/15/15", 0)
    assert random.random() == expected


def test_given_splits_are_kept_and_only_a_missing_validation_is_drawn():
    train = records_named(*[f"t{number}" for number in range(20)], split="train")
    test = records_named("e1", "e2", split="test")
    result, notes = assign_splits([*test, *train], "50/25/25", 0)
    splits = splits_of(result)
    assert splits["e1"] == splits["e2"] == "test"
    assert list(splits.values()).count("val") == 3
    assert list(splits.values()).count("train") == 17
    assert "15% of train set aside with seed 0" in notes[-1]
    given_val = records_named("v", split="val")
    result, _ = assign_splits([*given_val, *train], "50/25/25", 0)
    assert list(splits_of(result).values()).count("val") == 1


def test_a_folder_may_hold_one_split_only(tmp_path, make_index_dataset):
    dataset = open_dataset(make_index_dataset(tmp_path, splits=("test",)))
    assert len(dataset.split("test")) == len(dataset.split("all")) == 6
    with pytest.raises(DataError, match=r"split 'val'\. It contains only test"):
        dataset.split("val")
    with pytest.raises(ConfigError, match=r"train, val, test or all\. Got 'dev'"):
        dataset.split("dev")


def test_the_fingerprint_is_that_of_the_data_wherever_it_lies(tmp_path, make_index_dataset):
    first = open_dataset(make_index_dataset(tmp_path / "here", seed=1)).fingerprint
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert open_dataset(tmp_path / "there").fingerprint == first
    (tmp_path / "there/images/000.png").write_bytes(b"12345")
    changed = open_dataset(tmp_path / "there").fingerprint
    for kind in ("images", "masks"):
        (tmp_path / f"here/{kind}/000.png").rename(tmp_path / f"here/{kind}/renamed.png")
    renamed = open_dataset(tmp_path / "here").fingerprint
    assert len({first, changed, renamed}) == 3


def test_the_state_changes_with_the_content_of_any_file_and_not_with_its_place(
    tmp_path, make_index_dataset
):
    folder = make_index_dataset(tmp_path / "here", num_images=3)
    for path in folder.glob("masks/*.png"):  # uncompressed, so that an edit keeps the size
        Image.open(path).save(path, compress_level=0)
    first = open_dataset(folder)
    states = {first.state}
    shutil.copytree(folder, tmp_path / "there")
    assert open_dataset(tmp_path / "there").state == first.state
    path = folder / "masks/001.png"
    Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path, compress_level=0)
    changed = open_dataset(folder)
    assert changed.fingerprint == first.fingerprint
    states |= {changed.state, open_dataset(folder, split_seed=1).state}
    assert len(states) == 3


def test_digits_are_made_on_the_spot_without_a_network(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset("digits")
    assert dataset.label_mode == "multilabel"
    assert dataset.class_map.names == ("digit-0", "digit-1", "digit-2")
    assert [len(dataset.split(name)) for name in ("train", "val")] == [1000, 200]
    assert dataset.augmentation.orientation == "fixed"
    assert open_dataset("digits").fingerprint == dataset.fingerprint


def without_masks(folder, make_index_dataset, make_object_dataset):
    make_index_dataset(folder, num_images=9)
    for number in (1, 4, 5):
        (folder / f"masks/{number:03d}.png").unlink()
    return "001.png must have a mask", "004.png, 005.png"


def without_images(folder, make_index_dataset, make_object_dataset):
    make_index_dataset(folder, num_images=9)
    for number in (1, 4, 5):
        (folder / f"images/{number:03d}.png").unlink()
    return "001.png must have an image", "004.png, 005.png"


def without_files_of_a_list(folder, make_index_dataset, make_object_dataset):
    make_index_dataset(folder / "a", num_images=9)
    lines = [f"a/images/{number:03d}.png a/masks/{number:03d}.png" for number in range(12)]
    (folder / "train.txt").write_text("\n".join(lines))
    return "train.txt line 10 must name", "line 11, line 12"


def without_image_folders(folder, make_index_dataset, make_object_dataset):
    make_object_dataset(folder, num_images=9)
    for number in (1, 4, 5):
        shutil.rmtree(folder / f"cell-{number:03d}/images")
    return "cell-001 must contain images/", "cell-004, cell-005"


@pytest.mark.parametrize(
    "broken",
    [without_masks, without_images, without_files_of_a_list, without_image_folders],
)
def test_files_of_one_fault_are_named_in_one_error(
    tmp_path, broken, make_index_dataset, make_object_dataset
):
    first, others = broken(tmp_path, make_index_dataset, make_object_dataset)
    with pytest.raises(DataError, match=first) as error_info:
        open_dataset(tmp_path)
    assert f"The same holds for 2 more: {others}" in str(error_info.value)
    assert "\n" not in str(error_info.value)


def test_many_files_of_one_fault_are_counted(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_images=60)
    for number in range(2, 60):
        (tmp_path / f"masks/{number:03d}.png").unlink()
    message = r"The same holds for 57 more: 003.png, 004.png, 005.png, 006.png, ...$"
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_other_faults_are_counted_beside_the_first(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_images=9)
    (tmp_path / "masks/001.png").unlink()
    for number in (4, 5):
        (tmp_path / f"images/{number:03d}.png").unlink()
    with pytest.raises(DataError, match=r"001\.png must have a mask.* There are 2 other problems"):
        open_dataset(tmp_path)


def test_a_single_problem_has_the_usual_message(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_images=9)
    (tmp_path / "masks/004.png").unlink()
    with pytest.raises(DataError, match=r"Add the mask, or move the image elsewhere$"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("key", DatasetCard.model_fields)
def test_an_empty_entry_of_a_card_equals_a_missing_one(tmp_path, key, make_index_dataset):
    make_index_dataset(tmp_path)
    without = open_dataset(tmp_path)
    (tmp_path / "dataset.yaml").write_text(f"{key}:\n")
    assert open_dataset(tmp_path).records == without.records


def test_an_empty_split_of_a_card_has_no_images(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, num_images=2)
    (tmp_path / "dataset.yaml").write_text(
        "splits:\n  train: [images/000]\n  val: [images/001]\n  test:\n"
    )
    assert {record.split for record in open_dataset(tmp_path).records} == {"train", "val"}


@pytest.mark.parametrize("nodata", [0, 7, float("nan")])
@pytest.mark.parametrize("kind", ["index-masks", "coco", "labelme"])
def test_pixels_without_data_in_a_raster_are_ignored_in_every_format(tmp_path, kind, nodata):
    pixels = np.full((6, 8, 2), 300.0, np.float32)
    pixels[:, :3] = nodata
    pixels[0, 0, 1] = 5  # data in one band is data
    pixels[5, 7, 0] = nodata
    tag = (42113, "s", 0, str(nodata), True)
    home = tmp_path / "images" if kind != "labelme" else tmp_path
    home.mkdir(exist_ok=True)
    layout = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(home / "a.tif", pixels, extratags=[tag], **layout)
    if kind == "index-masks":
        (tmp_path / "masks").mkdir()
        Image.fromarray(np.ones((6, 8), np.uint8)).save(tmp_path / "masks" / "a.png")
    corners = [[0, 0], [8, 0], [8, 6], [0, 6]]
    if kind == "coco":
        content = {
            "images": [{"id": 1, "file_name": "a.tif"}],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 1,
                    "category_id": 1,
                    "segmentation": [np.ravel(corners).tolist()],
                }
            ],
            "categories": [{"id": 1, "name": "field"}],
        }  # fmt: skip
        (tmp_path / "coco.json").write_text(json.dumps(content))
    if kind == "labelme":
        shape = {"label": "field", "points": corners, "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": "a.tif", "imageHeight": 6, "imageWidth": 8}
        (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = open_dataset(tmp_path, format=kind)
    expected = np.ones((6, 8), np.uint8)
    expected[:, :3] = 255
    expected[0, 0] = 1
    for _ in range(2):  # the second time from the cache, if there is one
        assert np.array_equal(dataset.load(dataset.records[0]).mask, expected)
