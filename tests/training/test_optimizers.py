"""Optimizers, schedules, averaged weights and frozen encoders do what the recipe says."""

import math
from collections import OrderedDict

import pytest
import torch
from test_training import FIXED, SMALL, assert_same_weights, weights_of, write_shapes
from torch import nn

from pixelwise.config import TrainingRecipe, load_recipe
from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.models import create_model
from pixelwise.models.model_file import load_model_file
from pixelwise.training.averaging import average_of
from pixelwise.training.events import StepEnded
from pixelwise.training.optimizers import (
    build_optimizer,
    describe_optimizer,
    encoder_of,
    optimizers,
    set_learning_rate,
)
from pixelwise.training.run_folder import read_history
from pixelwise.training.schedules import FINAL_LEARNING_RATE, schedules, share_of_peak
from pixelwise.training.train import train

NARROW = "model.arguments.filters=4"


def settings(**values):
    return TrainingRecipe(learning_rate=0.1, **values)


def small_model(name="unet"):
    torch.manual_seed(0)
    return create_model(name, 2, 3, filters=4) if name == "unet" else create_model(name, 2, 3)


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_reduces_a_loss_and_decays_weights(name):
    model = torch.nn.Conv2d(1, 1, 1)
    model.weight.data.fill_(1.0)
    optimizer = build_optimizer(model, settings(optimizer=name, weight_decay=0.1))
    for _ in range(5):
        optimizer.zero_grad()
        (0.0 * model.weight.sum()).backward()
        optimizer.step()
    assert 0 < model.weight.item() < 1  # by the weight decay alone
    assert describe_optimizer(settings(optimizer=name, weight_decay=0.1)).count("weight decay 0.1")


def test_the_plan_says_what_weight_decay_does():
    words = describe_optimizer(settings(optimizer="adam", weight_decay=0.01))
    assert "L2 penalty in the gradient" in words
    assert "decoupled" in describe_optimizer(settings(optimizer="adamw", weight_decay=0.01))
    assert "weight decay" not in describe_optimizer(settings())


def test_poly_and_cosine_follow_the_schedulers_of_torch():
    steps = 50
    for name, kind, options in (
        ("poly", torch.optim.lr_scheduler.PolynomialLR, {"total_iters": steps, "power": 0.9}),
        ("cosine", torch.optim.lr_scheduler.CosineAnnealingLR, {"T_max": steps}),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = kind(optimizer, **options)
        for step in range(steps):
            expected = max(scheduler.get_last_lr()[0], FINAL_LEARNING_RATE)
            assert share_of_peak(name, step / steps, 0.0) == pytest.approx(expected, abs=1e-6)
            optimizer.step()
            scheduler.step()


def test_one_cycle_follows_the_scheduler_of_torch():
    steps, warmup = 100, 0.3
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps + 1, pct_start=(warmup * steps + 1) / (steps + 1)
    )
    for step in range(steps):
        found = share_of_peak("one-cycle", step / steps, warmup)
        assert found == pytest.approx(scheduler.get_last_lr()[0], abs=2e-3)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_rises_to_the_peak_and_never_rises_again(name):
    shares = [share_of_peak(name, step / 100, 0.25) for step in range(101)]
    assert shares[25] == pytest.approx(1.0)
    assert shares[:26] == sorted(shares[:26])
    assert shares[25:] == sorted(shares[25:], reverse=True)
    assert min(shares) > 0


def test_the_encoder_has_its_own_learning_rate():
    model = small_model()
    optimizer = build_optimizer(model, settings(encoder_lr_factor=0.1))
    set_learning_rate(optimizer, 0.5)
    inside = {id(weights) for weights in encoder_of(model).parameters()}
    found = {
        id(weights): group["lr"] for group in optimizer.param_groups for weights in group["params"]
    }
    assert len(found) == len(list(model.parameters()))
    for key, learning_rate in found.items():
        assert learning_rate == pytest.approx(0.05 if key in inside else 0.5)


def test_a_model_without_an_encoder_names_its_parts():
    with pytest.raises(ConfigError, match="need a model with a module named encoder or backbone"):
        encoder_of(small_model("stacked-fcn"))
    inner = nn.Sequential(OrderedDict(down=nn.Conv2d(3, 4, 1), up=nn.Conv2d(4, 2, 1)))
    with pytest.raises(ConfigError, match="has down, up"):
        encoder_of(create_model(inner, 2))


@pytest.mark.parametrize("name", ["unet-fast", "unet", "smp:unet:resnet18", "fcn8s"])
def test_all_weights_before_the_encoder_belong_to_it(name):
    model = create_model(name, 2, 3)
    inside = {id(weights) for weights in encoder_of(model).parameters()}
    assert id(next(model.parameters())) in inside


