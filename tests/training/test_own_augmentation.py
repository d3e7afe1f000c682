"""``train(augmentation=...)``: a callable takes part in a whole training, also a resumed one."""

import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.transforms import v2

from pixelwise import show_data
from pixelwise.config import load_recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import ConfigError
from pixelwise.training.events import Message, StepEnded, ignore_events
from pixelwise.training.plan import plan
from pixelwise.training.preview import preview
from pixelwise.training.train import train

TINY = {
    "model": "unet-elu", "epochs": 2, "batch_size": 2, "device": "cpu", "size": (16, 16),
    "overrides": ["model.arguments={filters: 2, depth: 2}", "training.memory_format=channels_last"],
}  # fmt: skip
NOISY = v2.Compose([v2.RandomRotation(20), v2.ColorJitter(0.3)])
NAME = "Compose( RandomRotation(degrees=[-20.0, 20.0]"


def invert(image, mask):
    return 255 - image, mask


def interrupted_after(num_steps):
    left = [num_steps]

    def listen(event):
        left[0] -= isinstance(event, StepEnded)
        if not left[0]:
            raise KeyboardInterrupt

    return listen


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("own") / "data"
    return make_index_dataset(folder, num_images=4, size=(20, 24), splits=("train", "val"))


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    told = []
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(data, out=folder, augmentation=NOISY, listener=told.append, **TINY)
    return folder, told


def test_the_recipe_names_the_callable_and_turns_the_rest_off(whole_run):
    folder, told = whole_run
    recorded = load_recipe(folder / "recipe.yaml").augmentation
    assert recorded.transform.startswith(NAME)
    assert recorded.entries_on == {"scale", "transform"}
    lines = [line for event in told if isinstance(event, Message) for line in event.lines]
    (line,) = [line for line in lines if line.startswith("augmentation:")]
    assert line.startswith(f"augmentation: scale (0.75, 1.33), then {NAME}")


def test_a_resumed_run_ends_as_one_that_was_never_stopped(whole_run, data, tmp_path):
    whole, _ = whole_run
    with pytest.raises(KeyboardInterrupt):
        train(data, out=tmp_path / "run", augmentation=NOISY, listener=interrupted_after(3), **TINY)
    torch.manual_seed(987)
    with pytest.raises(ConfigError, match=r"needs its augmentation again.*RandomRotation"):
        train(out=tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match=r"must keep its augmentation.*Got .*invert"):
        train(out=tmp_path / "run", resume=True, augmentation=invert)
    train(out=tmp_path / "run", resume=True, augmentation=NOISY)
    runs = (whole, tmp_path / "run")
    first, second = (safetensors.torch.load_file(run / "model.safetensors") for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_recipe_of_such_a_run_needs_the_callable_again(whole_run, data, tmp_path, run_cli):
    recipe = whole_run[0] / "recipe.yaml"
    code, _, err = run_cli("train", data, "--recipe", recipe, "--out", tmp_path / "run")
    assert code == 1
    assert "needs its augmentation again" in err.splitlines()[-1]
    with pytest.raises(ConfigError, match="needs its augmentation again"):
        plan(load_recipe(recipe), open_dataset(data))


def test_a_callable_and_entries_of_the_recipe_exclude_each_other(data, tmp_path):
    recipe = load_recipe(overrides=["augmentation.rotation=15", "augmentation.scale=[1, 1]"])
    with pytest.raises(ConfigError, match=r"replaces the entries .* except scale\. Got rotation"):
        train(data, recipe=recipe, augmentation=invert, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="augmentation must be a callable"):
        train(data, augmentation="invert", out=tmp_path / "run")


def test_what_a_callable_returns_is_checked_before_the_first_step(data, tmp_path):
    options = {key: value for key, value in TINY.items() if key != "size"}
    with pytest.raises(ConfigError, match=r"It returned \(3, 8, 8\) uint8 and \(2, 8, 8\) uint8"):
        train(data, out=tmp_path / "run", augmentation=v2.CenterCrop(8), **options)
    assert not (tmp_path / "run").exists()


def test_a_step_for_three_channels_is_refused_before_the_first_step(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in range(6):
        mask = np.indices((16, 16)).sum(0) // 5 % 2
        np.save(tmp_path / f"images/{index}.npy", np.stack([mask * 9.0] * 4, -1).astype("float32"))
        np.save(tmp_path / f"masks/{index}.npy", mask.astype(np.uint8))
    recipe = load_recipe(overrides=["augmentation.hue=0.1"])
    with pytest.raises(ConfigError, match=r"augmentation\.hue needs images of 3 channels"):
        plan(recipe, open_dataset(tmp_path))


def test_the_preview_draws_the_callable_and_the_optional_steps(data, tmp_path):
    dataset = open_dataset(data)
    still = load_recipe(overrides=["augmentation.scale=[1, 1]", "training.size=[20, 24]"])
    for row in preview(still, dataset, ignore_events, augmentation=invert, num=3).rows:
        for version in row.versions:
            np.testing.assert_array_equal(version.image, 255 - row.sample.image)
            np.testing.assert_array_equal(version.mask, row.sample.mask)
    told = []
    entries = ["rotation=40", "elastic=3", "hue=0.1", "saturation=0.5", "blur=[0.5, 1]",
               "noise=0.2"]  # fmt: skip
    path = show_data(
        data, tmp_path / "a.png", num=2, listener=told.append,
        overrides=[f"augmentation.{entry}" for entry in entries],
    )  # fmt: skip
    assert path.is_file()
    lines = " ".join(line for event in told if isinstance(event, Message) for line in event.lines)
    assert "augmentation from the recipe: rotation 40.0, elastic 3.0, hue 0.1" in lines
    rotated = load_recipe(overrides=["augmentation.rotation=45", "training.size=[20, 20]"])
    rows = preview(rotated, dataset, ignore_events, num=3).rows
    assert any(beyond.any() for row in rows for beyond in row.beyond)
