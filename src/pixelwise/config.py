"""The recipe: all settings of a training run, as validated YAML.

``None`` means "chosen from the data and the machine". The chosen values are written into the recipe
of the run, which is a valid recipe itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from pixelwise.errors import ConfigError
from pixelwise.files import as_path
from pixelwise.label_options import LabelOptions, Located
from pixelwise.schemas import Section, Share, read_yaml, validated
from pixelwise.text import several

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(gt=0)]
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = tuple[Positive, Positive]
Bands = Annotated[tuple[Positive, ...], Field(min_length=1)]
Denoise = Literal["none", "median", "nl-means"]
WhiteBalance = Literal["none", "gray-world"]
Contrast = Literal["none", "stretch", "stretch-bands", "clahe"]

MIN_SCALE = 0.001
"""Smallest working scale; of an image of 10,000 pixels a side, 10 remain."""

RECIPE_NAME = "recipe.yaml"
"""Name of the recipe in a run folder."""

DEFAULT_SPLIT = "70/15/15"
"""Default train, validation and test shares for folders without splits."""


class _ResizePolicy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShortestSide(_ResizePolicy):
    """Resizes without distortion so that the shorter side has this number of pixels."""

    shortest_side: Positive


class Letterbox(_ResizePolicy):
    """Resizes without distortion to fit into height and width, with ignored padding."""

    letterbox: Size


def _resize_policy(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return "exact"
    for policy in (ShortestSide, Letterbox):
        (name,) = policy.model_fields
        if isinstance(value, policy) or (isinstance(value, dict) and name in value):
            return name
    return None


Resize = Annotated[
    Annotated[Size, Tag("exact")]
    | Annotated[ShortestSide, Tag("shortest_side")]
    | Annotated[Letterbox, Tag("letterbox")],
    Discriminator(
        _resize_policy,
        custom_error_type="resize_policy",
        custom_error_message=(
            "must be [HEIGHT, WIDTH], {shortest_side: PIXELS} or {letterbox: [HEIGHT, WIDTH]}"
        ),
    ),
]
"""A resize of images to a working size."""


class DataRecipe(LabelOptions, Located):
    """The training data, and how its labels are read: with the options of :class:`LabelOptions`.

    Attributes:
        path: A folder, a dataset card, or ``digits``.
        split: Shares for a folder without splits; ``None``: those of the card, else 70/15/15.
        split_seed: Random seed of the split.
        scale: Factor by which images are resized for the model; logits are resized back.
        normalization: ``dataset`` subtracts the mean and divides by the standard deviation of the
            training images, per channel; ``range`` divides by the largest value of the bit depth.
        resize: ``[HEIGHT, WIDTH]`` in pixels for all images, which may change their aspect ratio;
            ``{shortest_side: PIXELS}`` or ``{letterbox: [HEIGHT, WIDTH]}`` without distortion;
            ``None`` keeps the size and trains on crops. Logits are resized back.
        bands: Selected bands, counted from 1; ``None`` means those of the dataset card, else all.
        denoise: ``median`` (3 x 3) removes single wrong pixels, ``nl-means`` removes grain.
        white_balance: ``gray-world`` gives all bands of an image the same mean.
        contrast: Per image: ``stretch`` stretches its values to the full range, ``stretch-bands``
            those of each band, as is common for satellite images; ``clahe`` equalizes locally.
    """

    split: str | None = None
    split_seed: Annotated[int, Field(ge=0)] = 0
    scale: Annotated[float, Field(ge=MIN_SCALE, le=1)] | None = None
    normalization: Literal["dataset", "range"] = "dataset"
    resize: Resize | None = None
    bands: Bands | None = None
    denoise: Denoise = "none"
    white_balance: WhiteBalance = "none"
    contrast: Contrast = "none"


class ModelRecipe(Section):
    """The model.

    Attributes:
        name: A registered name.
        arguments: Arguments of the architecture.
        start_from: Run folder, model file or file of weights to start from; ``None`` starts from
            the initialization of the architecture.
    """

    name: str = "unet-fast"
    arguments: dict[str, Any] = Field(default_factory=dict)
    start_from: str | None = None


class TrainingRecipe(Section):
    """The training.

    Attributes:
        epochs: Number of passes over the training images; give either this or ``minutes``.
        minutes: Wall-clock budget from the start of the command to the written report; the schedule
            follows the clock.
        batch_size: Number of images per step.
        size: Height and width of the training crops in pixels, at working scale.
        loss: A sum of registered losses with factors and options, such as
            ``ce + 0.5 * dice(smooth=1)``; or ``module:function`` of an imported module.
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        learning_rate: Peak learning rate of the schedule.
        betas: Adam's decay factors. A second factor of 0.95 instead of the usual 0.999 adapts
            faster in short training runs.
        momentum: Nesterov momentum of ``sgd``.
        weight_decay: Weight decay: decoupled for ``adamw``, an L2 penalty for ``adam`` and ``sgd``.
        warmup: Fraction of the training for the linear warm-up.
        freeze_batchnorm_from: Fraction of the training after which BatchNorm is frozen and uses its
            running statistics, as in prediction; ``None`` freezes it late if batches are small.
        schedule: Decay after the warm-up: ``cosine``, ``poly``, ``constant`` or ``one-cycle``.
        ema: Decay of an exponential moving average of the weights, such as 0.999, which is then
            evaluated and saved instead of the weights; 0 is off.
        freeze: ``encoder`` excludes the encoder from training; ``none`` trains everything.
        encoder_lr_factor: Learning rate of the encoder relative to the rest, such as 0.1 for
            pretrained weights.
        clip_norm: Maximum gradient norm; ``None`` disables clipping.
        class_weights: ``none``, ``balanced`` (1 / sqrt(frequency), from the data), or one weight
            per class; for multilabel masks, the weight of positive pixels relative to negative
            ones.
        monitor: Criterion for the best epoch: validation ``mean_iou`` (ties are broken by the
            loss), validation ``loss``, or ``last`` for the last epoch.
        metrics: Additional registered validation metrics, with their own columns in
            ``history.csv``.
        loggers: Registered loggers that get the events of the training, such as ``tensorboard``.
        patience: Stop after this number of epochs without a better validation metric. ``None``
            means a third of the epochs, at least 10; with ``minutes`` there is no patience.
        seed: Random seed of weights, order, crops and dropout.
        device: ``auto`` means CUDA, else MPS, else the CPU.
        precision: Precision of training steps, ``float32`` or ``bfloat16`` (autocast). Metrics are
            always computed in float32.
        memory_format: Memory format of images and weights, ``channels_last`` or ``contiguous``;
            ``None`` means the faster one for this model on this machine.
    """

    epochs: Positive | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch_size: Positive | None = None
    size: Size | None = None
    loss: str = "ce"
    optimizer: str = "adam"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    betas: tuple[Share, Share] = (0.9, 0.95)
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.25
    freeze_batchnorm_from: Annotated[float, Field(ge=0, le=1)] | None = None
    schedule: str = "cosine"
    ema: Share = 0.0
    freeze: Literal["none", "encoder"] = "none"
    encoder_lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    class_weights: Literal["none", "balanced"] | tuple[Weight, ...] | None = None
    monitor: Literal["mean_iou", "loss", "last"] = "mean_iou"
    metrics: tuple[str, ...] = ()
    loggers: tuple[str, ...] = ()
    patience: Positive | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] | None = None
    memory_format: Literal["channels_last", "contiguous"] | None = None


KEPT = ("scale", "transform")
"""Entries of the augmentation that a callable does not replace."""


class AugmentationRecipe(Section):
    """The augmentation in training, jointly of image and mask.

    Attributes:
        orientation: ``fixed`` for text and digits; ``mirrored`` (left and right) for photographs;
            ``free`` (both flips and rotations by 90°) for images from above or from a microscope.
        scale: Smallest and largest factor by which a crop is zoomed.
        brightness: Maximum shift, as a fraction of the image's standard deviation.
        contrast: Maximum relative change of the contrast.
        rotation: Maximum angle of a free rotation, in degrees; 0 is off.
        elastic: Maximum standard deviation of smooth random shifts, in pixels; 0 is off.
        hue: Maximum shift of the hue, 0.5 is half the color circle; 0 is off. For three channels.
        saturation: Maximum relative change of the saturation; 0 is off. For three channels.
        blur: Smallest and largest standard deviation of a Gaussian blur, in pixels; ``[0, 0]`` is
            off.
        noise: Maximum standard deviation of Gaussian noise, as a fraction of the crop's standard
            deviation in each channel; 0 is off.
        transform: The callable that was given as ``train(augmentation=...)``, for information. It
            replaces all entries but ``scale``; a recipe cannot hold the callable itself.
    """

    orientation: Literal["fixed", "mirrored", "free"] | None = None
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    brightness: Annotated[float, Field(ge=0)] | None = None
    contrast: Annotated[float, Field(ge=0, lt=1)] | None = None
    rotation: Annotated[float, Field(ge=0, le=180)] | None = None
    elastic: Strength | None = None
    hue: Annotated[float, Field(ge=0, le=0.5)] | None = None
    saturation: Annotated[float, Field(ge=0, le=1)] | None = None
    blur: tuple[Strength, Strength] | None = None
    noise: Strength | None = None
    transform: str | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.scale is not None and self.scale[0] > self.scale[1]:
            raise ValueError("scale must go from the smaller to the larger factor")
        if self.blur is not None and self.blur[0] > self.blur[1]:
            raise ValueError("blur must go from the smaller to the larger standard deviation")
        return self

    @model_validator(mode="after")
    def _check_alone(self) -> Self:
        names = [] if self.transform is None else sorted(self.entries_on.difference(KEPT))
        if names:
            raise ValueError(
                "a callable augmentation replaces the entries of the recipe except scale. Got "
                f"{', '.join(names)} as well. Remove them, or the callable"
            )
        return self

    def is_on(self, name: str) -> bool:
        """Return whether an entry changes a crop; an open entry does not."""
        return getattr(self, name) not in (None, getattr(NO_AUGMENTATION, name))

    @property
    def entries_on(self) -> set[str]:
        """Names of the entries that change a crop."""
        return {name for name in type(self).model_fields if self.is_on(name)}


NO_AUGMENTATION = AugmentationRecipe(
    orientation="fixed", scale=(1, 1), brightness=0, contrast=0,
    rotation=0, elastic=0, hue=0, saturation=0, blur=(0, 0), noise=0,
)  # fmt: skip
"""Every entry is off."""


class Recipe(Section):
    """All settings of a training run, in four sections.

    Attributes:
        imports: Modules that are imported before the training, such as ``my_package.nets``, because
            they register models, losses or formats.
    """

    imports: tuple[str, ...] = ()
    data: DataRecipe = Field(default_factory=DataRecipe)
    model: ModelRecipe = Field(default_factory=ModelRecipe)
    training: TrainingRecipe = Field(default_factory=TrainingRecipe)
    augmentation: AugmentationRecipe = Field(default_factory=AugmentationRecipe)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, which :func:`load_recipe` can read."""
        # Most recipes import nothing, and then they do not say so.
        unused = None if self.imports else {"imports"}
        return yaml.safe_dump(self.model_dump(mode="json", exclude=unused), sort_keys=False)

    def sections(self) -> dict[str, dict[str, Any]]:
        """Return the entries of the four sections as plain data, by section and key."""
        return self.model_dump(mode="json", exclude={"imports"})


