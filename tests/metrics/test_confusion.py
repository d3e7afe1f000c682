"""Counting, against loops over pixels and scikit-learn."""

import random

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from pixelwise.metrics.confusion import ConfusionMatrix, MultilabelCounts

IGNORED = 255


def ids(rng, shape, num_classes, ignored_share=0.0):
    mask = rng.integers(0, num_classes, shape).astype(np.uint8)
    mask[rng.random(shape) < ignored_share] = IGNORED
    return mask


def counted(images, num_classes):
    confusion = ConfusionMatrix(num_classes)
    for prediction, mask in images:
        confusion.add(prediction, mask)
    return confusion


def test_the_confusion_matrix_equals_scikit_learns():
    rng = np.random.default_rng(0)
    mask, prediction = ids(rng, (31, 17), 5, 0.2), ids(rng, (31, 17), 5)
    confusion = counted([(prediction, mask)], 5)
    labeled = mask != IGNORED
    expected = confusion_matrix(mask[labeled], prediction[labeled], labels=range(5))
    assert np.array_equal(confusion.counts, expected)


def test_each_class_is_counted_as_scikit_learn_counts_it():
    rng = np.random.default_rng(1)
    mask, prediction = ids(rng, (20, 20), 4, 0.1), ids(rng, (20, 20), 4)
    confusion = counted([(prediction, mask)], 4)
    labeled = mask != IGNORED
    per_class = multilabel_confusion_matrix(mask[labeled], prediction[labeled], labels=range(4))
    hits, extra, missed, rest = confusion.per_image[0].tolist()
    assert extra == per_class[:, 0, 1].tolist()
    assert missed == per_class[:, 1, 0].tolist()
    assert hits == per_class[:, 1, 1].tolist()
    assert rest == per_class[:, 0, 0].tolist()


@pytest.mark.parametrize("num_classes", [2, 14, 15, 16, 17, 200])
def test_counts_are_exact_for_few_and_many_classes(num_classes):
    rng = np.random.default_rng(num_classes)
    mask, prediction = ids(rng, (40, 33), num_classes, 0.3), ids(rng, (40, 33), num_classes)
    labeled = mask != IGNORED
    expected = confusion_matrix(mask[labeled], prediction[labeled], labels=range(num_classes))
    assert np.array_equal(counted([(prediction, mask)], num_classes).counts, expected)


def test_predictions_at_ignored_pixels_never_count():
    mask = np.array([[0, IGNORED], [1, IGNORED]], np.uint8)
    expected = np.array([[1, 0], [0, 1]])
    for guess in (0, 1, 7, IGNORED):
        prediction = np.array([[0, guess], [1, guess]], np.uint8)
        assert np.array_equal(counted([(prediction, mask)], 2).counts, expected)


def test_an_image_that_is_all_ignored_adds_nothing():
    mask = np.full((3, 3), IGNORED, np.uint8)
    assert not counted([(np.zeros((3, 3), np.uint8), mask)], 3).counts.any()


def test_the_row_is_the_ground_truth_and_the_column_the_prediction():
    confusion = counted([(np.array([[2]], np.uint8), np.array([[0]], np.uint8))], 3)
    assert confusion.counts[0, 2] == confusion.counts.sum() == 1
    _, extra, missed, _ = confusion.per_image[0].tolist()
    assert extra == [0, 0, 1]
    assert missed == [1, 0, 0]


def test_many_classes_do_not_overflow():
    mask = np.full((2, 2), 254, np.uint8)
    confusion = counted([(mask, mask)], 255)
    assert confusion.counts[254, 254] == confusion.counts.sum() == 4


def test_counting_image_by_image_equals_counting_at_once_whatever_the_order():
    rng = np.random.default_rng(2)
    images = []
    for _ in range(7):
        shape = tuple(rng.integers(1, 30, 2))
        images.append((ids(rng, shape, 3), ids(rng, shape, 3, 0.3)))
    at_once = ConfusionMatrix(3)
    at_once.add(*(np.concatenate([image[side].ravel() for image in images]) for side in (0, 1)))
    for seed in range(3):
        shuffled = random.Random(seed).sample(images, len(images))
        assert np.array_equal(counted(shuffled, 3).counts, at_once.counts)


def test_multilabel_classes_are_counted_each_by_itself():
    rng = np.random.default_rng(3)
    counts = MultilabelCounts(3)
    hits, extra, missed, right, total = [0] * 3, [0] * 3, [0] * 3, 0, 0
    for shape in ((3, 5, 8), (3, 1, 1), (3, 9, 2)):
        mask = rng.integers(0, 256, shape).astype(np.uint8)
        prediction = rng.random(shape) < 0.5
        counts.add(prediction, mask)
        for index in range(3):
            for value, guess in zip(mask[index].flat, prediction[index].flat, strict=True):
                reference = value / 255 >= 0.5
                hits[index] += reference and guess
                extra[index] += guess and not reference
                missed[index] += reference and not guess
                right += reference == guess
                total += 1
    assert counts.per_image.sum(0)[:3].tolist() == [hits, extra, missed]
    assert int(counts.per_image[:, [0, 3]].sum()) == right
    assert int(counts.per_image.sum()) == total
    assert len(counts.per_image) == 3


def test_a_pixel_may_be_of_several_classes():
    counts = MultilabelCounts(2)
    counts.add(np.ones((2, 1, 1), bool), np.full((2, 1, 1), 255, np.uint8))
    assert counts.per_image.tolist() == [[[1, 1], [0, 0], [0, 0], [0, 0]]]


def test_the_counts_of_each_image_are_kept_apart_and_those_given_stay_as_they_were():
    rng = np.random.default_rng(3)
    images = [(ids(rng, (6, 7), 3), ids(rng, (6, 7), 3, 0.2)) for _ in range(4)]
    confusion, multilabel = ConfusionMatrix(3), MultilabelCounts(3)
    for counts in (confusion, multilabel):
        assert counts.per_image.shape == (0, 4, 3)
    expected = []
    for number, (prediction, mask) in enumerate(images, start=1):
        before = confusion.per_image
        confusion.add(prediction, mask)
        rows = [
            ((prediction == c) & (mask == c), (prediction == c) & (mask != c) & (mask != IGNORED),
             (prediction != c) & (mask == c), (prediction != c) & (mask != c) & (mask != IGNORED))
            for c in range(3)
        ]  # fmt: skip
        expected.append([[int(row[part].sum()) for row in rows] for part in range(4)])
        assert confusion.per_image.tolist() == expected
        assert len(before) == number - 1
        classes = np.arange(3)[:, None, None]
        soft = (mask == classes).astype(np.uint8) * 255
        multilabel.add(prediction == classes, soft)
        assert len(multilabel.per_image) == number
        hits = [int(((prediction == c) & (mask == c)).sum()) for c in range(3)]
        assert multilabel.per_image[-1, 0].tolist() == hits
