import numpy as np
import pytest
import tifffile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.masks.kinds import MAX_LOOKED_AT
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, MaskError


def mask_of(dataset, number=0):
    return dataset.load(dataset.records[number]).mask


def test_black_and_white_is_background_and_foreground(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[0, 255], [255, 0]])
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "grayscale-masks"
    assert dataset.class_map.names == ("background", "foreground")
    assert dataset.class_map.ignore == ()
    np.testing.assert_array_equal(mask_of(dataset), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        ([0, 127, 255], ("background", "gray-127", "gray-255")),
        ([0, 50, 100], ("background", "gray-50", "gray-100")),
        ([60, 120], ("gray-60", "gray-120")),
    ],
)
def test_gray_levels_far_apart_are_classes(tmp_path, save_pair, levels, names):
    save_pair(tmp_path, "a", [levels])
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "grayscale-masks"
    assert dataset.class_map.names == names
    assert set(levels) <= set(dataset.class_map.values)
    stored = np.array(dataset.class_map.values)
    np.testing.assert_array_equal(stored[mask_of(dataset)], [levels])


@pytest.mark.parametrize(
    "levels", [[0], [255], [0, 1], [0, 1, 2, 255], [0, 3, 7], [0, 2, 200], [0, 15]]
)
def test_values_that_count_classes_stay_index_masks(tmp_path, save_pair, levels):
    save_pair(tmp_path, "a", [levels])
    dataset = open_dataset(tmp_path, ignore=[200])
    assert dataset.format.name == "index-masks"


@pytest.mark.parametrize(
    ("mask", "name"),
    [
        ([[0, 1, 2]], "index-masks"),
        ([[0, 255]], "grayscale-masks"),
        ([[(255, 0, 0), (0, 0, 0)]], "color-masks"),
        ([[(255, 255, 255), (0, 0, 0)]], "grayscale-masks"),
        ([[(1, 1, 1), (0, 0, 0)]], "index-masks"),
    ],
)
@pytest.mark.parametrize("is_listed", [False, True])
def test_exactly_one_of_the_three_formats_of_mask_files_answers(
    tmp_path, save_pair, mask, name, is_listed
):
    kinds = ("index-masks", "grayscale-masks", "color-masks")
    save_pair(tmp_path, "a", mask, images="scans", masks="painted")
    if is_listed:
        (tmp_path / "train.txt").write_text("scans/a.png painted/a.png\n")
    else:
        (tmp_path / "painted").rename(tmp_path / "scans_masks")
    confidences = {kind: formats.create(kind).detect(tmp_path).score for kind in kinds}
    assert {kind for kind, confidence in confidences.items() if confidence > 0} == {name}
    assert open_dataset(tmp_path).format.name == name


def test_a_folder_of_labels_that_holds_no_masks_is_left_to_other_formats(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[0, 1]], masks="labels").unlink()
    (tmp_path / "labels/a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    assert formats.create("index-masks").detect(tmp_path).score < 0.5
    assert formats.create("grayscale-masks").detect(tmp_path).score == 0


def test_a_mask_that_cannot_be_read_leaves_the_others_to_say_what_they_are(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[0, 255]]).write_bytes(b"\x89PNG broken")
    save_pair(tmp_path, "b", [[0, 255]])
    with pytest.raises(DataError, match=r"a\.png must be a readable image"):
        open_dataset(tmp_path)
    assert formats.create("grayscale-masks").detect(tmp_path).score > 0.5


def test_a_picture_among_class_ids_is_refused_by_name(tmp_path, save_pair):
    for stem in ("a", "b", "d"):
        save_pair(tmp_path, stem, [[0, 1, 2]])
    save_pair(tmp_path, "c", [[(9, 8, 7), (6, 5, 4), (3, 2, 1)]])
    with pytest.raises(MaskError, match=r"c\.png must contain one class id per pixel.*color image"):
        open_dataset(tmp_path)


def test_a_palette_makes_numbers_of_0_and_255(tmp_path, save_pair):
    palette = [(40, 40, 40), *[(200, 0, 0)] * 254, (224, 224, 192)]
    save_pair(tmp_path, "a", [[0, 1, 255]], palette=palette)
    assert open_dataset(tmp_path).class_map.names == ("class-0", "class-1")


def test_a_palette_of_grays_is_none(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[0, 255]], palette=[(level,) * 3 for level in range(256)])
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "grayscale-masks"
    np.testing.assert_array_equal(mask_of(dataset), [[0, 1]])


def test_gray_saved_as_color_or_with_alpha_or_as_tiff_is_gray(tmp_path, save_pair, save_pixels):
    white = np.array([[0, 255], [255, 0]], np.uint8)
    save_pair(tmp_path, "a", np.stack([white] * 3, -1))
    save_pixels(tmp_path / "images/b.png", np.zeros((2, 2, 3)))
    save_pixels(tmp_path / "masks/b.png", np.stack([*[white] * 3, white], -1))
    save_pixels(tmp_path / "images/c.png", np.zeros((2, 2, 3)))
    tifffile.imwrite(tmp_path / "masks/c.tif", white)
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "grayscale-masks"
    for number in range(3):
        np.testing.assert_array_equal(mask_of(dataset, number), white > 0)


