"""Folders that no known layout fits: what is paired, what is asked, and what is said."""

import shutil

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.doctor import check_data
from pixelwise.doctor.suggested_card import write_card
from pixelwise.errors import ConfigError, DataError, FormatError, LayoutError, MaskError
from pixelwise.pairing.templates import Template, pair_by_templates, strippings


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def photo(tmp_path, random):
    def save(path, size=(24, 24)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)).save(tmp_path / path)

    return save


@pytest.fixture
def mask(tmp_path, random):
    def save(path, values=(0, 255), size=(24, 24)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full(size, values[0], np.uint8)
        top, left = random.integers(0, 8, 2)
        for number, value in enumerate(values[1:]):
            pixels[top + 5 * number : top + 5 * number + 5, left : left + 9] = value
        Image.fromarray(pixels).save(tmp_path / path)

    return save


def pairs_of(dataset):
    return {
        (one.image.relative_to(dataset.path).as_posix(),
         *(path.relative_to(dataset.path).as_posix() for path in one.masks))
        for one in dataset.records
    }  # fmt: skip


LAYOUTS = {
    "{n}.jpg": "{n}-mask.png",
    "d/{n}_sat.jpg": "d/{n}_mask.png",
    "images/image_{n}.png": "masks/mask_{n}.png",
    "images/image{n}.jpg": "annots/mask{n}.png",
    "Images/{n}.png": "GroundTruth/{n}.png",
    "images/{n}.jpg": "av-labels/{n}--av.png",
    "images_prepped_train/{n}.png": "annotations_prepped_train/{n}.png",
    "images/18/{n}/7.webp": "labels/18/{n}/7.png",
    "s{n}/scan.jpg": "s{n}/scan_gt.png",
    "a/{n}_RGB.png": "a/{n}.png",
    "patches/train/{n}.png": "mask/{n}.png",
    "IMG/OCR-D-IMG_{n}.png": "BIN/OCR-D-IMG-BIN_{n}.tif",
    "scan/{n}.PNG": "gt/00{n}.png",
}


@pytest.mark.parametrize("images", LAYOUTS)
def test_images_and_masks_are_paired_by_what_they_hold(tmp_path, photo, mask, images):
    wanted = {(images.format(n=n), LAYOUTS[images].format(n=n)) for n in (3, 14, 27)}
    for image, labels in wanted:
        photo(image)
        mask(labels)
    dataset = open_dataset(tmp_path, cache=False)
    assert pairs_of(dataset) == wanted
    assert dataset.class_map.values == (0, 255)
    assert "paired 3 of 3: " in dataset.notes[0]
    # What was decided can be given, and gives the same.
    again = open_dataset(
        tmp_path, images=dataset.format.images, masks=dataset.format.masks, cache=False
    )
    assert pairs_of(again) == wanted


def test_roles_are_decided_by_content_and_not_by_names(tmp_path, photo, mask):
    for number in range(3):
        photo(f"masks/{number}.png")
        mask(f"images/{number}.png")
    (tmp_path / "masks").rename(tmp_path / "labels_a")
    (tmp_path / "images").rename(tmp_path / "pictures_b")
    dataset = open_dataset(tmp_path, cache=False)
    assert ("labels_a/0.png", "pictures_b/0.png") in pairs_of(dataset)


def test_two_sets_of_masks_are_a_question_with_commands(tmp_path, photo, mask):
    for number in range(3):
        photo(f"images/{number}.jpg")
        mask(f"2GT/{number}_GT.png")
        mask(f"3GT/{number}_3GT.png", (0, 128, 255))
    with pytest.raises(LayoutError, match=r"2 sets of masks for images/\{name\}\.jpg") as error:
        open_dataset(tmp_path, cache=False)
    lines = str(error.value).splitlines()
    assert len(lines) <= 10
    commands = [line for line in lines if "pixelwise data check" in line]
    assert "`masks='3GT/{name}_3GT.png'`" in commands[0]
    assert "3 values (0, 128, 255)" in commands[0]
    assert "`masks='2GT/{name}_GT.png'`" in commands[1]
    chosen = open_dataset(
        tmp_path, images="images/{name}.jpg", masks="2GT/{name}_GT.png", cache=False
    )
    assert chosen.class_map.names == ("background", "foreground")


@pytest.mark.parametrize("folder", ["overlays", "depth", "SegmentationObject", "predictions"])
def test_what_is_plainly_no_ground_truth_is_set_aside_and_said(tmp_path, photo, mask, folder):
    for number in range(3):
        photo(f"original/{number}.png")
        mask(f"gt/{number}.png")
        (mask if folder[0] in "Sp" else photo)(f"{folder}/{number}.png")
    dataset = open_dataset(tmp_path, cache=False)
    assert ("original/0.png", "gt/0.png") in pairs_of(dataset)
    assert f"3 in {folder}/" in dataset.notes[0]


def test_a_question_says_why_a_reading_that_it_offers_was_set_aside(tmp_path, photo, mask):
    for number in range(3):
        photo(f"images/{number}.png")
        for folder in ("2GT", "3GT"):
            mask(f"{folder}/{number}.png")
        mask(f"small/{number}.png", size=(20, 20))
    with pytest.raises(FormatError) as question:
        open_dataset(tmp_path, cache=False)
    offered = [line for line in str(question.value).splitlines() if " `masks=" in line]
    asides = [line.partition("; set aside: ")[2] for line in offered]
    assert sorted(asides) == ["", "", "masks of another size"]
    assert "Got 2 sets of masks" in str(question.value)


def test_a_field_of_view_is_no_mask_of_classes(tmp_path, photo, mask):
    circle = np.hypot(*(np.mgrid[:24, :24] - 12)) < 10
    for number in range(4):
        photo(f"images/{number}_training.png")
        mask(f"manual/{number}_manual1.png")
        (tmp_path / "fov").mkdir(exist_ok=True)
        Image.fromarray(circle.astype(np.uint8) * 255).save(tmp_path / f"fov/{number}_fov.png")
    dataset = open_dataset(tmp_path, cache=False)
    assert ("images/0_training.png", "manual/0_manual1.png") in pairs_of(dataset)
    assert "not fov/{name}_fov.png (nearly the same in all images" in dataset.notes[0]


def test_masks_of_another_size_are_refused_or_resized_when_asked(tmp_path, photo, mask):
    for number in range(3):
        photo(f"pics/{number}.jpg", size=(48, 24))
        mask(f"gt/{number}.png")
    with pytest.raises(LayoutError, match=r"24 x 48 with masks of 24 x 24") as error:
        open_dataset(tmp_path, cache=False)
    assert "`resize_masks='nearest'`" in str(error.value)
    templates = {"images": "pics/{name}.jpg", "masks": "gt/{name}.png"}
    refused = open_dataset(tmp_path, cache=False, **templates)
    with pytest.raises(MaskError, match="must be as large as its image"):
        refused.load(refused.records[0])
    dataset = open_dataset(tmp_path, cache=False, resize_masks="nearest", **templates)
    sample = dataset.load(dataset.records[0])
    stored = np.asarray(Image.open(dataset.records[0].masks[0]))
    assert (sample.mask == np.repeat(stored > 0, 2, axis=0)).all()


@pytest.mark.parametrize(("rule", "count"), [("skip", 3), ("background", 4)])
def test_images_without_a_mask_are_an_error_unless_said(tmp_path, photo, mask, rule, count):
    for number in range(3):
        photo(f"pics/{number}_sat.jpg")
        mask(f"pics/{number}_mask.png")
    photo("pics/3_sat.jpg")
    with pytest.raises(FormatError, match=r"3_sat.jpg must have a mask .*`unlabeled='skip'`"):
        open_dataset(tmp_path, cache=False)
    dataset = open_dataset(tmp_path, unlabeled=rule, cache=False)
    assert len(dataset.records) == count
    assert not any(dataset.load(dataset.records[-1]).mask.ravel()) or rule == "skip"
    examination = check_data(tmp_path, unlabeled=rule)
    assert not examination.is_refused
    assert sum(examination.num_images.values()) == count


def test_companions_of_images_are_no_unlabeled_images(tmp_path, photo, mask):
    for number in range(3):
        photo(f"d/{number}.png")
        photo(f"d/{number}_preview.png")
        mask(f"d/{number}_mask.png")
    assert len(open_dataset(tmp_path, cache=False).records) == 3


def test_the_card_that_the_check_writes_keeps_the_reading(tmp_path, photo, mask):
    for number in range(4):
        photo(f"data/{number}_sat.jpg")
        mask(f"data/{number}_mask.png")
    write_card(check_data(tmp_path / "data"), tmp_path / "dataset.yaml")
    text = (tmp_path / "dataset.yaml").read_text()
    assert "masks: '{name}_mask.png'" in text
    opened = open_dataset(tmp_path / "dataset.yaml", cache=False)
    assert pairs_of(opened) == pairs_of(open_dataset(tmp_path / "data", cache=False))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.csv", "image,mask\npics/{n}.jpg,gt/{n}.png\n"),
        ("pairs.csv", "mask;image\n./gt/{n}.png;./pics/{n}.jpg\n"),
        ("pairs.txt", "C:\\data\\pics\\{n}.jpg\tC:\\data\\gt\\{n}.png\n"),
        ("all.txt", '"pics/{n}.jpg" "gt/{n}.png"\n'),
        ("sets.csv", "id,set,img,label\n{n},train,http://x/pics/{n}.jpg?raw=1,gt/{n}.png\n"),
        ("one/list.txt", "pics/{n}.jpg gt/{n}.png\n"),
    ],
)
def test_a_list_of_pairs_comes_before_any_guess(tmp_path, photo, mask, name, text):
    *heading, line = text.splitlines(keepends=True)
    for number in range(3):
        photo(f"pics/{number} a.jpg")
        mask(f"gt/{number} a.png")
        mask(f"other/{number} a.png")  # would be a question without the list
    (tmp_path / name).parent.mkdir(exist_ok=True)
    lines = [line.format(n=f"{number} a") for number in range(3)]
    (tmp_path / name).write_text("".join([*heading, *lines]))
    dataset = open_dataset(tmp_path, cache=False)
    assert pairs_of(dataset) == {(f"pics/{n} a.jpg", f"gt/{n} a.png") for n in range(3)}
    assert f"3 pairs listed in {name}" in dataset.notes[0]


