"""Before the first step: data read, defaults chosen, model built, one batch tried."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise.config import Recipe
from pixelwise.data.batches import Batch, Chance, TrainingBatches, random_for
from pixelwise.data.cache.memory_cache import MemoryCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Sample
from pixelwise.devices import (
    MEMORY_FORMATS,
    bfloat16_speedup,
    bfloat16_support,
    choose_device,
    is_out_of_memory,
)
from pixelwise.doctor.quick_check import PassingLook
from pixelwise.errors import ConfigError, TrainingError
from pixelwise.losses.losses import batch_loss, class_weights
from pixelwise.models import create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, TrainingData, current_versions
from pixelwise.training.events import Listener, Message
from pixelwise.training.reading import (
    batches_of,
    check_validation,
    enhancement_of,
    measure_training,
    network_input,
    preprocessing_of,
    read_split,
    settle_bands_and_size,
    std_of,
)
from pixelwise.training.recipes import (
    choose_scale,
    fill_data_choices,
    fill_freeze_batchnorm,
    fill_length,
    fill_machine_choices,
)
from pixelwise.transforms.statistics import DatasetStatistics

TRIAL_S = 3.0
"""The trial of a batch is repeated for about so long."""

LONG_STEP_S = 0.2
"""Of shorter steps the memory format is not measured: little is gained, and noise would choose."""

MIN_FORMAT_SPEEDUP = 1.1
"""The contiguous format is taken only where it is faster than channels last by this factor."""


@dataclass(frozen=True)
class Prepared:
    """Everything that a training needs, ready.

    Attributes:
        recipe: With no open choice left.
        dataset: The opened data.
        model: On its device, with the recipe's initial weights.
        card: What the model file will say, without scores.
        device: Where to compute.
        batches: The training batches.
        training: The training samples, enhanced.
        validation: The validation samples at original size, enhanced as the training images.
        statistics: Of the training samples.
        class_weights: Of the loss, (K,) on the device, or ``None``.
        std: Standard deviation of the normalized training images.
        reasons: Why the open choices were filled as they are.
    """

    recipe: Recipe
    dataset: Dataset
    model: SegmentationModel
    card: ModelCard
    device: torch.device
    batches: TrainingBatches
    training: Sequence[Sample]
    validation: Sequence[Sample]
    statistics: DatasetStatistics
    class_weights: Tensor | None
    std: float
    reasons: list[str]

    @property
    def validation_card(self) -> ModelCard:
        """The card for images that have been enhanced already, once and not at every epoch."""
        rest = self.card.preprocessing.without_enhancement()
        return self.card.model_copy(update={"preprocessing": rest})


def prepare(recipe: Recipe, dataset: Dataset, listener: Listener) -> Prepared:
    """Read the data, choose what is open, build the model and try one batch.

    Args:
        recipe: Copied; the copy in the result has no open choice left.
        dataset: The data.
        listener: Told of the reading and of every choice with its reason.

    Raises:
        PixelwiseError: Whatever cannot work is found here, before the first epoch.
    """
    recipe = recipe.model_copy(deep=True)
    if recipe.training.epochs is not None and recipe.training.minutes is not None:
        raise ConfigError("a training takes epochs or minutes. Got both. Leave one out")
    device = choose_device(recipe.training.device)
    reasons = settle_bands_and_size(recipe, dataset)
    doctor = PassingLook(dataset.class_map)
    training, validation = (
        read_split(dataset, split, enhancement_of(recipe), listener, doctor)
        for split in ("train", "val")
    )
    if doctor.lines():
        listener(Message("worth knowing of the data (more: pixelwise data check)", doctor.lines()))
    statistics = measure_training(training, dataset.class_map, recipe)
    check_validation(validation, statistics)
    model = _build(recipe, dataset, statistics, device)
    reasons += _describe_ignored(dataset, statistics)
    reasons += _fill_machine(recipe, model, device)
    is_scale_open = recipe.data.scale is None and recipe.data.resize is None
    recipe.data.scale = recipe.data.scale or 1.0
    prepared = _assemble(recipe, dataset, training, validation, statistics, model, device)
    seconds_per_crop, because = _fill_memory_format(recipe, prepared)
    reasons += because
    reasons += fill_length(
        recipe,
        prepared.batches.crops_per_epoch,
        seconds_per_crop=seconds_per_crop,
        is_cpu=device.type == "cpu",
    )
    if is_scale_open:
        recipe.data.scale, reason = choose_scale(
            recipe, statistics, seconds_per_crop=seconds_per_crop
        )
        reasons += [reason] if reason else []
    prepared = _assemble(recipe, dataset, training, validation, statistics, model, device)
    reasons += prepared.reasons
    # The trial may have moved batch statistics: the training starts from fresh ones.
    model.load_state_dict(_build(recipe, dataset, statistics, device).state_dict())
    arrange(model, recipe)
    listener(Message("chosen from the data and this machine", tuple(reasons)))
    return dataclasses.replace(prepared, reasons=reasons)


def _describe_ignored(dataset: Dataset, statistics: DatasetStatistics) -> list[str]:
    if not statistics.ignored_share:
        return []
    values = ", ".join(map(str, dataset.class_map.ignore))
    return [f"ignored: {values}, {statistics.ignored_share:.1%} of the pixels, counts nowhere"]


def _build(
    recipe: Recipe, dataset: Dataset, statistics: DatasetStatistics, device: torch.device
) -> SegmentationModel:
    """The model with the recipe's initial weights: drawn on the CPU, so that devices agree."""
    torch.manual_seed(recipe.training.seed)
    model = create_model(
        recipe.model.name,
        dataset.class_map.num_classes,
        statistics.in_channels,
        **recipe.model.arguments,
    )
    return model.to(device)


