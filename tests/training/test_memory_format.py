"""How a training's weights lie in memory: measured on long steps, fixed on request, and kept."""

import pytest
import torch

from pixelwise.config import load_recipe
from pixelwise.training import setup
from pixelwise.training.events import StepEnded
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
    """The recipe's choice where a crop takes so long in each format, and the formats tried."""
    tried = []

    def try_one_batch(prepared):
        tried.append(prepared.recipe.training.memory_format)
        return seconds[tried[-1]]

    monkeypatch.setattr(setup, "_try_one_batch", try_one_batch)
    outcome = train(data, out=tmp_path / "run", **SMALL)
    return load_recipe(outcome.folder / "recipe.yaml").training.memory_format, tried


@pytest.mark.parametrize(
    ("channels_last", "contiguous", "expected"),
    [(2.0, 1.0, "contiguous"), (1.05, 1.0, "channels_last"), (1.0, 2.0, "channels_last")],
)
def test_of_long_steps_the_faster_format_is_taken(
    monkeypatch, tmp_path, data, channels_last, contiguous, expected
):
    seconds = {"channels_last": channels_last, "contiguous": contiguous}
    choice, tried = chosen(monkeypatch, tmp_path, data, seconds)
    assert choice == expected
    assert tried == ["channels_last", "contiguous"]


def test_of_short_steps_only_one_format_is_tried_so_that_no_noise_chooses(
    monkeypatch, tmp_path, data
):
    seconds = {"channels_last": 0.001, "contiguous": 0.0001}
    assert chosen(monkeypatch, tmp_path, data, seconds) == (
        "channels_last",
        ["channels_last"],
    )


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_weights_lie_as_the_recipe_says_at_every_step_also_after_a_validation(
    monkeypatch, tmp_path, data, memory_format
):
    seen = []
    model = None
    real = setup.forward_loss

    def forward_loss(prepared, batch, rng):
        nonlocal model
        model = prepared.model
        return real(prepared, batch, rng)

    monkeypatch.setattr("pixelwise.training.loop.forward_loss", forward_loss)

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
