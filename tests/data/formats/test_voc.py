import shutil

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.voc import NAMES, PALETTE
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import ConfigError, FormatError, MaskError

VOC = {"images": "JPEGImages", "masks": "SegmentationClass"}


@pytest.fixture
def pair(save_pair):
    """An image and its mask as numbers of VOC's palette: (folder, stem, mask)."""

    def save(folder, stem, mask, **options):
        return save_pair(folder, stem, mask, **{**VOC, "palette": PALETTE, **options})

    return save


def write_lists(folder, **lists):
    place = folder / "ImageSets/Segmentation"
    place.mkdir(parents=True, exist_ok=True)
    for name, stems in lists.items():
        (place / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def mask_of(dataset, number=0):
    return dataset.load(dataset.records[number]).mask


def test_the_palette_is_the_official_one():
    assert PALETTE[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert PALETTE[15] == (192, 128, 128)
    assert PALETTE[20] == (0, 64, 128)
    assert PALETTE[255] == (224, 224, 192)


def test_only_images_with_a_mask_are_records(tmp_path, pair, save_pixels):
    pair(tmp_path, "a", [[0, 15], [255, 20]])
    save_pixels(tmp_path / "JPEGImages/b.png", np.zeros((2, 2, 3)))
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "voc"
    assert [record.name for record in dataset.records] == ["a"]
    assert dataset.class_map.names == NAMES
    assert dataset.class_map.colors == PALETTE[:21]
    np.testing.assert_array_equal(mask_of(dataset), [[0, 15], [255, 20]])


def test_lists_say_the_splits_and_what_they_leave_out_is_left_out(tmp_path, pair):
    for stem in ("a", "b", "c", "d"):
        pair(tmp_path, stem, [[0, 1]])
    write_lists(tmp_path, train=["a"], val=["sub/b "], trainval=["a", "b"], test=["c", "unlabeled"])
    splits = {record.name: record.split for record in open_dataset(tmp_path).records}
    assert splits == {"a": "train", "b": "val", "c": "test"}


def test_lists_are_found_in_any_case_and_training_may_be_all_but_validation(tmp_path, pair):
    for stem in ("a", "b", "c", "d"):
        pair(tmp_path, stem, [[0, 1]])
    write_lists(tmp_path, Trainval=["a", "b", "c"], Validation=["b"])
    splits = {record.name: record.split for record in open_dataset(tmp_path).records}
    assert splits == {"a": "train", "b": "val", "c": "train"}


def test_a_list_of_another_name_is_refused_if_its_images_would_be_left_out(tmp_path, pair):
    for stem in ("a", "b", "c"):
        pair(tmp_path, stem, [[0, 1]])
    write_lists(tmp_path, default=["a", "b", "c", "unlabeled"])  # as CVAT lists all
    assert len(open_dataset(tmp_path).records) == 3
    write_lists(tmp_path, train=["a"], val=["b"], again=["a", "b", "unlabeled"])
    assert len(open_dataset(tmp_path).records) == 2
    write_lists(tmp_path, fold3=["b", "c"])
    with pytest.raises(FormatError, match=r"fold3\.txt must be named after .* lists c, which"):
        open_dataset(tmp_path)


def test_a_listed_image_without_a_mask_is_refused_with_its_list(tmp_path, pair):
    pair(tmp_path, "a", [[0, 1]])
    write_lists(tmp_path, train=["a", "b"])
    with pytest.raises(FormatError, match=r"train\.txt must list images with masks\. Got b"):
        open_dataset(tmp_path)


def test_an_image_in_two_lists_is_refused(tmp_path, pair):
    pair(tmp_path, "a", [[0, 1]])
    write_lists(tmp_path, train=["a"], val=["a"])
    with pytest.raises(FormatError, match=r"Got a in train\.txt and val\.txt"):
        open_dataset(tmp_path)


def test_a_mask_without_an_image_is_refused(tmp_path, pair):
    pair(tmp_path, "a", [[0, 1]])
    pair(tmp_path, "b", [[0, 1]])
    (tmp_path / "JPEGImages/b.png").unlink()
    with pytest.raises(FormatError, match=r"b\.png must have an image .*JPEGImages"):
        open_dataset(tmp_path)


def test_class_names_are_those_of_labelme_s_export(tmp_path, pair):
    pair(tmp_path, "a", [[0, 1, 255]], masks="SegmentationClassPNG")
    (tmp_path / "SegmentationClass").mkdir()
    np.save(tmp_path / "SegmentationClass/a.npy", np.array([[0, 1, -1]]))
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\ncat\n")
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("_background_", "cat")
    np.testing.assert_array_equal(mask_of(dataset), [[0, 1, 255]])


@pytest.mark.parametrize("beside", ["SegmentationClassVisualization", "SegmentationClassNpy"])
@pytest.mark.parametrize("has_lists", [True, False])
def test_labelme_s_export_without_its_list_has_no_aeroplanes(tmp_path, pair, beside, has_lists):
    masks = "SegmentationClass" if "Npy" in beside else "SegmentationClassPNG"
    for stem in "ab":
        pair(tmp_path, stem, [[0, 1, 2, 255]], masks=masks)
    (tmp_path / beside).mkdir()
    if has_lists:
        write_lists(tmp_path, train=["a"], val=["b"])
    assert open_dataset(tmp_path).class_map.names == ("class-0", "class-1", "class-2")
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncrack\nspalling\n")
    assert open_dataset(tmp_path).class_map.names == ("_background_", "crack", "spalling")


def test_names_that_stand_twice_are_refused_with_the_file(tmp_path, pair):
    pair(tmp_path, "a", [[0, 1]])
    (tmp_path / "class_names.txt").write_text("cat\ncat\n")
    with pytest.raises(ConfigError, match=r"class_names\.txt.*unique"):
        open_dataset(tmp_path)


def test_numbers_that_need_not_be_voc_s_are_numbered(tmp_path, pair):
    pair(tmp_path, "a", [[0, 2]], palette=None)
    assert open_dataset(tmp_path).class_map.names == ("class-0", "class-1", "class-2")
    write_lists(tmp_path, train=["a"])
    assert open_dataset(tmp_path).class_map.names == NAMES
    pair(tmp_path, "a", [[0, 25]])
    assert open_dataset(tmp_path).class_map.num_classes == 26


def test_black_and_white_in_these_folders_stays_ignored_and_background(tmp_path, pair):
    pair(tmp_path, "a", [[0, 255]])
    np.testing.assert_array_equal(mask_of(open_dataset(tmp_path)), [[0, 255]])


def test_colors_of_voc_are_its_classes_and_the_border_is_ignored(tmp_path, pair):
    ids = np.array([[0, 1, 7], [15, 20, 255]], np.uint8)
    pair(tmp_path, "a", np.array(PALETTE)[ids], palette=None)
    pair(tmp_path, "b", np.array(PALETTE)[[[0, 0]]], palette=None)
    dataset = open_dataset(tmp_path)
    assert (dataset.format.name, dataset.class_map.names) == ("voc", NAMES)
    np.testing.assert_array_equal(mask_of(dataset), ids)
    np.testing.assert_array_equal(mask_of(dataset, 1), [[0, 0]])


def test_colors_of_a_label_map_are_its_classes(tmp_path, pair):
    pair(tmp_path, "a", [[(1, 2, 3), (250, 50, 83), (224, 224, 192)]], palette=None)
    assert open_dataset(tmp_path).format.name == "color-masks"
    (tmp_path / "labelmap.txt").write_text("roof:250,50,83::\nbackground:1,2,3::\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.format.name, dataset.class_map.names) == ("voc", ("roof", "background"))
    np.testing.assert_array_equal(mask_of(dataset), [[1, 0, 255]])


def test_a_color_that_is_no_class_is_refused_and_may_be_ignored(tmp_path, pair):
    pair(tmp_path, "a", [[PALETTE[1], (130, 1, 0)]], palette=None)
    with pytest.raises(MaskError, match=r"Got #820100 \(1 pixels, nearest class #800000 aeroplane"):
        mask_of(open_dataset(tmp_path, format="voc"))
    ignored = open_dataset(tmp_path, format="voc", unexpected="ignore")
    np.testing.assert_array_equal(mask_of(ignored), [[1, 255]])


def test_what_is_written_has_voc_s_lists_palette_and_names(tmp_path, save_pixels):
    class_map = ClassMap.build(("ground", "house"), ignore=(11,))
    mask = np.array([[0, 1, 255]], np.uint8)
    image = np.full((1, 3, 3), 7, np.uint8)
    source = save_pixels(tmp_path / "source/a.png", image)
    samples = [
        (Record(stem, source, split=split), Sample(stem, image, mask, "multiclass"))
        for stem, split in (("a", "train"), ("b", "val"), ("c", "train"))
    ]
    out = tmp_path / "out"
    out.mkdir()
    formats.create("voc").write(out, samples, class_map)
    assert (out / "ImageSets/Segmentation/train.txt").read_text() == "a\nc\n"
    with Image.open(out / "SegmentationClass/a.png") as picture:
        assert picture.mode == "P"
        assert tuple(picture.getpalette()) == tuple(np.ravel(PALETTE).tolist())
        np.testing.assert_array_equal(np.asarray(picture), [[0, 1, 255]])
    dataset = open_dataset(out)
    assert dataset.class_map.names == class_map.names
    assert [record.split for record in dataset.records] == ["train", "val", "train"]
    np.testing.assert_array_equal(mask_of(dataset), mask)


def test_classes_that_are_not_counted_from_0_cannot_be_written():
    class_map = ClassMap.build(("ground", "house"), values=(0, 255), ignore=())
    content = MaskContent(class_map, "multiclass", has_ignored=False, is_soft=False)
    assert "these are stored as 0, 255" in formats.create("voc").refusal(content)


@pytest.mark.real_data
def test_voc_2011_is_read_as_numbers_and_as_colors(test_data, tmp_path):
    shutil.copytree(test_data / "labelme/data_dataset_voc", tmp_path, dirs_exist_ok=True)
    (tmp_path / "JPEGImages").mkdir()
    for path in (test_data / "labelme/data_annotated").glob("*.jpg"):
        shutil.copy(path, tmp_path / "JPEGImages")
    dataset = open_dataset(tmp_path)
    assert (dataset.format.name, dataset.class_map.names) == ("voc", NAMES)
    assert len(dataset.records) == 3
    stored = {}
    for record in dataset.records:
        with Image.open(record.masks[0]) as picture:
            stored[record.name] = np.asarray(picture)
            colors = picture.convert("RGB")
        np.testing.assert_array_equal(dataset.load(record).mask, stored[record.name])
        colors.save(record.masks[0])
    painted = open_dataset(tmp_path)
    assert painted.class_map == dataset.class_map
    for record in painted.records:
        np.testing.assert_array_equal(painted.load(record).mask, stored[record.name])
    assert {255, 15} <= set(np.unique(stored["2011_000003"]).tolist())
