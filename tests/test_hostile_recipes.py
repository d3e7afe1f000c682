"""What a recipe of a stranger may ask for ends in one line, before memory is taken for it."""

import re

import pytest
import torch

from pixelwise.config import Recipe, load_recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.devices import Machine
from pixelwise.errors import ConfigError, TrainingError
from pixelwise.imports import find_imported
from pixelwise.losses.expression import parse_loss
from pixelwise.models import create_model
from pixelwise.training.plan import plan


@pytest.mark.parametrize(
    "text",
    [
        "training: {epochs: 1}\ntraining: {seed: 2}\n",
        "training:\n  epochs: 1\n  epochs: 2\n",
        "model: {arguments: {filters: 4, 'filters': 8}}\n",
    ],
)
def test_a_key_that_appears_twice_is_refused(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"recipe.yaml must be .* the key '\w+' twice"):
        load_recipe(tmp_path / "recipe.yaml")


def test_keys_of_merged_mappings_may_be_overridden(tmp_path):
    text = "training: {<<: &more {epochs: 1, seed: 3}, epochs: 2}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    settings = load_recipe(tmp_path / "recipe.yaml").training
    assert (settings.epochs, settings.seed) == (2, 3)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("ce" + "+ce" * 5000, "at most 1000 characters. Got 15,002"),
        ("-" * 900 + "ce", "loss must be a sum of names"),
        ("1e999 * ce", "A factor must be finite"),
        ("1e200 * 1e200 * ce", "loss must be a sum of names"),
        ("9" * 900 + " * ce", "A factor must be finite"),
    ],
)
def test_a_loss_without_end_is_refused(expression, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)) as refusal:
        parse_loss(expression)
    assert refusal.value.__class__ is ConfigError


@pytest.mark.parametrize("name", ["os:system", "posix:system", "os.path:join", "shutil:move"])
def test_a_recipe_cannot_name_a_function_of_python_as_its_loss(tmp_path, run_cli, name):
    module, _, function = name.partition(":")
    assert find_imported(module, function) is None
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"training: {{loss: '{name}', epochs: 1}}\n")
    code, _, err = run_cli("train", "digits", "--recipe", recipe, "--dry-run")
    assert code == 1
    assert f"loss {name!r} must be a function of an imported module" in err


def planned(data, **training):
    recipe = {"model": {"name": "stacked-fcn"}, "training": {"epochs": 1, **training}}
    machine = Machine(torch.device("cpu"), has_bfloat16=False, name="fake")
    return plan(Recipe.model_validate(recipe), open_dataset(data), machine)


def test_crops_larger_than_the_memory_are_refused_before_they_are_made(
    tmp_path, make_index_dataset
):
    data = make_index_dataset(tmp_path / "data", num_images=6, splits=("train", "val"))
    with pytest.raises(TrainingError, match=r"must fit into memory. 1 crop of 10{9} x 10{9}"):
        planned(data, size=(10**9, 10**9), batch_size=1)
    # There are never more crops in a batch than in an epoch.
    assert planned(data, batch_size=10**12).recipe.training.batch_size == 10**12


def test_a_model_that_cannot_be_allocated_is_refused():
    with pytest.raises(ConfigError, match=r"'unet-elu' must fit into memory.*filters=1000000"):
        create_model("unet-elu", 2, filters=1_000_000)


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"data.scale must be greater than or equal to 0.001"):
        load_recipe({"data": {"scale": 1e-300}})