def arrange(model: SegmentationModel, recipe: Recipe) -> None:
    """Lay the weights out in memory as the recipe says; their values stay."""
    model.to(memory_format=MEMORY_FORMATS[recipe.training.memory_format or "channels_last"])


def _fill_machine(recipe: Recipe, model: SegmentationModel, device: torch.device) -> list[str]:
    is_open = recipe.training.precision is None
    return fill_machine_choices(
        recipe,
        model,
        device=device.type,
        support=bfloat16_support(device),
        speedup=bfloat16_speedup(device) if is_open else None,
    )


def _assemble(
    recipe: Recipe,
    dataset: Dataset,
    training: MemoryCache[Sample],
    validation: MemoryCache[Sample],
    statistics: DatasetStatistics,
    model: SegmentationModel,
    device: torch.device,
) -> Prepared:
    """Fill what follows from the data at this working scale, and put everything together."""
    recipe = recipe.model_copy(deep=True)
    reasons = fill_data_choices(
        recipe, statistics, dataset.augmentation, dataset.label_mode, is_cpu=device.type == "cpu"
    )
    reasons += fill_freeze_batchnorm(recipe, model)
    settings = recipe.training
    assert settings.size
    weights = class_weights(
        settings.class_weights or "none", statistics.class_frequencies, dataset.label_mode
    )
    if weights is not None:
        weights = weights.to(device)
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
    batches = batches_of(
        training, statistics, recipe, dataset.label_mode, prefetch=device.type != "cpu"
    )
    std = std_of(statistics, card.preprocessing)
    return Prepared(
        recipe=recipe,
        dataset=dataset,
        model=model,
        card=card,
        device=device,
        batches=batches,
        training=training,
        validation=validation,
        statistics=statistics,
        class_weights=weights,
        std=std,
        reasons=reasons,
    )


