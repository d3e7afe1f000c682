"""Windows: their pixels and labels are those of the scene, whatever the files are."""

import dataclasses
import pickle

import numpy as np
import pytest
from scene_files import CARD, SIZE, WRITERS, write_map, write_scene, write_small_map

from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.data.scene_windows import whole_records
from pixelwise.data.seen_images import SeenImages
from pixelwise.errors import DataError, MaskError
from pixelwise.io import image_windows
from pixelwise.io.images import read_image

KINDS = sorted(WRITERS)


@pytest.fixture
def map_folder(tmp_path):
    return write_small_map(tmp_path / "map")


def opened(folder, card=CARD):
    (folder / "dataset.yaml").write_text(card)
    return open_dataset(folder)


def assert_windows_are_parts(folder):
    """Compare every window with the scene that is decoded as a whole."""
    dataset = opened(folder)
    whole = opened(folder, "windows: off")
    (record,) = whole.records
    sample = whole.load(record)
    assert sample.image.shape[:2] == SIZE
    assert {one.split for one in dataset.records} == {"train", "val", "test"}
    for one in dataset.records:
        top, left, height, width = one.window
        part = dataset.load(one)
        place = np.s_[..., top : top + height, left : left + width]
        np.testing.assert_array_equal(part.mask, sample.mask[place])
        np.testing.assert_array_equal(
            part.image, sample.image[top : top + height, left : left + width]
        )
        assert part.image.dtype == sample.image.dtype
        assert part.image.flags.writeable
        assert part.mask.flags.writeable
    return dataset


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_a_part_of_the_scene(tmp_path, kind):
    assert_windows_are_parts(write_scene(tmp_path, kind))


def test_a_window_of_a_map_is_a_part_of_it(map_folder):
    dataset = assert_windows_are_parts(map_folder)
    assert dataset.class_map.names == ("background", "house", "road")


def test_a_window_of_a_map_with_missing_data_is_a_part_of_it(map_folder):
    write_map(map_folder, size=SIZE, nodata=0)
    dataset = assert_windows_are_parts(map_folder)
    masks = [dataset.load(record).mask for record in dataset.records]
    assert any((mask == 255).any() for mask in masks)
    for split in ("train", "val", "test"):
        assert any((sample.mask != 255).any() for sample in dataset.samples(split))


@pytest.mark.parametrize("kind", ["tiff", "planar tiff", "raw tiff", "npy"])
def test_files_that_allow_it_are_read_in_parts(tmp_path, kind, monkeypatch):
    dataset = opened(write_scene(tmp_path, kind))

    def refuse(*_, **__):
        raise AssertionError("the whole file was decoded")

    for name in ("whole_pixels", "read_nodata", "_decoded"):
        monkeypatch.setattr(image_windows, name, refuse)
    for record in dataset.records[:3]:
        assert open_and_load(dataset, record).image.shape[:2] == record.window[2:]


def open_and_load(dataset, record):
    return dataclasses.replace(dataset, cache=None).load(record)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shrunk_mask_is_every_nth_pixel(tmp_path, kind):
    dataset = opened(write_scene(tmp_path, kind), "windows: off")
    (record,) = dataset.records
    expected = dataset.load(record).mask[..., ::7, ::7]
    shrunk = dataset.format.shrunk_mask(record, dataset.class_map, 7)
    np.testing.assert_array_equal(shrunk, expected)


def test_a_shrunk_map_has_the_classes_where_they_are(map_folder):
    dataset = opened(map_folder, "windows: off")
    (record,) = dataset.records
    mask = dataset.load(record).mask
    for step in (1, 2, 5, 20):
        shrunk = dataset.format.shrunk_mask(record, dataset.class_map, step)
        assert shrunk.shape == mask[::step, ::step].shape
        # Small shapes are one pixel each, which may be that beside the one of their middle.
        assert (shrunk != 0).mean() == pytest.approx((mask != 0).mean(), rel=0.1, abs=0.4)
        if step <= 2:
            assert (shrunk == mask[::step, ::step]).mean() > 0.97


