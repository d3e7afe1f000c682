import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats.class_masks import make_class_mask_folders, write_class_masks
from pixelwise.errors import ConfigError, DataError, FormatError, MaskError, UnknownNameError


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def pair(folder, stem, mask, images="images", masks="masks"):
    mask = np.asarray(mask, np.uint8)
    save(folder / images / f"{stem}.png", np.zeros((*mask.shape, 3)))
    save(folder / masks / f"{stem}.png", mask)


FOLDER_FORMATS = ("index-masks", "object-masks", "class-masks")
"""Masks as files of the image's size; what holds for every format is in test_round_trips."""


@pytest.fixture
def builders(make_index_dataset, make_object_dataset, make_class_dataset):
    """A builder for each format of mask files in folders."""
    return {
        "index-masks": make_index_dataset,
        "object-masks": make_object_dataset,
        "class-masks": make_class_dataset,
    }


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_every_format_keeps_its_contract(tmp_path, builders, name):
    builders[name](tmp_path, num_images=4, size=(9, 13))
    found, reason = detect_format(tmp_path)
    assert found.name == name
    assert reason
    assert found.layout
    records = found.records(tmp_path)
    assert len({record.name for record in records}) == len(records) == 4
    assert [record.name for record in records] == sorted(record.name for record in records)
    class_map = found.class_map(tmp_path, records)
    for record in records:
        sample = found.load(record, class_map)
        assert sample.name == record.name
        assert sample.image.shape == (9, 13, 3)
        assert sample.mask.dtype == np.uint8
        assert sample.label_mode == found.label_mode
        if found.label_mode == "multiclass":
            assert sample.mask.shape == (9, 13)
            assert set(np.unique(sample.mask)) <= {*range(class_map.num_classes), 255}
        else:
            assert sample.mask.shape == (class_map.num_classes, 9, 13)


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_every_format_takes_the_splits_of_the_folders(tmp_path, builders, name):
    builders[name](tmp_path, num_images=2, splits=("train", "valid", "testing"))
    found, _ = detect_format(tmp_path)
    records = found.records(tmp_path)
    assert found.name == name
    assert [(record.name.split("/")[0], record.split) for record in records] == [
        ("testing", "test"), ("testing", "test"), ("train", "train"), ("train", "train"),
        ("valid", "val"), ("valid", "val"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_every_format_is_independent_of_the_order_of_the_file_system(
    tmp_path, builders, name, monkeypatch
):
    builders[name](tmp_path, num_images=5, splits=("train", "val"))
    before = detect_format(tmp_path)[0].records(tmp_path)
    original = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(original(self), reverse=True))
    assert detect_format(tmp_path)[0].records(tmp_path) == before


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_every_format_refuses_a_mask_of_another_size(tmp_path, builders, name):
    builders[name](tmp_path, num_images=2, size=(8, 8))
    found, _ = detect_format(tmp_path)
    record = found.records(tmp_path)[0]
    save(record.masks[0], np.zeros((8, 9)))
    with pytest.raises(MaskError, match=rf"{record.masks[0].name} .*8 x 8\. Got 9 x 8"):
        found.load(record, found.class_map(tmp_path, [record]))


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_every_format_refuses_masks_as_jpeg(tmp_path, builders, name):
    builders[name](tmp_path, num_images=2)
    found, _ = detect_format(tmp_path)
    mask = found.records(tmp_path)[0].masks[0]
    with Image.open(mask) as picture:
        picture.save(mask.with_suffix(".jpg"))
    mask.unlink()
    with pytest.raises(DataError, match=rf"{mask.stem}\.jpg must be a lossless mask"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_hidden_files_of_other_systems_are_passed_over(tmp_path, builders, name):
    builders[name](tmp_path, num_images=2)
    found, _ = detect_format(tmp_path)
    before = found.records(tmp_path)
    for record in before:
        for path in (record.image, *record.masks):
            path.with_name(f"._{path.name}").write_bytes(b"resource fork")
    assert found.records(tmp_path) == before


def test_an_empty_folder_is_refused_with_what_is_expected(tmp_path):
    wanted = r"(?s)Got nothing.*list the pairs in .*train\.txt.*pixelwise data formats"
    with pytest.raises(FormatError, match=wanted):
        detect_format(tmp_path)


def test_a_folder_of_something_else_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "letter.doc").touch()
    with pytest.raises(FormatError, match=r"letter\.doc"):
        detect_format(tmp_path)


def test_two_formats_that_fit_equally_are_named_and_none_is_taken(tmp_path, builders):
    builders["object-masks"](tmp_path)
    builders["class-masks"](tmp_path)
    with pytest.raises(FormatError, match=r"object-masks.*class-masks|class-masks.*object-masks"):
        detect_format(tmp_path)


def test_an_unknown_format_gets_a_suggestion(tmp_path):
    with pytest.raises(UnknownNameError, match=r"'index-mask'.*Did you mean 'index-masks'"):
        detect_format(tmp_path, "index-mask")


def test_pairs_are_by_exact_stem_and_not_by_prefix(tmp_path):
    for number in (1, 10, 11, 100):
        pair(tmp_path, f"train{number}", np.full((2, 3), number % 7))
    found, _ = detect_format(tmp_path)
    stems = [(record.image.stem, record.masks[0].stem) for record in found.records(tmp_path)]
    assert stems == [(stem, stem) for stem in ("train1", "train10", "train100", "train11")]


def test_an_image_whose_name_is_only_a_prefix_of_a_mask_has_no_mask(tmp_path):
    pair(tmp_path, "train10", np.zeros((2, 3)))
    save(tmp_path / "images" / "train1.png", np.zeros((2, 3)))
    found, _ = detect_format(tmp_path)
    with pytest.raises(FormatError, match=r"train1\.png must have a mask .*nearest is train10"):
        found.records(tmp_path)


def test_a_mask_without_image_is_refused_by_name(tmp_path):
    pair(tmp_path, "a", np.zeros((2, 3)))
    save(tmp_path / "masks" / "b.png", np.zeros((2, 3)))
    with pytest.raises(FormatError, match=r"b\.png must have an image"):
        open_dataset(tmp_path)


def test_two_images_of_one_stem_are_refused_by_name(tmp_path):
    pair(tmp_path, "a", np.zeros((2, 3)))
    save(tmp_path / "images" / "a.bmp", np.zeros((2, 3)))
    with pytest.raises(FormatError, match=r"one image per name\. Got a\.bmp and a\.png"):
        open_dataset(tmp_path)


def test_two_folders_of_one_split_are_refused(tmp_path, make_index_dataset):
    make_index_dataset(tmp_path, splits=("val", "valid"))
    with pytest.raises(FormatError, match=r"Got val and valid, both val"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("train", "trainannot"), ("train", "train_labels"), ("images/train", "masks/train"),
        ("train/images", "train/masks"), ("train/img", "train/labels"),
    ],
)  # fmt: skip
def test_the_usual_layouts_of_index_masks_are_found(tmp_path, images, masks):
    pair(tmp_path, "one", [[0, 1], [1, 2]], images, masks)
    dataset = open_dataset(tmp_path, format=None)
    (record,) = dataset.records
    assert dataset.format.name == "index-masks"
    assert record.image == tmp_path / images / "one.png"
    assert record.masks == (tmp_path / masks / "one.png",)
    assert record.split == "train"


