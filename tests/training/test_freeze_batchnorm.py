"""BatchNorm normalizes by each batch at first, and by its running statistics once it is frozen."""

import pytest
import safetensors.torch
import torch

from pixelwise.config import load_recipe
from pixelwise.training.events import EpochEnded
from pixelwise.training.train import train

NUM_STEPS = 8
"""Four epochs of two steps: four training images in batches of two."""


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("statistics") / "data"
    return make_index_dataset(folder, num_images=4, splits=("train", "val"))


def trained(data, out, *, share=None, **options):
    fixed = [
        "model.arguments={filters: 2, depth: 2}",
        "training.memory_format=channels_last",
        "training.monitor=last",
    ]
    if share is not None:
        fixed.append(f"training.freeze_batchnorm_from={share}")
    settings = {"model": "unet-fast", "epochs": 4, "batch_size": 2, "device": "cpu"}
    return train(data, out=out, overrides=fixed, **settings, **options)


def weights_of(outcome):
    return safetensors.torch.load_file(outcome.folder / "model.safetensors")


@pytest.mark.parametrize(("share", "num_updates"), [(0.0, 0), (0.5, 4), (1.0, NUM_STEPS)])
def test_batchnorm_is_frozen_from_that_share_of_the_steps_on(data, tmp_path, share, num_updates):
    weights = weights_of(trained(data, tmp_path / "run", share=share))
    counts = {int(value) for name, value in weights.items() if name.endswith("tracked")}
    assert counts == {num_updates}


def test_in_small_batches_batchnorm_is_frozen_by_default(data, tmp_path):
    outcome = trained(data, tmp_path / "run")
    recipe = load_recipe(outcome.folder / "recipe.yaml")
    assert recipe.training.freeze_batchnorm_from == 0.6
    counts = {v.item() for name, v in weights_of(outcome).items() if name.endswith("tracked")}
    assert counts == {5}  # of eight steps, those that begin before 60 %


def test_a_run_stopped_while_batchnorm_is_frozen_continues_as_if_never_stopped(data, tmp_path):
    whole = trained(data, tmp_path / "whole", share=0.5)

    def stop(event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path / "stopped", share=0.5, listener=stop)
    resumed = train(out=tmp_path / "stopped", resume=True)
    expected, found = weights_of(whole), weights_of(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_run_of_an_earlier_version_is_resumed_as_it_began(data, tmp_path):
    whole = trained(data, tmp_path / "whole", share=1.0)

    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path / "stopped", share=1.0, listener=stop)
    recipe = tmp_path / "stopped" / "recipe.yaml"
    lines = recipe.read_text().splitlines(keepends=True)
    recipe.write_text("".join(line for line in lines if "freeze_batchnorm_from" not in line))
    expected = weights_of(whole)
    found = weights_of(train(out=tmp_path / "stopped", resume=True))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
