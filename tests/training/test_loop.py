"""The training loop as an accelerator runs it: losses are read now and then, not at every step."""

import dataclasses
import math
import threading

import pytest
import torch

from pixelwise.cli.progress import _epoch_line
from pixelwise.config import Recipe
from pixelwise.data.cache.memory_cache import MemoryCache
from pixelwise.data.dataset import open_dataset
from pixelwise.devices import Machine
from pixelwise.errors import TrainingError
from pixelwise.training import loop
from pixelwise.training.budget import Budget
from pixelwise.training.events import EpochEnded, StepEnded
from pixelwise.training.loop import Trainer
from pixelwise.training.plan import plan
from pixelwise.training.run_folder import read_history
from pixelwise.training.step import TrainingStep


@pytest.fixture
def ready(tmp_path, make_index_dataset):
    """The plan of two epochs of six steps."""
    data = make_index_dataset(tmp_path / "data", num_images=6, splits=("train", "val"))
    recipe = {"model": {"name": "stacked-fcn"}, "training": {"epochs": 2, "batch_size": 1}}
    machine = Machine(torch.device("cpu"), has_bfloat16=False, name="fake")
    return plan(Recipe.model_validate(recipe), open_dataset(data), machine)


def trainer_of(ready, folder, listener=lambda _: None, *, collect_every=4):
    trainer = Trainer(ready, folder, listener)
    trainer._collect_every = collect_every
    return trainer


def test_losses_are_read_rarely_and_there_is_always_one_to_show(ready, tmp_path):
    shown = []

    def listen(event):
        if isinstance(event, StepEnded):
            shown.append((event.loss, trainer.progress.loss_images))

    trainer = trainer_of(ready, tmp_path / "run", listen)
    trainer.run()
    assert all(loss > 0 for loss, _ in shown)
    assert [count for _, count in shown] == [1, 1, 1, 1, 5, 5] * 2


def test_a_loss_that_is_not_finite_is_reported_with_its_own_step(ready, tmp_path, monkeypatch):
    steps, loss = [], TrainingStep.loss

    def sometimes_infinite(self, *arguments):
        steps.append(1)
        return loss(self, *arguments) * (math.inf if len(steps) == 3 else 1)

    monkeypatch.setattr(TrainingStep, "loss", sometimes_infinite)
    with pytest.raises(TrainingError, match=r"epoch 1, step 3\. Lower"):
        trainer_of(ready, tmp_path / "run").run()


def test_an_epoch_resumed_in_its_validation_has_no_speed(ready, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    real = loop.evaluate_samples
    monkeypatch.setattr(loop, "evaluate_samples", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(ready, tmp_path / "run").run()
    monkeypatch.setattr(loop, "evaluate_samples", real)
    rows = []
    trainer = trainer_of(
        ready, tmp_path / "run", lambda e: rows.append(e.row) if isinstance(e, EpochEnded) else None
    )
    trainer.resume()
    trainer.run()
    speeds = [row["images_per_s"] for row in read_history(tmp_path / "run")]
    assert math.isnan(speeds[0])
    assert speeds[1] > 0
    assert "images/s" not in _epoch_line(rows[0], 2, 1.0)
    assert "images/s" in _epoch_line(rows[1], 2, 1.0)


def test_a_resumed_training_changes_its_own_budget_and_knows_its_validation(ready, tmp_path):
    trainer_of(ready, tmp_path / "run").run()
    limited = dataclasses.replace(ready, budget=Budget(1000.0, 0.0, validation_s=99.0))
    trainer = trainer_of(limited, tmp_path / "run")
    trainer.resume()
    assert limited.budget == Budget(1000.0, 0.0, validation_s=99.0)
    assert trainer.budget.seconds == 1000.0 - trainer.progress.elapsed_s
    assert trainer.budget.validation_s == trainer.progress.validation_s < 99


def test_an_evaluation_leaves_the_memory_format_of_the_weights(ready, tmp_path):
    contiguous = dataclasses.replace(ready.step, memory_format="contiguous")
    contiguous.arrange()
    trainer_of(dataclasses.replace(ready, step=contiguous), tmp_path / "run").run()
    kernels = [weights for weights in ready.model.parameters() if weights.ndim == 4]
    assert kernels
    assert all(weights.is_contiguous() for weights in kernels)


def test_validation_images_beyond_memory_are_decoded_in_parallel(ready, tmp_path):
    samples = list(ready.validation)
    threads = set()

    def decode(index):
        threads.add(threading.current_thread())
        return samples[index]

    validation = MemoryCache(decode, len(samples), lambda _: 1, budget_bytes=0)
    measured = dataclasses.replace(ready.measured, validation=validation)

    def forget(event):  # those that the checks before the training have looked at
        if isinstance(event, StepEnded):
            threads.clear()

    trainer_of(dataclasses.replace(ready, measured=measured), tmp_path / "run", forget).run()
    assert threads
    assert threading.current_thread() not in threads
