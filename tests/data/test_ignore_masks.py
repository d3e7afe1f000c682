import numpy as np
import pytest
from PIL import Image

from pixelwise import check_data, open_dataset
from pixelwise.data.splits.plans import plan_split
from pixelwise.data.splits.split_cards import write_cards
from pixelwise.doctor.suggested_card import write_card
from pixelwise.errors import ConfigError, DataError, FormatError, LayoutError, MaskError
from pixelwise.label_modes import mode_of

SIZE = 48
IGNORE_MASK = "training/mask/{name}_training_mask.gif"


def pixels_of(path):
    with Image.open(path) as picture:
        return np.array(picture.convert("L"))


def disk(radius=20):
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    return rows**2 + columns**2 < radius**2


@pytest.fixture
def retina(tmp_path):
    """A folder as DRIVE publishes it: images, vessels, and the fields of view."""
    rng = np.random.default_rng(0)
    folders = {name: tmp_path / "training" / name for name in ("images", "1st_manual", "mask")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for number in range(21, 27):
        image = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(image).save(folders["images"] / f"{number}_training.tif")
        vessels = np.zeros((SIZE, SIZE), np.uint8)
        vessels[rng.integers(0, SIZE, 9)] = 255
        Image.fromarray(vessels).save(folders["1st_manual"] / f"{number}_manual1.gif")
        view = Image.fromarray(disk().astype(np.uint8) * 255)
        view.save(folders["mask"] / f"{number}_training_mask.gif")
    return tmp_path


def test_a_field_of_view_is_offered_as_an_ignore_mask(retina):
    dataset = open_dataset(retina)
    assert not any((sample.mask == 255).any() for sample in dataset.samples("all"))
    said = " ".join(dataset.notes)
    assert "1st_manual/{name}_manual1.gif" in said
    offered = said.partition("`ignore_mask='")[2].partition("'")[0]
    assert open_dataset(retina, ignore_mask=offered).records[0].ignore_mask is not None


def test_pixels_outside_of_the_ignore_mask_are_ignored(retina):
    dataset = open_dataset(retina, ignore_mask=IGNORE_MASK)
    assert len(dataset.records) == 6
    for record in dataset.records:
        assert record.ignore_mask.name.startswith(record.image.name[:2])
        mask = dataset.load(record).mask
        np.testing.assert_array_equal(mask == 255, ~disk())
        plain = pixels_of(record.masks[0]) > 0
        np.testing.assert_array_equal(mask[disk()] == 1, plain[disk()])


@pytest.mark.parametrize("masks", ["png", "npy"])
def test_windows_of_a_scene_have_their_part_of_the_ignore_mask(tmp_path, masks):
    side = 1200
    rng = np.random.default_rng(0)
    inside = np.zeros((side, side), np.uint8)
    inside[100:1000, 200:] = 1
    for name, pixels in {
        "images": rng.integers(0, 256, (side, side, 3), np.uint8),
        "masks": rng.integers(0, 2, (side, side), np.uint8),
        "fov": inside,
    }.items():
        (tmp_path / name).mkdir()
        if name == "masks" and masks == "npy":
            np.save(tmp_path / name / "a.npy", pixels)
        else:
            Image.fromarray(pixels).save(tmp_path / name / "a.png")
    dataset = open_dataset(tmp_path, ignore_mask="fov/{name}.png")
    assert len(dataset.records) > 3
    for record in dataset.records:
        top, left, height, width = record.window
        part = inside[top : top + height, left : left + width]
        np.testing.assert_array_equal(dataset.load(record).mask == 255, part == 0)


def test_a_smoothed_ignore_mask_counts_from_its_middle(retina):
    for path in (retina / "training" / "mask").iterdir():
        Image.fromarray(pixels_of(path)).save(path.with_suffix(".jpg"), quality=60)
        path.unlink()
    dataset = open_dataset(retina, ignore_mask=IGNORE_MASK.replace("gif", "jpg"))
    ignored = dataset.train[0].mask == 255
    assert (ignored != ~disk()).mean() < 0.01


def test_an_edited_ignore_mask_changes_the_sample_and_the_state(retina):
    before = open_dataset(retina, ignore_mask=IGNORE_MASK)
    state = before.state
    assert state != open_dataset(retina).state
    record = before.records[0]
    before.load(record)
    Image.fromarray(disk(9).astype(np.uint8) * 255).save(record.ignore_mask)
    after = open_dataset(retina, ignore_mask=IGNORE_MASK)
    np.testing.assert_array_equal(after.load(record).mask == 255, ~disk(9))
    assert after.state != state


def test_masks_of_a_known_layout_are_not_ignore_masks_too(retina):
    (retina / "training" / "mask").rename(retina / "training" / "masks")
    for path in (retina / "training" / "masks").iterdir():
        path.rename(path.with_name(path.name.replace("_mask", "")))
    with pytest.raises(ConfigError, match=r"21_training.gif is both"):
        open_dataset(retina, ignore_mask="training/masks/{name}.gif")


def test_two_sets_of_masks_in_a_known_layout_are_a_question(retina):
    for number, path in enumerate(sorted((retina / "training" / "mask").iterdir())):
        Image.fromarray(disk(4 * number).astype(np.uint8) * 255).save(path)
    with pytest.raises(LayoutError, match="sets of images with masks side by side"):
        open_dataset(retina)


def test_an_image_without_its_ignore_mask_is_named(retina):
    (retina / "training" / "mask" / "23_training_mask.gif").unlink()
    with pytest.raises(FormatError, match=r"23_training.tif must have an ignore mask"):
        open_dataset(retina, ignore_mask=IGNORE_MASK)


def test_an_ignore_mask_of_another_size_is_named(retina):
    dataset = open_dataset(retina, ignore_mask=IGNORE_MASK)
    path = dataset.records[0].ignore_mask
    Image.new("L", (SIZE, SIZE + 1), 255).save(path)
    with pytest.raises(MaskError, match=f"{path.name} must be as large as its image"):
        dataset.load(dataset.records[0])


def test_a_broken_ignore_mask_is_named(retina):
    dataset = open_dataset(retina, ignore_mask=IGNORE_MASK)
    path = dataset.records[0].ignore_mask
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=path.name):
        dataset.load(dataset.records[0])


