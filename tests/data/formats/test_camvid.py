import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.camvid import CAMVID, CAMVID_ORIGINAL
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import FormatError, MaskError

IGNORED, ROAD, SKY, CAR = (0, 0, 0), (128, 64, 128), (128, 128, 128), (64, 0, 128)


def mask_of(dataset, number=0):
    return dataset.load(dataset.records[number]).mask


def test_segnets_form_is_known_by_its_file_names_and_values(tmp_path, save_pair):
    folders = {"images": "train", "masks": "trainannot"}
    save_pair(tmp_path, "0001TP_006690", [[0, 11], [4, 10]], **folders)
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "camvid"
    assert dataset.class_map == CAMVID
    assert dataset.class_map.names[4] == "pavement"
    assert dataset.class_map.colors[4] == (60, 40, 222)
    np.testing.assert_array_equal(mask_of(dataset), [[0, 255], [4, 10]])
    save_pair(tmp_path, "holiday", [[0, 11], [4, 10]], **folders)
    others = open_dataset(tmp_path)
    assert (others.format.name, others.class_map.num_classes) == ("index-masks", 12)


def test_other_numbers_under_its_names_are_index_masks(tmp_path, save_pair):
    save_pair(tmp_path, "0016E5_00390", [[0, 1, 12]])
    assert open_dataset(tmp_path).format.name == "index-masks"


@pytest.mark.parametrize(
    ("images", "masks", "split"),
    [
        ("701_StillsRaw_full", "LabeledApproved_full", None),
        ("images", "LabeledApproved_full", None),
        ("images", "labels", None),
        ("train", "train_labels", "train"),
        ("val/images", "val/masks", "val"),
    ],
)
def test_the_original_colors_are_31_classes_and_ignored_pixels(
    tmp_path, save_pair, images, masks, split
):
    mask = [[IGNORED, ROAD], [SKY, CAR]]
    save_pair(tmp_path, "Seq05VD_f00000", mask, images=images, masks=masks, ending="_L")
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "camvid"
    assert dataset.class_map.num_classes == 31
    names = dataset.class_map.names
    ids = [[255, names.index("Road")], [names.index("Sky"), names.index("Car")]]
    np.testing.assert_array_equal(mask_of(dataset), ids)
    assert dataset.format.records(tmp_path)[0].split == split


def test_a_color_table_says_other_classes(tmp_path, save_pair):
    save_pair(
        tmp_path, "0006R0_f00930", [[IGNORED, ROAD, CAR]], images="train", masks="train_labels",
        ending="_L",
    )  # fmt: skip
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nRoad,128,64,128\nVoid,0,0,0\n")
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("Road",)
    with pytest.raises(MaskError, match=r"_L\.png .*Got #400080 \(1 pixels, nearest"):
        mask_of(dataset)
    np.testing.assert_array_equal(
        mask_of(open_dataset(tmp_path, unexpected="ignore")), [[255, 0, 255]]
    )


def test_near_black_is_ignored_and_not_the_nearest_class(tmp_path, save_pair):
    save_pair(tmp_path, "0006R0_f00930", [[(3, 1, 0), ROAD]], ending="_L")
    dataset = open_dataset(tmp_path, unexpected="nearest")
    np.testing.assert_array_equal(mask_of(dataset), [[255, CAMVID_ORIGINAL.names.index("Road")]])


def test_a_missing_original_mask_is_refused_with_its_name(tmp_path, save_pair):
    save_pair(tmp_path, "0006R0_f00930", [[ROAD]], ending="_L")
    save_pair(tmp_path, "0006R0_f00960", [[ROAD]], ending="_L").unlink()
    with pytest.raises(FormatError, match=r"f00960\.png must have a mask .*0006R0_f00960_L\.png"):
        open_dataset(tmp_path)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), is_original=st.booleans(), split=st.sampled_from(["train", "val", None]))
def test_its_classes_read_back_as_they_were_written(
    tmp_path_factory, save_pixels, data, is_original, split
):
    class_map = CAMVID_ORIGINAL if is_original else CAMVID
    ids = st.sampled_from([*range(class_map.num_classes), 255])
    mask = data.draw(arrays(np.uint8, (3, 4), elements=ids))
    folder = tmp_path_factory.mktemp("camvid")
    image = np.zeros((3, 4, 3), np.uint8)
    stem = "0001TP_006690"
    record = Record(stem, save_pixels(folder / "source/a.png", image), split=split)
    (folder / "out").mkdir()
    found = formats.create("camvid")
    found.write(folder / "out", [(record, Sample(stem, image, mask, "multiclass"))], class_map)
    dataset = open_dataset(folder / "out")
    assert (dataset.format.name, dataset.class_map) == ("camvid", class_map)
    assert found.records(folder / "out")[0].split == split
    np.testing.assert_array_equal(mask_of(dataset), mask)


def test_other_classes_cannot_be_written():
    content = MaskContent(
        ClassMap.build(("sky", "road")), "multiclass", has_ignored=False, is_soft=False
    )
    assert "11 or the 31 classes of CamVid" in formats.create("camvid").refusal(content)


@pytest.mark.real_data
def test_camvid_opens_with_its_splits_and_eleven_named_classes(test_data):
    dataset = open_dataset(test_data / "camvid")
    assert dataset.format.name == "camvid"
    assert len(dataset.split("train")) == 367
    assert len(dataset.split("val")) == 101
    assert dataset.class_map.names == (
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
        "pedestrian", "bicyclist",
    )  # fmt: skip
    assert dataset.class_map.ignore == (11,)
    record = dataset.split("val")[0]
    with Image.open(record.masks[0]) as picture:
        stored = np.asarray(picture)
    sample = dataset.load(record)
    assert sample.image.shape == (360, 480, 3)
    np.testing.assert_array_equal(sample.mask, np.where(stored == 11, 255, stored))


@pytest.mark.real_data
def test_camvid_is_paired_by_its_own_lists_with_their_foreign_prefix(test_data, tmp_path):
    for split in ("train", "val"):
        lines = (test_data / f"camvid/{split}.txt").read_text().splitlines()[:3]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
        assert all(line.startswith("/SegNet/CamVid/") for line in lines)
        for line in lines:
            for entry in line.split():
                source = Path(entry).relative_to("/SegNet/CamVid")
                target = tmp_path / "CamVid" / source
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(test_data / "camvid" / source, target)
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "camvid"
    assert dataset.class_map == CAMVID
    assert [len(dataset.split(name)) for name in ("train", "val")] == [3, 3]
    for record in dataset.records:
        assert record.image.stem == record.masks[0].stem
        assert record.image.parent.name + "annot" == record.masks[0].parent.name
