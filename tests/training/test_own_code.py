"""Losses, metrics and augmentations of the user that fail are named before the training starts."""

import pytest
import torch
from torchvision.transforms import v2

from pixelwise import evaluate, train
from pixelwise.errors import ConfigError, PixelwiseError
from pixelwise.losses.base import losses
from pixelwise.metrics.extra import extra_metrics

SMALL = {"model": "stacked-fcn", "epochs": 1, "size": (16, 16), "batch_size": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("own") / "data"
    return make_index_dataset(folder, num_images=4, splits=("train", "val"))


def planned(data, **given):
    """The plan of a run, which writes nothing."""
    return train(data, dry_run=True, **SMALL, **given).plan


def a_map(logits, target):
    return torch.nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")


BAD_LOSSES = {
    "a map": (a_map, r"must return one number with a gradient. It returned .* \(2, 16, 16\)"),
    "no gradient": (lambda logits, _: logits.detach().mean(), "a constant without a gradient"),
    "torch's words": (lambda logits, target: (logits - target).mean(), "raised RuntimeError: The"),
    "not a number": (lambda logits, _: logits.mean() * torch.nan, "must be finite. Got nan"),
}


@pytest.mark.parametrize("kind", BAD_LOSSES)
def test_a_dry_run_refuses_a_loss_that_cannot_be_trained(data, monkeypatch, kind):
    loss, message = BAD_LOSSES[kind]
    monkeypatch.setitem(losses._entries, "mine", lambda: loss)
    for given in (loss, "mine", "ce + 0.5 * mine"):
        with pytest.raises(PixelwiseError, match=message) as refused:
            planned(data, loss=given)
        assert str(refused.value).startswith("the loss '")
        assert "\n" not in str(refused.value)


class Metric:
    """A metric of the class attribute ``methods``."""

    def add(self, *arrays):
        self.added = arrays

    def figures(self):
        return {"value": 1.0}


def failing(method, function):
    return type("Mine", (Metric,), {method: function})


BAD_METRICS = {
    "add raises": (failing("add", lambda *_: {}["x"]), "its method add raised KeyError: 'x'"),
    "add takes two": (failing("add", lambda _, __: None), "its method add raised TypeError"),
    "figures raises": (failing("figures", lambda _: {}["x"]), "figures raised KeyError: 'x'"),
    "a text": (failing("figures", lambda _: {"a": "b"}), "'a' of the metric 'mine' must be a num"),
    "no value": (failing("figures", lambda _: {"a": None}), "must be a number. Got None"),
    "a number": (failing("figures", lambda _: 0.5), "must return numbers by name.*Got 0.5"),
    "a matrix": (failing("figures", lambda _: {"a": [1, 2]}), r"must be a number. Got \[1, 2\]"),
}


@pytest.mark.parametrize("kind", BAD_METRICS)
def test_a_dry_run_and_evaluate_name_a_metric_that_fails(
    data, monkeypatch, make_model_file, tmp_path, kind
):
    metric, message = BAD_METRICS[kind]
    extra_metrics.names()
    monkeypatch.setitem(extra_metrics._entries, "mine", metric)
    model = make_model_file(tmp_path / "model.safetensors")
    for attempt in (
        lambda: planned(data, metrics=["mine"]),
        lambda: evaluate(model, data, "val", metrics=["mine"]),
    ):
        with pytest.raises(ConfigError, match=message) as refused:
            attempt()
        assert "'mine'" in str(refused.value)


@pytest.mark.parametrize("undefined", [lambda _: {"mean": 1 / 0}, lambda _: {"most": max([])}])
def test_a_value_that_is_undefined_for_one_image_does_not_refuse_a_training(data, undefined):
    assert planned(data, metrics=[failing("figures", undefined)])


def test_the_trial_of_a_metric_gives_what_an_evaluation_gives(data, make_model_file, tmp_path):
    seen = []
    metric = failing("add", lambda _, *arrays: seen.append([(a.dtype, a.shape) for a in arrays]))
    planned(data, metrics=[metric])
    evaluate(make_model_file(tmp_path / "model.safetensors"), data, "val", metrics=[metric])
    assert len(seen) == 5
    assert (
        seen[0] == seen[1] == [("uint8", (16, 16)), ("float32", (3, 16, 16)), ("uint8", (16, 16))]
    )


def fails(image, mask):
    raise RuntimeError("odd\nimage")


BAD_TRANSFORMS = {
    "a step": (
        v2.Compose([v2.RandomHorizontalFlip(), v2.Normalize([0.5] * 3, [0.5] * 3)]),
        r"\(3, 16, 16\) uint8.*error of its step Normalize: TypeError: Input tensor",
    ),
    "one transform": (v2.Normalize([0.5] * 3, [0.5] * 3), r"error of Normalize\(.*TypeError"),
    "a function": (fails, "error of .*:fails: RuntimeError: odd image"),
}


@pytest.mark.parametrize("kind", BAD_TRANSFORMS)
def test_a_dry_run_names_the_step_of_an_augmentation_that_fails(data, kind):
    transform, message = BAD_TRANSFORMS[kind]
    with pytest.raises(ConfigError, match=message) as refused:
        planned(data, augmentation=transform)
    assert "\n" not in str(refused.value)


class Plain(torch.nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.head = torch.nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, image):
        return self.head(image)


class Stating(Plain):
    learning_rate = 0.02


def test_the_learning_rate_of_a_model_that_states_none_is_called_so(data):
    for model, words in (
        (Plain, "learning rate 0.001: the default for models that state none"),
        (Stating, f"learning rate 0.02: the default of {__name__}:Stating"),
        ("stacked-fcn", "learning rate 0.003: the default of stacked-fcn"),
    ):
        assert words in train(data, dry_run=True, **{**SMALL, "model": model}).plan.lines()


def test_a_training_prints_the_summary_of_its_plan_as_a_dry_run_does(data, tmp_path, run_cli):
    words = ("train", data, "--out", tmp_path / "run", "--model", "stacked-fcn", "--epochs", 1)
    words = (*words, "--size", "16x16", "--batch-size", 2, "--device", "cpu")
    code, _, err = run_cli(*words)
    assert code == 0
    assert "plan:\n  stacked-fcn: " in err
    assert "loss ce; " in err
    assert "2 steps per epoch, 1 epoch" in err


@pytest.mark.parametrize(
    "options",
    [("--loss", "mine"), ("--model", "mine"), ("--metric", "mine"), ("--format", "npy-masks"),
     ("--logger", "mine"), ("--loss", "ce + mine")],
)  # fmt: skip
def test_an_unknown_name_that_may_be_an_own_one_proposes_an_import(data, run_cli, options):
    code, _, err = run_cli("train", data, "--epochs", 1, *options)
    assert code == 1
    assert "If it is your own, import its module first: --import MODULE" in err
    assert "Did you mean" not in err


def test_evaluate_says_which_modules_the_run_imported(
    data, run_cli, make_model_file, tmp_path, make_index_dataset
):
    run, unknown = tmp_path / "run", tmp_path / "unknown"
    run.mkdir()
    unknown.mkdir()
    (unknown / "labels.csv").touch()
    make_model_file(run / "model.safetensors")
    (run / "recipe.yaml").write_text("imports: [my_format, json]")
    for model in (run, run / "model.safetensors"):
        for words in ((unknown,), (data, "--format", "mine"), (data, "--metric", "mine")):
            code, _, err = run_cli("evaluate", model, *words)
            assert code == 1
            assert err.rstrip().endswith("The run of the model had --import my_format")
        with pytest.raises(PixelwiseError, match=r"had `imports=\['my_format'\]`"):
            evaluate(model, unknown)


def test_the_plan_names_the_sizes_of_images_that_differ(tmp_path, make_index_dataset, data):
    folder = tmp_path / "data"
    for split, size in (("train", (20, 24)), ("other/train", (28, 26))):
        make_index_dataset(folder / split, num_images=2, size=size)
    for path in sorted((folder / "other").rglob("*.png")):
        path.rename(folder / "train" / path.parent.name / f"large-{path.name}")
    make_index_dataset(folder / "val", num_images=2)
    line = "image sizes differ, from 20 x 24 to 28 x 26: crops have one size"
    assert line in planned(folder).lines()
    assert not any("sizes differ" in line for line in planned(data).lines())
