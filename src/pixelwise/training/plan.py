"""``plan``: prepares everything that a training needs from a recipe and a data set."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from pixelwise.config import Recipe
from pixelwise.data.batches import TrainingBatches
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Sample, spread
from pixelwise.devices import Machine
from pixelwise.doctor.quick_check import QuickCheck
from pixelwise.errors import ConfigError, DataError, TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.losses.losses import class_weights
from pixelwise.metrics.extra import create_metrics
from pixelwise.models import check_model, count_gmacs, create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.models.blocks import batch_normalizations
from pixelwise.models.model_file import ModelCard, TrainingData, current_versions
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount
from pixelwise.training import defaults
from pixelwise.training.budget import REPORT_KEY, REPORT_S, Budget
from pixelwise.training.defaults import Facts, Step
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.inputs import (
    Measured,
    batches_of,
    check_working_size,
    choose_bands,
    preprocessing_of,
    read_and_measure,
    std_of,
)
from pixelwise.training.step import TrainingStep
from pixelwise.training.trial import try_batch

NUM_TRIED = 2
"""Number of validation images evaluated to estimate the duration of a validation."""


@dataclass(frozen=True)
class Plan:
    """Everything that a training needs; :meth:`lines` describes it as text.

    Attributes:
        recipe: The recipe with all open entries filled in.
        dataset: The opened data.
        measured: The training and validation samples, and the statistics of the training images.
        card: The card of the future model file, without metrics.
        step: The model on its device, with the recipe's initial weights, and its settings.
        batches: The training batches.
        budget: The time budget; ``None`` for a training with a number of epochs.
        seconds_per_epoch: Duration of an epoch without validation, estimated from one batch.
        reasons: Reasons for the choices of open entries.
    """

    recipe: Recipe
    dataset: Dataset
    measured: Measured
    card: ModelCard
    step: TrainingStep
    batches: TrainingBatches
    budget: Budget | None
    seconds_per_epoch: float
    reasons: tuple[str, ...]

    @property
    def model(self) -> SegmentationModel:
        """The network to train."""
        return self.step.model

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.step.device

    @property
    def training(self) -> Sequence[Sample]:
        """The training samples, enhanced."""
        return self.measured.training

    @property
    def validation(self) -> Sequence[Sample]:
        """The validation samples at original size, enhanced as the training images."""
        return self.measured.validation

    @property
    def validation_card(self) -> ModelCard:
        """The card for images that are already enhanced, so that it is not repeated every epoch."""
        rest = self.card.preprocessing.without_enhancement()
        return self.card.model_copy(update={"preprocessing": rest})

    def lines(self) -> tuple[str, ...]:
        """Return the plan in words: every choice with its reason, then :meth:`summary`."""
        return (*self.reasons, *self.summary())

    def summary(self) -> tuple[str, ...]:
        """Return the size of the model and the length of the training, in words."""
        training = self.recipe.training
        steps = self.batches.steps_per_epoch
        num_weights = sum(weights.numel() for weights in self.model.parameters())
        if self.budget is not None:
            epochs = max(0.0, self.budget.for_steps_s) / self.seconds_per_epoch
            length = f"about {epochs:.3g} epochs in {amount(training.minutes or 0, 'minute')}"
        else:
            seconds = (training.epochs or 0) * self.seconds_per_epoch
            length = f"{amount(training.epochs or 0, 'epoch')}, about {seconds / 60:.2g} minutes"
        return (
            f"{self.card.architecture}: {num_weights:,} weights",
            f"{amount(steps, 'step')} per epoch, {length}, without validation",
        )


def check_names(recipe: Recipe) -> None:
    """Check names and arguments before any data is read.

    Raises:
        PixelwiseError: Both epochs and minutes are given, or a model, one of its arguments or
            a device is unknown.
    """
    if recipe.training.epochs is not None and recipe.training.minutes is not None:
        raise ConfigError("a training must have either epochs or minutes. Got both. Remove one")
    create_metrics(recipe.training.metrics)
    check_model(recipe.model.name, **recipe.model.arguments)
    check_working_size(recipe)


def plan(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine | None = None,
    *,
    started: float | None = None,
    listener: Listener = ignore_events,
) -> Plan:
    """Read and measure the data, fill in the defaults, build the model and try one batch.

    Args:
        recipe: The recipe; the plan holds a completed copy.
        dataset: The data.
        machine: The machine; ``None`` means this one.
        started: Start of a budget in minutes, on the clock of the machine; ``None`` means now.
        listener: Called with the reading progress and with every choice and its reason.

    Raises:
        PixelwiseError: The training would fail; this is found before the first epoch.
    """
    check_names(recipe)
    machine = machine or Machine.here(recipe.training.device)
    started = machine.clock() if started is None else started
    found = (
        defaults.Choice("data.format", dataset.format.name),
        defaults.Choice("data.split", dataset.drawn_split),
    )
    recipe, reasons = _with(recipe, (*found, *choose_bands(recipe, dataset)))
    check = QuickCheck(dataset.class_map)
    measured = read_and_measure(recipe, dataset, listener, check)
    if check.lines():
        listener(
            Message("notes on the data (for details, run: pixelwise data check)", check.lines())
        )
    reasons += _describe_ignored(dataset, measured)
    model = _build(recipe, dataset, measured, machine.device)
    initial = copy.deepcopy(model.state_dict())
    facts = _facts(recipe, dataset, measured, model, machine)
    recipe, more = _filled(recipe, facts, defaults.BEFORE_TRIAL)
    reasons += more
    facts = _after_trial(recipe, dataset, measured, model, facts, machine, started)
    recipe, more = _filled(recipe, facts, defaults.AFTER_TRIAL)
    reasons += more
    # The trial changed the running statistics of BatchNorm, so the training starts with new ones.
    model.load_state_dict(initial)
    ready = _assembled(recipe, dataset, measured, model, machine.device)
    ready = replace(
        ready, reasons=tuple(reasons), seconds_per_epoch=_seconds_per_epoch(ready, facts)
    )
    ready.step.arrange()
    listener(Message("chosen from the data and this machine", tuple(reasons)))
    if recipe.training.minutes is None:
        return ready
    budget = Budget(recipe.training.minutes * 60, started, clock=machine.clock)
    _estimate_end(budget, ready, machine)
    _require_an_epoch(ready, budget)
    return replace(ready, budget=budget)


def _with(recipe: Recipe, choices: tuple[defaults.Choice, ...]) -> tuple[Recipe, list[str]]:
    reasons = [choice.reason for choice in choices if choice.reason]
    return defaults.apply(recipe, choices), reasons


def _filled(recipe: Recipe, facts: Facts, steps: Sequence[Step]) -> tuple[Recipe, list[str]]:
    """Return the recipe after some steps, with their reasons."""
    reasons: list[str] = []
    for step in steps:
        recipe, more = _with(recipe, step(recipe, facts))
        reasons += more
    return recipe, reasons


def _describe_ignored(dataset: Dataset, measured: Measured) -> list[str]:
    share = measured.statistics.ignored_share
    if not share:
        return []
    values = ", ".join(map(str, dataset.class_map.ignore))
    return [f"ignored mask values: {values}, {share:.1%} of the pixels"]


def _build(
    recipe: Recipe, dataset: Dataset, measured: Measured, device: torch.device
) -> SegmentationModel:
    """Build the model, with initial weights drawn on the CPU so that all devices agree."""
    torch.manual_seed(recipe.training.seed)
    model = create_model(
        recipe.model.name,
        dataset.class_map.num_classes,
        measured.statistics.in_channels,
        **recipe.model.arguments,
    )
    return model.to(device)


def _facts(
    recipe: Recipe,
    dataset: Dataset,
    measured: Measured,
    model: SegmentationModel,
    machine: Machine,
) -> Facts:
    speedup = None
    if recipe.training.precision is None and machine.has_bfloat16 is None:
        speedup = machine.bfloat16_speedup()
    return Facts(
        statistics=measured.statistics,
        label_mode=dataset.label_mode,
        augmentation=dataset.augmentation,
        model=recipe.model.name,
        model_learning_rate=model.learning_rate,
        has_batchnorm=bool(batch_normalizations(model)),
        device=machine.device.type,
        has_bfloat16=machine.has_bfloat16,
        bfloat16_speedup=speedup,
    )


def _after_trial(
    recipe: Recipe,
    dataset: Dataset,
    measured: Measured,
    model: SegmentationModel,
    facts: Facts,
    machine: Machine,
    started: float,
) -> Facts:
    """Try one batch at full size and measure the duration of a step."""
    scale = recipe.data.scale or 1.0
    size = recipe.training.size or defaults.crop_size(measured.statistics, scale)
    full = (defaults.Choice("data.scale", scale), defaults.Choice("training.size", size))
    tried = _assembled(defaults.apply(recipe, full), dataset, measured, model, machine.device)
    if recipe.training.minutes is not None:
        left = started + recipe.training.minutes * 60 - machine.clock()
        _require_short_step(tried, machine, left)
    trial = try_batch(
        tried.step,
        next(tried.batches.epoch(0)),
        machine,
        is_format_open=recipe.training.memory_format is None,
    )
    return replace(
        facts,
        seconds_per_crop=trial.seconds_per_crop,
        contiguous_speedup=trial.contiguous_speedup,
    )


def _require_short_step(tried: Plan, machine: Machine, left_s: float) -> None:
    """Check by its number of operations that a single step fits into the budget.

    Raises:
        TrainingError: One step would take longer than the remaining time.
    """
    size = tried.recipe.training.size
    assert size is not None
    count = tried.recipe.training.batch_size or 1
    gmacs = count_gmacs(tried.model, size) * count
    least_s = (
        3 * 2 * gmacs / machine.gflops(tried.step.precision)
    )  # the backward pass costs twice the forward pass
    if left_s <= 0:
        raise TrainingError(
            f"reading the data must leave time for training. It took all of the "
            f"{tried.recipe.training.minutes or 0:g} minutes. Give more `minutes`"
        )
    if least_s > left_s:
        raise TrainingError(
            f"one training step must fit into the budget. A step of {count} crops of {size[0]} x "
            f"{size[1]} takes at least {least_s:.0f} s on this machine, and {left_s:.0f} s are "
            "left. Give more `minutes`, a smaller `batch_size` or `size`, or a smaller model"
        )


def _assembled(
    recipe: Recipe,
    dataset: Dataset,
    measured: Measured,
    model: SegmentationModel,
    device: torch.device,
) -> Plan:
    """Return the plan for a completed recipe."""
    settings, statistics = recipe.training, measured.statistics
    assert settings.size
    weights = class_weights(
        settings.class_weights or "none", statistics.class_frequencies, dataset.label_mode
    )
    card = ModelCard(
        architecture=recipe.model.name,
        arguments=model.arguments,
        in_channels=statistics.in_channels,
        class_map=dataset.class_map,
        label_mode=dataset.label_mode,
        preprocessing=preprocessing_of(recipe, statistics),
        training_size=settings.size,
        metrics=None,
        data=TrainingData(
            fingerprint=dataset.fingerprint,
            images=tuple(record.key for record in dataset.split("train")),
            selected_by=tuple(record.key for record in dataset.split("val")),
            split=dataset.drawn_split,
            split_seed=dataset.split_seed,
        ),
        versions=current_versions(),
    )
    step = TrainingStep(
        model=model,
        device=device,
        label_mode=dataset.label_mode,
        preprocessing=card.preprocessing,
        augmentation=recipe.augmentation,
        std=std_of(statistics, card.preprocessing),
        class_weights=None if weights is None else weights.to(device),
        precision=settings.precision or "float32",
        memory_format=settings.memory_format or "channels_last",
    )
    batches = batches_of(measured.training, statistics, recipe, dataset.label_mode, device=device)
    return Plan(recipe, dataset, measured, card, step, batches, None, math.nan, ())


def _seconds_per_epoch(ready: Plan, facts: Facts) -> float:
    """Estimate the duration of an epoch from the time per crop, scaled by the pixels."""
    size, scale = ready.recipe.training.size, ready.recipe.data.scale or 1.0
    assert size is not None
    full = ready.recipe.training.size if scale == 1 else defaults.crop_size(facts.statistics, 1.0)
    assert full is not None
    share = math.prod(size) / math.prod(full)
    return facts.seconds_per_crop * share * ready.batches.crops_per_epoch


def _estimate_end(budget: Budget, ready: Plan, machine: Machine) -> None:
    """Reserve time for a validation and the report, measured on a few images."""
    some = spread(ready.validation, NUM_TRIED)
    predictor = Predictor(ready.model, ready.validation_card, device=ready.device)
    budget.report_s = machine.recalled(REPORT_KEY, REPORT_S)
    seconds = []
    for detailed in (False, True):
        started = machine.clock()
        with suppress(DataError):  # these few images may have no labeled pixels
            evaluate_samples(predictor, iter(some), len(some), detailed=detailed)
        seconds.append((machine.clock() - started) / len(some))
    budget.validation_s = seconds[0] * len(ready.validation)
    budget.finish_s_per_image = seconds[1]
    budget.finish_s = seconds[1] * len(ready.validation)


def _require_an_epoch(ready: Plan, budget: Budget) -> None:
    """Check that the budget holds at least one epoch.

    Raises:
        TrainingError: The budget is too short; the message names one that fits.
    """
    left = max(0.0, budget.for_steps_s)
    epochs = left / ready.seconds_per_epoch
    if epochs >= 1:
        return
    overhead = budget.seconds - budget.for_steps_s
    needed = math.ceil((overhead + 1.2 * ready.seconds_per_epoch) / 6) / 10
    raise TrainingError(
        f"the budget must allow at least one epoch. {epochs:.2g} epochs fit: one takes about "
        f"{ready.seconds_per_epoch:.0f} s, and of {budget.seconds:.0f} s {max(left, 0):.0f} s are "
        f"left for it after reading, validation and report. Give `minutes={needed:g}` or more, a "
        "smaller model, or a smaller `data.scale`"
    )