def test_levels_beyond_the_masks_that_are_looked_at_are_found(tmp_path, save_pair):
    for number in range(2 * MAX_LOOKED_AT + 1):
        save_pair(tmp_path, f"{number:03d}", [[0, 255]])
    save_pair(tmp_path, "001", [[0, 100]])  # not among those spread over all of them
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.values == (0, 100, 255)
    np.testing.assert_array_equal(mask_of(dataset, 1), [[0, 1]])


def test_smoothed_masks_are_refused_until_a_card_says_what_becomes_of_the_fringe(
    tmp_path, save_pair
):
    fringe = np.array([[0, 3, 60, 110, 190, 240, 251, 255]])
    save_pair(tmp_path, "a", fringe)
    with pytest.raises(
        MaskError, match=r"masks must contain .*look like gray levels.*`unexpected='near"
    ):
        open_dataset(tmp_path)
    card = {"classes": [{"name": "ground", "value": 0}, {"name": "house", "value": 255}]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(card))
    refusing = open_dataset(tmp_path)
    with pytest.raises(MaskError, match=r"a\.png .*Got 3 \(1 pixels, nearest class 0\)"):
        mask_of(refusing)
    np.testing.assert_array_equal(
        mask_of(open_dataset(tmp_path, unexpected="nearest")), fringe > 127
    )
    np.testing.assert_array_equal(
        mask_of(open_dataset(tmp_path, unexpected="ignore")), [[0, *[255] * 6, 1]]
    )


def test_more_than_16_levels_in_all_are_refused(tmp_path, save_pair):
    save_pair(tmp_path, "a", [range(0, 256, 15)])
    with pytest.raises(MaskError, match=r"Got 18 values from 0 to 255"):
        open_dataset(tmp_path, format="grayscale-masks")


def test_a_format_that_is_asked_for_wins(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[0, 1, 255]])
    assert open_dataset(tmp_path).class_map.names == ("class-0", "class-1")
    asked = open_dataset(tmp_path, format="grayscale-masks")
    assert asked.class_map.names == ("background", "gray-1", "gray-255")
    save_pair(tmp_path, "a", [[0, 255, 255]])
    asked = open_dataset(tmp_path, format="index-masks")
    assert asked.format.name == "index-masks"
    assert asked.class_map.names == ("background", "foreground")


@pytest.mark.parametrize("quality", [30, 75, 100])
def test_jpeg_masks_get_the_nearest_clear_value_unless_that_is_refused(
    tmp_path, save_pair, quality
):
    shape = np.kron([[0, 255], [255, 0]], np.ones((8, 8)))
    path = save_pair(tmp_path, "a", shape)
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=quality)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.jpg must be a lossless mask"):
        open_dataset(tmp_path, unexpected="error")
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("background", "foreground")
    np.testing.assert_array_equal(mask_of(dataset), shape > 0)
    card = {"classes": ["ground", {"name": "house", "value": 255}], "unexpected": "nearest"}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(card))
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "grayscale-masks"
    np.testing.assert_array_equal(mask_of(dataset), shape > 0)


@settings(max_examples=25, deadline=None)
@given(
    mask=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                elements=st.sampled_from([0, 1, 2, 255])),
    has_ignored=st.booleans(),
)  # fmt: skip
def test_grayscale_masks_read_back_as_they_were_written(
    tmp_path_factory, save_pixels, mask, has_ignored
):
    class_map = ClassMap.build(
        ("ground", "house", "tree"), values=(0, 90, 255), ignore=(200,) if has_ignored else ()
    )
    folder = tmp_path_factory.mktemp("grayscale")
    image = np.zeros((*mask.shape, 3), np.uint8)
    record = Record("a", save_pixels(folder / "a.png", image))
    sample = Sample("a", image, mask, "multiclass")
    found = formats.create("grayscale-masks")
    (folder / "out").mkdir()
    if (mask == 255).any() and not has_ignored:
        assert found.refusal(MaskContent.of(sample, class_map)) == "no stored value means ignored"
        return
    found.write(folder / "out", [(record, sample)], class_map)
    (read,) = found.records(folder / "out")
    np.testing.assert_array_equal(found.load(read, class_map).mask, mask)
    with Image.open(read.masks[0]) as picture:
        assert picture.mode == "L"
        levels = np.array([0, 90, 255, *[200] * 253])
        np.testing.assert_array_equal(np.asarray(picture), levels[mask])


def test_class_ids_are_no_gray_levels_to_write(tmp_path):
    class_map = ClassMap.build(("background", "house"))
    content = MaskContent(class_map, "multiclass", has_ignored=False, is_soft=False)
    assert "are class ids, as in index-masks" in formats.create("grayscale-masks").refusal(content)


@pytest.mark.real_data
def test_a_peers_building_mask_is_black_and_white(test_data, tmp_path, save_pixels):
    source = test_data / "buildings/sample_fp_mask.tif"
    stored = tifffile.imread(source)
    save_pixels(tmp_path / "images/a.png", np.zeros(stored.shape))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.tif").write_bytes(source.read_bytes())
    (tmp_path / "dataset.yaml").write_text("windows: off")
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "grayscale-masks"
    assert int(mask_of(dataset).sum()) == 117_996
    np.testing.assert_array_equal(mask_of(dataset), stored == 255)
