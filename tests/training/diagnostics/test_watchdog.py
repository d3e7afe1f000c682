"""Each fault gets its own message, said once, and healthy numbers get none."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.sample import Sample
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.metrics import summarize
from pixelwise.models import create_model
from pixelwise.training.diagnostics.alignment import check_alignment
from pixelwise.training.diagnostics.dead_channels import DeadChannels
from pixelwise.training.diagnostics.watchdog import (
    Watchdog,
    check_images,
    check_learning_rate,
    check_normalization,
    check_validation,
)

CLASSES = ClassMap.build(("background", "road", "car"))
HEALTHY = [(1.1, 1.0), (0.8, 0.85), (0.6, 0.7), (0.5, 0.62), (0.45, 0.6), (0.42, 0.61)]
"""Training and validation loss of a run in which nothing is wrong."""


def dog():
    return Watchdog(CLASSES, "multiclass", (0.7, 0.25, 0.05), math.log(3))


def history(losses):
    return [{"train_loss": train, "val_loss": val} for train, val in losses]


def metrics(prediction):
    mask = np.repeat([0, 1, 2], [70, 25, 5]).astype(np.uint8).reshape(10, 10)
    confusion = ConfusionMatrix(3)
    confusion.add(np.asarray(prediction, np.uint8).reshape(10, 10), mask)
    return summarize(confusion, CLASSES)


GOOD = metrics(np.repeat([0, 1, 2], [68, 26, 6]))


def kinds(problems):
    return [problem.kind for problem in problems]


def after(losses, found=GOOD, fraction=0.6):
    return kinds(dog().after_epoch(history(losses), found, fraction))


@pytest.mark.parametrize("count", range(1, len(HEALTHY) + 1))
def test_a_healthy_run_hears_nothing(count):
    watchdog = dog()
    watchdog.saw_batch(torch.tensor([[[0, 1], [2, 255]]]))
    assert watchdog.after_first_epoch() == []
    assert after(HEALTHY[:count]) == []


def test_a_loss_that_rises_names_the_learning_rate():
    assert after([(1.0, 1.0), (1.4, 1.3), (1.9, 1.8)]) == ["learning-rate-too-high"]


def test_a_loss_that_explodes_in_the_first_epoch_names_the_learning_rate():
    assert after([(698.9, 2.0)]) == ["learning-rate-too-high"]
    assert after([(4.0, 2.0)]) == []  # fresh networks may begin above guessing


def test_a_loss_that_does_not_move_is_flat():
    still = [(1.1, 1.1), (1.099, 1.1), (1.098, 1.1)]
    assert after(still) == ["loss-flat"]
    assert after(still, fraction=0.1) == []  # the learning rate still rises


def test_a_class_that_only_validation_shows_is_named():
    watchdog = Watchdog(CLASSES, "multiclass", (0.75, 0.25, 0.0), math.log(3))
    (problem,) = watchdog.after_epoch(history(HEALTHY[:1]), GOOD, 0.1)
    assert problem.kind == "class-not-in-training"
    assert "car" in problem.text


def test_images_of_one_color_are_named():
    blank, full = np.full((8, 8, 3), 7, np.uint8), np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    (problem,) = check_images([blank, full])
    assert problem.kind == "constant-images"
    assert "1 of 2" in problem.text
    assert check_images([blank, full, full, full]) == []


@pytest.mark.parametrize("value", [-3.4e38, 1e7])
def test_values_that_stand_for_missing_data_are_named(value):
    image = np.random.default_rng(0).normal(100, 20, (20, 20, 2)).astype(np.float32)
    assert check_images([image]) == []
    image[3, 4, 0] = value
    (problem,) = check_images([image])
    assert problem.kind == "extreme-values"
    assert f"{value:.3g}" in problem.text


def test_a_validation_loss_that_rises_while_training_falls_is_overfitting():
    losses = [(1.0, 0.9), (0.6, 0.7), (0.4, 0.9), (0.2, 1.1), (0.1, 1.3)]
    assert after(losses) == ["overfitting"]


def test_a_single_noisy_epoch_is_no_overfitting():
    losses = [(1.0, 0.9), (0.6, 0.7), (0.4, 0.72), (0.3, 0.71), (0.2, 2.5)]
    assert after(losses) == []


def test_output_of_one_class_alone_is_named():
    (problem,) = dog().after_epoch(history(HEALTHY[:3]), metrics(np.zeros(100)), 0.5)
    assert problem.kind == "constant-output"
    assert "background" in problem.text


def test_the_first_epochs_may_be_of_one_class():
    assert after(HEALTHY[:2], metrics(np.zeros(100)), 0.5) == []
    assert after(HEALTHY[:3], metrics(np.zeros(100)), 0.3) == []


def test_a_class_that_is_never_predicted_is_named_with_its_share():
    prediction = np.repeat([0, 1], [70, 30])
    (problem,) = dog().after_epoch(history(HEALTHY[:4]), metrics(prediction), 0.5)
    assert problem.kind == "class-never-predicted"
    assert "car" in problem.text
    assert "5.00%" in problem.text
    assert after(HEALTHY[:4], metrics(prediction), 0.2) == []  # rare classes come late


def test_a_class_that_no_crop_shows_is_named():
    watchdog = dog()
    watchdog.saw_batch(torch.zeros(4, 8, 8, dtype=torch.long))
    watchdog.saw_batch(torch.ones(4, 8, 8, dtype=torch.long))
    (problem,) = watchdog.after_first_epoch()
    assert problem.kind == "class-never-sampled"
    assert "car" in problem.text
    assert "road" not in problem.text


def test_crops_that_are_ignored_all_over_are_counted():
    watchdog = dog()
    watchdog.saw_batch(torch.full((3, 8, 8), 255))
    watchdog.saw_batch(torch.tensor([0, 1, 2, 255]).repeat(1, 8, 2))
    (problem,) = watchdog.after_first_epoch()
    assert problem.kind == "ignored-crops"
    assert "3 of 4" in problem.text


def test_every_problem_is_said_once():
    watchdog = dog()
    flat = history([(1.1, 1.1)] * 3)
    assert len(watchdog.after_epoch(flat, GOOD, 0.5)) == 1
    assert watchdog.after_epoch([*flat, *flat], GOOD, 0.6) == []


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())


def stacked_fcn():
    torch.manual_seed(0)
    return create_model("stacked-fcn", 2, 3)


def test_a_learning_rate_that_moves_nothing_is_known_before_the_first_step():
    assert kinds(check_learning_rate(stacked_fcn(), 1e-8, 1000)) == ["learning-rate-too-low"]
    assert check_learning_rate(stacked_fcn(), 1e-3, 100) == []


def test_a_learning_rate_far_beyond_what_the_model_takes_is_known_before_the_first_step():
    own = stacked_fcn().learning_rate
    for num_steps in (1000, None):
        (problem,) = check_learning_rate(stacked_fcn(), 30 * own, num_steps)
        assert problem.kind == "learning-rate-too-high"
        assert f"stacked-fcn was tested up to {own:g}" in problem.text
        assert check_learning_rate(stacked_fcn(), 5 * own, num_steps) == []


def test_at_the_end_of_a_short_training_its_output_is_judged_all_the_same():
    one_class = metrics(np.zeros(100))
    assert kinds(dog().after_epoch(history(HEALTHY[:1]), one_class, 1.0)) == ["constant-output"]
    assert dog().after_epoch(history(HEALTHY[:1]), one_class, 0.5) == []


def test_images_in_other_units_are_known_before_the_first_step():
    images = torch.randn(4, 3, 16, 16)
    assert check_normalization(images) == []
    assert check_normalization(images * 1.8 + 1) == []
    assert kinds(check_normalization(images * 60 + 120)) == ["normalization"]
    assert kinds(check_normalization(images / 255)) == ["normalization"]


def test_validation_images_that_are_trained_on_or_of_another_world_are_named():
    same = [100.0, 120.0, 110.0]
    assert check_validation(same, [105.0, 118.0], 40.0, 0) == []
    assert kinds(check_validation(same, same, 40.0, 2)) == ["leak"]
    assert kinds(check_validation(same, [220.0, 230.0], 40.0, 0)) == ["validation-differs"]


def test_channels_that_never_rise_above_zero_are_dead():
    model, images = network(), torch.randn(2, 3, 16, 16)
    with DeadChannels(model) as channels:
        model(images)
    assert channels.problems() == []
    nn.init.constant_(model[2].bias, -1000)
    with DeadChannels(model) as channels:
        model(images)
    (problem,) = channels.problems()
    assert problem.kind == "dead-activations"
    assert "100%" in problem.text
    assert not model[1]._forward_hooks


class OneLayerAtTwoWidths(nn.Module):
    """One ReLU behind layers of 4 and of 16 channels, as a bottleneck of a resnet50 has it."""

    def __init__(self):
        super().__init__()
        self.narrow, self.wide, self.relu = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 16, 1), nn.ReLU()

    def forward(self, images):
        return self.relu(self.wide(self.relu(self.narrow(images))))


def test_a_layer_that_is_used_at_two_widths_is_watched_at_each():
    model, images = OneLayerAtTwoWidths(), torch.randn(2, 3, 16, 16)
    nn.init.constant_(model.wide.bias, -1000)
    with DeadChannels(model) as channels:
        model(images)
    assert kinds(channels.problems()) == ["dead-activations"]


def test_what_goes_wrong_in_the_watching_is_said_and_ends_nothing(monkeypatch):
    calls = []

    def fail(*_):
        calls.append(1)
        raise RuntimeError("no such width")

    monkeypatch.setattr(DeadChannels, "_note", fail)
    model, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), torch.randn(2, 3, 16, 16)
    with DeadChannels(model) as channels:
        model(images)
        model(images)
    (problem,) = channels.problems()
    assert problem.kind == "activations-not-observed"
    assert "no such width" in problem.text
    assert len(calls) == 1


def things(count=12, size=(120, 150)):
    """Pictures of bright things of various shapes on a noisy ground, and their masks."""
    rng = np.random.default_rng(0)
    for number in range(count):
        smooth = gaussian_filter(rng.random(size), 9)
        mask = (smooth > np.quantile(smooth, 0.7)).astype(np.uint8)
        image = 60 + 90 * mask[..., None] + rng.normal(0, 12, (*size, 3))
        yield Sample(str(number), np.clip(image, 0, 255).astype(np.uint8), mask, "multiclass")


def with_masks(change):
    return [dataclasses.replace(sample, mask=change(sample.mask)) for sample in things()]


def test_labels_that_lie_on_the_things_are_right():
    assert check_alignment(things()) == []


@pytest.mark.parametrize(("shift", "words"), [((0, 9), "to the left"), ((-8, 6), "down")])
def test_labels_that_were_moved_are_told_how_to_move_back(shift, words):
    (problem,) = check_alignment(with_masks(lambda mask: np.roll(mask, shift, (0, 1))))
    assert problem.kind == "labels-shifted"
    assert words in problem.text


def turned_like(quarters):
    """A quarter turn, squeezed into the sides that the mask has."""
    return lambda mask: cv2.resize(np.rot90(mask, quarters), mask.shape[::-1], interpolation=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (np.fliplr, "flipped horizontally"),
        (np.flipud, "flipped vertically"),
        (lambda mask: mask[::-1, ::-1], "rotated by 180°"),
        (turned_like(1), "rotated by 90° clockwise"),
        (turned_like(-1), "rotated by 90° counterclockwise"),
    ],
)
def test_labels_that_were_turned_are_told_how(change, words):
    (problem,) = check_alignment(with_masks(change))
    assert problem.kind == "labels-flipped-or-rotated"
    assert words in problem.text


def test_labels_of_other_images_are_called_so_and_not_shifted():
    pairs = list(things())
    others = [
        dataclasses.replace(sample, mask=pairs[(number + 3) % len(pairs)].mask)
        for number, sample in enumerate(pairs)
    ]
    assert kinds(check_alignment(others)) == ["labels-of-other-images"]
    same = [dataclasses.replace(sample, mask=pairs[0].mask) for sample in pairs]
    assert check_alignment(same) == []  # of a fixed camera, any mask fits any image


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["camvid", "nuclei"])
def test_real_labels_lie_on_their_own_images_and_on_no_others(name, test_data):
    dataset = open_dataset(test_data / name, cache=False)
    records = dataset.split("train")
    samples = [dataset.load(record) for record in records[:: len(records) // 12][:12]]
    assert check_alignment(samples) == []
    others = [
        dataclasses.replace(sample, image=samples[place - 1].image)
        for place, sample in enumerate(samples)
    ]
    assert kinds(check_alignment(others)) == ["labels-of-other-images"]