@pytest.mark.parametrize("kind", ["png", "tiff", "raw tiff", "npy", "turned jpeg"])
def test_a_shrunk_image_is_every_nth_pixel(tmp_path, kind):
    (path,) = (write_scene(tmp_path, kind) / "images").iterdir()
    assert image_windows.image_size(path) == SIZE
    for step in (1, 3, 40):
        expected = read_image(path)[::step, ::step]
        np.testing.assert_array_equal(image_windows.shrunk_image(path, step), expected)


def test_windows_survive_pickling_and_the_disk_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("pixelwise.data.cache.disk.SLOW_S", -1.0)
    monkeypatch.setattr("pixelwise.data.cache.disk.SLOW_S_PER_BYTE", 0.0)
    dataset = opened(write_scene(tmp_path / "data", "png"))
    assert dataset.cache is not None
    first = [dataset.load(record).image for record in dataset.records]
    again = pickle.loads(pickle.dumps(dataset))
    for record, image in zip(again.records, first, strict=True):
        np.testing.assert_array_equal(again.load(record).image, image)
    assert len({record.key for record in again.records}) == len(first)


def test_a_mask_of_another_size_is_refused_by_every_window(tmp_path):
    write_scene(tmp_path, "png")
    write_scene(tmp_path / "other", "png", size=(200, 300))
    (tmp_path / "other/masks/city.png").rename(tmp_path / "masks/city.png")
    (tmp_path / "other/images/city.png").unlink()
    dataset = opened(tmp_path)
    with pytest.raises(MaskError, match=r"must be as large as its image city\.png, 300 x 230"):
        dataset.load(dataset.records[0])


def test_resized_masks_are_resized_before_they_are_cut(tmp_path):
    write_scene(tmp_path, "png")
    write_scene(tmp_path / "other", "png", size=(115, 150))
    (tmp_path / "other/masks/city.png").rename(tmp_path / "masks/city.png")
    (tmp_path / "other/images/city.png").unlink()
    folder = tmp_path
    cards = [f"{card}\nresize_masks: nearest" for card in (CARD, "windows: off")]
    dataset, whole = (opened(folder, card) for card in cards)
    mask = whole.load(whole.records[0]).mask
    for record in dataset.records:
        top, left, height, width = record.window
        part = mask[top : top + height, left : left + width]
        np.testing.assert_array_equal(dataset.load(record).mask, part)


def test_a_window_has_been_seen_if_a_pixel_of_it_has(tmp_path):
    dataset = opened(write_scene(tmp_path, "png"))
    train, val = dataset.split("train"), dataset.split("val")
    seen = SeenImages(record.key for record in train)
    assert all(record in seen for record in train)
    assert not any(record in seen for record in val)
    top, left, _, _ = train[0].window
    assert dataclasses.replace(train[0], name="other", window=(top, left, 1, 1)) in seen
    assert dataclasses.replace(train[0], window=None) in seen
    whole = SeenImages([dataclasses.replace(train[0], window=None).key])
    assert all(record in whole for record in dataset.records)
    other = opened(write_scene(tmp_path / "other", "png", seed=1))
    assert not any(record in seen for record in other.records)


def test_a_window_beyond_the_scene_is_refused(tmp_path):
    dataset = opened(write_scene(tmp_path, "png"))
    record = dataclasses.replace(dataset.records[0], window=(200, 0, 80, 80))
    with pytest.raises(DataError, match=r"must contain the window of 80 x 80 pixels at row 200"):
        dataset.load(record)


def test_converted_windows_are_not_cut_again(tmp_path):
    dataset = opened(write_scene(tmp_path / "in", "png"))
    convert_data(dataset, tmp_path / "out", "index-masks")
    again = open_dataset(tmp_path / "out")
    assert [record.window for record in again.records] == [None] * len(dataset.records)
    assert {record.split for record in again.records} == {"train", "val", "test"}
    sizes = sorted(again.load(record).mask.shape for record in again.records)
    assert sizes == sorted(record.window[2:] for record in dataset.records)


def test_a_whole_record_is_the_scene_of_its_windows(tmp_path):
    dataset = opened(write_scene(tmp_path, "png"))
    whole = opened(tmp_path, "windows: off").records
    assert whole_records(dataset.records) == [
        dataclasses.replace(record, split=None) for record in whole
    ]
