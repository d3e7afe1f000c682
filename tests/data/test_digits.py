import gzip
import struct

import numpy as np
import pytest

from pixelwise.data.dataset import open_dataset
from pixelwise.data.digits import (
    DigitOptions,
    DigitSource,
    load_digit_source,
    make_digits,
    write_digits,
)
from pixelwise.errors import ConfigError, DataError, OutputError


@pytest.fixture
def source():
    """Ten digits; digit d is a 28 x 28 picture of which every pixel is 10 + d, so it is known."""
    images = np.stack([np.full((28, 28), 10 + digit, np.uint8) for digit in range(10)])
    return DigitSource(images, np.arange(10, dtype=np.uint8), "a test")


def write_idx(path, array, *, magic=None, packed=False):
    header = struct.pack(f">{1 + array.ndim}I", magic or 0x800 + array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


def write_mnist(folder, *, packed=False, num=12):
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    suffix = ".gz" if packed else ""
    images = rng.integers(0, 256, (num, 28, 28), np.uint8)
    labels = np.arange(num, dtype=np.uint8) % 10
    for stem in ("train", "t10k"):
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", images, packed=packed)
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", labels, packed=packed)
    return images, labels


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(source):
    first, second, other = (make_digits(5, source=source, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != other[0]).any()


def test_the_defaults_are_the_published_ones():
    images, masks = make_digits(3)
    assert images.shape == (3, 60, 60)
    assert masks.shape == (3, 3, 60, 60)
    assert images.dtype == masks.dtype == np.uint8


def test_an_image_is_the_sum_of_its_classes_and_clipped(source):
    bright = DigitSource(np.full_like(source.images, 200), source.labels, "bright")
    options = DigitOptions(num_classes=10, min_digits=2, max_digits=4, max_iou=1.0)
    for digits in (source, bright):
        images, masks = make_digits(20, source=digits, options=options)
        np.testing.assert_array_equal(images, np.minimum(masks.astype(int).sum(axis=1), 255))
        assert (masks.sum(axis=(1, 2, 3)) > 0).all()
    assert images.max() == 255


def test_only_the_first_classes_are_drawn(source):
    options = DigitOptions(num_classes=2, max_iou=0.0)
    images, masks = make_digits(30, source=source, options=options)
    assert set(np.unique(images)) == {0, 10, 11}
    assert set(np.unique(masks[:, 0])) == {0, 10}
    assert set(np.unique(masks[:, 1])) == {0, 11}


def test_the_number_of_digits_stays_within_its_bounds(source):
    options = DigitOptions(num_classes=1, height=200, width=210, min_digits=2, max_digits=4,
                           max_iou=0.0)  # fmt: skip
    images, _ = make_digits(60, source=source, options=options)
    inked = (images > 0).sum(axis=(1, 2)) / 28**2
    assert set(inked) == {2, 3, 4}


def test_boxes_overlap_no_more_than_allowed(source):
    # Three digits of class 0 with ink 10: where two boxes overlap, the image is 20.
    options = DigitOptions(num_classes=1, min_digits=2, max_digits=2, max_iou=0.2)
    images, _ = make_digits(200, source=source, options=options)
    shared = (images == 20).sum(axis=(1, 2))
    iou = shared / (2 * 28**2 - shared)
    assert iou.max() <= 0.2
    assert iou.max() > 0.1


def test_a_full_picture_takes_no_more_digits_and_ends(source):
    options = DigitOptions(num_classes=1, height=28, width=28, min_digits=4, max_digits=4)
    images, _ = make_digits(3, source=source, options=options)
    assert (images == 10).all()


def test_multiclass_masks_give_a_pixel_to_the_first_digit_alone(source):
    options = DigitOptions(num_classes=3, max_iou=1.0, min_digits=4, max_digits=4, height=40,
                           width=40, labels_are_multiclass=True)  # fmt: skip
    images, masks = make_digits(50, source=source, options=options)
    assert ((masks > 0).sum(axis=1) <= 1).all()
    np.testing.assert_array_equal((masks > 0).any(axis=1), images > 0)
    shared = make_digits(50, source=source, options=DigitOptions(max_iou=1.0, height=40, width=40))
    assert ((shared[1] > 0).sum(axis=1) > 1).any()


def test_whole_boxes_are_white_squares_of_28(source):
    options = DigitOptions(num_classes=1, min_digits=1, max_digits=1,
                           target_is_whole_bounding_box=True)  # fmt: skip
    _, masks = make_digits(5, source=source, options=options)
    for plane in masks[:, 0]:
        rows, columns = np.nonzero(plane)
        assert set(np.unique(plane)) == {0, 255}
        assert np.ptp(rows) == np.ptp(columns) == 27
        assert len(rows) == 28 * 28


def test_a_share_of_the_source_is_drawn_with_replacement(source):
    rng = np.random.default_rng(0)
    many = DigitSource(rng.integers(1, 256, (1000, 28, 28), np.uint8), np.zeros(1000, np.uint8), "")
    seen = {}
    for share in (0.01, 1.0):
        options = DigitOptions(num_classes=1, height=28, width=28, min_digits=1, max_digits=1,
                               proportion_of_mnist=share)  # fmt: skip
        images, _ = make_digits(200, source=many, options=options)
        seen[share] = len(np.unique(images.reshape(200, -1), axis=0))
    assert seen[0.01] <= 10
    assert seen[1.0] > 100


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_classes", 0), ("num_classes", 11), ("height", 27), ("width", 5), ("min_digits", -1),
        ("max_digits", 1), ("max_iou", 1.5), ("proportion_of_mnist", 0), ("proportion_of_mnist", 2),
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_refused_with_name_and_value(option, value):
    with pytest.raises(ConfigError, match=rf"{option}.*Got {value}"):
        DigitOptions(**{option: value})


def test_scikit_learns_digits_keep_training_and_test_apart():
    train, test = load_digit_source("train"), load_digit_source("test")
    assert len(train.labels) + len(test.labels) == 1797
    assert train.images.shape[1:] == (28, 28)
    assert "scikit-learn" in train.origin
    assert set(train.labels) == set(test.labels) == set(range(10))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_plain_and_gzipped(tmp_path, packed):
    images, labels = write_mnist(tmp_path, packed=packed)
    source = load_digit_source("test", tmp_path)
    np.testing.assert_array_equal(source.images, images)
    np.testing.assert_array_equal(source.labels, labels)
    assert str(tmp_path) in source.origin


def test_damaged_idx_files_are_refused_by_name(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for damage in (whole[:-5], b"", b"text", whole[:3]):
        path.write_bytes(damage)
        with pytest.raises(DataError, match="train-images-idx3-ubyte must be an idx file"):
            load_digit_source("train", tmp_path)
    write_idx(path, np.zeros((12, 28, 28)), magic=0x803 + 0x100)
    with pytest.raises(DataError, match="0x903"):
        load_digit_source("train", tmp_path)
    write_idx(path, np.zeros((11, 28, 28)))
    with pytest.raises(DataError, match=r"\(11, 28, 28\) and 12 labels"):
        load_digit_source("train", tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"must contain the MNIST file train-images.*`source`"):
        load_digit_source("train", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(whole)[:200])
    with pytest.raises(DataError, match=r"ubyte\.gz must be an idx file"):
        load_digit_source("train", tmp_path)


def test_written_digits_are_the_made_ones(tmp_path):
    write_mnist(tmp_path / "mnist")
    out = tmp_path / "digits"
    write_digits(out, num_train=4, num_val=3, source=tmp_path / "mnist", seed=5)
    dataset = open_dataset(out)
    assert dataset.format.name == "class-masks"
    assert [len(dataset.split(name)) for name in ("train", "val")] == [4, 3]
    images, masks = make_digits(4, source=load_digit_source("train", tmp_path / "mnist"), seed=10)
    for record, image, mask in zip(dataset.split("train"), images, masks, strict=True):
        sample = dataset.load(record)
        np.testing.assert_array_equal(sample.image[..., 0], image)
        np.testing.assert_array_equal(sample.mask, mask)


def test_digits_are_never_written_over_something(tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("all my work")
    with pytest.raises(OutputError, match=r"precious must be new or empty"):
        write_digits(out, num_train=1, num_val=1)
    assert (out / "thesis.txt").read_text() == "all my work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious"]


@pytest.mark.real_data
def test_mnist_makes_the_published_digits(test_data):
    train = load_digit_source("train", test_data / "mnist")
    test = load_digit_source("test", test_data / "mnist")
    assert len(train.labels) == 60000
    assert len(test.labels) == 10000
    _, masks = make_digits(1000, source=train)
    on = masks / 255
    # A perfect gray predictor reaches accuracy 0.961 (only pixels of exactly 0 or 1 can be
    # right) and recall 0.719 (the positives are all pixels above 0, it finds those above 0.5).
    assert ((on == 0) | (on == 1)).mean() == pytest.approx(0.961, abs=0.003)
    assert (on > 0.5).sum() / (on > 0).sum() == pytest.approx(0.719, abs=0.015)
    ink = np.array([train.images[train.labels == digit].sum() / 255 for digit in range(3)])
    share = ink / ink.sum()
    measured = on.sum(axis=(0, 2, 3)) / on.sum()
    np.testing.assert_allclose(measured, share, atol=0.03)
