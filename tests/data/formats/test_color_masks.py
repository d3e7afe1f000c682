import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.masks.coding import IGNORE_COLOR, colors_to_class_ids
from pixelwise.data.masks.color_tables import label_map_text, read_color_table
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import ConfigError, DataError, FormatError, MaskError

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)

CARD = {
    "classes": [
        {"name": "ground", "color": list(BLACK)},
        {"name": "house", "color": list(RED)},
        {"name": "tree", "color": list(GREEN)},
    ]
}


def mask_of(dataset, number=0):
    return dataset.load(dataset.records[number]).mask


def write_card(folder, **entries):
    (folder / "dataset.yaml").write_text(yaml.safe_dump({**CARD, **entries}))


def test_every_color_is_a_class_and_black_is_background(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK], [BLUE, RED]])
    save_pair(tmp_path, "b", [[BLACK, GREEN]])
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "color-masks"
    assert dataset.class_map.names == ("background", "#0000ff", "#00ff00", "#ff0000")
    assert dataset.class_map.colors == (BLACK, BLUE, GREEN, RED)
    np.testing.assert_array_equal(mask_of(dataset, 0), [[3, 0], [1, 3]])
    np.testing.assert_array_equal(mask_of(dataset, 1), [[0, 2]])


def test_the_border_color_of_voc_is_ignored_where_nobody_says_otherwise(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, IGNORE_COLOR, BLACK]])
    np.testing.assert_array_equal(mask_of(open_dataset(tmp_path)), [[1, 255, 0]])
    write_card(tmp_path, classes=[*CARD["classes"], {"name": "sand", "color": list(IGNORE_COLOR)}])
    np.testing.assert_array_equal(mask_of(open_dataset(tmp_path)), [[1, 3, 0]])


def test_a_card_names_the_colors_and_those_that_are_ignored(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK, BLUE, GREEN]])
    write_card(tmp_path, ignore_colors=[list(BLUE)])
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.ignore_colors == (BLUE,)
    np.testing.assert_array_equal(mask_of(dataset), [[1, 0, 255, 2]])


def test_a_color_cannot_be_a_class_and_ignored(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK]])
    write_card(tmp_path, ignore_colors=[list(RED)])
    with pytest.raises(ConfigError, match=r"dataset\.yaml.*class or ignored, not both"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nground:0,0,0::\n\nroof:255,0,0:a,b:c\nVoid:0,0,255::",
        ),
        ("class_dict.csv", "name,r,g,b\nground,0,0,0\nroof,255,0,0\nVOID, 0, 0, 255\n"),
        ("label_colors.txt", "0 0 0\tground\n255 0 0\t\troof\n0 0 255 unlabelled\n"),
    ],
)
@pytest.mark.parametrize("is_above", [False, True])
def test_color_tables_name_the_classes(tmp_path, save_pair, name, text, is_above):
    folder = tmp_path / "data"
    save_pair(folder, "a", [[RED, BLUE, BLACK]])
    ((tmp_path if is_above else folder) / name).write_text(text)
    dataset = open_dataset(folder)
    assert dataset.class_map.names == ("ground", "roof")
    assert dataset.class_map.colors == (BLACK, RED)
    assert dataset.class_map.ignore_colors == (BLUE,)
    np.testing.assert_array_equal(mask_of(dataset), [[1, 255, 0]])


def test_the_layout_that_cvat_calls_camvid_is_read(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK]], images="default", masks="defaultannot")
    (tmp_path / "label_colors.txt").write_text("0 0 0 background\n255 0 0 roof\n")
    (tmp_path / "default.txt").write_text("/default/a.png /defaultannot/a.png\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.format.name, dataset.class_map.names) == (
        "color-masks",
        ("background", "roof"),
    )


