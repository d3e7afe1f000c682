"""Scores of a split, against scikit-learn and the toy of the peers' conventions."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.metrics.confusion import ConfusionMatrix, OverlapCounts
from pixelwise.metrics.conventions import KerasCounts
from pixelwise.metrics.metrics import summarise


def class_map(count):
    return ClassMap.build(numbered_names(count))


def scored(images, num_classes):
    confusion = ConfusionMatrix(num_classes)
    for prediction, mask in images:
        confusion.add(prediction, mask)
    return summarise(confusion, class_map(num_classes))


def random_images(seed, num_classes=4, count=5, void_share=0.15):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        shape = tuple(rng.integers(3, 25, 2))
        mask = rng.integers(0, num_classes, shape).astype(np.uint8)
        prediction = np.where(rng.random(shape) < 0.6, mask, rng.integers(0, num_classes, shape))
        mask[rng.random(shape) < void_share] = 255
        images.append((prediction.astype(np.uint8), mask))
    return images


def labelled(images):
    truth = np.concatenate([mask.ravel() for _, mask in images])
    prediction = np.concatenate([prediction.ravel() for prediction, _ in images])
    return truth[truth != 255], prediction[truth != 255]


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learns(seed):
    images = random_images(seed)
    scores, (truth, prediction) = scored(images, 4), labelled(images)
    for attribute, reference in (
        ("iou", jaccard_score),
        ("dice", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        found = [getattr(entry, attribute) for entry in scores.per_class]
        assert found == pytest.approx(reference(truth, prediction, average=None).tolist())
    assert scores.mean_iou == pytest.approx(jaccard_score(truth, prediction, average="macro"))
    assert scores.pixel_accuracy == pytest.approx((truth == prediction).mean())
    assert [entry.pixels for entry in scores.per_class] == np.bincount(truth).tolist()
    assert scores.images == 5
    assert scores.absent_classes == ()


def toy():
    """Two images of 100 pixels; of four declared classes the last is never there."""
    truths = [np.repeat([0, 1], [90, 10]), np.repeat([0, 1, 2], [40, 20, 40])]
    predictions = [np.repeat([0, 1], [92, 8]), np.repeat([0, 1, 2], [50, 10, 40])]
    return [
        (prediction.astype(np.uint8).reshape(10, 10), truth.astype(np.uint8).reshape(10, 10))
        for prediction, truth in zip(predictions, truths, strict=True)
    ]


def test_the_toy_of_the_conventions_scores_over_the_data_set_with_absent_classes_left_out():
    scores = scored(toy(), 4)
    assert round(scores.mean_iou, 4) == 0.8385
    assert [entry.iou for entry in scores.per_class] == [
        pytest.approx(130 / 142),
        pytest.approx(18 / 30),
        1.0,
        None,
    ]
    assert scores.pixel_accuracy == 188 / 200


def test_an_absent_class_counts_neither_as_0_nor_as_1_nor_is_the_mean_per_image():
    scores = scored(toy(), 4)
    ious = [entry.iou for entry in scores.per_class if entry.iou is not None]
    for other in (sum([*ious, 0]) / 4, sum([*ious, 1]) / 4):
        assert abs(scores.mean_iou - other) > 0.01
    per_image = np.mean([scored([image], 4).mean_iou for image in toy()])
    assert abs(scores.mean_iou - per_image) > 0.005


def test_an_absent_class_is_listed_without_scores():
    entry = scored(toy(), 4).per_class[3]
    assert (entry.iou, entry.precision, entry.recall, entry.pixels) == (None, None, None, 0)
    assert scored(toy(), 4).absent_classes == ("class-3",)


def test_an_absent_class_that_is_predicted_costs_the_others_and_has_precision_0():
    mask = np.zeros((1, 4), np.uint8)
    scores = scored([(np.array([[0, 0, 0, 1]], np.uint8), mask)], 2)
    assert scores.mean_iou == scores.per_class[0].iou == 0.75
    assert scores.per_class[1].iou is None
    assert scores.per_class[1].precision == 0.0
    assert scores.absent_classes == ("class-1",)


def test_a_class_that_is_never_predicted_has_iou_0_and_no_precision():
    mask = np.array([[0, 0, 1, 1]], np.uint8)
    scores = scored([(np.zeros((1, 4), np.uint8), mask)], 2)
    assert scores.per_class[1].iou == 0.0
    assert scores.per_class[1].recall == 0.0
    assert scores.per_class[1].precision is None
    assert scores.mean_iou == 0.25


def test_void_pixels_do_not_change_the_scores():
    images = random_images(4, void_share=0.0)
    widened = [
        (
            np.pad(prediction, 3, constant_values=1),
            np.pad(mask, 3, constant_values=255),
        )
        for prediction, mask in images
    ]
    assert scored(widened, 4) == scored(images, 4)


def test_the_order_of_the_images_does_not_change_the_scores():
    images = random_images(5)
    assert scored(images[::-1], 4) == scored(images, 4)


def test_overlapping_scores_equal_scikit_learns():
    rng = np.random.default_rng(6)
    counts, keras = OverlapCounts(3), KerasCounts()
    truths, predictions = [], []
    for _ in range(4):
        mask = rng.choice([0, 40, 127, 128, 255], (3, 9, 11)).astype(np.uint8)
        probabilities = rng.random(mask.shape).astype(np.float32)
        counts.add(probabilities > 0.5, mask)
        keras.add(probabilities, mask)
        truths.append((mask > 127.5).reshape(3, -1).T)
        predictions.append((probabilities > 0.5).reshape(3, -1).T)
    scores = summarise(counts, class_map(3), keras=keras)
    truth, prediction = np.concatenate(truths), np.concatenate(predictions)
    for attribute, reference in (
        ("iou", jaccard_score),
        ("dice", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        found = [getattr(entry, attribute) for entry in scores.per_class]
        assert found == pytest.approx(reference(truth, prediction, average=None).tolist())
    assert scores.mean_iou == pytest.approx(jaccard_score(truth, prediction, average="macro"))
    assert scores.pixel_accuracy == pytest.approx((truth == prediction).mean())
    assert scores.label_mode == "overlapping"
    assert scores.keras == keras.figures()


def test_an_absent_overlapping_class_is_excluded_too():
    counts = OverlapCounts(2)
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0, 0] = 255
    counts.add(mask > 0, mask)
    scores = summarise(counts, class_map(2))
    assert scores.mean_iou == 1.0
    assert scores.absent_classes == ("class-1",)


def test_scores_are_plain_json_with_their_definition():
    content = scored(toy(), 4).to_json()
    assert json.loads(json.dumps(content, allow_nan=False))["per_class"][3] == {
        "name": "class-3",
        "iou": None,
        "dice": None,
        "precision": None,
        "recall": None,
        "pixels": 0,
        "iou_interval": None,
    }
    assert {"images", "label_mode", "mean_iou", "pixel_accuracy", "per_class"} <= set(content)
    assert "keras" not in content
    assert "void" in content["definition"]


def test_the_figures_of_a1_are_part_of_overlapping_scores_alone():
    counts, keras = OverlapCounts(1), KerasCounts()
    content = summarise(counts, class_map(1), keras=keras).to_json()
    assert set(content["keras"]) == {"binary_accuracy", "recall", "precision", "loss"}


def test_scores_carry_the_intervals_of_their_headlines():
    confusion = ConfusionMatrix(4)
    for prediction, mask in random_images(7, count=12):
        confusion.add(prediction, mask)
    scores = summarise(confusion, class_map(4), with_intervals=True)
    assert set(scores.intervals) == {
        "mean_iou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "mean_dice",
    }  # fmt: skip
    for name, interval in scores.intervals.items():
        assert interval.low < getattr(scores, name) < interval.high
    assert all(entry.iou_interval.low < entry.iou for entry in scores.per_class)
    assert summarise(confusion, class_map(4)).intervals == {}
