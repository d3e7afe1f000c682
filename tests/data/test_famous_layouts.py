"""Layouts of well-known public data sets, built file by file: they open as their users mean."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.errors import FormatError, LayoutError, MaskError

SIZE = (48, 64)


@pytest.fixture
def photo(tmp_path):
    random = np.random.default_rng(0)

    def save(path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (*SIZE, 3), np.uint8)).save(tmp_path / path)

    return save


@pytest.fixture
def mask(tmp_path):
    random = np.random.default_rng(1)

    def save(path, values=(0, 255)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        blocks = random.integers(0, len(values), (SIZE[0] // 8, SIZE[1] // 8))
        blocks.flat[: len(values)] = range(len(values))
        pixels = np.array(values, np.uint8)[np.kron(blocks, np.ones((8, 8), int))]
        Image.fromarray(pixels).save(tmp_path / path)
        return pixels

    return save


def splits_of(dataset):
    return {record.name.rpartition("/")[2]: record.split for record in dataset.records}


def test_trimaps_of_the_pets_are_class_ids_and_no_membership(tmp_path, photo, mask):
    names = [f"{breed}_{n}" for breed in ("Abyssinian", "beagle") for n in range(1, 9)]
    for name in names:
        photo(f"images/{name}.jpg")
        mask(f"annotations/trimaps/{name}.png", (1, 2, 3))
    listed = tmp_path / "annotations"
    (listed / "list.txt").write_text("#Image CLASS-ID\n" + "".join(f"{n} 1 1 1\n" for n in names))
    (listed / "trainval.txt").write_text("".join(f"{name} 1 1 1\n" for name in names[::2]))
    (listed / "test.txt").write_text("".join(f"{name} 1 1 1\n" for name in names[1::2]))
    dataset = open_dataset(tmp_path, cache=False)
    assert dataset.format.name == "index-masks"
    assert set(np.unique(dataset.load(dataset.records[0]).mask)) == {1, 2, 3}
    assert {name for name, split in splits_of(dataset).items() if split == "test"} == {*names[1::2]}


def test_several_numbered_masks_of_an_ultrasound_image_are_joined(tmp_path, photo, mask):
    for kind in ("benign", "malignant", "normal"):
        for number in range(1, 6):
            photo(f"{kind}/{kind} ({number}).png")
            one = mask(f"{kind}/{kind} ({number})_mask.png", (0,) if kind == "normal" else (0, 255))
            if (kind, number) == ("benign", 4):
                both = one | mask("benign/benign (4)_mask_1.png")
    dataset = open_dataset(tmp_path, cache=False)
    assert len(dataset.records) == 15
    assert "1 image with several masks, which are joined" in dataset.notes[0]
    (record,) = (one for one in dataset.records if one.name == "benign/benign (4)")
    np.testing.assert_array_equal(dataset.load(record).mask, both > 0)


def test_masks_that_contradict_each_other_are_not_joined(tmp_path, photo, mask):
    for number in range(1, 6):
        photo(f"x/{number}.png")
        mask(f"x/{number}_mask.png", (0, 1, 2))
    Image.fromarray(np.full(SIZE, 1, np.uint8)).save(tmp_path / "x/3_mask_1.png")
    dataset = open_dataset(tmp_path, cache=False)
    (record,) = (one for one in dataset.records if len(one.masks) > 1)
    with pytest.raises(MaskError, match=r"3_mask_1\.png must have the classes of 3_mask\.png"):
        dataset.load(record)


def test_a_word_inside_the_names_of_masks_is_found(tmp_path, photo, mask):
    for kind in ("um", "umm", "uu"):
        for number in range(6):
            photo(f"training/image_2/{kind}_{number:06}.png")
            mask(f"training/gt_image_2/{kind}_road_{number:06}.png", (0, 1))
    dataset = open_dataset(tmp_path, cache=False)
    assert len(dataset.records) == 18
    for record in dataset.records:
        kind, number = record.image.stem.split("_")
        assert record.masks[0].stem == f"{kind}_road_{number}"


def test_two_words_inside_the_names_of_masks_are_a_question(tmp_path, photo, mask):
    for kind in ("um", "umm", "uu"):
        for number in range(6):
            photo(f"training/image_2/{kind}_{number:06}.png")
            mask(f"training/gt_image_2/{kind}_road_{number:06}.png", (0, 1))
            if kind == "um":
                mask(f"training/gt_image_2/{kind}_lane_{number:06}.png", (0, 1))
    with pytest.raises(LayoutError, match=r"\{part\}_road_\{name\}\.png.*18 pairs"):
        open_dataset(tmp_path, cache=False)


def test_the_same_word_inside_both_names_is_none(tmp_path, photo, mask):
    for scene in ("a", "bc"):
        for number in range(4):
            photo(f"{scene}_rgb_{number}.png")
            mask(f"{scene}_gt_{number}.png", (0, 1))
    dataset = open_dataset(tmp_path, cache=False)
    assert {(one.image.name, one.masks[0].name) for one in dataset.records} == {
        (f"{scene}_rgb_{number}.png", f"{scene}_gt_{number}.png")
        for scene in ("a", "bc")
        for number in range(4)
    }


def test_masks_of_a_class_may_have_an_affix(tmp_path, photo, mask):
    for number in range(6):
        photo(f"images/IDRiD_{number:02}.jpg")
        for lesion in ("EX", "HE"):
            mask(f"masks/{lesion}/IDRiD_{number:02}_{lesion}.png")
    dataset = open_dataset(tmp_path, cache=False)
    assert (dataset.format.name, dataset.class_map.names) == ("class-masks", ("EX", "HE"))
    for record in dataset.records:
        name = record.image.stem
        assert [path.stem for path in record.masks] == [f"{name}_EX", f"{name}_HE"]


def test_a_class_without_a_mask_is_absent_if_that_is_said(tmp_path, photo, mask):
    for number in range(6):
        photo(f"images/{number}.jpg")
        mask(f"masks/EX/{number}.png")
        if number:
            mask(f"masks/SE/{number}.png")
    with pytest.raises(FormatError, match=r"0\.jpg must have a mask of class SE.*unlabeled="):
        open_dataset(tmp_path, cache=False)
    assert len(open_dataset(tmp_path, unlabeled="skip", cache=False).records) == 5
    dataset = open_dataset(tmp_path, unlabeled="background", cache=False)
    sample = dataset.load(dataset.records[0])
    assert dataset.class_map.names == ("EX", "SE")
    assert sample.mask[0].any()
    assert not sample.mask[1].any()


def test_folders_of_pictures_beside_a_known_layout_are_named(tmp_path, photo, mask):
    for number in range(6):
        for end in ("", "_t", "_v"):
            photo(f"image{end}/{number}.png")
            mask(f"mask{end}/{number}.png")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "about.txt").write_text("no picture")
    dataset = open_dataset(tmp_path, cache=False)
    assert len(dataset.records) == 6
    assert dataset.notes[0].endswith("; not used: image_t/, image_v/, mask_t/, mask_v/")


TREES = {
    "two words before the split": ("{s}_imgs/{s}/{n}.png", "{s}_mask/{s}/{n}.png"),
    "the split in a word": ("{s}_set/images/{n}.jpg", "{s}_set/annotations/{n}.png"),
    "the role before the number": ("{s}/image_{n}.png", "{s}/gt_{n}.png"),
    "a long suffix": ("{s}/{n}.jpg", "{s}/{n}_label_ground-truth.png"),
}


@pytest.mark.parametrize("kind", TREES)
def test_splits_and_pairs_of_published_trees_are_found(tmp_path, photo, mask, kind):
    images, masks = TREES[kind]
    for split in ("train", "val"):
        for number in range(6):
            photo(images.format(s=split, n=f"{number:03}"))
            mask(masks.format(s=split, n=f"{number:03}"), (0, 1, 2))
    dataset = open_dataset(tmp_path, cache=False)
    assert Counter(record.split for record in dataset.records) == {"train": 6, "val": 6}
    for record in dataset.records:
        number = "".join(filter(str.isdigit, record.image.stem))
        assert record.masks[0] == tmp_path / masks.format(s=record.split, n=number)
