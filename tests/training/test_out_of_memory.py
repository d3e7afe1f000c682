"""Too little memory: an open batch size is halved until it fits; else an error says what to do."""

import pytest
import torch

from pixelwise.config import Recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.devices import Machine
from pixelwise.errors import TrainingError
from pixelwise.training import finish, loop, trial
from pixelwise.training.plan import plan
from pixelwise.training.step import TrainingStep
from pixelwise.training.train import train


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=6, splits=("train", "val"))


@pytest.fixture
def memory_for(monkeypatch):
    """Let a step fail with more than some crops."""

    def limit(num_crops):
        loss = TrainingStep.loss

        def limited(self, batch, rng):
            if len(batch.image) > num_crops:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return loss(self, batch, rng)

        monkeypatch.setattr(TrainingStep, "loss", limited)

    return limit


def planned(data, **training):
    recipe = {"model": {"name": "stacked-fcn"}, "training": {"epochs": 1, **training}}
    machine = Machine(torch.device("cpu"), has_bfloat16=False, name="fake")
    return plan(Recipe.model_validate(recipe), open_dataset(data), machine)


def test_an_open_batch_size_is_halved_until_it_fits(data, memory_for):
    memory_for(1)
    ready = planned(data)
    assert ready.recipe.training.batch_size == 1
    said = " ".join(ready.reasons)
    assert "batch size 1: 2 crops do not fit into the memory of the device (cpu)" in said
    assert said.count("batch size") == 1
    assert ready.recipe == planned(data, batch_size=1).recipe


def test_a_batch_that_fits_is_not_halved(data, memory_for):
    memory_for(4)
    assert planned(data).recipe.training.batch_size == 4


@pytest.mark.parametrize("batch_size", [2, None])
def test_a_batch_that_cannot_be_halved_is_refused(data, memory_for, batch_size):
    memory_for(1 if batch_size else 0)
    count = batch_size or 1
    with pytest.raises(TrainingError, match=f"{count} crops of 16 x 16 do not. Use a smaller"):
        planned(data, batch_size=batch_size)


def test_the_trial_occupies_the_memory_of_the_optimizer(data, monkeypatch):
    occupied, empty_like = [], torch.empty_like
    monkeypatch.setattr(
        trial.torch, "empty_like", lambda weights: occupied.append(weights) or empty_like(weights)
    )
    ready = planned(data)
    num_weights = sum(weights.numel() for weights in ready.model.parameters())
    assert sum(weights.numel() for weights in occupied) == 2 * num_weights


def fail(*_, **__):
    raise RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)")


def test_a_training_that_runs_out_of_memory_later_ends_in_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Trainer, "_train_step", fail)
    with pytest.raises(TrainingError, match="must fit into the memory") as error_info:
        train(data, model="stacked-fcn", epochs=2, device="cpu", out=tmp_path / "run")
    assert "\n" not in str(error_info.value)
    assert "ran out of memory with 4 crops of 16 x 16" in str(error_info.value)


@pytest.mark.parametrize("module", [loop, finish])
def test_an_evaluation_that_runs_out_of_memory_ends_in_one_line(
    data, tmp_path, monkeypatch, module
):
    monkeypatch.setattr(module, "evaluate_samples", fail)
    with pytest.raises(TrainingError, match="resume the run with `resume=True`"):
        train(data, model="stacked-fcn", epochs=1, out=tmp_path / "run")


def test_another_error_stays_as_it_is(data, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a size does not match")

    monkeypatch.setattr(loop, "evaluate_samples", broken)
    with pytest.raises(RuntimeError, match="a size does not match"):
        train(data, model="stacked-fcn", epochs=1, out=tmp_path / "run")