def test_with_a_table_black_and_white_are_colors(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[BLACK, (255, 255, 255)]])
    assert open_dataset(tmp_path).format.name == "grayscale-masks"
    (tmp_path / "labelmap.txt").write_text("snow:255,255,255::\nground:0,0,0::\n")
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("snow", "ground")
    np.testing.assert_array_equal(mask_of(dataset), [[1, 0]])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labelmap.txt", "roof:255,0,256::\n", r"labelmap\.txt line 1 must be name:red"),
        ("labelmap.txt", "a:1,2,3::\nnonsense\n", r"line 2 .*Got 'nonsense'"),
        ("labelmap.txt", "a:1,2,3::\na:4,5,6::\n", r"labelmap\.txt.*names must be unique"),
        ("labelmap.txt", "a:1,2,3::\nvoid:1,2,3::\n", r"labelmap\.txt.*not both"),
        ("labelmap.txt", "void:1,2,3::\n", r"1 to 255 classes\. Got 0"),
        ("labelmap.txt", "", r"1 to 255 classes\. Got 0"),
        ("class_dict.csv", "name,r,g,b\nroof,1,2\n", r"class_dict\.csv line 2 must be name,red"),
        ("label_colors.txt", "1 2 roof\n", r"label_colors\.txt line 1 must be red green blue"),
        ("label_colors.txt", "\x00\ud800", r"line 1"),
    ],
)
def test_a_table_that_is_none_is_refused_by_line(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises((FormatError, ConfigError), match=message):
        read_color_table(tmp_path / name)


def test_a_table_of_many_megabytes_is_not_read(tmp_path):
    (tmp_path / "labelmap.txt").write_bytes(b"a" * 2_000_000)
    with pytest.raises(FormatError, match=r"Got 2,000,000 bytes"):
        read_color_table(tmp_path / "labelmap.txt")


def test_smoothed_colors_are_refused_with_their_count_and_the_way_out(tmp_path, save_pair):
    ramp = np.zeros((1, 256, 3), np.uint8)
    ramp[0, :, 0] = np.arange(256)
    save_pair(tmp_path, "a", ramp)
    with pytest.raises(MaskError, match=r"at most 64 colors.*Got 256.*`unexpected='nearest'`"):
        open_dataset(tmp_path)
    write_card(tmp_path, unexpected="nearest")
    np.testing.assert_array_equal(mask_of(open_dataset(tmp_path)), [[0] * 128 + [1] * 128])


def test_an_unknown_color_is_refused_with_its_pixels_and_the_nearest_class(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, (250, 3, 0), (250, 3, 0), (1, 2, 3)]])
    write_card(tmp_path)
    with pytest.raises(
        MaskError,
        match=r"a\.png must contain the colors #000000 ground, .*Got #010203 \(1 pixels, nearest "
        r"class #000000 ground\), #fa0300 \(2 pixels, nearest class #ff0000 house\)\..*"
        r"\[250, 3, 0\].*`unexpected='nearest'`",
    ):
        mask_of(open_dataset(tmp_path))
    nearest = open_dataset(tmp_path, unexpected="nearest")
    np.testing.assert_array_equal(mask_of(nearest), [[1, 1, 1, 0]])
    ignored = open_dataset(tmp_path, unexpected="ignore")
    np.testing.assert_array_equal(mask_of(ignored), [[1, 255, 255, 255]])


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, (4, 5, 3)), st.data())
def test_the_nearest_color_is_that_of_the_smallest_distance(tmp_path_factory, pixels, data):
    color = st.tuples(*[st.integers(0, 255)] * 3)
    colors = data.draw(st.lists(color, min_size=3, max_size=6, unique=True))
    class_map = ClassMap.build("abcdef"[: len(colors) - 1], colors=colors[:-1],
                               ignore_colors=colors[-1:])  # fmt: skip
    codes = pixels.astype(np.int64) @ [65536, 256, 1]
    ids = colors_to_class_ids(codes, class_map, tmp_path_factory.getbasetemp(), "nearest")
    away = np.linalg.norm(pixels[..., None, :].astype(float) - np.array(colors), axis=-1)
    chosen = np.where(ids == 255, len(colors) - 1, ids)
    taken = np.take_along_axis(away, chosen[..., None].astype(int), -1)[..., 0]
    np.testing.assert_allclose(taken, away.min(-1))


def test_two_classes_of_one_color_are_refused(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK]])
    write_card(tmp_path, classes=[{"name": name, "color": list(RED)} for name in "ab"])
    with pytest.raises(MaskError, match=r"#ff0000 for a and b"):
        mask_of(open_dataset(tmp_path))


def test_transparent_pixels_keep_their_color(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[(*RED, 0), (*BLUE, 255), (*RED, 128)]])
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.colors == (BLUE, RED)
    np.testing.assert_array_equal(mask_of(dataset), [[1, 0, 1]])


def test_colors_of_16_bits_are_refused_rather_than_cut(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK]])
    np.save(tmp_path / "masks/a.npy", np.zeros((1, 2, 3), np.uint16))
    (tmp_path / "masks/a.png").unlink()
    write_card(tmp_path, format="color-masks")
    with pytest.raises(MaskError, match=r"a\.npy must contain red, green and blue of 8 bits"):
        mask_of(open_dataset(tmp_path))