def load_recipe(
    source: Path | str | Recipe | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        source: A YAML file, a recipe, or its content; ``None`` starts from the defaults.
        overrides: ``section.key=value``, the value in YAML, such as ``training.epochs=20``.

    Raises:
        ConfigError: The file is missing or not YAML, a key is unknown, or a value is out of range.
    """
    if isinstance(source, Recipe):
        return overridden(source.model_dump(), overrides, "recipe")
    if isinstance(source, Mapping):
        return overridden(copy.deepcopy(dict(source)), overrides, "recipe")
    path = as_path(source, "recipe") if source else None
    return overridden(read_yaml(path) if path else {}, overrides, str(path or "recipe"))


def overridden(content: dict[str, Any], overrides: Sequence[str], origin: str) -> Recipe:
    """Create a recipe from plain data, with some keys replaced.

    Args:
        content: Sections and keys; modified in place.
        overrides: ``section.key=value``, the value in YAML, such as ``training.epochs=20``.
        origin: Source of the content, for messages.

    Raises:
        ConfigError: A key is unknown, or a value is out of range.
    """
    for override in several(overrides):
        key, equals, value = override.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise ConfigError(f"`overrides` must be section.key=value. Got {override!r}")
        *parents, last = [section, *name.split(".")]
        inside = content
        for parent in parents:
            if inside.get(parent) is None:  # the section is missing or empty
                inside[parent] = {}
            inside = inside[parent]
            if not isinstance(inside, dict):
                raise ConfigError(f"{origin}: {parent} must be a section for {key}. Got {inside!r}")
        try:
            inside[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"`overrides`: {override!r} must contain a YAML value: {error}"
            ) from error
    return validated(Recipe, content, origin)


def with_values(recipe: Recipe, values: dict[str, Any], origin: str) -> Recipe:
    """Return a copy of a recipe with some values replaced, validated like a recipe file.

    Args:
        recipe: The recipe; not modified.
        values: Values by ``section.key``; ``None`` keeps the value of the recipe.
        origin: Source of the values, for messages.

    Raises:
        ConfigError: A value is out of range.
    """
    content = recipe.model_dump()
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        section, _, name = key.partition(".")
        content[section][name] = value
    lengths = {"training.epochs", "training.minutes"}
    if len(given.keys() & lengths) == 1:  # only one of them is allowed: it replaces the other
        (other,) = lengths - given.keys()
        content["training"][other.partition(".")[2]] = None
    return validated(Recipe, content, origin)