def forward_loss(prepared: Prepared, batch: Batch, rng: np.random.Generator) -> Tensor:
    """The loss of one batch: normalized, jittered, through the network in the recipe's precision.

    Args:
        prepared: Model, device and recipe.
        batch: As the batches give it, on the CPU.
        rng: The chance of brightness and contrast.

    Returns:
        Scalar, float32, on the device.
    """
    fields = (batch.image, batch.mask, batch.valid)
    batch = Batch(*(tensor.to(prepared.device, non_blocking=True) for tensor in fields))
    image = network_input(
        batch.image,
        prepared.card.preprocessing,
        prepared.recipe.augmentation,
        rng,
        std=prepared.std,
    )
    training = prepared.recipe.training
    image = image.contiguous(
        memory_format=MEMORY_FORMATS[training.memory_format or "channels_last"]
    )
    in_bfloat16 = training.precision == "bfloat16"
    with torch.autocast(prepared.device.type, torch.bfloat16, enabled=in_bfloat16):
        outputs = prepared.model.training_logits(image)
    shares = (1.0, *prepared.model.auxiliary_weights)
    label_mode, weights = prepared.card.label_mode, prepared.class_weights
    losses = [
        share * batch_loss(logits, batch.mask, batch.valid, label_mode, weights)
        for share, logits in zip(shares, outputs, strict=True)
    ]
    return torch.stack(losses).sum()


def _fill_memory_format(recipe: Recipe, prepared: Prepared) -> tuple[float, list[str]]:
    """Try a batch, in both memory formats where that is open and worth it; the recipe is changed.

    On a processor the gradients of the weights of wide layers are faster one way, and narrow layers
    the other way, by a third and more; an accelerator's matrix units want the channels together.

    Returns:
        Seconds per crop of a training step in the chosen format, and the reason for it.
    """
    choice, trial = recipe.training, prepared.recipe.training
    is_open = choice.memory_format is None
    choice.memory_format = choice.memory_format or "channels_last"

    def seconds_in(memory_format: Literal["channels_last", "contiguous"]) -> float:
        trial.memory_format = memory_format
        arrange(prepared.model, prepared.recipe)
        return _try_one_batch(prepared)

    seconds = seconds_in(choice.memory_format)
    is_short = seconds * (trial.batch_size or 1) < LONG_STEP_S
    if not is_open or is_short or prepared.device.type != "cpu":
        return seconds, []
    speedup = seconds / (contiguous := seconds_in("contiguous"))
    if speedup >= MIN_FORMAT_SPEEDUP:
        choice.memory_format, seconds = "contiguous", contiguous
    reason = (
        f"memory format {choice.memory_format}: a step in contiguous was measured at "
        f"{speedup:.2f} times the speed of channels last"
    )
    return seconds, [reason]


def _try_one_batch(prepared: Prepared) -> float:
    """Send one batch forward and backward a few times; the fastest tells what a crop costs.

    Returns:
        Seconds per crop of a training step.

    Raises:
        TrainingError: The batch does not go through, for want of memory for instance.
    """
    settings = prepared.recipe.training
    batch = next(prepared.batches.epoch(0))
    began, fastest = time.perf_counter(), math.inf
    for repeat in range(5):
        started = time.perf_counter()
        try:
            loss = forward_loss(prepared, batch, random_for(Chance.STEP, 0))
            loss.backward()  # type: ignore[no-untyped-call]
            value = loss.item()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"one batch must fit into the memory of the {prepared.device.type}. "
                f"{settings.batch_size} crops of {settings.size} do not. "
                "Use a smaller --batch-size or --size"
            ) from error
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss of the first batch must be a number. Got {value}. "
                "Check the images for extreme values"
            )
        fastest = min(fastest, time.perf_counter() - started)
        # The first one builds the kernels, and other work on the machine may slow any of them; of
        # one that takes many seconds, both are a small part.
        if time.perf_counter() - began > (TRIAL_S if repeat else 4 * TRIAL_S):
            break
    prepared.model.zero_grad(set_to_none=True)
    return fastest / len(batch.image)
