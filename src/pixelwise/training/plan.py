"""``plan``: prepares everything that a training run needs from a recipe and a data set."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pixelwise.config import Recipe
from pixelwise.data.batches import TrainingBatches, crops_per_image
from pixelwise.data.cache.memory_cache import MemoryCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Sample
from pixelwise.devices import Machine, release_memory
from pixelwise.doctor.quick_check import QuickCheck
from pixelwise.losses.class_weights import class_weights
from pixelwise.losses.expression import build_loss, own_loss
from pixelwise.metrics.extra import create_metrics, try_metrics
from pixelwise.models import create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.models.blocks import batch_normalizations
from pixelwise.models.model_file import ModelCard, TrainingData, current_versions
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount, rounded
from pixelwise.training import defaults
from pixelwise.training.budget import Budget, report_key
from pixelwise.training.check_names import check_names
from pixelwise.training.defaults import Facts, Step
from pixelwise.training.estimates import (
    epoch_seconds,
    estimate_end,
    least_seconds,
    require_short_step,
    warn_of_short_budget,
)
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.inputs import (
    Measured,
    batches_of,
    choose_bands,
    preprocessing_of,
    read_and_measure,
    std_of,
)
from pixelwise.training.optimizers import describe_encoder, describe_optimizer
from pixelwise.training.own_parts import NO_OWN_PARTS, OwnParts
from pixelwise.training.step import TrainingStep
from pixelwise.training.trial import BatchTooLargeError, require_room, try_batch
from pixelwise.training.warm_start import start_from


@dataclass(frozen=True)
class Plan:
    """Everything that a training run needs; :meth:`lines` describes it as text.

    Attributes:
        recipe: The recipe with all open entries filled in.
        dataset: The opened data.
        measured: The training and validation samples, and the statistics of the training images.
        card: The card of the future model file, without metrics.
        step: The model on its device, with the recipe's initial weights, and its settings.
        batches: The training batches.
        budget: The time budget; ``None`` for a training run with a number of epochs.
        seconds_per_epoch: Duration of an epoch without validation, estimated from one batch.
        reasons: Reasons for the choices of open entries.
        own: Objects of the caller, in place of names in the recipe.
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
    own: OwnParts = NO_OWN_PARTS

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
    def validation(self) -> MemoryCache[Sample]:
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
            length = f"about {rounded(epochs)} epochs in {amount(training.minutes or 0, 'minute')}"
        else:
            seconds = (training.epochs or 0) * self.seconds_per_epoch
            minutes = amount(float(f"{seconds / 60:.2g}"), "minute")
            length = f"{amount(training.epochs or 0, 'epoch')}, about {minutes}"
        return (
            f"{self.card.architecture}: {num_weights:,} weights",
            f"loss {training.loss}; {describe_optimizer(training)}",
            *describe_encoder(self.model, training),
            f"{amount(steps, 'step')} per epoch, {length}, without validation",
        )


@dataclass(frozen=True)
class _Parts:
    """What is the same for every recipe that is tried on the way to a plan."""

    dataset: Dataset
    measured: Measured
    model: SegmentationModel
    machine: Machine
    own: OwnParts


