"""One batch is overfitted where labels can be learned, and nothing of it is left."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.config import Recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import TrainingError
from pixelwise.training.diagnostics import sanity_check
from pixelwise.training.diagnostics.sanity_check import SanityCheck, overfit_one_batch
from pixelwise.training.events import Message
from pixelwise.training.plan import plan
from pixelwise.training.train import train


def prepared_from(folder, *, model="stacked-fcn", size=(16, 16)):
    recipe = Recipe()
    recipe.model.name = model
    recipe.training.epochs, recipe.training.batch_size, recipe.training.size = 1, 4, size
    recipe.training.precision, recipe.training.device = "float32", "cpu"
    return plan(recipe, open_dataset(folder))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("sanity_check") / "data"
    return prepared_from(make_index_dataset(folder, num_images=8, splits=("train", "val")))


def test_labels_that_can_be_learned_pass_with_their_losses(healthy):
    result = overfit_one_batch(healthy)
    assert result.is_passed
    assert 0 < result.last <= max(sanity_check.ENOUGH * result.constant, sanity_check.LEAST_LOSS)
    assert 1 < result.steps <= sanity_check.MAX_STEPS
    assert f"from {result.first:.4f} to {result.last:.4f}" in result.text
    assert "the model can fit the labels" in result.text


def test_the_model_is_left_as_it_was(healthy):
    before = {name: values.clone() for name, values in healthy.model.state_dict().items()}
    overfit_one_batch(healthy)
    after = healthy.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(values.grad is None for values in healthy.model.parameters())


def test_multilabel_masks_are_learned_too(tmp_path, make_object_dataset):
    folder = make_object_dataset(tmp_path, num_images=6, splits=("train", "val"))
    assert overfit_one_batch(prepared_from(folder)).is_passed


def test_a_learning_rate_of_nothing_fails_with_advice(healthy, monkeypatch):
    monkeypatch.setattr(sanity_check, "LEARNING_RATE", 0.0)
    monkeypatch.setattr(sanity_check, "MAX_STEPS", 5)
    result = overfit_one_batch(healthy)
    assert not result.is_passed
    assert result.steps == 5
    assert "cannot fit the labels" in result.text
    assert "pixelwise data show" in result.text


def test_labels_that_no_image_tells_apart_fail(tmp_path, make_index_dataset):
    """A single gray everywhere, and another label at every pixel."""
    folder = make_index_dataset(tmp_path, num_images=4, size=(32, 32), splits=("train", "val"))
    rng = np.random.default_rng(0)
    for path in folder.rglob("*.png"):
        is_mask = path.parent.name == "masks"
        pixels = rng.integers(0, 3, (32, 32)) if is_mask else np.full((32, 32, 3), 90)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    assert not overfit_one_batch(prepared_from(folder, size=(32, 32))).is_passed


def test_a_network_that_is_cut_off_fails(healthy, monkeypatch):
    def cut(image):
        return [torch.zeros(len(image), 3, *image.shape[-2:], requires_grad=True)]

    monkeypatch.setattr(healthy.model, "training_logits", cut)
    assert not overfit_one_batch(healthy).is_passed


def test_crops_without_labels_fail_with_a_reason(healthy, monkeypatch):
    honest = next(healthy.batches.epoch(0))
    ignored = dataclasses.replace(honest, mask=torch.full_like(honest.mask, 255))
    monkeypatch.setattr(healthy.batches, "epoch", lambda _: iter([ignored, ignored]))
    result = overfit_one_batch(healthy)
    assert not result.is_passed
    assert "must contain labeled pixels" in result.text
    monkeypatch.setattr(healthy.batches, "epoch", lambda _: iter([ignored, honest]))
    assert overfit_one_batch(healthy).is_passed


def test_a_loss_that_is_no_number_fails():
    assert not SanityCheck(1.0, math.nan, 0.7, 3).is_passed
    assert not SanityCheck(math.inf, math.inf, 0.7, 1).is_passed


def test_training_says_the_result_or_stops(tmp_path, make_index_dataset, monkeypatch):
    folder = make_index_dataset(tmp_path / "data", num_images=6, splits=("train", "val"))
    options = {
        "model": "stacked-fcn", "epochs": 1, "batch_size": 3, "device": "cpu", "sanity_check": True,
    }  # fmt: skip
    events = []
    train(folder, out=tmp_path / "run", listener=events.append, **options)
    (said,) = [one for one in events if isinstance(one, Message) and one.title == "sanity check"]
    assert "the model can fit the labels" in said.lines[0]
    monkeypatch.setattr(sanity_check, "LEARNING_RATE", 0.0)
    monkeypatch.setattr(sanity_check, "MAX_STEPS", 2)
    with pytest.raises(TrainingError, match="cannot fit the labels"):
        train(folder, out=tmp_path / "stopped", **options)
    assert not (tmp_path / "stopped").exists()
