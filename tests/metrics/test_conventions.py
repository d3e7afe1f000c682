"""Other libraries' figures: the toy of the peer survey, and their own code where it is at hand."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from sklearn.metrics import jaccard_score

from pixelwise.errors import UnknownNameError
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.conventions import KerasCounts, convention_names, figure_like

TOY = {
    "mmseg": 0.8385,
    "smp-macro": 0.8789,
    "keras-segmentation": 0.6289,
    "paddleseg": 0.6289,
    "torchvision": np.nan,
    "torchgeo": 0.8868,
    "smp-micro": 0.8868,
    "smp-micro-imagewise": 0.8895,
    "smp-macro-imagewise": 0.8848,
    "monai": 0.8279,
    "milesial": 0.9259,
    "nnunet": np.nan,
}
"""Two images of 100 pixels, four declared classes, the last one nowhere; each figure was computed
with the formula in that library's source."""


def toy_images():
    targets = [np.repeat([0, 1], [90, 10]), np.repeat([0, 1, 2], [40, 20, 40])]
    predictions = [np.repeat([0, 1], [92, 8]), np.repeat([0, 1, 2], [50, 10, 40])]
    return list(zip(predictions, targets, strict=True))


def toy():
    return counted(toy_images(), 4)


def counted(images, num_classes):
    confusion = ConfusionMatrix(num_classes)
    for prediction, mask in images:
        shape = (-1, 10)
        confusion.add(
            prediction.astype(np.uint8).reshape(shape), mask.astype(np.uint8).reshape(shape)
        )
    return confusion.per_image


def random_images(seed, num_classes=4, count=6):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mask = rng.integers(0, num_classes, 200)
        yield np.where(rng.random(200) < 0.6, mask, rng.integers(0, num_classes, 200)), mask


def test_every_convention_has_its_figure_on_the_toy():
    assert set(TOY) == set(convention_names())


@pytest.mark.parametrize("name", TOY)
def test_the_toy_scores_as_each_library_scores_it(name):
    assert figure_like(name, toy()) == pytest.approx(TOY[name], abs=5e-5, nan_ok=True)


@pytest.mark.parametrize(
    "images", [*(list(random_images(seed)) for seed in range(3)), toy_images()]
)
@pytest.mark.parametrize(
    ("name", "reduction"),
    [
        ("smp-macro", "macro"),
        ("smp-micro", "micro"),
        ("smp-macro-imagewise", "macro-imagewise"),
        ("smp-micro-imagewise", "micro-imagewise"),
    ],
)
def test_smp_gives_the_same_figure_with_its_own_code(images, name, reduction):
    prediction, mask = (
        torch.tensor(np.stack([image[side] for image in images])) for side in (0, 1)
    )
    stats = smp.metrics.get_stats(prediction, mask, mode="multiclass", num_classes=4)
    expected = smp.metrics.iou_score(*stats, reduction=reduction).item()
    assert figure_like(name, counted(images, 4)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_where_every_class_is_in_the_split_the_conventions_of_the_split_agree_with_scikit_learn(
    seed,
):
    images = list(random_images(seed))
    target = np.concatenate([mask for _, mask in images])
    prediction = np.concatenate([prediction for prediction, _ in images])
    expected = jaccard_score(target, prediction, average="macro")
    for name in ("mmseg", "smp-macro", "paddleseg", "torchvision", "keras-segmentation"):
        assert figure_like(name, counted(images, 4)) == pytest.approx(expected)


def keras_mean_iou(confusion):
    """As the source of ``keras.metrics.MeanIoU`` does it: no entry without a denominator."""
    hits = np.diag(confusion)
    denominators = confusion.sum(0) + confusion.sum(1) - hits
    return (hits / np.maximum(denominators, 1)).sum() / (denominators > 0).sum()


@pytest.mark.parametrize(
    "images", [*(list(random_images(seed)) for seed in range(3)), toy_images()]
)
def test_keras_gives_the_figure_beside_which_it_is_named(images):
    confusion = np.zeros((4, 4), np.int64)
    for prediction, mask in images:
        np.add.at(confusion, (mask, prediction), 1)
    names = [name for name, words in convention_names().items() if "Keras" in words]
    assert names == ["mmseg"]
    assert figure_like("mmseg", counted(images, 4)) == pytest.approx(keras_mean_iou(confusion))
    with pytest.raises(UnknownNameError, match="keras-segmentation"):
        figure_like("keras", counted(images, 4))


@pytest.mark.parametrize("name", ["nnunet", "milesial"])
def test_multilabel_masks_have_no_background_to_leave_out(name):
    counts = np.array([[[8], [0], [0], [8]]])
    assert figure_like(name, counts, has_background=False) == pytest.approx(1)


def test_an_unknown_convention_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"mmsegg.*mmseg"):
        figure_like("mmsegg", toy())