def plan(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine | None = None,
    *,
    started: float | None = None,
    own: OwnParts = NO_OWN_PARTS,
    listener: Listener = ignore_events,
) -> Plan:
    """Read and measure the data, fill in the defaults, build the model and try one batch.

    Args:
        recipe: The recipe; the plan holds a completed copy.
        dataset: The data.
        machine: The machine; ``None`` means this one.
        started: Start of a budget in minutes, on the clock of the machine; ``None`` means now.
        own: Objects of the caller, in place of names in the recipe.
        listener: Called with the reading progress and with every choice and its reason.

    Raises:
        PixelwiseError: The training would fail; this is found before the first epoch.
    """
    check_names(recipe, own, dataset.class_map.num_classes)
    machine = machine or Machine.here(recipe.training.device)
    started = machine.clock() if started is None else started
    found = (
        defaults.Choice("data.format", dataset.format.name),
        defaults.Choice("data.split", dataset.drawn_split),
    )
    recipe, reasons = _with(recipe, (*found, *choose_bands(recipe, dataset)))
    check = QuickCheck(dataset.class_map)
    measured = replace(
        read_and_measure(recipe, dataset, listener, check), transform=own.augmentation
    )
    if check.lines():
        listener(
            Message("notes on the data (for details, run: pixelwise data check)", check.lines())
        )
    reasons += [*_describe_sizes(measured), *_describe_ignored(dataset, measured)]
    if recipe.training.metrics:
        try_metrics(
            create_metrics(recipe.training.metrics),
            measured.validation[0].mask,
            dataset.label_mode,
            dataset.class_map.num_classes,
        )
    model = _build(recipe, dataset, measured, own)
    describe_encoder(model, recipe.training)  # raises if the model has no encoder to freeze
    reasons.append(_initial_weights(model, recipe, dataset, own))
    model = model.to(machine.device)
    initial = copy.deepcopy(model.state_dict())
    parts = _Parts(dataset, measured, model, machine, own)
    facts = _facts(recipe, parts)
    recipe, more, facts = _tried(recipe, parts, facts, started)
    reasons += more
    recipe, more = _filled(recipe, facts, defaults.AFTER_TRIAL)
    reasons += more
    # The trial changed the running statistics of BatchNorm, so the training starts with new ones.
    model.load_state_dict(initial)
    ready = _assembled(recipe, parts)
    assert recipe.training.size is not None
    num_crops = ready.batches.crops_per_epoch
    seconds = epoch_seconds(facts, recipe.training.size, num_crops)
    ready = replace(ready, reasons=tuple(reasons), seconds_per_epoch=seconds)
    ready.step.arrange()
    listener(Message("chosen from the data and this machine", tuple(reasons)))
    if recipe.training.minutes is None:
        return ready
    budget = Budget(recipe.training.minutes * 60, started, clock=machine.clock)
    predictor = Predictor(ready.model, ready.validation_card, device=ready.device)
    key = report_key(dataset.class_map.num_classes, measured.statistics.median_size)
    estimate_end(budget, predictor, ready.validation, machine, key)
    least_s = least_seconds(ready.step, recipe.training.size, num_crops, machine)
    warnings = warn_of_short_budget(budget, seconds, least_s)
    if warnings:
        listener(Message("warning", warnings))
    return replace(ready, budget=budget, reasons=ready.reasons + warnings)


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


def _describe_sizes(measured: Measured) -> list[str]:
    """Name the smallest and the largest image, if sizes differ."""
    statistics = measured.statistics
    sizes = sorted(
        zip(statistics.heights, statistics.widths, strict=True), key=lambda size: size[0] * size[1]
    )
    if sizes[0] == sizes[-1]:
        return []
    smallest, largest = (f"{height} x {width}" for height, width in (sizes[0], sizes[-1]))
    return [f"image sizes differ, from {smallest} to {largest}: crops have one size"]


def _describe_ignored(dataset: Dataset, measured: Measured) -> list[str]:
    share = measured.statistics.ignored_share
    if not share:
        return []
    values = ", ".join(map(str, dataset.class_map.ignore))
    return [f"ignored mask values: {values}, {share:.1%} of the pixels"]


def _build(
    recipe: Recipe, dataset: Dataset, measured: Measured, own: OwnParts
) -> SegmentationModel:
    """Build the model, with initial weights drawn on the CPU so that all devices agree."""
    torch.manual_seed(recipe.training.seed)
    return create_model(
        recipe.model.name if own.model is None else own.model,
        dataset.class_map.num_classes,
        measured.statistics.in_channels,
        **recipe.model.arguments,
    )


def _initial_weights(
    model: SegmentationModel, recipe: Recipe, dataset: Dataset, own: OwnParts
) -> str:
    """Load the weights to start from, if the recipe names any, and say where they are from."""
    if recipe.model.start_from is not None:
        return start_from(model, recipe.model.start_from, dataset.class_map.names).describe()
    if isinstance(own.model, torch.nn.Module):
        return "weights: those of the given instance"
    if recipe.model.arguments.get("pretrained"):
        return "weights: the encoder is pretrained on ImageNet"
    return "weights: initialized at random"


