"""Bands, enhancement and resizing from a training run to its model file, and to what uses it."""

import json

import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch
import yaml
from PIL import Image

from pixelwise.config import load_recipe
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.io.images import read_image
from pixelwise.prediction.predict import predict
from pixelwise.prediction.predictor import load_model
from pixelwise.training.train import train

STEPS = [
    "data.denoise=median",
    "data.white_balance=gray-world",
    "data.contrast=clahe",
    "data.resize={letterbox: [24, 30]}",
]
QUICK = {"model": "stacked-fcn", "epochs": 2, "batch_size": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Discs in band 3 of four 16-bit bands; the others are noise."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index in range(10):
        height, width = ((20, 26), (31, 22))[index % 2]
        rows, columns = np.mgrid[:height, :width]
        center = rng.uniform(0.3, 0.7, 2) * (height, width)
        disc = np.hypot(rows - center[0], columns - center[1]) < height / 4
        image = rng.uniform(200, 900, (height, width, 4))
        image[..., 2] = rng.uniform(300, 500, (height, width)) + 1500 * disc
        tifffile.imwrite(
            folder / f"images/{index}.tif",
            image.astype(np.uint16),
            photometric="minisblack",
            planarconfig="contig",
        )
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"masks/{index}.png")
    return folder


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    recipe = load_recipe(overrides=STEPS)
    folder = tmp_path_factory.mktemp("prepared") / "run"
    return train(scenes, recipe=recipe, bands=(3, 1), out=folder, **QUICK)


def test_raw_images_score_as_in_training_and_no_step_is_done_twice(scenes, run):
    predictor = load_model(run.folder, device="cpu")
    assert predictor.card.preprocessing.bands == (3, 1)
    assert predictor.card.in_channels == 2
    metrics = evaluate(predictor, scenes, "val")
    assert metrics.loss == pytest.approx(run.metrics.loss, rel=1e-5)
    assert metrics.per_class == run.metrics.per_class


def test_predictions_of_raw_files_have_their_size(scenes, run, tmp_path):
    predictor = load_model(run.folder, device="cpu")
    done = predict(predictor, [scenes / "images"], tmp_path / "out")
    assert len(done.written) == 10
    sizes = {read_image(path).shape[:2] for path in done.written}
    assert sizes == {(20, 26), (31, 22)}


def test_an_image_with_too_few_bands_is_told_by_name(run, tmp_path):
    Image.fromarray(np.zeros((8, 9), np.uint16)).save(tmp_path / "flat.png")
    done = predict(load_model(run.folder, device="cpu"), [tmp_path / "flat.png"], tmp_path / "out")
    assert len(done.failed) == 1
    assert "flat.png must have the bands 3, 1. It has 1." in done.failed[0]


def test_the_recipe_of_the_run_is_valid_input_and_gives_the_same_weights(run, tmp_path):
    """Also with a scale beside the size that images are resized to."""
    content = yaml.safe_load((run.folder / "recipe.yaml").read_text())
    assert content["data"]["resize"] == {"letterbox": [24, 30]}
    assert content["data"]["bands"] == [3, 1]
    again = train(recipe=run.folder / "recipe.yaml", out=tmp_path / "again")
    first, second = (
        safetensors.torch.load_file(folder / "model.safetensors")
        for folder in (run.folder, again.folder)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_bands_of_the_dataset_card_are_trained_on_and_not_chosen_again(scenes, tmp_path):
    card = tmp_path / "dataset.yaml"
    card.write_text(json.dumps({"path": str(scenes), "bands": [4, 3]}))
    said = []
    outcome = train(card, out=tmp_path / "run", listener=said.append, **QUICK)
    assert "bands 4, 3: from the dataset card" in str(said)
    predictor = load_model(outcome.folder, device="cpu")
    assert predictor.card.preprocessing.bands == (4, 3)
    assert evaluate(predictor, card, "val").loss == pytest.approx(outcome.metrics.loss, rel=1e-5)
    asked = train(card, bands=(1,), out=tmp_path / "asked", **QUICK)
    assert load_model(asked.folder, device="cpu").card.preprocessing.bands == (1,)


def test_a_band_beyond_those_of_the_images_stops_before_the_first_epoch(scenes, tmp_path):
    with pytest.raises(DataError, match=r"\.tif must have the bands 5\. It has 4"):
        train(scenes, bands=(5,), out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_scale_and_another_size_at_once_are_refused(scenes, tmp_path):
    recipe = load_recipe(overrides=["data.scale=0.5", "data.resize=[16, 16]"])
    with pytest.raises(ConfigError, match=r"data\.scale or to data\.resize"):
        train(scenes, recipe=recipe, out=tmp_path / "run", **QUICK)


@pytest.mark.parametrize("resize", ["[16, 40]", "{shortest_side: 18}"])
def test_every_policy_trains_and_evaluates_at_the_original_size(scenes, tmp_path, resize):
    recipe = load_recipe(overrides=[f"data.resize={resize}"])
    outcome = train(scenes, recipe=recipe, out=tmp_path / "run", **QUICK)
    metrics = evaluate(load_model(outcome.folder, device="cpu"), scenes, "val")
    assert metrics.loss == pytest.approx(outcome.metrics.loss, rel=1e-5)


@pytest.mark.parametrize("bands", ["4,,2", "0,1", "red", "3.5"])
def test_bands_that_are_no_numbers_are_refused_on_the_command_line(run_cli, scenes, bands):
    code, _, err = run_cli("train", scenes, "--bands", bands)
    assert code == 1
    assert f"--bands must be band numbers starting at 1, such as 4,3,2. Got '{bands}'" in err


def test_bands_are_chosen_on_the_command_line(run_cli, scenes, tmp_path):
    code, _, err = run_cli("train", scenes, "--bands", "3, 2", "--epochs", 1, "--model",
                           "stacked-fcn", "--device", "cpu", "--out", tmp_path / "run")  # fmt: skip
    assert code == 0, err
    assert load_model(tmp_path / "run", device="cpu").card.preprocessing.bands == (3, 2)