def keras_figures(images):
    """Soft masks pixel by pixel, counted as Keras counts them.

    A pixel is positive for recall and precision when its target is above 0; it is right for
    accuracy only when the target is exactly 0 or 1 and equals the thresholded prediction.
    """
    right = decisions = hits = positives = predicted = 0
    for probabilities, mask in images:
        for probability, stored in zip(probabilities.flat, mask.flat, strict=True):
            target, probability = float(stored) / 255.0, float(probability)
            said = 1.0 if probability > 0.5 else 0.0
            decisions += 1
            right += target in (0.0, 1.0) and target == said
            positives += target > 0
            predicted += said == 1.0
            hits += said == 1.0 and target > 0
    return {
        "binary_accuracy": right / decisions,
        "recall": hits / positives,
        "precision": hits / predicted,
    }


def soft_images(rng, count=3):
    for _ in range(count):
        shape = (2, *rng.integers(1, 12, 2))
        mask = rng.choice([0, 0, 0, 1, 60, 127, 128, 200, 254, 255, 255], shape).astype(np.uint8)
        probabilities = rng.random(shape).astype(np.float32)
        probabilities[rng.random(shape) < 0.1] = 0.5
        probabilities[rng.random(shape) < 0.1] = 1.0
        probabilities[rng.random(shape) < 0.1] = 0.0
        yield probabilities, mask


def keras_counts(images):
    keras = KerasCounts()
    for probabilities, mask in images:
        keras.add(probabilities > 0.5, probabilities, mask)
    return keras


@pytest.mark.parametrize("seed", range(4))
def test_soft_masks_are_counted_as_keras_counts_them(seed):
    images = list(soft_images(np.random.default_rng(seed)))
    assert keras_counts(images).figures() == pytest.approx(keras_figures(images), rel=1e-9)


def test_a_perfect_gray_prediction_never_gets_recall_1_where_edges_are_soft():
    mask = np.array([[[0, 50, 120, 200, 255, 0]]], np.uint8)
    figures = keras_counts([((mask / 255).astype(np.float32), mask)]).figures()
    assert figures == {"binary_accuracy": 3 / 6, "recall": 2 / 4, "precision": 1.0}


def test_a_perfect_prediction_of_hard_masks_is_perfect():
    mask = np.array([[[0, 255, 255, 0]]], np.uint8)
    figures = keras_counts([((mask / 255).astype(np.float32), mask)]).figures()
    assert figures["recall"] == figures["precision"] == figures["binary_accuracy"] == 1.0


def test_the_figures_of_soft_masks_are_defined_where_nothing_is_positive():
    keras = keras_counts([(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.uint8))])
    assert keras.figures() == {"binary_accuracy": 1.0, "recall": 0.0, "precision": 0.0}


def test_multiclass_masks_are_not_soft_and_give_no_figures():
    keras = KerasCounts()
    assert keras.figures() == {}
    keras.add(np.ones((2, 2), np.uint8), np.ones((2, 2, 2), np.float32), np.ones((2, 2), np.uint8))
    assert keras.figures() == {}
