"""Other libraries' figures: the toy of the peer survey, and their own code where it is at hand."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from sklearn.metrics import jaccard_score

from pixelwise.errors import UnknownNameError
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.conventions import convention_names, figure_like

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
def test_multilabel_labels_have_no_background_to_leave_out(name):
    counts = np.array([[[8], [0], [0], [8]]])
    assert figure_like(name, counts, has_background=False) == pytest.approx(1)


def test_an_unknown_convention_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"mmsegg.*mmseg"):
        figure_like("mmsegg", toy())
