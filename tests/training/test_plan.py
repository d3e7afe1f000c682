"""The plan: names are checked first, choices do not depend on a busy moment, budgets are kept."""

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from pixelwise import train
from pixelwise.config import Recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.devices import Machine
from pixelwise.errors import ConfigError, PixelwiseError, TrainingError, UnknownNameError
from pixelwise.training import estimates, trial
from pixelwise.training import plan as planning
from pixelwise.training import train as training
from pixelwise.training.budget import REPORT_S, Budget, report_key
from pixelwise.training.estimates import estimate_end
from pixelwise.training.events import Message
from pixelwise.training.plan import plan

TINY = {"model": {"name": "unet-elu", "arguments": {"filters": 2, "depth": 2}}}


LACKING = "cuda" if torch.backends.mps.is_available() else "mps"
"""A device that no machine has beside the other one."""


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
    assert {key for key, value in filled["augmentation"].items() if value is None} == {"transform"}


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
        ({"training": {"epochs": 1, "device": LACKING}}, ConfigError, "device must be one"),
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


def test_a_budget_without_time_for_an_epoch_is_refused_with_one_that_fits(dataset, monkeypatch):
    monkeypatch.setattr(planning, "least_seconds", lambda *_: 1e9)
    with pytest.raises(
        TrainingError, match=r"One epoch takes about \d+ s.*`minutes=[\d.]+` or more"
    ):
        plan(recipe(minutes=0.1), dataset, machine(Clock(step_s=0.05)))


def test_a_busy_moment_changes_no_choice_and_refuses_no_budget(
    tmp_path, make_index_dataset, monkeypatch
):
    data = make_index_dataset(
        tmp_path / "data", num_images=2, size=(400, 400), splits=("train", "val")
    )
    known = {}  # what the machine remembers

    def planned(seconds):
        monkeypatch.setattr(trial, "_time", lambda *_: [seconds])
        said = []
        fake = machine(Clock(step_s=0.001), _known=known)
        ready = plan(recipe(minutes=1), open_dataset(data), fake, listener=said.append)
        titled = [one for one in said if isinstance(one, Message)]
        return ready, [line for one in titled if one.title == "warning" for line in one.lines]

    quiet, nothing = planned(8.0)
    busy, warnings = planned(900.0)
    assert quiet.recipe.data.scale == 0.5
    assert busy.recipe == quiet.recipe
    assert busy.seconds_per_epoch == pytest.approx(112.5 * quiet.seconds_per_epoch)
    assert not nothing
    assert "One epoch takes about 225 s, but only" in warnings[0]
    assert warnings[0] in busy.lines()


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([1.0, 1.1, 1.1, 1.1, 1.1], 1.0),  # in agreement: no more rounds after three seconds
        ([3.0, 5.0, 1.0, 9.0], 1.0),  # in doubt: up to nine seconds
        ([0.5] * 20, 0.5),
    ],
)
def test_a_disturbed_step_is_measured_again(monkeypatch, durations, expected):
    now, left = [0.0], list(durations)

    def run_once(*_):
        now[0] += left.pop(0)

    monkeypatch.setattr(trial, "run_once", run_once)
    step = SimpleNamespace(arrange=lambda: None, device=torch.device("cpu"))
    assert trial._time([step], None, machine(lambda: now[0])) == [pytest.approx(expected)]
    assert sum(durations) - sum(left) <= trial.DOUBT_S + max(durations)


def test_a_step_longer_than_the_budget_is_refused_before_it_begins(dataset, monkeypatch):
    monkeypatch.setattr(Machine, "gflops", lambda *_: 1e-9)
    monkeypatch.setattr(trial, "run_once", lambda *_, **__: pytest.fail("a step was made"))
    with pytest.raises(TrainingError, match=r"takes at least \d+ s on this machine"):
        plan(recipe(minutes=5), dataset, machine())


def test_reading_that_uses_up_the_budget_is_an_error(dataset):
    with pytest.raises(TrainingError, match=r"used up the whole budget of 1 minute\."):
        plan(recipe(minutes=1), dataset, machine(), started=-100.0)


@pytest.fixture
def evaluations(monkeypatch):
    """A clock on which an evaluation takes a fixed time and one per image; the first is slow."""
    now, calls = [0.0], []

    def evaluate(_predictor, samples, num_samples, *, detailed):
        assert len(list(samples)) == num_samples
        now[0] += 5.0 if not calls else 0.0  # imports and kernels
        now[0] += (0.2 if detailed else 0.1) + (0.04 if detailed else 0.02) * num_samples
        calls.append(num_samples)

    monkeypatch.setattr(estimates, "evaluate_samples", evaluate)
    return lambda: now[0]


def test_fixed_costs_of_an_evaluation_are_not_counted_for_every_image(evaluations):
    budget = Budget(600, 0.0, clock=evaluations)
    estimate_end(budget, None, range(1000), machine(evaluations), "report")
    assert budget.validation_s == pytest.approx(0.1 + 0.02 * 1000)
    assert budget.finish_s == pytest.approx(0.2 + 0.04 * 1000)
    assert budget.finish_s_per_image == pytest.approx(0.04)


