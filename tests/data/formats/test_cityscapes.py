import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.cityscapes import CLASSES
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import FormatError, MaskError

OFFICIAL = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
"""Training ids by label id, as the authors' scripts have them; every other label is 255."""


@pytest.fixture
def scene(save_pixels):
    """An image and one of its masks: (folder, split, city, number, mask, **options)."""

    def save(folder, split, city, number, mask, *, labels="gtFine", kind="labelIds"):
        stem = f"{city}_{number:06d}_000019"
        mask = np.asarray(mask, np.uint8)
        image = np.zeros((*mask.shape, 3))
        save_pixels(folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
        return save_pixels(folder / labels / split / city / f"{stem}_{labels}_{kind}.png", mask)

    return save


def mask_of(dataset, number=0):
    return dataset.load(dataset.records[number]).mask


def test_label_ids_are_the_19_classes_and_all_else_is_ignored(tmp_path, scene):
    ids = np.arange(34).reshape(2, 17)
    scene(tmp_path, "train", "aachen", 1, ids)
    scene(tmp_path, "val", "ulm", 2, np.full((2, 2), 255))
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "cityscapes"
    assert dataset.class_map.names[:3] == ("road", "sidewalk", "building")
    assert dataset.class_map.colors[18] == (119, 11, 32)
    expected = [[OFFICIAL.get(value, 255) for value in row] for row in ids.tolist()]
    np.testing.assert_array_equal(mask_of(dataset), expected)
    assert (mask_of(dataset, 1) == 255).all()
    assert [(record.name, record.split) for record in dataset.records] == [
        ("train/aachen/aachen_000001_000019", "train"), ("val/ulm/ulm_000002_000019", "val"),
    ]  # fmt: skip


def test_train_ids_are_taken_where_they_are(tmp_path, scene):
    scene(tmp_path, "train", "aachen", 1, [[26, 0]])
    scene(tmp_path, "train", "aachen", 1, [[18, 255]], kind="labelTrainIds")
    scene(tmp_path, "train", "aachen", 2, [[26, 0]])
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.values == tuple(range(19))
    np.testing.assert_array_equal(mask_of(dataset), [[18, 255]])
    np.testing.assert_array_equal(mask_of(dataset, 1), [[13, 255]])


def test_the_dummies_of_the_test_images_are_left_out(tmp_path, scene):
    scene(tmp_path, "train", "aachen", 1, [[7, 3]])
    scene(tmp_path, "test", "bonn", 1, [[1, 3]])
    assert {record.split for record in open_dataset(tmp_path).records} == {"train"}
    scene(tmp_path, "test", "bonn", 2, [[7, 3]])
    assert len(open_dataset(tmp_path).split("test")) == 2


def test_an_image_without_a_mask_is_refused_but_in_test(tmp_path, scene):
    scene(tmp_path, "train", "aachen", 1, [[7, 3]])
    scene(tmp_path, "test", "bonn", 1, [[7, 3]]).unlink()
    assert len(open_dataset(tmp_path).records) == 1
    scene(tmp_path, "train", "aachen", 2, [[7, 3]]).unlink()
    with pytest.raises(
        FormatError, match=r"aachen_000002_000019_leftImg8bit\.png must have a mask"
    ):
        open_dataset(tmp_path)


def test_coarse_masks_and_the_further_training_images_are_read(tmp_path, scene):
    scene(tmp_path, "train_extra", "augsburg", 1, [[7, 3]], labels="gtCoarse")
    scene(tmp_path, "val", "ulm", 1, [[7, 3]], labels="gtCoarse")
    (tmp_path / "gtCoarse/val/ulm/ulm_000001_000019_gtCoarse_color.png").write_bytes(b"")
    splits = [record.split for record in open_dataset(tmp_path).records]
    assert splits == ["train", "val"]


def test_a_value_that_cityscapes_does_not_know_is_refused(tmp_path, scene):
    scene(tmp_path, "train", "aachen", 1, [[7, 77]])
    with pytest.raises(MaskError, match=r"Got 77 \(1 pixels"):
        mask_of(open_dataset(tmp_path))


def test_ignored_values_can_be_added_and_a_card_may_choose_classes(tmp_path, scene):
    scene(tmp_path, "train", "aachen", 1, [[7, 8, 26]])
    dataset = open_dataset(tmp_path, ignore=[8])
    assert "sidewalk" not in dataset.class_map.names
    np.testing.assert_array_equal(mask_of(dataset), [[0, 255, 12]])
    card = {"classes": ["car", {"name": "Gehweg", "value": 8}]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(card))
    np.testing.assert_array_equal(mask_of(open_dataset(tmp_path)), [[255, 1, 0]])


def test_a_folder_of_images_without_labels_is_not_cityscapes(tmp_path, scene):
    scene(tmp_path, "train", "aachen", 1, [[7]])
    (tmp_path / "gtFine").rename(tmp_path / "labels")
    with pytest.raises(FormatError):
        detect_format(tmp_path)
    assert formats.create("cityscapes").records(tmp_path) == []


NAMES = [label.name for label in CLASSES]


@settings(max_examples=25, deadline=None)
@given(names=st.permutations(NAMES), count=st.integers(1, 19), data=st.data())
def test_any_of_its_classes_read_back_as_they_were_written(
    tmp_path_factory, save_pixels, names, count, data
):
    class_map = ClassMap.build(names[:count])
    ids = st.sampled_from([*range(count), 255])
    mask = data.draw(arrays(np.uint8, (3, 4), elements=ids))
    stem = data.draw(st.sampled_from(["ulm_000001_000019", "0001"]))
    split = data.draw(st.sampled_from(["train", "val", None]))
    folder = tmp_path_factory.mktemp("cityscapes")
    image = np.zeros((3, 4, 3), np.uint8)
    record = Record(stem, save_pixels(folder / "source/a.png", image), split=split)
    (folder / "out").mkdir()
    found = formats.create("cityscapes")
    found.write(folder / "out", [(record, Sample(stem, image, mask, "multiclass"))], class_map)
    (read,) = found.records(folder / "out")
    assert (read.name.rsplit("/", 1)[-1], read.split) == (stem, split)
    np.testing.assert_array_equal(found.load(read, class_map).mask, mask)
    assert detect_format(folder / "out")[0].name == "cityscapes"


def test_other_classes_cannot_be_written():
    content = MaskContent(
        ClassMap.build(("road", "tree")), "multiclass", has_ignored=False, is_soft=False
    )
    assert "not 'tree'" in formats.create("cityscapes").refusal(content)