def test_a_dry_run_finds_that_there_is_no_encoder_to_freeze(tmp_path):
    data = write_shapes(tmp_path / "data")
    for key in ("training.freeze=encoder", "training.encoder_lr_factor=0.1"):
        with pytest.raises(ConfigError, match="need a model with a module named encoder"):
            train(data, model="stacked-fcn", epochs=1, overrides=[key], dry_run=True)


def test_the_plan_says_how_the_encoder_is_trained(tmp_path):
    data = write_shapes(tmp_path / "data")
    given = {"model": "unet", "epochs": 1, "batch_size": 4, "dry_run": True}
    for key, words in (
        ("training.freeze=encoder", "encoder: frozen, "),
        ("training.encoder_lr_factor=0.1", "encoder: learning rate times 0.1, "),
    ):
        lines = train(data, overrides=[key, NARROW], **given).plan.lines()
        assert any(line.startswith(words) for line in lines)
    lines = train(data, overrides=[NARROW], **given).plan.lines()
    assert not any(line.startswith("encoder:") for line in lines)


def test_the_average_approaches_constant_weights_and_forgets_the_first():
    model = torch.nn.Conv2d(1, 1, 1)
    model.weight.data.fill_(0.0)
    average = average_of(model, 0.9)
    model.weight.data.fill_(1.0)
    average.update(model, 1)
    assert average.module.weight.item() == 1.0
    model.weight.data.fill_(2.0)
    for step in range(2, 100):
        average.update(model, step)
    assert average.module.weight.item() == pytest.approx(2.0, abs=1e-3)
    assert average_of(model, 0.0) is None


def test_names_are_checked_before_anything_is_read(tmp_path):
    data = tmp_path / "nothing"
    for override, what in (
        ("training.optimizer=adm", "Did you mean 'adam'"),
        ("training.schedule=cosin", "Did you mean 'cosine'"),
        ("training.loss=dicee", "Did you mean 'dice'"),
    ):
        with pytest.raises(UnknownNameError, match=what):
            train(data, overrides=[override])
    with pytest.raises(ConfigError, match="class_weights must be none for the loss 'dice'"):
        train(data, overrides=["training.loss=dice", "training.class_weights=balanced"])


OPTIONS = {
    "ema and sgd": ["training.ema=0.9", "training.optimizer=sgd", "training.schedule=poly"],
    "frozen": ["training.freeze=encoder", "training.loss=ce + dice", "training.schedule=one-cycle"],
    "slow encoder": ["training.encoder_lr_factor=0.1", "training.optimizer=adamw"],
}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_stopped_run_ends_as_one_never_stopped(tmp_path, options):
    data = write_shapes(tmp_path / "data")
    given = {**SMALL, "model": "unet", "epochs": 2, "overrides": [FIXED, NARROW, *OPTIONS[options]]}
    whole = train(data, out=tmp_path / "whole", **given)
    steps = []

    def stop(event):
        if isinstance(event, StepEnded):
            steps.append(event)
            if len(steps) == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, out=tmp_path / "again", listener=stop, **given)
    train(out=tmp_path / "again", resume=True)
    assert_same_weights(
        weights_of(whole.folder / "model.safetensors"),
        weights_of(tmp_path / "again" / "model.safetensors"),
    )


def test_a_frozen_encoder_keeps_its_weights_and_statistics(tmp_path):
    data = write_shapes(tmp_path / "data")
    given = {**SMALL, "model": "unet", "epochs": 1, "overrides": [FIXED, NARROW]}
    outcome = train(data, out=tmp_path / "run", freeze="encoder", **given)
    recipe = load_recipe(outcome.folder / "recipe.yaml")
    trained, _ = load_model_file(outcome.folder)
    torch.manual_seed(recipe.training.seed)
    first = create_model("unet", 2, 3, filters=4)
    before, after = encoder_of(first).state_dict(), encoder_of(trained).state_dict()
    assert_same_weights(before, after)
    assert not torch.equal(
        next(reversed(first.state_dict().values())), next(reversed(trained.state_dict().values()))
    )


def own_loss(logits, target):
    return torch.nn.functional.cross_entropy(logits, target, ignore_index=255)


def test_a_loss_of_the_user_trains_and_is_named_in_recipe_and_history(tmp_path):
    data = write_shapes(tmp_path / "data")
    given = {**SMALL, "epochs": 1, "overrides": [FIXED, "training.class_weights=none"]}
    theirs = train(data, out=tmp_path / "theirs", loss=own_loss, **given)
    ours = train(data, out=tmp_path / "ours", **given)
    recipe = load_recipe(theirs.folder / "recipe.yaml")
    assert recipe.training.loss == f"{__name__}:own_loss"
    assert any("own_loss" in line for line in theirs.plan.lines())
    assert_same_weights(
        weights_of(ours.folder / "model.safetensors"),
        weights_of(theirs.folder / "model.safetensors"),
    )
    first, second = (read_history(run.folder)[0]["val_loss"] for run in (ours, theirs))
    assert math.isclose(first, second, rel_tol=0.2)  # mean of images against mean of pixels
