"""The recipe: every choice of a training, as YAML that is checked on reading.

``None`` stands for "chosen from the data and the machine"; what was chosen is written into the
recipe of the run, with no ``None`` left that matters, and that file is valid input again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from pixelwise.classes import LabelMode, Unexpected
from pixelwise.errors import ConfigError
from pixelwise.schemas import read_yaml, validated

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0)]
Size = tuple[Positive, Positive]
Bands = Annotated[tuple[Positive, ...], Field(min_length=1)]
Denoise = Literal["none", "median", "nl-means"]
WhiteBalance = Literal["none", "gray-world"]
Contrast = Literal["none", "stretch", "stretch-bands", "clahe"]

DEFAULT_SPLIT = "70/15/15"
"""Train, validation and test shares where the folder says nothing."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, content: Any) -> Any:
        """``training:`` with nothing below it is ``None`` in YAML, and means the defaults."""
        if not isinstance(content, dict):
            return content
        empty = {key for key, value in content.items() if value is None}
        fields = {key: field.annotation for key, field in cls.model_fields.items() if key in empty}
        dropped = {key for key, annotation in fields.items() if _holds_entries(annotation)}
        return {key: value for key, value in content.items() if key not in dropped}


def _holds_entries(annotation: Any) -> bool:
    """The annotation is of a section, a mapping or a list, and not of one that may be ``None``."""
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel | dict | list | tuple)


class _ResizePolicy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShortestSide(_ResizePolicy):
    """Resize without distortion until the shorter side has this many pixels."""

    shortest_side: Positive


class Letterbox(_ResizePolicy):
    """Resize without distortion to fit into height and width, upper left; the rest is ignored."""

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
"""How images of any size become images of a working size."""


class DataRecipe(_Section):
    """What to train on.

    Attributes:
        path: A folder, a dataset card, or ``digits``.
        format: The label format; ``None`` looks at the folder.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares; used where the folder gives no splits;
            ``None`` takes those of the dataset card, else 70/15/15.
        split_seed: The seed of that split.
        ignore: Stored mask values that are ignored, beside those of the format or the card.
        label_mode: ``multiclass`` or ``multilabel``, for formats that can be read as both.
        unexpected: What becomes of stored values or colors that are neither a class nor ignored:
            ``error`` refuses the file, ``nearest`` takes the nearest class, ``ignore`` ignores the
            pixels.
        scale: Images are resized by this factor before the model sees them, and its logits back.
        normalization: ``dataset`` subtracts the mean and divides by the standard deviation of the
            training images, per channel; ``range`` divides by the largest value of the bit depth.
        resize: ``[HEIGHT, WIDTH]`` in pixels that every image is brought to, distorted where its
            sides have another ratio; ``{shortest_side: PIXELS}`` or
            ``{letterbox: [HEIGHT, WIDTH]}`` without distortion; ``None`` keeps each image's size
            and cuts crops. Logits go back to the image's size.
        bands: Which bands of an image are taken, counted from 1 as GDAL does, ``[4, 3, 2]`` for
            instance; ``None`` takes those of the dataset card, else all.
        denoise: ``median`` (3 x 3) takes out single wrong pixels, ``nl-means`` grain.
        white_balance: ``gray-world`` gives all bands of an image the same mean.
        contrast: Per image: ``stretch`` spreads its values over the whole range,
            ``stretch-bands`` those of each band by itself, as satellite images are shown;
            ``clahe`` evens out the contrast of each part.
    """

    path: str | None = None
    format: str | None = None
    split: str | None = None
    split_seed: Annotated[int, Field(ge=0)] = 0
    ignore: tuple[int, ...] = ()
    label_mode: LabelMode | None = None
    unexpected: Unexpected | None = None
    scale: Annotated[float, Field(gt=0, le=1)] | None = None
    normalization: Literal["dataset", "range"] = "dataset"
    resize: Resize | None = None
    bands: Bands | None = None
    denoise: Denoise = "none"
    white_balance: WhiteBalance = "none"
    contrast: Contrast = "none"


class ModelRecipe(_Section):
    """Which model.

    Attributes:
        name: A registered name.
        arguments: Further arguments of that architecture.
    """

    name: str = "unet-fast"
    arguments: dict[str, Any] = {}


