"""The defaults of a training run: pure functions from measured facts to choices with reasons."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pixelwise.classes import LabelMode
from pixelwise.config import KEPT, NO_AUGMENTATION, AugmentationRecipe, Recipe
from pixelwise.data.batches import crops_per_image
from pixelwise.devices import MIN_SPEEDUP
from pixelwise.label_modes import mode_of
from pixelwise.losses.expression import takes_class_weights
from pixelwise.text import amount, rounded
from pixelwise.training.optimizers import optimizers
from pixelwise.transforms.statistics import DatasetStatistics

MAX_CROP_PX = 512
"""Maximum crop side in pixels; larger crops take more memory but show no more detail."""

TARGET_CROPS = 20_000
"""Total number of crops of a training run without a budget."""

CPU_BATCH = 4
"""Batch size on a CPU."""

GPU_BATCH = (8, 32)
"""Minimum and maximum batch size on an accelerator."""

CPU_MINUTES = 15.0
"""Maximum training time on a CPU without a budget, in minutes."""

MIN_EPOCHS_IN_BUDGET = 25
"""If fewer full-size epochs fit into the budget, images are resized to a smaller working scale."""

FEW_FOR_BATCHNORM = 16
"""The statistics of smaller batches vary so much that BatchNorm is frozen late in training."""

FREEZE_BATCHNORM_FROM = 0.6
"""With such batches, BatchNorm is frozen from this share of the training on."""

SCALES = (0.75, 0.5)
"""Working scales to choose from, beside full size."""

MIN_SIDE_PX = 160
"""Minimum side of the median image at working scale; smaller images would lose detail."""

MIN_GAIN = 1.5
"""A smaller scale is taken only if this many times the epochs fit."""

EVEN = 0.15
"""Images have no preferred orientation if classes differ less than this between their upper and
lower halves."""

RARE_SHARE = 0.01
"""If a class has less than this share of the pixels, classes are weighted."""

MIN_FORMAT_SPEEDUP = 1.1
"""The contiguous format is taken only if it is faster than channels last by this factor."""


@dataclass(frozen=True)
class Facts:
    """The facts that determine the choices.

    Attributes:
        statistics: Statistics of the training images.
        label_mode: Label mode of the data.
        augmentation: Augmentation of the dataset card.
        model: Name of the architecture.
        model_learning_rate: Default peak learning rate of the architecture.
        states_learning_rate: Whether the architecture states it.
        has_batchnorm: Whether the network has BatchNorm layers.
        device: ``cpu``, ``cuda`` or ``mps``.
        has_bfloat16: As :func:`pixelwise.devices.bfloat16_support`.
        largest_batch: Largest batch size that may fit into memory, after a larger one did not;
            ``None`` before that.
        bfloat16_speedup: Measured speedup of bfloat16 if the hardware does not determine it.
        seconds_per_crop: Shortest time of a training step per crop of the tried size that was
            measured on this machine, so that a busy moment changes no choice; 0 before that.
        seconds_per_crop_now: The same, as measured just now.
        tried_size: Height and width of the crops of the trial: the given size, or that of the
            given working scale, or full size.
        contiguous_speedup: Speedup of the contiguous memory format over channels last; ``None`` if
            it was not measured.
    """

    statistics: DatasetStatistics
    label_mode: LabelMode
    augmentation: AugmentationRecipe
    model: str = ""
    model_learning_rate: float = 0.0
    states_learning_rate: bool = True
    has_batchnorm: bool = False
    device: str = "cpu"
    has_bfloat16: bool | None = False
    largest_batch: int | None = None
    bfloat16_speedup: float | None = None
    seconds_per_crop: float = 0.0
    seconds_per_crop_now: float = 0.0
    tried_size: tuple[int, int] = (1, 1)
    contiguous_speedup: float | None = None

    @property
    def is_cpu(self) -> bool:
        """Whether the device is a CPU."""
        return self.device == "cpu"


@dataclass(frozen=True)
class Choice:
    """A choice for an open entry of the recipe.

    Attributes:
        key: ``section.key`` of the recipe.
        value: The chosen value.
        reason: The reason in one line; may be empty.
    """

    key: str
    value: Any
    reason: str = ""


Step = Callable[[Recipe, Facts], tuple[Choice, ...]]
"""A function that fills in some open entries of a recipe; entries that are set are kept."""


def apply(recipe: Recipe, choices: tuple[Choice, ...]) -> Recipe:
    """Return a copy of a recipe with choices filled in."""
    recipe = recipe.model_copy(deep=True)
    for choice in choices:
        section, _, key = choice.key.partition(".")
        setattr(getattr(recipe, section), key, choice.value)
    return recipe


def choose_precision(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose bfloat16 if the hardware has matrix units for it or it was measured to be faster."""
    if recipe.training.precision is not None:
        return ()
    device = "CPU" if facts.device == "cpu" else "GPU"
    if facts.has_bfloat16 is None:
        assert facts.bfloat16_speedup is not None
        is_fast = facts.bfloat16_speedup >= MIN_SPEEDUP
        because = (
            f"on this {device}, bfloat16 was measured at {facts.bfloat16_speedup:.1f} times the "
            "speed of float32"
        )
    else:
        is_fast = facts.has_bfloat16
        what = "has matrix units for" if is_fast else "does not accelerate"
        because = f"this {device} {what} bfloat16"
    precision = "bfloat16" if is_fast else "float32"
    reason = f"precision {precision}: {because}"
    return (Choice("training.precision", precision, reason),)


