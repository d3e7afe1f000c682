"""Defaults from the data and the machine: every open choice is filled, with its reason."""

from __future__ import annotations

import math

from pixelwise.classes import LabelMode
from pixelwise.config import AugmentationRecipe, Recipe
from pixelwise.data.batches import crops_per_image
from pixelwise.devices import MIN_SPEEDUP
from pixelwise.models.base import SegmentationModel
from pixelwise.models.blocks import batch_normalizations
from pixelwise.text import amount
from pixelwise.transforms.statistics import DatasetStatistics

MAX_CROP_PX = 512
"""Crops of larger images are at most this long; more brings memory use and no further detail."""

TARGET_CROPS = 20_000
"""Without a budget, this many crops are trained on in all."""

CPU_BATCH = 4
"""Images per step on a processor."""

GPU_BATCH = (8, 32)
"""Fewest and most images per step elsewhere."""

CPU_MINUTES = 15.0
"""Without a budget, a processor trains no longer than this."""

MIN_EPOCHS_IN_BUDGET = 25
"""With fewer full-size epochs than this in the time given, images are worked on smaller."""

FEW_FOR_STATISTICS = 16
"""Batches of fewer images tell batch normalization little of how images are on the whole."""

FROZEN_FROM = 0.6
"""With such batches, BatchNorm is frozen from this share of the training on."""

SCALES = (0.75, 0.5)
"""Working scales to choose from, beside full size."""

MIN_SIDE_PX = 160
"""The median image is never worked on smaller than this: small images have no detail to spare."""

MIN_GAIN = 1.5
"""A smaller scale is taken only where this many times the epochs fit."""

EVEN = 0.15
"""Classes that differ less than this between upper and lower halves know no up and down."""

RARE_SHARE = 0.01
"""With a class below this share of the pixels, classes are weighted."""


