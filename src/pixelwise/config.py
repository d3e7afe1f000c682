"""The recipe: every choice of a training, as YAML that is checked on reading.

``None`` stands for "chosen from the data and the machine"; what was chosen is written into the
recipe of the run, with no ``None`` left that matters, and that file is valid input again.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pixelwise.classes import LabelMode, Strays
from pixelwise.errors import ConfigError

Schema = TypeVar("Schema", bound=BaseModel)

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0)]
Size = tuple[Positive, Positive]

DEFAULT_SPLIT = "70/15/15"
"""Train, validation and test shares where the folder says nothing."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class DataRecipe(_Section):
    """What to train on.

    Attributes:
        path: A folder, a dataset card, or ``digits``.
        format: The label format; ``None`` looks at the folder.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares; used where the folder gives no splits;
            ``None`` takes those of the dataset card, else 70/15/15.
        split_seed: The seed of that split.
        ignore: Stored mask values that mean void, beside those of the format or the card.
        label_mode: ``exclusive`` or ``overlapping``, for formats that can be read as both.
        strays: What becomes of stored values or colours that are neither a class nor void:
            ``refuse`` the file, take the ``nearest`` class, or make them ``void``.
        scale: Images are resized by this factor before the model sees them, and its logits back.
        normalization: ``dataset`` subtracts the mean and divides by the deviation of the training
            images, per channel; ``range`` divides by the largest value of the bit depth (A3).
        resize: Height and width in pixels that every image is brought to, distorted where its
            sides have another ratio, as the articles do; logits go back to the image's size.
        contrast: ``stretch`` spreads the values of each image over the whole range (A3).
    """

    path: str | None = None
    format: str | None = None
    split: str | None = None
    split_seed: Annotated[int, Field(ge=0)] = 0
    ignore: tuple[int, ...] = ()
    label_mode: LabelMode | None = None
    strays: Strays | None = None
    scale: Annotated[float, Field(gt=0, le=1)] | None = None
    normalization: Literal["dataset", "range"] = "dataset"
    resize: Size | None = None
    contrast: Literal["none", "stretch"] = "none"


class ModelRecipe(_Section):
    """Which model.

    Attributes:
        name: A registered name.
        arguments: Further arguments of that architecture.
    """

    name: str = "unet-elu"
    arguments: dict[str, Any] = {}


class TrainingRecipe(_Section):
    """How to train.

    Attributes:
        epochs: Passes over the training images. Either this or ``minutes``.
        minutes: Wall-clock budget; the schedule follows the clock. Either this or ``epochs``.
        batch_size: Images per step.
        size: Height and width in pixels of the crops that are trained on, at working scale.
        optimizer: ``adam`` or ``adamw``.
        learning_rate: The highest rate of the schedule.
        betas: Adam's averaging of gradient and squared gradient. 0.95 for the second, against the
            usual 0.999, follows the gradients of a short training faster.
        weight_decay: Of ``adamw``.
        warmup: Share of the training in which the rate rises to its highest.
        schedule: ``cosine`` decay after the warm-up, or ``constant``.
        clip_norm: Gradients are scaled down to this norm; ``None`` leaves them.
        class_weights: ``none``, ``balanced`` (1 / sqrt(frequency), from the data), or one weight
            per class. Of overlapping labels: what its pixels count against those without it.
        monitor: What makes an epoch the best: the validation ``score`` (mean IoU, of equals the
            lower loss), the validation ``loss`` alone, or that it is the ``last``.
        patience: Stop after so many epochs without a better validation score. ``None`` takes a
            third of the epochs, at least 10; with ``minutes`` the budget alone is the end.
        seed: Of weights, order, crops and dropout.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        precision: ``float32`` or ``bfloat16`` (autocast).
    """

    epochs: Positive | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch_size: Positive | None = None
    size: Size | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.25
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    class_weights: Literal["none", "balanced"] | tuple[Weight, ...] | None = None
    monitor: Literal["score", "loss", "last"] = "score"
    patience: Positive | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] | None = None


class AugmentationRecipe(_Section):
    """What is varied in training, jointly on image and mask.

    Attributes:
        orientation: ``fixed`` for text and digits; ``mirrored`` (left and right) for photographs;
            ``free`` (both flips and quarter turns) for pictures from above or through a microscope.
        scale: Smallest and largest factor by which a crop is zoomed.
        brightness: Shift by up to this share of the image's deviation.
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


def load_recipe(path: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: A YAML file; ``None`` starts from the defaults.
        overrides: ``section.key=value``, the value in YAML, such as ``training.epochs=20``.

    Raises:
        ConfigError: The file is missing or no YAML, a key is unknown, or a value is out of range.
    """
    content = read_yaml(path) if path else {}
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
            inside = inside.setdefault(parent, {})
            if not isinstance(inside, dict):
                raise ConfigError(f"{origin}: {parent} must be a section for {key}. Got {inside!r}")
        try:
            inside[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r} must hold a YAML value: {error}") from error
    return validated(Recipe, content, origin)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: The file is missing, no YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} must be a readable YAML file. Got: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values. Got {type(content).__name__}")
    return content


def validated(schema: type[Schema], content: Any, origin: str) -> Schema:
    """Check plain data against a schema, with one line that says what is wrong.

    Args:
        schema: The pydantic model.
        content: What was read.
        origin: Where it was read from, for the message.

    Raises:
        ConfigError: It does not fit; an unknown key gets a suggestion.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        # Where one of several shapes is allowed, the deepest error is of the shape that was meant.
        first = max(error.errors(), key=lambda entry: len(entry["loc"]))
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _keys_at(schema, first["loc"][:-1])
            close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            known_keys = f"Known: {', '.join(known)}" if known else "Leave it out"
            advice = f"Did you mean {close[0]!r}?" if close else known_keys
            raise ConfigError(f"{origin}: {where} must be a known key. {advice}") from error
        got = repr(first["input"])
        raise ConfigError(
            f"{origin}: {where}: {_sentence(first['msg'])}. Got {got[:80]}"
        ) from error


def _keys_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at a place inside a schema."""
    for part in location:
        field = schema.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        schema = inner
    return list(schema.model_fields)


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")
