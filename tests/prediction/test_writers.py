"""The files of a prediction hold what was predicted, at exactly the image's size."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.data.writing import index_picture
from pixelwise.errors import OutputError, UnknownNameError
from pixelwise.prediction.writers import (
    SAVE_KINDS,
    save_kind,
    viewable,
    with_legend,
    write_prediction,
)

SIZES = [(1, 1), (1, 5000), (23, 17)]


def probabilities_of(num_classes, size, *, mode="multiclass", seed=0):
    planes = np.random.default_rng(seed).random((num_classes, *size)).astype(np.float32)
    return planes / planes.sum(0) if mode == "multiclass" else planes


def write(folder, kind, probabilities, *, mode="multiclass", image=None, class_map=None, stem="a"):
    num_classes, height, width = probabilities.shape
    return write_prediction(
        folder,
        stem,
        kind,
        image=np.full((height, width, 3), 90, np.uint8) if image is None else image,
        probabilities=probabilities,
        class_map=class_map or ClassMap.build(numbered_names(num_classes)),
        label_mode=mode,
    )


def opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize("size", SIZES)
def test_the_index_picture_is_a_palette_png_of_the_class_ids(tmp_path, size):
    probabilities = probabilities_of(4, size)
    (path,) = write(tmp_path, "index", probabilities)
    picture = opened(path)
    assert path == tmp_path / "a.png"
    assert (picture.format, picture.mode, picture.size) == ("PNG", "P", size[::-1])
    assert np.array_equal(np.asarray(picture), probabilities.argmax(0))


def test_the_palette_holds_the_colors_of_the_class_map(tmp_path):
    class_map = ClassMap.build(("a", "b", "c"), colors=((1, 2, 3), (40, 50, 60), (7, 8, 250)))
    probabilities = np.eye(3, dtype=np.float32)[:, None]
    (path,) = write(tmp_path, "index", probabilities, class_map=class_map)
    colors = np.asarray(opened(path).convert("RGB"))
    assert colors.tolist() == [[[1, 2, 3], [40, 50, 60], [7, 8, 250]]]


def test_the_index_picture_of_multilabel_classes_shows_the_likeliest_and_0_for_none(tmp_path):
    planes = np.array([[[0.1, 0.9, 0.6]], [[0.2, 0.6, 0.9]]], np.float32)
    class_map = ClassMap.build(("a", "b"), colors=((10, 0, 0), (0, 20, 0)))
    (path,) = write(tmp_path, "index", planes, mode="multilabel", class_map=class_map)
    assert np.asarray(opened(path)).tolist() == [[0, 1, 2]]
    assert np.asarray(opened(path).convert("RGB")).tolist() == [[[0, 0, 0], [10, 0, 0], [0, 20, 0]]]


def test_255_classes_fit_into_an_index_picture(tmp_path):
    ids = np.arange(255, dtype=np.uint8).reshape(15, 17)
    picture = index_picture(ids, ClassMap.build(numbered_names(255)).colors)
    picture.save(tmp_path / "many.png")
    assert np.array_equal(np.asarray(opened(tmp_path / "many.png")), ids)


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("size", SIZES)
def test_probabilities_come_back_from_16_bit_pngs(tmp_path, size, mode):
    probabilities = probabilities_of(3, size, mode=mode)
    paths = write(tmp_path, "probabilities", probabilities, mode=mode)
    assert [path.name for path in paths] == ["a_class-0.png", "a_class-1.png", "a_class-2.png"]
    for path, plane in zip(paths, probabilities, strict=True):
        stored = np.asarray(opened(path))
        assert stored.dtype == np.uint16
        assert stored.shape == size
        assert np.abs(stored / 65535 - plane).max() <= 0.51 / 65535
    assert paths[0].read_bytes()[24] == 16  # the bit depth in PNG's header


def test_probabilities_0_and_1_are_stored_exactly(tmp_path):
    planes = np.array([[[0.0, 1.0]]], np.float32)
    (path,) = write(tmp_path, "probabilities", planes, mode="multilabel")
    assert np.asarray(opened(path)).tolist() == [[0, 65535]]


@pytest.mark.parametrize("size", SIZES)
def test_binary_of_two_classes_is_one_picture_of_0_and_255(tmp_path, size):
    probabilities = probabilities_of(2, size)
    (path,) = write(tmp_path, "binary", probabilities)
    stored = opened(path)
    assert stored.mode == "L"
    assert np.array_equal(np.asarray(stored), np.where(probabilities.argmax(0) == 1, 255, 0))


def test_binary_of_more_classes_is_one_picture_per_class(tmp_path):
    probabilities = probabilities_of(3, (8, 9))
    paths = write(tmp_path, "binary", probabilities)
    planes = np.stack([np.asarray(opened(path)) for path in paths])
    assert set(np.unique(planes)) == {0, 255}
    assert (planes.astype(int).sum(0) == 255).all()
    assert np.array_equal(planes.argmax(0), probabilities.argmax(0))


def test_binary_of_multilabel_classes_is_the_threshold_of_each(tmp_path):
    planes = np.array([[[0.9, 0.5, 0.1]], [[0.6, 0.51, 0.0]]], np.float32)
    paths = write(tmp_path, "binary", planes, mode="multilabel")
    assert [np.asarray(opened(path)).tolist() for path in paths] == [
        [[255, 0, 0]],
        [[255, 255, 0]],
    ]


def test_the_overlay_tints_each_pixel_in_the_color_of_its_class(tmp_path):
    class_map = ClassMap.build(("a", "b"), colors=((200, 0, 0), (0, 100, 50)))
    probabilities = np.zeros((2, 300, 300), np.float32)
    probabilities[0, :, :150] = probabilities[1, :, 150:] = 1.0
    image = np.full((300, 300, 3), 80, np.uint8)
    (path,) = write(tmp_path, "overlay", probabilities, image=image, class_map=class_map)
    assert path.name == "a_overlay.png"
    pixels = np.asarray(opened(path))
    assert pixels[10, 10].tolist() == [140, 40, 40]
    assert pixels[10, 290].tolist() == [40, 90, 65]


@pytest.mark.parametrize("names", [("background", "cell"), ("class-0", "class-1")])
def test_the_overlay_leaves_the_ground_as_it_was(tmp_path, names):
    class_map = ClassMap.build(names, colors=((0, 0, 0), (0, 100, 50)))
    probabilities = np.zeros((2, 300, 300), np.float32)
    probabilities[0, :, :150] = probabilities[1, :, 150:] = 1.0
    image = np.full((300, 300, 3), 80, np.uint8)
    (path,) = write(tmp_path, "overlay", probabilities, image=image, class_map=class_map)
    pixels = np.asarray(opened(path))
    assert pixels[10, 10].tolist() == [80, 80, 80]
    assert pixels[10, 290].tolist() == [40, 90, 65]


def test_the_overlay_leaves_pixels_of_no_class_as_they_were(tmp_path):
    planes = np.zeros((1, 300, 300), np.float32)
    planes[0, 0] = 1.0
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    (path,) = write(tmp_path, "overlay", planes, mode="multilabel", image=image)
    pixels = np.asarray(opened(path))[:300]
    assert np.array_equal(pixels[1:], image[1:])
    assert not np.array_equal(pixels[0], image[0])


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("num_classes", [1, 2, 20])
@pytest.mark.parametrize("size", SIZES)
def test_the_overlay_has_a_legend_with_every_color_below(tmp_path, size, num_classes, mode):
    class_map = ClassMap.build([f"a class of number {number}" for number in range(num_classes)])
    probabilities = probabilities_of(num_classes, size, mode=mode)
    (path,) = write(tmp_path, "overlay", probabilities, mode=mode, class_map=class_map)
    picture = opened(path)
    assert picture.width == max(size[1], 240)
    assert picture.height > size[0]
    legend = np.asarray(picture)[size[0] :].reshape(-1, 3)
    seen = {tuple(color) for color in legend.tolist()}
    assert set(class_map.colors) <= seen
    assert (0, 0, 0) in seen  # the letters


def test_the_legend_stays_inside_the_picture():
    entries = [(f"class {number}", (255, 0, number)) for number in range(30)]
    sheet = np.asarray(with_legend(Image.new("RGB", (300, 10), "white"), entries, caption="> 0.5"))
    for _, color in entries:
        assert (sheet == color).all(-1).sum() > 50  # the whole swatch
    inked = (sheet[10:] != 255).any(-1)
    assert not inked[:, -2:].any()
    assert not inked[-2:].any()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_image_can_be_looked_at(dtype, channels):
    image = (np.random.default_rng(0).random((6, 7, channels)) * 200).astype(dtype)
    shown = viewable(image)
    assert (shown.shape, shown.dtype) == ((6, 7, 3), np.uint8)
    assert shown.max() > 150


def test_8_bit_colors_are_shown_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    assert np.array_equal(viewable(image), image)


@pytest.mark.parametrize("value", [0, 1000])
def test_a_constant_image_can_be_looked_at(value):
    assert viewable(np.full((3, 3, 1), value, np.uint16)).shape == (3, 3, 3)


@pytest.mark.parametrize("kind", SAVE_KINDS)
def test_folders_in_the_stem_are_made(tmp_path, kind):
    paths = write(tmp_path / "out", kind, probabilities_of(3, (4, 4)), stem="deep/er/name")
    assert all(path.parent == tmp_path / "out" / "deep" / "er" for path in paths)
    assert sorted(paths) == sorted((tmp_path / "out" / "deep" / "er").iterdir())


@pytest.mark.parametrize("kind", ["probabilities", "binary"])
def test_classes_whose_names_look_alike_to_a_file_system_keep_a_file_each(tmp_path, kind):
    names = ("left lane", "left/lane", "left-lane", "Left-Lane", "?", "!", "道路")
    probabilities = probabilities_of(len(names), (5, 6))
    paths = write(tmp_path, kind, probabilities, class_map=ClassMap.build(names))
    assert len({path.name.lower() for path in paths}) == len(names)
    assert all(path.parent == tmp_path and path.is_file() for path in paths)
    ids = np.stack([np.asarray(opened(path)) for path in paths]).argmax(0)
    assert np.array_equal(ids, probabilities.argmax(0))


@pytest.mark.parametrize(("name", "likely"), [("indx", "index"), ("overlays", "overlay")])
def test_an_unknown_kind_is_refused_with_the_likely_one(name, likely):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{likely}'"):
        save_kind(name)


def test_a_file_in_the_place_of_the_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"):
        write(tmp_path / "out", "index", probabilities_of(2, (3, 3)))
