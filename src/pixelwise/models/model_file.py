"""Reads and writes model files: weights and a model card in one safetensors file.

Loading does not execute code from the file, and it does not import the module of a model from
outside pixelwise: that is done before, or the class is given. The card is JSON in the metadata and
validated by :class:`ModelCard`; the weights must exactly fit the architecture that it names.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.files import as_path, readable, utf8_path, written_aside
from pixelwise.models.base import SegmentationModel
from pixelwise.models.creation import GivenModel, build_model
from pixelwise.models.lookup import find_builder
from pixelwise.models.outline import outlined
from pixelwise.schemas import parse_json
from pixelwise.transforms.preprocessing import Preprocessing

METADATA_KEY = "pixelwise"
CHECKSUM_KEY = "sha256"
"""Last key of the description; its hash covers all keys before it, and the weights."""

MODEL_NAME = "model.safetensors"
"""Name of the model file in a run folder."""

FILE_VERSION = 3
"""Version of the layout; increased when other versions of pixelwise cannot read the file."""

MAX_DESCRIPTION = 2**26
"""Maximum length of a card in characters; it lists the training images, 100,000 in about 10 MB."""

MAX_DESCRIPTION_ENTRIES = 2**22
"""Maximum number of entries of a card."""

MAX_ARGUMENT = 1024
"""Whole numbers among the arguments of an architecture are at most this, or the largest side of the
weights, so that a small file cannot ask for a large network."""


class TrainingData(BaseModel):
    """The data that a model was trained on.

    Attributes:
        fingerprint: Hash of names and sizes, see :attr:`Dataset.fingerprint`.
        images: Keys of the training images, see :attr:`Record.key`, to recognize test images that
            were used in training; ``None`` if unknown.
        selected_by: Keys of the validation images used to choose epoch and temperature; ``None`` if
            unknown.
        split: Shares of a drawn split; ``None`` if the folder had splits.
        split_seed: Seed of the draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    images: tuple[str, ...] | None
    selected_by: tuple[str, ...] | None = None
    split: str | None
    split_seed: int


class ModelCard(BaseModel):
    """The content of a model file except for the weights.

    Attributes:
        version: Version of the file's layout.
        architecture: The registered name, or ``module:QualName`` of a class that is not registered;
            with ``(...)`` behind it if an instance is needed to build it.
        arguments: Arguments of the architecture besides channels and classes.
        defined_in: The module that makes the architecture known when it is imported, for messages;
            ``None`` for those of pixelwise.
        in_channels: Channels of the images.
        class_map: The classes.
        label_mode: One class per pixel, or one sigmoid per class.
        preprocessing: Preprocessing of the images.
        training_size: Height and width of the training crops, at working scale.
        temperature: Divisor of the logits for calibrated probabilities, fitted on the validation
            split. It does not affect the predicted classes.
        metrics: Metrics on the validation split at the selected epoch, as in ``evaluate --json``;
            ``None`` if training stopped before the first evaluation.
        data: The training data.
        versions: Versions of pixelwise, torch and Python.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = FILE_VERSION
    architecture: str
    arguments: dict[str, Any] = {}
    defined_in: str | None = None
    in_channels: int
    class_map: ClassMap
    label_mode: LabelMode
    preprocessing: Preprocessing
    training_size: tuple[int, int]
    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
    metrics: dict[str, Any] | None
    data: TrainingData
    versions: dict[str, str]

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        lengths = {len(self.preprocessing.mean), len(self.preprocessing.std)}
        if lengths != {self.in_channels}:
            raise ValueError(f"mean and std must be {self.in_channels} numbers, one per channel")
        return self


def current_versions() -> dict[str, str]:
    """Return the versions of pixelwise, torch and Python."""
    return {
        "pixelwise": metadata.version("pixelwise"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def save_model_file(path: Path, model: SegmentationModel, card: ModelCard) -> None:
    """Write a model file atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    # Earlier versions of pixelwise do not know this entry, and need not for their own models.
    unused = {"defined_in"} if card.defined_in is None else None
    description = card.model_dump_json(exclude=unused)
    content = safetensors.torch.save(weights, {METADATA_KEY: _with_checksum(description, weights)})
    with written_aside(path) as aside:
        aside.write_bytes(content)


def load_model_file(
    path: Path | str, model: GivenModel | None = None
) -> tuple[SegmentationModel, ModelCard]:
    """Read a model file.

    Args:
        path: The file, or the folder of a run.
        model: The class of the model, or an instance, which is copied; needed only for a model from
            outside pixelwise that is not registered and whose module is not imported.

    Returns:
        The model in evaluation mode, on the CPU, and its card.

    Raises:
        ModelFileError: The file is missing, truncated, of another type, or from a newer pixelwise,
            or its architecture is not known here.
    """
    path = model_file_at(path)
    description, weights = read_parts(path)
    card = parse_card(description, path)
    _check_content(path, description, weights)
    if model is None and card.defined_in is not None:
        try:
            find_builder(card.architecture, card.defined_in)
        except ConfigError as error:
            raise ModelFileError(f"{path} cannot be loaded: {error}") from error
    arguments = {} if isinstance(model, nn.Module) else card.arguments
    try:
        if model is None and card.defined_in is None:
            _check_sizes(card, weights)
        built = build_model(
            card.architecture if model is None else model,
            card.class_map.num_classes,
            card.in_channels,
            arguments,
            is_fresh=False,
        )
        built.load_state_dict(weights, strict=True)
    except (ConfigError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must contain the weights of the architecture it names, {card.architecture!r}. "
            f"They do not fit: {reason}"
        ) from error
    return built.eval(), card