def test_two_lists_that_disagree_are_not_taken(tmp_path, photo, mask):
    for number in range(3):
        photo(f"pics/{number}.jpg")
        mask(f"gt/{number}.png")
        mask(f"other/{number}.png")
    for folder in ("gt", "other"):
        lines = [f"pics/{number}.jpg,{folder}/{number}.png\n" for number in range(3)]
        (tmp_path / f"{folder}.csv").write_text("".join(lines))
    with pytest.raises(LayoutError, match="2 sets of masks"):
        open_dataset(tmp_path, cache=False)


def test_a_tiff_named_jpg_and_a_bmp_named_tif_are_read_by_content(tmp_path, photo, mask):
    for number in range(3):
        photo(f"pics/{number}.tif")
        (tmp_path / f"pics/{number}.tif").rename(tmp_path / f"pics/{number}.jpg")
        mask(f"gt/{number}.bmp")
        (tmp_path / f"gt/{number}.bmp").rename(tmp_path / f"gt/{number}.tif")
    dataset = open_dataset(tmp_path, cache=False)
    assert dataset.load(dataset.records[0]).image.shape == (24, 24, 3)


def smoothed(size=96):
    """Gray levels 0, 128 and 255, with edges as an interpolation leaves them."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[10:70, 10:80] = 128
    pixels[20:50, 30:60] = 255
    picture = Image.fromarray(pixels)
    return picture.resize((size * 3, size * 3), Image.Resampling.BICUBIC).resize(
        (size, size), Image.Resampling.LANCZOS
    ).rotate(7, Image.Resampling.BICUBIC)  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_smoothed_masks_get_their_clear_levels_as_classes(tmp_path, photo, mode):
    for number in range(3):
        photo(f"img/{number}.png", size=(96, 96))
        (tmp_path / "mask").mkdir(exist_ok=True)
        smoothed().convert(mode).save(tmp_path / f"mask/{number}.png")
    dataset = open_dataset(tmp_path, cache=False)
    assert dataset.class_map.values == (0, 128, 255)  # 255 is a class, not ignored
    assert "the masks are smoothed: " in "\n".join(dataset.notes)
    stored = np.asarray(smoothed()).astype(int)
    nearest = np.abs(stored[..., None] - np.array([0, 128, 255])).argmin(-1)
    assert (dataset.load(dataset.records[0]).mask == nearest).all()
    assert not check_data(tmp_path).is_refused
    with pytest.raises(DataError, match="look like gray levels"):
        open_dataset(tmp_path, unexpected="error", cache=False)


def test_a_folder_per_subject_with_ids_is_not_merged_into_one_foreground(tmp_path, photo, mask):
    for number in range(3):
        photo(f"subject{number}/images/{number}.png")
        mask(f"subject{number}/masks/{number}.png", (0, 1, 2))
    dataset = open_dataset(tmp_path, cache=False)
    assert dataset.format.name == "index-masks"
    assert dataset.class_map.num_classes == 3


def test_a_semantic_export_of_roboflow_has_the_names_of_its_table(tmp_path, photo, mask):
    for split in ("train", "valid"):
        for number in range(3):
            photo(f"{split}/{number}_jpg.rf.{number}a.jpg")
            mask(f"{split}/{number}_jpg.rf.{number}a_mask.png", (0, 1, 2))
        table = "Pixel Value, Class\n0, background\n1, Car\n2, Cow statue\n"
        (tmp_path / split / "_classes.csv").write_text(table)
    dataset = open_dataset(tmp_path, cache=False)
    assert dataset.class_map.names == ("background", "Car", "Cow statue")
    assert {one.split for one in dataset.records} == {"train", "val"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ImageSets/class.txt", "Class R G B\n1 0 0 0 the ground\n2 128 0 0 grain\n"),
        ("colors.json", '{"the ground": [0, 0, 0], "grain": [128, 0, 0]}'),
        ("c.json", '[{"name": "the ground", "rgb": "000000"}, {"name": "grain", "rgb": "800000"}]'),
        ("palette.csv", "name,red,green,blue\nthe ground,0,0,0\ngrain,128,0,0\n"),
    ],
)  # fmt: skip
def test_a_table_beside_the_masks_names_their_colors(tmp_path, photo, name, text):
    for number in range(3):
        photo(f"images/{number}.jpg")
        pixels = np.zeros((24, 24, 3), np.uint8)
        pixels[4:12, 3:9] = (128, 0, 0)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"masks/{number}.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    names = open_dataset(tmp_path, cache=False).class_map.names
    assert names == ("the ground", "grain")


def test_a_table_of_other_masks_is_passed_over(tmp_path, photo, mask):
    for number in range(3):
        photo(f"images/{number}.jpg")
        mask(f"masks/{number}.png", (0, 1, 2))
    (tmp_path / "classes.txt").write_text("road\ncar\n")  # three values, two names
    (tmp_path / "label_colors.csv").write_text("name,r,g,b\nroad,1,2,3\ncar,4,5,6\n")
    assert open_dataset(tmp_path, cache=False).class_map.is_numbered


def test_a_template_without_a_name_or_alone_is_refused(tmp_path, photo):
    photo("a.jpg")
    with pytest.raises(ConfigError, match=r"must contain \{name\} once"):
        open_dataset(tmp_path, images="images/*.png", masks="masks/{name}.png")
    with pytest.raises(ConfigError, match="`masks` must be given with `images`"):
        open_dataset(tmp_path, images="images/{name}.png")
    with pytest.raises(FormatError, match="They give no pair: 1 image, 0 masks"):
        open_dataset(tmp_path, images="{name}.jpg", masks="{name}_mask.png")
    with pytest.raises(ConfigError, match="`unlabeled` must be left out for coco"):
        open_dataset(tmp_path, format="coco", unlabeled="skip")


def test_templates_compare_names_exactly_first_and_then_as_a_person_reads_them():
    paths = ["i/1.png", "i/01.png", "i/A.png", "m/1.png", "m/a.png"]
    found = pair_by_templates(paths, Template("i/{name}.png"), Template("m/{name}.png"))
    assert [(pair.image, pair.mask) for pair in found.pairs] == [
        ("i/1.png", "m/1.png"), ("i/A.png", "m/a.png"),
    ]  # fmt: skip
    assert found.unlabeled == (("i/01.png", None),)


def test_an_affix_is_made_of_whole_words():
    ways = strippings("BloodImage_00089")
    assert ("BloodImage_", "00089", "") in ways
    assert ("", "BloodImage", "_00089") in ways
    assert not any(start == "Bl" or end == "9" for start, _, end in ways)


def test_a_folder_without_pairs_says_what_it_holds_and_what_would_open(tmp_path, photo, mask):
    for number in range(3):
        photo(f"some set/images/{number}.jpg")
        (tmp_path / f"some set/{number}.mat").write_bytes(b"x")
        mask(f"coco/{number}.png")
    shutil.rmtree(tmp_path / "coco")
    with pytest.raises(FormatError, match=r"3 \.jpg in some set/images/|0\.mat"):
        open_dataset(tmp_path, cache=False)