class TrainingRecipe(_Section):
    """How to train.

    Attributes:
        epochs: Passes over the training images. Either this or ``minutes``.
        minutes: Wall-clock budget, from the start of the command to the written report; the
            schedule follows the clock. Either this or ``epochs``.
        batch_size: Images per step.
        size: Height and width in pixels of the crops that are trained on, at working scale.
        optimizer: ``adam`` or ``adamw``.
        learning_rate: The highest learning rate of the schedule.
        betas: Adam's averaging of gradient and squared gradient. 0.95 for the second, against the
            usual 0.999, follows the gradients of a short training faster.
        weight_decay: Of ``adamw``.
        warmup: Share of the training in which the learning rate rises to its highest.
        freeze_batchnorm_from: Share of the training from which on BatchNorm is frozen: it
            normalizes by its running statistics, as in prediction, and no longer by each batch;
            ``None`` freezes it where batches are small.
        schedule: ``cosine`` decay after the warm-up, or ``constant``.
        clip_norm: Gradients are scaled down to this norm; ``None`` leaves them.
        class_weights: ``none``, ``balanced`` (1 / sqrt(frequency), from the data), or one weight
            per class. Of multilabel masks: what its pixels count against those without it.
        monitor: What makes an epoch the best: ``mean_iou`` of the validation (of equals the
            lower loss), the validation ``loss`` alone, or that it is the ``last``.
        metrics: Further registered metrics of the validation, each with columns of its own in
            ``history.csv``.
        patience: Stop after this many epochs without a better validation metric. ``None`` takes a
            third of the epochs, at least 10; with ``minutes`` the budget alone is the end.
        seed: Of weights, order, crops and dropout.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        precision: Of training steps: ``float32`` or ``bfloat16`` (autocast). Metrics are always
            computed in float32.
        memory_format: How images and weights lie in memory, ``channels_last`` or ``contiguous``;
            ``None`` takes what is faster for this model on this machine.
    """

    epochs: Positive | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch_size: Positive | None = None
    size: Size | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.25
    freeze_batchnorm_from: Annotated[float, Field(ge=0, le=1)] | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    class_weights: Literal["none", "balanced"] | tuple[Weight, ...] | None = None
    monitor: Literal["mean_iou", "loss", "last"] = "mean_iou"
    metrics: tuple[str, ...] = ()
    patience: Positive | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] | None = None
    memory_format: Literal["channels_last", "contiguous"] | None = None


class AugmentationRecipe(_Section):
    """What is varied in training, jointly on image and mask.

    Attributes:
        orientation: ``fixed`` for text and digits; ``mirrored`` (left and right) for photographs;
            ``free`` (both flips and quarter turns) for pictures from above or through a microscope.
        scale: Smallest and largest factor by which a crop is zoomed.
        brightness: Shift by up to this share of the image's standard deviation.
        contrast: Stretch by up to this share.
    """

    orientation: Literal["fixed", "mirrored", "free"] | None = None
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    brightness: Annotated[float, Field(ge=0)] | None = None
    contrast: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.scale is not None and self.scale[0] > self.scale[1]:
            raise ValueError("scale must go from the smaller to the larger factor")
        return self


class Recipe(_Section):
    """Every choice of a training, in four sections."""

    data: DataRecipe = Field(default_factory=DataRecipe)
    model: ModelRecipe = Field(default_factory=ModelRecipe)
    training: TrainingRecipe = Field(default_factory=TrainingRecipe)
    augmentation: AugmentationRecipe = Field(default_factory=AugmentationRecipe)

    def to_yaml(self) -> str:
        """The recipe as YAML; :func:`load_recipe` reads it back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_recipe(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: A YAML file; ``None`` starts from the defaults.
        overrides: ``section.key=value``, the value in YAML, such as ``training.epochs=20``.

    Raises:
        ConfigError: The file is missing or no YAML, a key is unknown, or a value is out of range.
    """
    content = read_yaml(Path(path)) if path else {}
    return overridden(content, overrides, str(path) if path else "recipe")


def overridden(content: dict[str, Any], overrides: Sequence[str], origin: str) -> Recipe:
    """A recipe of plain data, with some of its keys replaced.

    Args:
        content: Sections and keys; it is changed.
        overrides: ``section.key=value``, the value in YAML, such as ``training.epochs=20``.
        origin: Where the content was read from, for messages.

    Raises:
        ConfigError: A key is unknown, or a value is out of range.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise ConfigError(f"--set must be section.key=value. Got {override!r}")
        *parents, last = [section, *name.split(".")]
        inside = content
        for parent in parents:
            if inside.get(parent) is None:  # it is not there, or empty
                inside[parent] = {}
            inside = inside[parent]
            if not isinstance(inside, dict):
                raise ConfigError(f"{origin}: {parent} must be a section for {key}. Got {inside!r}")
        try:
            inside[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r} must hold a YAML value: {error}") from error
    return validated(Recipe, content, origin)


def with_values(recipe: Recipe, values: dict[str, Any], origin: str) -> Recipe:
    """A copy of a recipe with some values replaced; checked as a recipe file is.

    Args:
        recipe: Stays as it is.
        values: By ``section.key``; ``None`` leaves the recipe's own.
        origin: Where the values come from, for messages.

    Raises:
        ConfigError: A value is out of range.
    """
    content = recipe.model_dump()
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        section, _, name = key.partition(".")
        content[section][name] = value
    lengths = {"training.epochs", "training.minutes"}
    if len(given.keys() & lengths) == 1:  # the one given replaces the other in the recipe
        (other,) = lengths - given.keys()
        content["training"][other.partition(".")[2]] = None
    return validated(Recipe, content, origin)