def load_card(path: Path | str) -> ModelCard:
    """Read the card of a model file, whether or not its architecture is known here.

    Args:
        path: The file, or the folder of a run.

    Raises:
        ModelFileError: The file is missing, truncated, of another type, or from a newer pixelwise.
    """
    path = model_file_at(path)
    description, _ = read_parts(path, with_weights=False)
    return parse_card(description, path)


def model_file_at(path: Path | str) -> Path:
    """Return the model file at a path, which may be the folder of a run."""
    path = as_path(path, "model")
    with readable(path, ModelFileError):
        if path.is_dir() and (path / MODEL_NAME).is_file():
            path = path / MODEL_NAME
        if not path.is_file():
            raise ModelFileError(f"`model` must be a model file or a run folder. {path} is neither")
    return path


def read_parts(path: Path, *, with_weights: bool = True) -> tuple[str, dict[str, Tensor]]:
    """Return the description of a model file as text, and its weights; neither is checked.

    Raises:
        ModelFileError: The file is missing, truncated or of another type.
    """
    weights = {}
    with readable(path, ModelFileError), path.open("rb"):
        pass  # safetensors says of a file that it may not open that there is none
    try:
        with utf8_path(path) as name, safetensors.safe_open(name, framework="pt") as opened:
            description: str | None = (opened.metadata() or {}).get(METADATA_KEY)
            for key in opened.keys() if with_weights else ():
                weights[key] = opened.get_tensor(key)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} must be a complete safetensors file. It is truncated or of another type "
            f"({error}). Copy it again, or train again"
        ) from error
    if description is None or len(description) > MAX_DESCRIPTION:
        found = "weights without" if description is None else "weights with too long a text as"
        raise ModelFileError(
            f"{path} must be a model file written by pixelwise. It contains {found} their "
            "description. Give the model.safetensors of a run"
        )
    return description, weights


def _check_content(path: Path, description: str, weights: Mapping[str, Tensor]) -> None:
    """Check that nothing in a file has changed since it was written, and that it has numbers.

    Raises:
        ModelFileError: The content is not what was written, or a weight is not finite.
    """
    if not has_right_checksum(description, weights):
        raise ModelFileError(
            f"{path} must be as pixelwise wrote it. Its checksum differs: the file was damaged or "
            "edited. Copy it again, or train again"
        )
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelFileError(
                f"{path} must contain finite weights. {name} has values that are not: the training "
                "diverged. Train again, with a lower learning rate"
            )


def has_right_checksum(description: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether description and weights are what :func:`save_model_file` wrote."""
    body = description.rpartition(f',"{CHECKSUM_KEY}":')[0] + "}"
    return description == _with_checksum(body, weights)


def _with_checksum(description: str, weights: Mapping[str, Tensor]) -> str:
    """Add a hash of a JSON object, and of all weights with their names, types and shapes, to it."""
    digest = hashlib.sha256(description.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return f'{description[:-1]},"{CHECKSUM_KEY}":"{digest.hexdigest()}"}}'


def _check_sizes(card: ModelCard, weights: Mapping[str, Tensor]) -> None:
    """Check the shapes of an architecture before memory is allocated for it.

    Raises:
        ConfigError: It would not take the weights.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    limit = max(MAX_ARGUMENT, len(shapes), *(side for shape in shapes.values() for side in shape))
    for number in _whole_numbers(card.arguments):
        if abs(number) > limit:
            raise ConfigError(f"an argument is {number}, for weights of at most {limit}")
    outline = outlined(
        card.architecture, card.class_map.num_classes, card.in_channels, card.arguments
    )
    wanted = {name: tuple(tensor.shape) for name, tensor in outline.state_dict().items()}
    different = sorted(
        name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name)
    )
    if different:
        name = different[0]
        raise ConfigError(
            f"{len(different)} weights differ, such as {name}: {shapes.get(name, 'missing')} in "
            f"the file, {wanted.get(name, 'missing')} in the architecture"
        )


def _whole_numbers(value: Any) -> Iterator[int]:
    """Yield all whole numbers in nested JSON values."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _whole_numbers(entry)
    elif isinstance(value, int):
        yield value


def parse_card(description: str, path: Path) -> ModelCard:
    """Return the card in the description of a model file.

    Raises:
        ModelFileError: It is no valid card, or that of another version.
    """
    try:
        content = parse_json(description, MAX_DESCRIPTION_ENTRIES)
        version = content.get("version", 0)
        if version > FILE_VERSION:
            raise ModelFileError(
                f"{path} must be of version {FILE_VERSION} or older. Got {version}. "
                "Update pixelwise: pip install -U pixelwise"
            )
        if version in range(1, FILE_VERSION):
            raise ModelFileError(
                f"{path} must be of version {FILE_VERSION}. Got version {version} of an earlier "
                "pixelwise, whose model files are no longer read. Train again from the recipe.yaml "
                "of its run"
            )
        content.pop(CHECKSUM_KEY, None)
        return ModelCard.model_validate(content)
    except ModelFileError:
        raise
    except (ValueError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must contain a valid description. It does not: {reason}. Copy the file again"
        ) from error
