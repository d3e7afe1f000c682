"""Reads and writes model files: weights and a model card in one safetensors file.

Loading does not execute code from the file. The card is JSON in the metadata and validated by
:class:`ModelCard`; the weights must exactly fit the architecture that it names.
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.files import written_aside
from pixelwise.models import create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.transforms.preprocessing import Preprocessing

METADATA_KEY = "pixelwise"
MODEL_NAME = "model.safetensors"
"""Name of the model file in a run folder."""

FILE_VERSION = 2
"""Version of the layout; increased when older versions of pixelwise cannot read the file."""


class TrainingData(BaseModel):
    """The data that a model was trained on.

    Attributes:
        fingerprint: Hash of names and sizes, see :attr:`Dataset.fingerprint`.
        images: Keys of the training images, see :attr:`Record.key`, to recognize test images that
            were used in training.
        selected_by: Keys of the validation images used to choose epoch and temperature; ``None`` if
            unknown.
        split: Shares of a drawn split; ``None`` if the folder had splits.
        split_seed: Seed of the draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    images: tuple[str, ...]
    selected_by: tuple[str, ...] | None = None
    split: str | None
    split_seed: int


class ModelCard(BaseModel):
    """The content of a model file except for the weights.

    Attributes:
        version: Version of the file's layout.
        architecture: The registered name.
        arguments: Arguments of the architecture besides channels and classes.
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
    in_channels: int
    class_map: ClassMap
    label_mode: LabelMode
    preprocessing: Preprocessing
    training_size: tuple[int, int]
    temperature: float = Field(default=1.0, gt=0)
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
    content = safetensors.torch.save(weights, {METADATA_KEY: card.model_dump_json()})
    with written_aside(path) as aside:
        aside.write_bytes(content)


def load_model_file(path: Path | str) -> tuple[SegmentationModel, ModelCard]:
    """Read a model file.

    Returns:
        The model in evaluation mode, on the CPU, and its card.

    Raises:
        ModelFileError: The file is missing, truncated, of another type, or from a newer pixelwise.
    """
    path = Path(path)
    if path.is_dir() and (path / MODEL_NAME).is_file():
        path = path / MODEL_NAME
    if not path.is_file():
        raise ModelFileError(f"MODEL must be a model file or a run folder. {path} is neither")
    weights = {}
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            description = (opened.metadata() or {}).get(METADATA_KEY)
            for name in opened.keys():  # noqa: SIM118  not a mapping
                weights[name] = opened.get_tensor(name)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} must be a complete safetensors file. It is truncated or of another type "
            f"({error}). Copy it again, or train again"
        ) from error
    if description is None:
        raise ModelFileError(
            f"{path} must be a model file written by pixelwise. It contains weights without their "
            "description. Give the model.safetensors of a run"
        )
    card = _read_card(description, path)
    try:
        model = create_model(
            card.architecture, card.class_map.num_classes, card.in_channels, **card.arguments
        )
        model.load_state_dict(weights, strict=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must contain the weights of the architecture it names, {card.architecture!r}. "
            f"They do not fit: {reason}"
        ) from error
    return model.eval(), card


def _read_card(description: str, path: Path) -> ModelCard:
    try:
        content = json.loads(description)
        version = content.get("version", 0)
        if version > FILE_VERSION:
            raise ModelFileError(
                f"{path} must be of version {FILE_VERSION} or older. Got {version}. "
                "Update pixelwise: pip install -U pixelwise"
            )
        if version == 1:
            raise ModelFileError(
                f"{path} must be of version {FILE_VERSION}. Got version 1 of an earlier pixelwise, "
                "whose model files are no longer read. Train again from the recipe.yaml of its run"
            )
        return ModelCard.model_validate(content)
    except (json.JSONDecodeError, AttributeError, TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must contain a valid description. It does not: {reason}. Copy the file again"
        ) from error