def test_list_files_pair_what_they_list_and_drop_a_foreign_prefix(tmp_path):
    for place, masks in (("scans", "painted"), ("more/scans", "more/painted")):
        pair(tmp_path, "a", np.zeros((2, 3)), place, masks)
        pair(tmp_path, "b", np.ones((2, 3)), place, masks)
    (tmp_path / "train.txt").write_text(
        "/home/ann/scans/a.png /home/ann/painted/a.png\n\nD:/more/scans/b.png more/painted/b.png\n"
    )
    (tmp_path / "val.txt").write_text("/other/scans/b.png /other/painted/b.png\n")
    records = {record.name: record for record in open_dataset(tmp_path).records}
    assert {name: record.split for name, record in records.items()} == {
        "scans/a": "train", "more/scans/b": "train", "scans/b": "val",
    }  # fmt: skip
    assert records["more/scans/b"].masks == (tmp_path / "more/painted/b.png",)
    assert records["scans/b"].masks == (tmp_path / "painted/b.png",)


def test_a_list_that_names_a_missing_file_is_refused_with_line_and_entry(tmp_path):
    pair(tmp_path, "a", np.zeros((2, 3)), "scans", "painted")
    (tmp_path / "train.txt").write_text(
        "x/scans/a.png x/painted/a.png\nscans/b.png painted/b.png\n"
    )
    with pytest.raises(FormatError, match=r"train\.txt line 2 .*scans/b\.png"):
        open_dataset(tmp_path)
    (tmp_path / "train.txt").write_text("x/scans/a.png x/painted/a.png\nscans/a.png\n")
    with pytest.raises(FormatError, match=r"train\.txt line 2 must contain an image and a mask"):
        open_dataset(tmp_path)


def test_an_image_listed_for_training_and_validation_is_refused(tmp_path):
    for stem in "ab":
        pair(tmp_path, stem, [[0, 1]], "scans", "painted")
    (tmp_path / "train.txt").write_text("scans/a.png painted/a.png\nscans/b.png painted/b.png\n")
    (tmp_path / "val.txt").write_text("scans/b.png painted/b.png\n")
    with pytest.raises(FormatError, match=r"scans/b"):
        open_dataset(tmp_path)