@pytest.mark.parametrize("num_images", [1, 2])
def test_few_validation_images_are_enough_for_an_estimate(evaluations, num_images):
    budget = Budget(600, 0.0, clock=evaluations)
    estimate_end(budget, None, range(num_images), machine(evaluations), "report")
    assert budget.validation_s == pytest.approx(0.1 + 0.02 * num_images)


def test_large_images_are_evaluated_only_once_for_the_estimate(monkeypatch):
    now, counts = [0.0], []

    def evaluate(_predictor, _samples, num_samples, *, detailed):
        now[0] += 2.0 * num_samples
        counts.append((detailed, num_samples))

    monkeypatch.setattr(estimates, "evaluate_samples", evaluate)
    budget = Budget(600, 0.0, clock=lambda: now[0])
    estimate_end(budget, None, range(10), machine(budget.clock), "report")
    assert counts == [(True, 1), (False, 1), (True, 1)]
    assert budget.validation_s == 20


def test_the_time_for_a_report_depends_on_the_data_and_is_limited(evaluations):
    assert report_key(3, (360, 480)) == report_key(3, (350, 470))
    assert report_key(3, (360, 480)) != report_key(3, (1024, 2048))
    assert report_key(3, (360, 480)) != report_key(150, (360, 480))
    known = {report_key(2, (8, 8)): 60.0}
    for key, expected in ((report_key(2, (8, 8)), 15.0), (report_key(2, (99, 99)), REPORT_S)):
        budget = Budget(60, 0.0, clock=evaluations)
        estimate_end(budget, None, range(5), machine(evaluations, _known=known), key)
        assert budget.report_s == expected


def test_the_finished_fraction_never_falls():
    budget = Budget(100, 0.0, validation_s=40, clock=lambda: 30.0)
    before = budget.fraction(30.0)
    budget.validation_s = 5.0  # the validation was shorter than estimated
    assert budget.fraction(30.0) == before > 0.5
    budget.validation_s = 60.0
    assert budget.fraction(30.0) > before


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


def test_measurements_are_stored_per_machine(tmp_path):
    path = tmp_path / "measurements"
    first = dataclasses.replace(machine(), path=path)
    assert first.remembered("speed", lambda: 2.5) == 2.5
    again = Machine.here("cpu")
    assert again.remembered("speed", lambda: 7.0) == 7.0  # another machine, by its name
    later = dataclasses.replace(machine(), path=path, _known={})
    assert later.remembered("speed", lambda: pytest.fail("it is known")) == 2.5
    assert later.recalled("another", 1.0) == 1.0
    (file,) = path.iterdir()
    for damaged in ("{damaged", "[]", '{"machine": "fake", "key": "another", "value": 3}'):
        file.write_text(damaged)
        assert dataclasses.replace(machine(), path=path, _known={}).recalled("speed", 1.0) == 1.0


def test_processes_that_measure_together_keep_the_measurements_of_all(tmp_path):
    path = tmp_path / "measurements"

    def process(number):
        one = Machine(torch.device("cpu"), False, "fake", path)
        for count in range(10):
            one.keep(f"{number} {count}", number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(process, range(8)))
    later = Machine(torch.device("cpu"), False, "fake", path)
    keys = [(n, f"{n} {count}") for n in range(8) for count in range(10)]
    assert all(later.recalled(key, -1.0) == number for number, key in keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"data": {"scale": 0.5}, "training": {"epochs": 1}},
        {"data": {"scale": 0.5}, "training": {"epochs": 1, "size": (8, 8)}},
        {"training": {"epochs": 1, "size": (8, 12)}},
        {"training": {"minutes": 0.5}},
    ],
)
def test_the_duration_of_an_epoch_follows_the_pixels_of_its_crops(dataset, monkeypatch, keys):
    def try_batch(_step, batch, *_, **__):
        seconds = 1e-6 * batch.image[0, 0].numel()
        return trial.Trial(seconds, seconds, None)

    monkeypatch.setattr(planning, "try_batch", try_batch)
    ready = plan(Recipe.model_validate({**TINY, **keys}), dataset, machine())
    height, width = ready.recipe.training.size
    expected = 1e-6 * height * width * ready.batches.crops_per_epoch
    assert ready.seconds_per_epoch == pytest.approx(expected)


def test_the_epoch_is_scaled_when_the_working_scale_was_chosen_after_the_trial(
    tmp_path, make_index_dataset, monkeypatch
):
    def try_batch(_step, batch, *_, **__):
        seconds = 5e-5 * batch.image[0, 0].numel()
        return trial.Trial(seconds, seconds, None)

    monkeypatch.setattr(planning, "try_batch", try_batch)
    data = make_index_dataset(
        tmp_path / "data", num_images=2, size=(400, 400), splits=("train", "val")
    )
    ready = plan(recipe(minutes=1.5), open_dataset(data), machine(Clock(step_s=0.001)))
    assert ready.recipe.data.scale == 0.5
    assert ready.seconds_per_epoch == pytest.approx(5e-5 * 200 * 200 * 2)
