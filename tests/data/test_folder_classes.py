import numpy as np
import pytest
from PIL import Image

from pixelwise import check_data, open_dataset
from pixelwise.data.splits.plans import plan_split
from pixelwise.data.splits.split_cards import write_cards
from pixelwise.doctor.suggested_card import write_card
from pixelwise.errors import ConfigError, MaskError

CLASSES = ("benign", "malignant")


def write_pair(image, mask, seed, values=(0, 255)):
    rng = np.random.default_rng(seed)
    for path, shape, high in ((image, (40, 48, 3), 256), (mask, (40, 48), 2)):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, high, shape, np.uint8)
        if high == 2:
            pixels = np.array(values, np.uint8)[pixels]
        Image.fromarray(pixels).save(path)


LAYOUTS = {
    "side by side": ("{name}/{number}.png", "{name}/{number}_mask.png"),
    "folders inside": ("{name}/images/{number}.png", "{name}/masks/{number}.png"),
    "folders outside": ("images/{name}/{number}.png", "masks/{name}/{number}.png"),
    "in splits": ("{split}/{name}/{number}.png", "{split}/{name}/{number}_mask.png"),
}


@pytest.fixture(params=LAYOUTS)
def tumors(tmp_path, request):
    for number in range(12):
        words = {
            "name": CLASSES[number % 2],
            "number": number,
            "split": "train" if number < 8 else "val",
        }
        image, mask = (tmp_path / path.format(**words) for path in LAYOUTS[request.param])
        write_pair(image, mask, number)
    return tmp_path


def test_the_folder_of_an_image_gives_its_objects_their_class(tumors):
    plain = open_dataset(tumors)
    assert plain.class_map.num_classes == 2
    dataset = open_dataset(tumors, class_from="folder")
    assert dataset.class_map.names == ("background", *CLASSES)
    assert len(dataset.records) == 12
    by_name = {record.name: record for record in plain.records}
    for record in dataset.records:
        class_id = 1 + CLASSES.index(next(one for one in CLASSES if one in record.image.parts))
        expected = plain.load(by_name[record.name]).mask * class_id
        np.testing.assert_array_equal(dataset.load(record).mask, expected)


def test_a_check_of_folder_classes_finds_nothing_wrong_and_writes_their_card(tumors, tmp_path):
    plain, by_folder = (check_data(tumors, class_from=source) for source in (None, "folder"))
    kinds = [{finding.kind for finding in found.findings} for found in (plain, by_folder)]
    assert kinds[1] <= kinds[0] | {"class-missing-in-validation"}
    card = tmp_path / "out" / "card.yaml"
    card.parent.mkdir()
    write_card(by_folder, card)
    again = open_dataset(card)
    assert again.class_map.names == ("background", *CLASSES)
    assert {number for sample in again.samples("all") for number in np.unique(sample.mask)} == {
        0, 1, 2,
    }  # fmt: skip


def test_a_split_card_keeps_the_classes_of_folders(tumors, tmp_path):
    dataset = open_dataset(tumors, class_from="folder")
    plan = plan_split(dataset, redraw=True)
    (card,) = write_cards(plan, dataset, tumors, tmp_path / "card.yaml")
    again = open_dataset(card)
    by_name = {sample.name: sample.mask for sample in dataset.samples("all")}
    for sample in again.samples("all"):
        np.testing.assert_array_equal(sample.mask, by_name[sample.name])


def test_a_card_may_order_and_add_classes(tumors):
    (tumors / "dataset.yaml").write_text(
        "class_from: folder\nclasses: [background, malignant, benign, cyst]\n"
    )
    dataset = open_dataset(tumors)
    assert dataset.class_map.names == ("background", "malignant", "benign", "cyst")
    for record in dataset.records:
        class_id = 1 if "malignant" in record.image.parts else 2
        assert set(np.unique(dataset.load(record).mask)) == {0, class_id}


@pytest.mark.parametrize("has_card", [False, True])
def test_what_masks_store_is_ignored_whatever_the_folder(tmp_path, has_card):
    for number in range(6):
        place = tmp_path / CLASSES[number % 2]
        write_pair(place / f"{number}.png", place / f"{number}_mask.png", number)
        pixels = np.arange(40 * 48, dtype=np.uint8).reshape(40, 48) % 3
        Image.fromarray(pixels).save(place / f"{number}_mask.png")
    if has_card:
        (tmp_path / "dataset.yaml").write_text("classes: [background, malignant, benign]\n")
    dataset = open_dataset(tmp_path, class_from="folder", ignore=2)
    cards = tmp_path.parent / f"{tmp_path.name}-cards"
    cards.mkdir()
    write_card(check_data(tmp_path, class_from="folder", ignore=2), cards / "card.yaml")
    for opened in (dataset, open_dataset(cards / "card.yaml")):
        assert set(opened.class_map.names) == {"background", *CLASSES}
        for record in opened.records:
            mask = opened.load(record).mask
            ids = opened.class_map.names.index(record.image.parent.name)
            np.testing.assert_array_equal(mask, np.array([0, ids, 255])[pixels])


def test_a_card_that_lacks_a_folder_is_refused(tumors):
    (tumors / "dataset.yaml").write_text("class_from: folder\nclasses: [background, malignant]\n")
    with pytest.raises(ConfigError, match="benign is none of"):
        open_dataset(tumors)


def test_masks_of_several_classes_take_no_class_from_folders(tmp_path):
    for number in range(6):
        place = tmp_path / CLASSES[number % 2]
        write_pair(place / f"{number}.png", place / f"{number}_mask.png", number)
        Image.fromarray(np.arange(40 * 48, dtype=np.uint8).reshape(40, 48) % 3).save(
            place / f"{number}_mask.png"
        )
    with pytest.raises(MaskError, match="must hold a background and one class"):
        open_dataset(tmp_path, class_from="folder")


@pytest.mark.parametrize("folders", [("images",), ("a/x", "b/y")])
def test_folders_that_give_no_class_are_refused(tmp_path, folders):
    for number in range(6):
        place = tmp_path / folders[number % len(folders)]
        write_pair(place / f"{number}.png", place / f"{number}_mask.png", number)
    with pytest.raises(ConfigError, match="one folder per class"):
        open_dataset(tmp_path, class_from="folder")


def test_smoothed_masks_have_the_class_of_their_folder(tmp_path):
    rows = np.clip(np.arange(48) * 40 - 900, 0, 255).astype(np.uint8)
    for number in range(6):
        place = tmp_path / CLASSES[number % 2]
        write_pair(place / f"{number}.png", place / f"{number}_mask.png", number)
        Image.fromarray(np.tile(rows, (40, 1))).save(place / f"{number}_mask.png")
    dataset = open_dataset(tmp_path, class_from="folder")
    assert {2, 0} >= set(np.unique(dataset.load(dataset.records[-1]).mask))
    assert (dataset.load(dataset.records[-1]).mask == 2).mean() == (rows >= 128).mean()
