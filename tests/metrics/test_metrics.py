"""Metrics of a split, against scikit-learn and the toy of the peers' conventions."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.metrics.confusion import ConfusionMatrix, MultilabelCounts
from pixelwise.metrics.metrics import summarize


def class_map(count):
    return ClassMap.build(numbered_names(count))


def metrics_of(images, num_classes):
    confusion = ConfusionMatrix(num_classes)
    for prediction, mask in images:
        confusion.add(prediction, mask)
    return summarize(confusion, class_map(num_classes))


def random_images(seed, num_classes=4, count=5, ignored_share=0.15):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        shape = tuple(rng.integers(3, 25, 2))
        mask = rng.integers(0, num_classes, shape).astype(np.uint8)
        prediction = np.where(rng.random(shape) < 0.6, mask, rng.integers(0, num_classes, shape))
        mask[rng.random(shape) < ignored_share] = 255
        images.append((prediction.astype(np.uint8), mask))
    return images


def labeled(images):
    target = np.concatenate([mask.ravel() for _, mask in images])
    prediction = np.concatenate([prediction.ravel() for prediction, _ in images])
    return target[target != 255], prediction[target != 255]


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learns(seed):
    images = random_images(seed)
    metrics, (target, prediction) = metrics_of(images, 4), labeled(images)
    for attribute, reference in (
        ("iou", jaccard_score),
        ("dice", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        found = [getattr(entry, attribute) for entry in metrics.per_class]
        assert found == pytest.approx(reference(target, prediction, average=None).tolist())
    assert metrics.mean_iou == pytest.approx(jaccard_score(target, prediction, average="macro"))
    assert metrics.pixel_accuracy == pytest.approx((target == prediction).mean())
    assert [entry.pixels for entry in metrics.per_class] == np.bincount(target).tolist()
    assert metrics.images == 5
    assert metrics.absent_classes == ()


def toy():
    """Two images of 100 pixels; of four declared classes the last is never there."""
    targets = [np.repeat([0, 1], [90, 10]), np.repeat([0, 1, 2], [40, 20, 40])]
    predictions = [np.repeat([0, 1], [92, 8]), np.repeat([0, 1, 2], [50, 10, 40])]
    return [
        (prediction.astype(np.uint8).reshape(10, 10), target.astype(np.uint8).reshape(10, 10))
        for prediction, target in zip(predictions, targets, strict=True)
    ]


def test_the_toy_of_the_conventions_scores_over_the_data_set_with_absent_classes_left_out():
    metrics = metrics_of(toy(), 4)
    assert round(metrics.mean_iou, 4) == 0.8385
    assert [entry.iou for entry in metrics.per_class] == [
        pytest.approx(130 / 142),
        pytest.approx(18 / 30),
        1.0,
        None,
    ]
    assert metrics.pixel_accuracy == 188 / 200


def test_an_absent_class_counts_neither_as_0_nor_as_1_nor_is_the_mean_per_image():
    metrics = metrics_of(toy(), 4)
    ious = [entry.iou for entry in metrics.per_class if entry.iou is not None]
    for other in (sum([*ious, 0]) / 4, sum([*ious, 1]) / 4):
        assert abs(metrics.mean_iou - other) > 0.01
    per_image = np.mean([metrics_of([image], 4).mean_iou for image in toy()])
    assert abs(metrics.mean_iou - per_image) > 0.005


def test_an_absent_class_is_listed_without_metrics():
    entry = metrics_of(toy(), 4).per_class[3]
    assert (entry.iou, entry.precision, entry.recall, entry.pixels) == (None, None, None, 0)
    assert metrics_of(toy(), 4).absent_classes == ("class-3",)


def test_an_absent_class_that_is_predicted_costs_the_others_and_has_precision_0():
    mask = np.zeros((1, 4), np.uint8)
    metrics = metrics_of([(np.array([[0, 0, 0, 1]], np.uint8), mask)], 2)
    assert metrics.mean_iou == metrics.per_class[0].iou == 0.75
    assert metrics.per_class[1].iou is None
    assert metrics.per_class[1].precision == 0.0
    assert metrics.absent_classes == ("class-1",)


def test_a_class_that_is_never_predicted_has_iou_0_and_no_precision():
    mask = np.array([[0, 0, 1, 1]], np.uint8)
    metrics = metrics_of([(np.zeros((1, 4), np.uint8), mask)], 2)
    assert metrics.per_class[1].iou == 0.0
    assert metrics.per_class[1].recall == 0.0
    assert metrics.per_class[1].precision is None
    assert metrics.mean_iou == 0.25


def test_ignored_pixels_do_not_change_the_metrics():
    images = random_images(4, ignored_share=0.0)
    widened = [
        (
            np.pad(prediction, 3, constant_values=1),
            np.pad(mask, 3, constant_values=255),
        )
        for prediction, mask in images
    ]
    assert metrics_of(widened, 4) == metrics_of(images, 4)


def test_the_order_of_the_images_does_not_change_the_metrics():
    images = random_images(5)
    assert metrics_of(images[::-1], 4) == metrics_of(images, 4)


def test_multilabel_metrics_equal_scikit_learns():
    rng = np.random.default_rng(6)
    counts = MultilabelCounts(3)
    targets, predictions = [], []
    for _ in range(4):
        mask = rng.choice([0, 40, 127, 128, 255], (3, 9, 11)).astype(np.uint8)
        probabilities = rng.random(mask.shape).astype(np.float32)
        counts.add(probabilities > 0.5, mask)
        targets.append((mask > 127.5).reshape(3, -1).T)
        predictions.append((probabilities > 0.5).reshape(3, -1).T)
    metrics = summarize(counts, class_map(3))
    target, prediction = np.concatenate(targets), np.concatenate(predictions)
    for attribute, reference in (
        ("iou", jaccard_score),
        ("dice", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        found = [getattr(entry, attribute) for entry in metrics.per_class]
        assert found == pytest.approx(reference(target, prediction, average=None).tolist())
    assert metrics.mean_iou == pytest.approx(jaccard_score(target, prediction, average="macro"))
    assert metrics.pixel_accuracy == pytest.approx((target == prediction).mean())
    assert metrics.label_mode == "multilabel"


def test_an_absent_multilabel_class_is_excluded_too():
    counts = MultilabelCounts(2)
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0, 0] = 255
    counts.add(mask > 0, mask)
    metrics = summarize(counts, class_map(2))
    assert metrics.mean_iou == 1.0
    assert metrics.absent_classes == ("class-1",)


def test_metrics_are_plain_json_with_their_definition():
    content = metrics_of(toy(), 4).to_json()
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
    assert "extra" not in content
    assert "ignored" in content["definition"]


def test_metrics_carry_the_intervals_of_their_headlines():
    confusion = ConfusionMatrix(4)
    for prediction, mask in random_images(7, count=12):
        confusion.add(prediction, mask)
    metrics = summarize(confusion, class_map(4), with_intervals=True)
    assert set(metrics.intervals) == {
        "mean_iou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "mean_dice",
    }  # fmt: skip
    for name, interval in metrics.intervals.items():
        assert interval.low < getattr(metrics, name) < interval.high
    assert all(entry.iou_interval.low < entry.iou for entry in metrics.per_class)
    assert summarize(confusion, class_map(4)).intervals == {}


def test_intervals_can_be_added_later():
    rng = np.random.default_rng(0)
    counts = ConfusionMatrix(3)
    for _ in range(5):
        counts.add(*rng.integers(0, 3, (2, 8, 9)).astype(np.uint8))
    class_map = ClassMap.build(("a", "b", "c"))
    later = summarize(counts, class_map).with_intervals()
    assert later == summarize(counts, class_map, with_intervals=True)
    assert later.intervals["mean_iou"].low < later.mean_iou < later.intervals["mean_iou"].high