def fill_data_choices(
    recipe: Recipe,
    statistics: DatasetStatistics,
    advice: AugmentationRecipe,
    label_mode: LabelMode,
    *,
    is_cpu: bool,
) -> list[str]:
    """Fill what follows from the data: crop, batch, augmentation; the recipe is changed.

    Args:
        recipe: Its open choices are filled.
        statistics: What the training images are like.
        advice: What the dataset card says may be varied.
        label_mode: Of the data.
        is_cpu: The processor computes.

    Returns:
        One reason per choice.
    """
    training, reasons = recipe.training, []
    scale = recipe.data.scale or 1.0
    if training.size is None:
        height, width = training.size = _crop_size(statistics, scale)
        median_height, median_width = statistics.median_size
        reasons.append(
            f"crops {height} x {width}: the median image is {median_height} x {median_width}"
            + (f", worked on at scale {scale}" if scale != 1 else "")
        )
    if training.batch_size is None:
        many = min(GPU_BATCH[1], max(GPU_BATCH[0], statistics.num_images // 100))
        training.batch_size = min(CPU_BATCH if is_cpu else many, statistics.num_images)
        reasons.append(
            f"batch size {training.batch_size}: "
            + (
                "a processor is no faster with more, and more steps learn more"
                if is_cpu
                else f"{statistics.num_images} training images"
            )
        )
    reasons += _fill_augmentation(recipe.augmentation, advice, statistics.unevenness)
    rare = min((share for share in statistics.class_frequencies if share > 0), default=1.0)
    if recipe.training.class_weights is None:
        is_unbalanced = label_mode == "multiclass" and rare < RARE_SHARE
        training.class_weights = "balanced" if is_unbalanced else "none"
        if is_unbalanced:
            reasons.append(f"class weights balanced: the rarest class has {rare:.2%} of the pixels")
    return reasons


def fill_freeze_batchnorm(recipe: Recipe, model: SegmentationModel) -> list[str]:
    """Fill from when on BatchNorm is frozen; the recipe is changed.

    A batch of few images is unlike the next, and images of a rare kind are normalized by themselves
    in training and by the others in prediction. docs/decisions/0019 has what freezing gave.

    Args:
        recipe: With its batch size.
        model: The network.

    Returns:
        The reason, where there is batch normalization.

    Reference:
        Wu and Johnson, Rethinking "Batch" in BatchNorm (2021), arXiv:2105.07576.
    """
    training = recipe.training
    if training.freeze_batchnorm_from is not None:
        return []
    assert training.batch_size is not None
    is_small = training.batch_size < FEW_FOR_STATISTICS
    training.freeze_batchnorm_from = FROZEN_FROM if is_small else 1.0
    if not is_small or not batch_normalizations(model):
        return []
    reason = f"batches of {training.batch_size} say little of the other images"
    return [f"BatchNorm frozen from {FROZEN_FROM:.0%} of the training on: {reason}"]


def fill_machine_choices(
    recipe: Recipe,
    model: SegmentationModel,
    *,
    device: str,
    support: bool | None,
    speedup: float | None,
) -> list[str]:
    """Fill what follows from model and machine: learning rate and precision.

    Args:
        recipe: Its open choices are filled.
        model: The network.
        device: ``cpu``, ``cuda`` or ``mps``.
        support: Of bfloat16, as :func:`pixelwise.devices.bfloat16_support` says it.
        speedup: Of bfloat16, as measured where the hardware leaves a doubt.

    Returns:
        One reason per choice.
    """
    training, reasons = recipe.training, []
    if training.learning_rate is None:
        training.learning_rate = model.learning_rate
        reasons.append(f"learning rate {training.learning_rate:g}: what {model.name} takes well")
    if training.precision is None:
        if support is None:
            assert speedup is not None
            is_fast = speedup >= MIN_SPEEDUP
            because = f"bfloat16 was measured at {speedup:.2g} times the speed of float32"
        else:
            is_fast = support
            because = (
                "bfloat16 is computed by its matrix units" if support else "it has no bfloat16"
            )
        training.precision = "bfloat16" if is_fast else "float32"
        reasons.append(f"precision {training.precision}: on this {device}, {because}")
    return reasons


def fill_length(
    recipe: Recipe, num_crops: int, *, seconds_per_crop: float, is_cpu: bool
) -> list[str]:
    """Fill how long to train; the recipe is changed.

    Args:
        recipe: Its open choices are filled.
        num_crops: Crops of an epoch; where images are no larger than a crop, their number.
        seconds_per_crop: Of a training step at full size, measured.
        is_cpu: The processor computes, so patience is the limit.

    Returns:
        One reason per choice.
    """
    training, reasons = recipe.training, []
    if training.epochs is None and training.minutes is None:
        epochs = min(200, max(20, math.ceil(TARGET_CROPS / num_crops)))
        needed = epochs * num_crops * seconds_per_crop / 60
        if is_cpu and needed > CPU_MINUTES:
            training.minutes = CPU_MINUTES
            reasons.append(
                f"{CPU_MINUTES:g} minutes: {epochs} epochs would take this processor "
                f"{needed:.0f} minutes. Set --epochs or --minutes to choose"
            )
        else:
            training.epochs = epochs
            reasons.append(
                f"{epochs} epochs: about {TARGET_CROPS:,} crops in all, 20 to 200 epochs. "
                "Set --epochs or --minutes to choose"
            )
    if training.patience is None and training.epochs is not None:
        training.patience = max(10, training.epochs // 3)
        reasons.append(f"patience {training.patience} epochs without a better validation metric")
    return reasons


def choose_scale(
    recipe: Recipe, statistics: DatasetStatistics, *, seconds_per_crop: float
) -> tuple[float, str]:
    """The working scale at which enough epochs fit into the time given.

    Args:
        recipe: With its ``minutes``, and its crop size where the user has fixed it.
        statistics: What the training images are like.
        seconds_per_crop: Of a training step at full size, measured.

    Returns:
        The scale and its reason; 1.0 and an empty reason where full size is the best.
    """
    minutes, size = recipe.training.minutes, recipe.training.size
    if minutes is None:
        return 1.0, ""

    def work(scale: float) -> tuple[int, int]:
        """Crops of an epoch, and their pixels, at a working scale."""
        crop = size or _crop_size(statistics, scale)
        num_crops = sum(crops_per_image(statistics.heights, statistics.widths, crop, scale))
        return num_crops, num_crops * math.prod(crop)

    num_crops, num_pixels = work(1.0)
    epochs = minutes * 60 / (seconds_per_crop * num_crops)
    chosen, chosen_epochs = 1.0, epochs
    for scale in SCALES:
        shortest = min(statistics.median_size) * scale
        if chosen_epochs >= MIN_EPOCHS_IN_BUDGET or shortest < MIN_SIDE_PX:
            break
        fitting = epochs * num_pixels / work(scale)[1]
        # Where an image is one crop of fixed size, a smaller scale saves nothing.
        if fitting > chosen_epochs * MIN_GAIN:
            chosen, chosen_epochs = scale, fitting
    if chosen == 1.0:
        return 1.0, ""
    return chosen, (
        f"working scale {chosen}: at full size {epochs:.1f} epochs fit into "
        f"{amount(minutes, 'minute')} ({1 / seconds_per_crop:.2g} images/s), "
        f"at {chosen} about {chosen_epochs:.0f}; predictions keep the image's size"
    )


def _crop_size(statistics: DatasetStatistics, scale: float) -> tuple[int, int]:
    """The median image at working scale, as far as crops go."""
    height, width = (
        min(MAX_CROP_PX, max(1, round(side * scale))) for side in statistics.median_size
    )
    return height, width


def _fill_augmentation(
    recipe: AugmentationRecipe, advice: AugmentationRecipe, unevenness: float
) -> list[str]:
    """Fill what may be varied: what the dataset card advises, else by what the masks look like."""
    defaults = AugmentationRecipe(
        orientation="free" if unevenness < EVEN else "mirrored",
        scale=(0.75, 1.33),
        brightness=0.2,
        contrast=0.2,
    )
    advised = advice.model_dump(exclude_none=True)
    taken = []
    for name in type(recipe).model_fields:
        if getattr(recipe, name) is None:
            value = advised.get(name, getattr(defaults, name))
            setattr(recipe, name, value)
            source = " (as the data set says)" if name in advised else ""
            if name == "orientation" and not source:
                source = f" (upper and lower halves differ by {unevenness:.0%})"
            taken.append(f"{name} {value}{source}")
    return [f"augmentation: {', '.join(taken)}"] if taken else []