def test_numbers_among_color_masks_are_the_colors_that_are_seen(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK]])
    save_pair(tmp_path, "b", [[0, 1]], palette=[BLACK, RED])
    save_pair(tmp_path, "c", [[0, 0]])
    write_card(tmp_path)
    dataset = open_dataset(tmp_path)
    masks = [mask_of(dataset, number).tolist() for number in range(3)]
    assert masks == [[[1, 0]], [[0, 1]], [[0, 0]]]


def test_jpeg_masks_get_the_nearest_color_unless_that_is_refused(tmp_path, save_pair):
    shape = np.kron([[0, 1], [2, 0]], np.ones((16, 16), int))
    path = save_pair(tmp_path, "a", np.array([BLACK, RED, GREEN])[shape])
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=90, subsampling=0)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.jpg must be a lossless mask"):
        open_dataset(tmp_path, unexpected="error")
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.num_classes == 3
    assert len(np.unique(mask_of(dataset)[shape == 1])) == 1
    write_card(tmp_path, unexpected="nearest")
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "color-masks"
    np.testing.assert_array_equal(mask_of(dataset), shape)


def test_values_that_are_ignored_are_none_of_these_masks(tmp_path, save_pair):
    save_pair(tmp_path, "a", [[RED, BLACK]])
    with pytest.raises(ConfigError, match=r"ignore must be left out for color-masks"):
        open_dataset(tmp_path, ignore=[0])


def test_ignored_pixels_need_a_color_that_is_no_class(tmp_path):
    class_map = ClassMap.build(("a", "b"), colors=(IGNORE_COLOR, RED))
    content = MaskContent(class_map, "multiclass", has_ignored=True, is_soft=False)
    found = formats.create("color-masks")
    assert "no color means ignored" in found.refusal(content)
    declared = class_map.model_copy(update={"ignore_colors": (BLUE,)})
    content = MaskContent(declared, "multiclass", has_ignored=True, is_soft=False)
    assert found.refusal(content) is None


def test_what_is_written_reads_back_without_a_card(tmp_path, save_pixels):
    names = ("#ff0000", "a: b", "tree, old")
    class_map = ClassMap.build(names, colors=(RED, GREEN, BLACK), ignore_colors=(BLUE,))
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    image = np.zeros((1, 4, 3), np.uint8)
    record = Record("a", save_pixels(tmp_path / "a.png", image), split="val")
    (tmp_path / "out").mkdir()
    found = formats.create("color-masks")
    found.write(tmp_path / "out", [(record, Sample("a", image, mask, "multiclass"))], class_map)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.class_map == class_map
    assert dataset.records[0].split == "val"
    np.testing.assert_array_equal(mask_of(dataset), mask)
    with Image.open(dataset.records[0].masks[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), [[RED, GREEN, BLACK, BLUE]])


@pytest.mark.parametrize("name", ["Void", "two\nlines", " blank ", "#road"])
def test_a_name_that_a_label_map_cannot_store_is_kept_in_the_card(tmp_path, save_pair, name):
    class_map = ClassMap.build((name, "other"), colors=(RED, BLACK))
    assert label_map_text(class_map, None) is None
    save_pair(tmp_path / "in", "a", [[RED, BLACK]])
    write_card(tmp_path / "in", classes=[{"name": name, "color": list(RED)},
                                         {"name": "other", "color": list(BLACK)}])  # fmt: skip
    convert_data(open_dataset(tmp_path / "in"), tmp_path / "out", "color-masks")
    assert not (tmp_path / "out/labelmap.txt").exists()
    again = open_dataset(tmp_path / "out")
    assert again.class_map.names == (name, "other")
    np.testing.assert_array_equal(mask_of(again), [[0, 1]])


def test_ignore_colors_stay_through_a_card(tmp_path, save_pair):
    save_pair(tmp_path / "in", "a", [[RED, BLACK, BLUE]])
    write_card(tmp_path / "in", ignore_colors=[list(BLUE)])
    dataset = open_dataset(tmp_path / "in")
    convert_data(dataset, tmp_path / "out", "color-masks")
    (tmp_path / "out/labelmap.txt").unlink()
    assert open_dataset(tmp_path / "out").class_map == dataset.class_map
