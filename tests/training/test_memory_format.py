"""Memory format of the weights: measured on long steps, fixed on request, and stored."""

import pytest
import torch

from pixelwise.config import load_recipe
from pixelwise.training import trial
from pixelwise.training.events import StepEnded
from pixelwise.training.step import TrainingStep
from pixelwise.training.train import train

SMALL = {
    "model": "unet-elu",
    "epochs": 2,
    "batch_size": 4,
    "overrides": ["model.arguments={filters: 4, depth: 2}"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("layout") / "data"
    return make_index_dataset(folder, num_images=8, splits=("train", "val"))


def chosen(monkeypatch, tmp_path, data, seconds):
    """The recipe's choice if a step takes that long in each format, and the formats tried."""
    tried = []

    def time_steps(steps, *_):
        tried.append([step.memory_format for step in steps])
        return [seconds[step.memory_format] for step in steps]

    monkeypatch.setattr(trial, "_time", time_steps)
    outcome = train(data, out=tmp_path / "run", **SMALL)
    return load_recipe(outcome.folder / "recipe.yaml").training.memory_format, tried


@pytest.mark.parametrize(
    ("channels_last", "contiguous", "expected"),
    [(2.0, 1.0, "contiguous"), (1.05, 1.0, "channels_last"), (1.0, 2.0, "channels_last")],
)
def test_large_steps_take_the_faster_format(
    monkeypatch, tmp_path, data, channels_last, contiguous, expected
):
    monkeypatch.setattr(trial, "LONG_STEP_GMACS", 0.0)
    seconds = {"channels_last": channels_last, "contiguous": contiguous}
    choice, tried = chosen(monkeypatch, tmp_path, data, seconds)
    assert choice == expected
    assert tried == [["channels_last", "contiguous"], [expected]]


def test_small_steps_are_tried_in_one_format_only(monkeypatch, tmp_path, data):
    seconds = {"channels_last": 1.0, "contiguous": 0.1}
    choice, tried = chosen(monkeypatch, tmp_path, data, seconds)
    assert (choice, tried) == ("channels_last", [["channels_last"]])


def test_a_second_training_remembers_the_choice(monkeypatch, tmp_path, data):
    monkeypatch.setattr(trial, "LONG_STEP_GMACS", 0.0)
    quiet = {"channels_last": 2.0, "contiguous": 1.0}
    busy = {"channels_last": 1.0, "contiguous": 9.0}
    assert chosen(monkeypatch, tmp_path / "a", data, quiet)[0] == "contiguous"
    assert chosen(monkeypatch, tmp_path / "b", data, busy)[0] == "contiguous"


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_weights_lie_as_the_recipe_says_at_every_step_also_after_a_validation(
    monkeypatch, tmp_path, data, memory_format
):
    seen = []
    model = None
    real = TrainingStep.loss

    def loss(step, batch, rng):
        nonlocal model
        model = step.model
        return real(step, batch, rng)

    monkeypatch.setattr(TrainingStep, "loss", loss)

    def look(event):
        if isinstance(event, StepEnded):
            wide = [values for values in model.parameters() if values.ndim == 4
                    and min(values.shape) > 1]  # fmt: skip
            seen.append(
                {values.is_contiguous(memory_format=torch.channels_last) for values in wide}
            )

    changes = [*SMALL["overrides"], f"training.memory_format={memory_format}"]
    train(data, out=tmp_path / "run", listener=look, **{**SMALL, "overrides": changes})
    assert len(seen) > 2
    assert all(found == {memory_format == "channels_last"} for found in seen)