def _facts(recipe: Recipe, parts: _Parts) -> Facts:
    machine = parts.machine
    speedup = None
    if recipe.training.precision is None and machine.has_bfloat16 is None:
        speedup = machine.bfloat16_speedup()
    return Facts(
        statistics=parts.measured.statistics,
        label_mode=parts.dataset.label_mode,
        augmentation=parts.dataset.augmentation,
        model=recipe.model.name,
        model_learning_rate=parts.model.learning_rate,
        states_learning_rate=parts.model.states_learning_rate,
        has_batchnorm=bool(batch_normalizations(parts.model)),
        device=machine.device.type,
        has_bfloat16=machine.has_bfloat16,
        bfloat16_speedup=speedup,
    )


def _tried(
    recipe: Recipe, parts: _Parts, facts: Facts, started: float
) -> tuple[Recipe, list[str], Facts]:
    """Fill in the batch size and more, and try one batch; an open batch size is halved to fit.

    Returns:
        The recipe, the reasons, and the facts with the measurements.
    """
    while True:
        filled, reasons = _filled(recipe, facts, defaults.BEFORE_TRIAL)
        num_crops = filled.training.batch_size or 1
        try:
            facts = _after_trial(filled, parts, facts, started)
            return filled, reasons, facts
        except BatchTooLargeError:
            if recipe.training.batch_size is not None or num_crops == 1:
                raise
        # Only here, without the error and its frames, is the memory of the batch free.
        release_memory(parts.machine.device)
        facts = replace(facts, largest_batch=num_crops // 2)


def _after_trial(recipe: Recipe, parts: _Parts, facts: Facts, started: float) -> Facts:
    """Try one batch at full size and measure the duration of a step."""
    machine, scale = parts.machine, recipe.data.scale or 1.0
    size = recipe.training.size or defaults.crop_size(parts.measured.statistics, scale)
    full = (defaults.Choice("data.scale", scale), defaults.Choice("training.size", size))
    statistics = parts.measured.statistics
    most = sum(crops_per_image(statistics.heights, statistics.widths, size, scale))
    planes = statistics.in_channels + parts.dataset.class_map.num_classes
    require_room(min(recipe.training.batch_size or 1, most), size, planes)
    tried = _assembled(defaults.apply(recipe, full), parts)
    if recipe.training.minutes is not None:
        left = started + recipe.training.minutes * 60 - machine.clock()
        require_short_step(tried.step, tried.recipe.training, machine, left)
    is_open = recipe.training.memory_format is None
    batch, loss = next(tried.batches.epoch(0)), recipe.training.loss
    trial = try_batch(tried.step, batch, machine, loss, is_format_open=is_open)
    return replace(
        facts,
        tried_size=size,
        seconds_per_crop=trial.fastest_seconds_per_crop,
        seconds_per_crop_now=trial.seconds_per_crop,
        contiguous_speedup=trial.contiguous_speedup,
    )


def _assembled(recipe: Recipe, parts: _Parts) -> Plan:
    """Return the plan for a completed recipe."""
    dataset, measured, model = parts.dataset, parts.measured, parts.model
    settings, statistics, device = recipe.training, measured.statistics, parts.machine.device
    assert settings.size
    weights = class_weights(
        settings.class_weights or "none", statistics.class_frequencies, dataset.label_mode
    )
    weights = None if weights is None else weights.to(device)
    card = ModelCard(
        architecture=model.name,
        arguments=model.arguments,
        defined_in=model.defined_in,
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
        criterion=(
            own_loss(parts.own.loss)
            if parts.own.loss
            else build_loss(settings.loss, dataset.label_mode, weights)
        ),
        class_weights=weights,
        precision=settings.precision or "float32",
        memory_format=settings.memory_format or "channels_last",
    )
    batches = batches_of(
        measured.training, statistics, recipe, card.label_mode, measured.transform, device=device
    )
    return Plan(recipe, dataset, measured, card, step, batches, None, math.nan, (), parts.own)