def choose_learning_rate(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose the learning rate of the architecture."""
    if recipe.training.learning_rate is not None:
        return ()
    factor = optimizers.create(recipe.training.optimizer).learning_rate_factor
    learning_rate = facts.model_learning_rate * factor
    whose = f"of {facts.model}" if facts.states_learning_rate else "for models that state none"
    reason = f"learning rate {learning_rate:g}: the default {whose}"
    if factor != 1:
        reason += f", times {factor:g} for {recipe.training.optimizer}"
    return (Choice("training.learning_rate", learning_rate, reason),)


def choose_batch_size(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose a small batch on a CPU, and one based on the number of images elsewhere."""
    if recipe.training.batch_size is not None:
        return ()
    num_images = facts.statistics.num_images
    if facts.is_cpu:
        wanted, because = (
            CPU_BATCH,
            "larger batches are not faster on a CPU, and more steps improve the model",
        )
    else:
        wanted = min(GPU_BATCH[1], max(GPU_BATCH[0], num_images // 100))
        because = amount(num_images, "training image")
    size = min(wanted, num_images)
    if facts.largest_batch is not None and facts.largest_batch < size:
        size = facts.largest_batch
        because = f"{2 * size} crops do not fit into the memory of the device ({facts.device})"
    return (Choice("training.batch_size", size, f"batch size {size}: {because}"),)


def choose_augmentation(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose the augmentation from the dataset card, else from the masks.

    Beside a callable, only ``scale`` is chosen, and all other entries are off.
    """
    unevenness, transform = facts.statistics.unevenness, recipe.augmentation.transform
    defaults = NO_AUGMENTATION.model_copy(
        update={
            "orientation": "free" if unevenness < EVEN else "mirrored",
            "scale": (0.75, 1.33),
            "brightness": 0.2,
            "contrast": 0.2,
        }
    )
    advised = facts.augmentation.model_dump(exclude_none=True)
    values, words = {}, []
    for name in NO_AUGMENTATION.model_dump(exclude_none=True):
        if getattr(recipe.augmentation, name) is not None:
            continue
        if transform is not None and name not in KEPT:
            values[name] = getattr(NO_AUGMENTATION, name)
            continue
        values[name] = advised.get(name, getattr(defaults, name))
        source = " (from the dataset card)" if name in advised else ""
        if name == "orientation" and not source:
            source = f" (upper and lower halves differ by {unevenness:.0%})"
        if source or name in defaults.entries_on:  # an entry that is simply off is not told
            words.append(f"{name} {values[name]}{source}")
    words += [f"then {transform}"] if transform is not None else []
    reasons = [f"augmentation: {', '.join(words)}", *[""] * len(values)]
    return tuple(
        Choice(f"augmentation.{name}", value, reason)
        for (name, value), reason in zip(values.items(), reasons, strict=False)
    )


def choose_class_weights(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose balanced class weights for multiclass masks with a rare class."""
    if recipe.training.class_weights is not None:
        return ()
    if not takes_class_weights(recipe.training.loss):
        return (Choice("training.class_weights", "none"),)
    shares = [share for share in facts.statistics.class_frequencies if share > 0]
    rarest = min(shares, default=1.0)
    if not mode_of(facts.label_mode).balances_rare or rarest >= RARE_SHARE:
        return (Choice("training.class_weights", "none"),)
    reason = f"class weights balanced: the rarest class has {rarest:.2%} of the pixels"
    return (Choice("training.class_weights", "balanced", reason),)


def choose_freeze_batchnorm(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Freeze BatchNorm late in training if batches are small, because their statistics vary.

    docs/decisions/0019 has measurements.

    Reference:
        Wu and Johnson, Rethinking "Batch" in BatchNorm (2021), arXiv:2105.07576.
    """
    training = recipe.training
    if training.freeze_batchnorm_from is not None:
        return ()
    assert training.batch_size is not None
    is_small = training.batch_size < FEW_FOR_BATCHNORM
    if not is_small:
        return (Choice("training.freeze_batchnorm_from", 1.0),)
    reason = (
        f"BatchNorm frozen after {FREEZE_BATCHNORM_FROM:.0%} of the training: statistics of "
        f"batches of {amount(training.batch_size, 'image')} vary too much"
    )
    return (
        Choice(
            "training.freeze_batchnorm_from",
            FREEZE_BATCHNORM_FROM,
            reason if facts.has_batchnorm else "",
        ),
    )


def choose_memory_format(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose channels last, unless the contiguous format was measured to be faster."""
    if recipe.training.memory_format is not None:
        return ()
    speedup = facts.contiguous_speedup
    if speedup is None:
        return (Choice("training.memory_format", "channels_last"),)
    taken = "contiguous" if speedup >= MIN_FORMAT_SPEEDUP else "channels_last"
    reason = (
        f"memory format {taken.replace('_', ' ')}: a contiguous step was measured at "
        f"{speedup:.2f} times the speed of channels last"
    )
    return (Choice("training.memory_format", taken, reason),)


def choose_length(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose epochs for a fixed number of crops, or minutes if that would take a CPU too long."""
    training = recipe.training
    if training.epochs is not None or training.minutes is not None:
        return ()
    num_crops = count_crops(recipe, facts.statistics, recipe.data.scale or 1.0)
    epochs = min(200, max(20, math.ceil(TARGET_CROPS / num_crops)))
    needed = epochs * num_crops * facts.seconds_per_crop / 60
    if facts.is_cpu and needed > CPU_MINUTES:
        reason = (
            f"{CPU_MINUTES:g} minutes: {epochs} epochs would take this CPU "
            f"{needed:.0f} minutes. Set `epochs` or `minutes` to choose"
        )
        return (Choice("training.minutes", CPU_MINUTES, reason),)
    reason = (
        f"{epochs} epochs: about {TARGET_CROPS:,} crops in total, 20 to 200 epochs. "
        "Set `epochs` or `minutes` to choose"
    )
    return (Choice("training.epochs", epochs, reason),)


def choose_patience(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:  # noqa: ARG001  a step
    """Choose a third of the epochs; with a budget in minutes, there is no patience."""
    training = recipe.training
    if training.patience is not None or training.epochs is None:
        return ()
    patience = max(10, training.epochs // 3)
    reason = f"patience: training stops after {patience} epochs without a better validation metric"
    return (Choice("training.patience", patience, reason),)


def choose_scale(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose the working scale at which enough epochs fit into the budget."""
    minutes, statistics = recipe.training.minutes, facts.statistics
    if recipe.data.scale is not None:
        return ()
    if recipe.data.resize is not None or minutes is None:
        return (Choice("data.scale", 1.0),)

    def pixels(scale: float) -> int:
        """Return the number of pixels of an epoch at a working scale."""
        height, width = recipe.training.size or crop_size(statistics, scale)
        return count_crops(recipe, statistics, scale) * height * width

    full = count_crops(recipe, statistics, 1.0)
    epochs = minutes * 60 / (facts.seconds_per_crop * full)
    chosen, chosen_epochs = 1.0, epochs
    for scale in SCALES:
        shortest = min(statistics.median_size) * scale
        if chosen_epochs >= MIN_EPOCHS_IN_BUDGET or shortest < MIN_SIDE_PX:
            break
        fitting = epochs * pixels(1.0) / pixels(scale)
        # If each image is one crop of fixed size, a smaller scale saves no time.
        if fitting > chosen_epochs * MIN_GAIN:
            chosen, chosen_epochs = scale, fitting
    if chosen == 1.0:
        return (Choice("data.scale", 1.0),)
    reason = (
        f"working scale {chosen}: at full size, the steps of only {epochs:.1f} epochs fit into "
        f"{amount(minutes, 'minute')} ({rounded(1 / facts.seconds_per_crop, 2)} images/s). "
        "Predictions keep the size of the image"
    )
    return (Choice("data.scale", chosen, reason),)


def choose_crop(recipe: Recipe, facts: Facts) -> tuple[Choice, ...]:
    """Choose the size of the median image at working scale, up to the maximum crop size."""
    if recipe.training.size is not None:
        return ()
    scale = recipe.data.scale or 1.0
    height, width = crop_size(facts.statistics, scale)
    median_height, median_width = facts.statistics.median_size
    reason = f"crops {height} x {width}: the median image is {median_height} x {median_width}"
    if scale != 1:
        reason += f" before the working scale {scale}"
    return (Choice("training.size", (height, width), reason),)


BEFORE_TRIAL: tuple[Step, ...] = (
    choose_precision,
    choose_learning_rate,
    choose_batch_size,
    choose_augmentation,
    choose_class_weights,
    choose_freeze_batchnorm,
)
"""Steps that run before the trial batch, in order."""

AFTER_TRIAL: tuple[Step, ...] = (
    choose_memory_format,
    choose_length,
    choose_patience,
    choose_scale,
    choose_crop,
)
"""Steps that need the measured duration of a training step, in order."""


def crop_size(statistics: DatasetStatistics, scale: float) -> tuple[int, int]:
    """Return the median image size at working scale, at most :data:`MAX_CROP_PX` per side."""
    height, width = (
        min(MAX_CROP_PX, max(1, round(side * scale))) for side in statistics.median_size
    )
    return height, width


def count_crops(recipe: Recipe, statistics: DatasetStatistics, scale: float) -> int:
    """Return the number of crops per epoch at a working scale, at least one per image."""
    size = recipe.training.size or crop_size(statistics, scale)
    return sum(crops_per_image(statistics.heights, statistics.widths, size, scale))
