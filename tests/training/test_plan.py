"""The plan: names are checked first, choices do not depend on a busy moment, budgets are kept."""

import dataclasses
import random

import pytest
import torch

from pixelwise import train
from pixelwise.config import Recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.devices import Machine
from pixelwise.errors import ConfigError, PixelwiseError, TrainingError, UnknownNameError
from pixelwise.training import train as training
from pixelwise.training import trial
from pixelwise.training.budget import Budget
from pixelwise.training.plan import plan

TINY = {"model": {"name": "unet-elu", "arguments": {"filters": 2, "depth": 2}}}


class Clock:
    """Time that passes by what is asked of it, and now and then by another job too."""

    def __init__(self, seed=None, step_s=0.01):
        self.random = random.Random(seed)
        self.is_busy = seed is not None
        self.step_s = step_s
        self.now = 0.0

    def __call__(self):
        self.now += self.step_s * (self.random.choice([1, 1, 3, 8]) if self.is_busy else 1)
        return self.now


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("plan") / "data"
    return open_dataset(make_index_dataset(folder, num_images=8, splits=("train", "val")))


def machine(clock=None, **changes):
    fake = {"has_bfloat16": None, "clock": clock or Clock()}
    return Machine(torch.device("cpu"), name="fake", **{**fake, **changes})


def recipe(**training_keys):
    return Recipe.model_validate({**TINY, "training": {"batch_size": 2, **training_keys}})


def test_two_plans_on_a_quiet_and_a_busy_machine_choose_the_same(dataset, monkeypatch):
    monkeypatch.setattr(trial, "LONG_STEP_GMACS", 0.0)
    known = {}  # what the machine remembers
    quiet = plan(recipe(epochs=2), dataset, machine(Clock(), _known=known))
    for seed in range(3):
        busy = plan(recipe(epochs=2), dataset, machine(Clock(seed), _known=known))
        assert busy.recipe == quiet.recipe


def test_the_given_recipe_stays_and_the_plan_has_no_open_choice(dataset):
    given = recipe(epochs=2)
    before = given.model_dump()
    ready = plan(given, dataset, machine())
    assert given.model_dump() == before
    filled = ready.recipe.model_dump()
    open_keys = {key for key, value in filled["training"].items() if value is None}
    assert open_keys <= {"minutes", "epochs"}
    assert all(value is not None for value in filled["augmentation"].values())


def test_the_model_is_built_once_and_keeps_its_fresh_weights(dataset, monkeypatch):
    from pixelwise.training import plan as module

    built = []
    real = module.create_model
    monkeypatch.setattr(
        module, "create_model", lambda *a, **k: built.append(real(*a, **k)) or built[-1]
    )
    ready = plan(recipe(epochs=1), dataset, machine())
    assert len(built) == 1
    torch.manual_seed(0)
    fresh = real("unet-elu", 3, 3, filters=2, depth=2).state_dict()
    assert all(torch.equal(fresh[name], value) for name, value in ready.model.state_dict().items())


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"model": {"name": "unet-fats"}}, UnknownNameError, "unet-fast"),
        ({"model": {"name": "unet", "arguments": {"filtres": 3}}}, UnknownNameError, "filters"),
        ({"model": {"name": "unet-elu", "arguments": {"filters": -1}}}, PixelwiseError, "filters"),
        ({"training": {"epochs": 1, "minutes": 1}}, ConfigError, "epochs or minutes"),
        ({"data": {"resize": (8, 8), "scale": 0.5}}, ConfigError, "data.resize"),
    ],
)
def test_names_are_refused_before_anything_is_read(monkeypatch, tmp_path, keys, error, words):
    monkeypatch.setattr(training, "open_as_in", lambda *_: pytest.fail("the data were opened"))
    wanted = Recipe.model_validate({**keys, "data": {**keys.get("data", {}), "path": "nowhere"}})
    with pytest.raises(error, match=words):
        train(recipe=wanted, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["betas=[0.9, 1.5]", "betas=[-0.1, 0.9]", "learning_rate=0"])
def test_values_that_the_optimizer_would_refuse_are_refused_first(tmp_path, setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        train("nowhere", out=tmp_path / "run", overrides=[f"training.{setting}"])
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(dataset, tmp_path):
    said = []
    outcome = train(
        dataset.path, recipe=recipe(epochs=3), out=tmp_path / "run", dry_run=True,
        listener=said.append,
    )  # fmt: skip
    assert not (tmp_path / "run").exists()
    assert outcome.plan.recipe.training.epochs == 3
    text = " ".join(outcome.plan.lines())
    assert "4 steps per epoch, 3 epochs" in text
    assert outcome.plan.summary() in [getattr(event, "lines", None) for event in said]
    assert outcome.plan.lines() == (*outcome.plan.reasons, *outcome.plan.summary())
    with pytest.raises(TrainingError, match="dry run"):
        _ = outcome.metrics


def test_a_budget_of_less_than_one_epoch_says_what_would_fit(dataset):
    with pytest.raises(TrainingError, match=r"epochs fit.*`minutes=[\d.]+` or more"):
        plan(recipe(minutes=0.1), dataset, machine(Clock(step_s=0.05)))


def test_a_step_longer_than_the_budget_is_refused_before_it_begins(dataset, monkeypatch):
    monkeypatch.setattr(Machine, "gflops", lambda *_: 1e-9)
    monkeypatch.setattr(trial, "run_once", lambda *_: pytest.fail("a step was made"))
    with pytest.raises(TrainingError, match=r"takes at least \d+ s on this machine"):
        plan(recipe(minutes=5), dataset, machine())


def test_reading_that_used_up_the_budget_is_said(dataset):
    with pytest.raises(TrainingError, match="reading the data must leave time for training"):
        plan(recipe(minutes=1), dataset, machine(), started=-100.0)


def test_a_budget_sets_time_aside_for_validation_and_report():
    now = [0.0]
    budget = Budget(60, 0.0, validation_s=5, finish_s=10, report_s=4, clock=lambda: now[0])
    assert budget.for_steps_s == pytest.approx(60 - 5.5 - 10 - 4 - 1)
    assert budget.fraction(0.0) == 0
    now[0] = 20.0
    assert budget.fraction(20.0) == pytest.approx(20 / 39.5)
    budget.validation_s = 15.0  # the machine got busy
    assert budget.fraction(20.0) > 20 / 39.5
    now[0] = 59.0
    assert budget.fraction(59.0) == 1


def test_what_was_measured_is_remembered_for_the_machine_alone(tmp_path):
    path = tmp_path / "measurements.json"
    first = dataclasses.replace(machine(), path=path)
    assert first.remembered("speed", lambda: 2.5) == 2.5
    again = Machine.here("cpu")
    assert again.remembered("speed", lambda: 7.0) == 7.0  # another machine, by its name
    path.write_text("{damaged")
    assert dataclasses.replace(machine(), path=path, _known={}).recalled("speed", 1.0) == 1.0
