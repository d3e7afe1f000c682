import numpy as np
import pytest

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError, MaskError
from pixelwise.transforms.statistics import conform_channels, measure

RNG = np.random.default_rng(0)
CLASSES = ClassMap.build(("a", "b", "c"))


def multiclass(name, image, mask):
    return Sample(name, image, np.asarray(mask, np.uint8), "multiclass")


def random_sample(name, height, width, channels=3, dtype=np.uint8):
    image = RNG.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    mask = RNG.choice([0, 1, 2, 255], (height, width), p=[0.5, 0.2, 0.1, 0.2])
    return multiclass(name, image, mask)


def test_statistics_are_those_of_all_pixels_together():
    samples = [random_sample(f"s{i}", *size) for i, size in enumerate([(4, 9), (12, 5), (1, 1)])]
    statistics = measure(samples, CLASSES)
    pixels = np.concatenate([sample.image.reshape(-1, 3) for sample in samples]).astype(float)
    masks = np.concatenate([sample.mask.ravel() for sample in samples])
    labeled = masks[masks != 255]
    np.testing.assert_allclose(statistics.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(statistics.std, pixels.std(axis=0))
    np.testing.assert_allclose(
        statistics.class_frequencies, [(labeled == index).mean() for index in range(3)]
    )
    assert statistics.ignored_share == pytest.approx((masks == 255).mean())
    assert statistics.heights == (4, 12, 1)
    assert statistics.widths == (9, 5, 1)
    assert statistics.median_size == (4, 5)
    assert (statistics.num_images, statistics.in_channels, statistics.dtype) == (3, 3, "uint8")


def test_sixteen_bits_are_measured_in_their_own_units():
    samples = [random_sample("deep", 20, 20, channels=2, dtype=np.uint16)]
    statistics = measure(samples, CLASSES)
    assert statistics.dtype == "uint16"
    np.testing.assert_allclose(
        statistics.mean, samples[0].image.reshape(-1, 2).astype(float).mean(axis=0)
    )
    assert statistics.mean[0] > 255


def test_gray_among_color_images_counts_in_every_channel():
    color, gray = random_sample("color", 3, 5), random_sample("grayscale", 6, 7, channels=1)
    statistics = measure([gray, color], CLASSES)
    pixels = np.concatenate(
        [np.repeat(gray.image.reshape(-1, 1), 3, axis=1), color.image.reshape(-1, 3)]
    ).astype(float)
    assert statistics.in_channels == 3
    np.testing.assert_allclose(statistics.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(statistics.std, pixels.std(axis=0))


def test_a_constant_channel_has_a_standard_deviation_to_divide_by():
    sample = multiclass("flat", np.full((2, 2, 3), 7, np.uint8), [[0, 1], [1, 0]])
    assert measure([sample], CLASSES).std == (1.0, 1.0, 1.0)


def test_multilabel_classes_are_measured_by_their_coverage():
    mask = RNG.integers(0, 256, (3, 4, 5), np.uint8)
    sample = Sample("soft", np.zeros((4, 5, 1), np.uint8), mask, "multilabel")
    statistics = measure([sample, sample], CLASSES)
    np.testing.assert_allclose(
        statistics.class_frequencies, [(plane / 255).mean() for plane in mask]
    )
    assert statistics.ignored_share == 0


def test_one_class_only_is_refused_with_its_name_and_the_masks():
    samples = [multiclass(f"s{i}", np.zeros((2, 2, 1), np.uint8), [[1, 255], [1, 1]]) for i in "xy"]
    with pytest.raises(
        MaskError, match=r"\(sx, sy\) must show at least two classes\. Got only 'b'"
    ):
        measure(samples, CLASSES)


def test_all_ignored_is_refused_with_the_ignore_value_and_the_masks():
    sample = multiclass("s1", np.zeros((2, 2, 1), np.uint8), np.full((2, 2), 255))
    with pytest.raises(
        MaskError, match=r"\(s1\) must contain labeled pixels\. All are ignored \(255\)"
    ):
        measure([sample], CLASSES)


def test_black_multilabel_masks_are_refused():
    mask = np.zeros((3, 2, 2), np.uint8)
    sample = Sample("s1", np.zeros((2, 2, 1), np.uint8), mask, "multilabel")
    with pytest.raises(MaskError, match=r"\(s1\) must show at least one class"):
        measure([sample], CLASSES)


def test_mixed_bit_depths_are_refused_with_an_example_of_each():
    samples = [random_sample("eight", 2, 2), random_sample("sixteen", 2, 2, dtype=np.uint16)]
    with pytest.raises(DataError, match="uint8 in eight, uint16 in sixteen"):
        measure(samples, CLASSES)


def test_channels_that_cannot_go_together_are_refused_with_an_example_of_each():
    samples = [random_sample("rgb", 2, 2), random_sample("bands", 2, 2, channels=4)]
    with pytest.raises(DataError, match="3 in rgb, 4 in bands"):
        measure(samples, CLASSES)


def test_nothing_to_measure_is_refused():
    with pytest.raises(DataError, match="at least one image"):
        measure([], CLASSES)


def test_grayscale_images_get_equal_channels_and_equal_channels_become_gray():
    gray = RNG.integers(0, 256, (3, 4, 1), np.uint8)
    triple = conform_channels(gray, 3, "grayscale")
    assert triple.shape == (3, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(triple[..., channel], gray[..., 0])
    np.testing.assert_array_equal(conform_channels(triple, 1, "grayscale"), gray)


def test_colors_are_not_silently_read_as_one_channel():
    color = np.zeros((2, 2, 3), np.uint8)
    color[0, 0, 1] = 1
    with pytest.raises(DataError, match=r"photo must have 1 channel\. Got 3"):
        conform_channels(color, 1, "photo")
    with pytest.raises(DataError, match=r"photo must have 4 channels\. Got 3"):
        conform_channels(color, 4, "photo")


def test_unevenness_tells_a_class_that_lies_above_from_one_that_lies_anywhere():
    image = np.zeros((4, 4, 3), np.uint8)
    above = np.array([[1] * 4, [1] * 4, [0] * 4, [0] * 4], np.uint8)
    anywhere = np.array([[0, 1, 0, 1]] * 4, np.uint8)
    class_map = ClassMap.build(("a", "b"))
    assert measure([multiclass("x", image, above)], class_map).unevenness == 1
    assert measure([multiclass("x", image, anywhere)], class_map).unevenness == 0
    mixed = [multiclass("x", image, above), multiclass("y", image, anywhere)]
    # Class 1: 8 + 4 of 16 pixels above, so |2 * 12 / 16 - 1|.
    assert measure(mixed, class_map).unevenness == 0.5