def test_255_beside_several_classes_is_ignored(tmp_path):
    pair(tmp_path, "a", [[0, 1], [2, 255]])
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.num_classes == 3
    np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, [[0, 1], [2, 255]])


def test_values_beyond_the_largest_class_id_are_refused_in_one_sentence(tmp_path):
    image = np.zeros((15, 20), np.uint8)
    save(tmp_path / "images" / "a.png", image)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(15, 20)).save(tmp_path / "masks/a.png")
    with pytest.raises(MaskError, match=r"masks must contain class ids"):
        open_dataset(tmp_path)
    Image.fromarray(np.arange(30, 330, dtype=np.uint16).clip(30, 258).reshape(15, 20)).save(
        tmp_path / "masks/a.png"
    )
    with pytest.raises(MaskError, match=r"masks must contain class ids .*from 30 to 258"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("ignored", [3, 50, 200, 254])
def test_any_ignore_value_can_be_said_and_adds_no_classes(tmp_path, ignored):
    pair(tmp_path, "a", [[0, 1], [2, ignored]])
    dataset = open_dataset(tmp_path, ignore=[ignored])
    assert dataset.class_map.num_classes == 3
    np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, [[0, 1], [2, 255]])


def test_an_ignore_value_within_the_classes_moves_the_ids_and_keeps_the_names(tmp_path):
    pair(tmp_path, "a", [[0, 1], [2, 1]])
    dataset = open_dataset(tmp_path, ignore=[0])
    assert dataset.class_map.names == ("class-1", "class-2")
    np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, [[255, 0], [1, 0]])


def object_folder(folder, name, objects, size=(4, 6)):
    save(folder / name / "images" / f"{name}.png", np.zeros((*size, 3)))
    (folder / name / "masks").mkdir()
    for index, mask in enumerate(objects):
        save(folder / name / "masks" / f"{index}.png", mask)


def test_objects_are_merged_whatever_white_they_were_drawn_with(tmp_path):
    first, second, third = (np.zeros((4, 6)) for _ in range(3))
    first[0, 0], second[1, 1:3], third[3, 5] = 255, 1, 255
    object_folder(tmp_path, "a", [first, second, third])
    dataset = open_dataset(tmp_path)
    expected = np.zeros((4, 6))
    for mask in (first, second, third):
        for place in np.argwhere(mask):
            expected[tuple(place)] = 1
    np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, expected)


def test_an_image_without_objects_is_all_background(tmp_path):
    object_folder(tmp_path, "empty", [])
    object_folder(tmp_path, "full", [np.full((4, 6), 255)])
    dataset = open_dataset(tmp_path)
    assert [int(dataset.load(record).mask.sum()) for record in dataset.records] == [0, 24]


def test_ignored_and_class_values_hold_for_object_masks_too(tmp_path):
    object_folder(tmp_path, "a", [np.eye(4, 6) * 255])
    dataset = open_dataset(tmp_path, ignore=[0])
    assert dataset.class_map.names == ("foreground",)
    np.testing.assert_array_equal(
        dataset.load(dataset.records[0]).mask, np.where(np.eye(4, 6) > 0, 0, 255)
    )


@pytest.mark.parametrize("unexpected", ["error", "nearest", "ignore"])
@pytest.mark.parametrize(
    ("first", "second", "ids"), [(0, 255, [0, 1]), (0, 700, [0, 1]), (1, 0, [1, 0])]
)
def test_a_card_may_give_objects_any_value(tmp_path, first, second, ids, unexpected):
    object_folder(tmp_path, "a", [np.eye(4, 6) * 255])
    classes = f"[{{name: one, value: {first}}}, {{name: other, value: {second}}}]"
    (tmp_path / "dataset.yaml").write_text(f"classes: {classes}\nignore: []\n")
    dataset = open_dataset(tmp_path, unexpected=unexpected)
    expected = np.where(np.eye(4, 6) > 0, ids[1], ids[0])
    np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, expected)


def test_what_becomes_of_objects_without_a_class_is_said_as_for_other_masks(tmp_path):
    object_folder(tmp_path, "a", [np.eye(4, 6) * 255])
    (tmp_path / "dataset.yaml").write_text("classes: [background]\n")
    dataset = open_dataset(tmp_path)
    with pytest.raises(MaskError, match=r"Got 1 \(4 pixels"):
        dataset.load(dataset.records[0])
    dataset = open_dataset(tmp_path, unexpected="ignore")
    expected = np.where(np.eye(4, 6) > 0, 255, 0)
    np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, expected)