@pytest.mark.parametrize("template", ["nothing/{name}.png", "mask", "training/images/{name}.tif"])
def test_a_template_that_finds_no_ignore_mask_is_refused(retina, template):
    with pytest.raises((ConfigError, FormatError)):
        open_dataset(retina, ignore_mask=template)


def test_labels_without_an_ignore_value_take_no_ignore_mask(multilabel_folder):
    assert not mode_of("multilabel").holds_ids
    with pytest.raises(ConfigError, match="`ignore_mask` must be left out for multilabel masks"):
        open_dataset(multilabel_folder, ignore_mask="fov/{name}.png")


@pytest.fixture
def multilabel_folder(tmp_path):
    from pixelwise.data.digits import write_digits

    write_digits(tmp_path / "digits")
    return tmp_path / "digits"


def card_of_check(folder, options, card):
    write_card(check_data(folder, **options), card)


def card_of_split(folder, options, card):
    dataset = open_dataset(folder, **options)
    write_cards(plan_split(dataset, redraw=True), dataset, folder, card)


@pytest.mark.parametrize("write", [card_of_check, card_of_split])
def test_the_cards_that_pixelwise_writes_keep_the_ignore_mask(retina, tmp_path, write):
    card = tmp_path / "card.yaml"
    write(retina, {"ignore_mask": IGNORE_MASK}, card)
    sample = open_dataset(card).samples("all")[0]
    np.testing.assert_array_equal(sample.mask == 255, ~disk())


def test_a_card_keeps_the_ignore_mask(retina):
    (retina / "dataset.yaml").write_text(f"ignore_mask: {IGNORE_MASK!r}\n")
    assert (open_dataset(retina).train[0].mask == 255).any()