def test_a_folder_without_masks_is_refused_but_in_test(tmp_path):
    object_folder(tmp_path / "train", "a", [np.eye(4, 6)])
    object_folder(tmp_path / "test", "b", [np.eye(4, 6)])
    object_folder(tmp_path / "test", "c", [])
    (tmp_path / "test/c/masks").rmdir()
    assert [record.name for record in open_dataset(tmp_path).records] == ["test/b", "train/a"]
    shutil.rmtree(tmp_path / "train/a/masks")
    object_folder(tmp_path / "train", "d", [np.eye(4, 6)])
    with pytest.raises(FormatError, match=r"a\.png must have its objects in .*masks"):
        open_dataset(tmp_path)


def test_a_class_mask_missing_for_one_image_is_refused_by_name(tmp_path, make_class_dataset):
    make_class_dataset(tmp_path)
    (tmp_path / "masks/kind-1/002.png").unlink()
    with pytest.raises(FormatError, match=r"002\.png must have a mask of class kind-1 in "):
        open_dataset(tmp_path)


def test_a_class_mask_without_image_is_refused_by_name(tmp_path, make_class_dataset):
    make_class_dataset(tmp_path)
    (tmp_path / "images/002.png").unlink()
    with pytest.raises(FormatError, match=r"kind-0/002\.png must have an image"):
        open_dataset(tmp_path)


def test_splits_with_other_classes_are_refused(tmp_path, make_class_dataset):
    make_class_dataset(tmp_path, splits=("train", "val"))
    (tmp_path / "val/masks/kind-2").rename(tmp_path / "val/masks/other")
    with pytest.raises(FormatError, match=r"'kind-2'\]\. Got .*'other'"):
        open_dataset(tmp_path)


def test_an_ignore_value_makes_no_sense_for_multilabel_masks_and_is_refused(
    tmp_path, make_class_dataset
):
    make_class_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"no ignore value\. Got \[1\]"):
        open_dataset(tmp_path, ignore=[1])


@settings(max_examples=20, deadline=None)
@given(
    mask=arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(4), st.just(5))),
    color=st.booleans(),
    seed=st.integers(0, 99),
)
def test_class_masks_survive_writing_and_reading(tmp_path_factory, mask, color, seed):
    folder = tmp_path_factory.mktemp("written")
    names = [f"kind {index}" for index in range(len(mask))]
    shape = (4, 5, 3) if color else (4, 5)
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    make_class_mask_folders(folder, names)
    write_class_masks(folder, "one", image, mask, names)
    # Several small values alone look like class ids, as in the trimaps of the pets; whatever
    # pixelwise writes has a card that names the format.
    dataset = open_dataset(folder, format="class-masks")
    sample = dataset.load(dataset.records[0])
    assert dataset.class_map.names == tuple(names)
    np.testing.assert_array_equal(sample.image, image if color else image[..., None])
    # Masks of nothing but 0 and 1 are black and white.
    np.testing.assert_array_equal(sample.mask, mask * 255 if mask.max() == 1 else mask)


def test_a_faint_soft_mask_stays_faint_in_a_folder_of_soft_masks(tmp_path):
    make_class_mask_folders(tmp_path, ["cat"])
    image = np.zeros((4, 5), np.uint8)
    for stem, largest in (("a", 1), ("b", 0), ("c", 180)):
        write_class_masks(tmp_path, stem, image, np.full((1, 4, 5), largest, np.uint8), ["cat"])
    dataset = open_dataset(tmp_path)
    assert [int(dataset.load(record).mask.max()) for record in dataset.records] == [1, 0, 180]


@pytest.mark.real_data
def test_nuclei_open_as_objects_in_nine_sizes(test_data):
    dataset = open_dataset(test_data / "nuclei", split="70/30")
    assert dataset.format.name == "object-masks"
    assert len(dataset.records) == 180
    assert len(dataset.split("test")) == 54
    sizes = set()
    for record in dataset.records:
        with Image.open(record.image) as picture:
            sizes.add(picture.size)
    assert len(sizes) == 9
    record = min(dataset.records, key=lambda record: len(record.masks))
    sample = dataset.load(record)
    covered = np.zeros(sample.mask.shape, bool)
    for path in record.masks:
        with Image.open(path) as picture:
            covered |= np.asarray(picture.convert("L")) > 0
    assert sample.image.shape[-1] == 3
    np.testing.assert_array_equal(sample.mask, covered)


@pytest.mark.real_data
def test_labelme_palette_masks_are_read_as_ids(test_data, tmp_path):
    source = test_data / "labelme/data_dataset_voc"
    for kind, files in (
        ("images", (test_data / "labelme/data_annotated").glob("*.jpg")),
        ("masks", (source / "SegmentationClass").glob("*.png")),
    ):
        (tmp_path / kind).mkdir()
        for path in files:
            shutil.copy(path, tmp_path / kind)
    dataset = open_dataset(tmp_path)
    assert len(dataset.records) == 3
    for record in dataset.records:
        with Image.open(record.masks[0]) as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(dataset.load(record).mask, np.asarray(picture))
