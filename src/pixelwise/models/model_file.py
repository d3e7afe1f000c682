"""The model file: one safetensors file with weights and all that is needed to use them.

Loading runs no code from the file. The description is JSON under one key of the metadata, checked
against :class:`ModelCard`; the weights must fit the architecture that it names, exactly.
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
"""Of the model file in a run's folder."""

FILE_VERSION = 1
"""Raised when an older pixelwise could no longer read the file."""


class TrainingData(BaseModel):
    """Which data a model was trained on.

    Attributes:
        fingerprint: Hash of names and sizes, as :attr:`Dataset.fingerprint`.
        images: The keys of the images that were trained on, as :attr:`Record.key`, so that a test
            image can be told from one that was seen.
        selected_by: The keys of the validation images, by which epoch and temperature were chosen;
            ``None`` where the file does not say.
        split: The shares of a drawn split, ``None`` where the folder gave them.
        split_seed: The seed of the draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    images: tuple[str, ...]
    selected_by: tuple[str, ...] | None = None
    split: str | None
    split_seed: int


class ModelCard(BaseModel):
    """Everything in a model file but the weights.

    Attributes:
        version: Of the file's layout.
        architecture: The registered name.
        arguments: What the architecture is built with, beside channels and classes.
        in_channels: Channels of the images.
        class_map: The classes.
        label_mode: One class per pixel, or one sigmoid per class.
        preprocessing: What happens to an image first.
        training_size: Height and width of the crops that it was trained on, at working scale.
        temperature: Logits are divided by it before they become probabilities, so that these mean
            what they say; fitted on the validation split. What is predicted does not depend on it.
        metrics: Of the validation split at the epoch that was kept, as ``evaluate --json`` says
            them; ``None`` where training was stopped before there were any.
        data: What it was trained on.
        versions: Of pixelwise, torch and Python.
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
    """The versions that matter for a model, by name."""
    return {
        "pixelwise": metadata.version("pixelwise"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def save_model_file(path: Path, model: SegmentationModel, card: ModelCard) -> None:
    """Write a model file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
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
        ModelFileError: The file is missing, cut, of another kind, or made by a newer pixelwise.
    """
    path = Path(path)
    if path.is_dir() and (path / MODEL_NAME).is_file():
        path = path / MODEL_NAME
    if not path.is_file():
        raise ModelFileError(f"MODEL must be a model file or a run folder. {path} is none")
    weights = {}
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            description = (opened.metadata() or {}).get(METADATA_KEY)
            for name in opened.keys():  # noqa: SIM118  it is no mapping
                weights[name] = opened.get_tensor(name)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} must be a whole safetensors file. It is cut or of another kind ({error}). "
            "Copy it again, or train again"
        ) from error
    if description is None:
        raise ModelFileError(
            f"{path} must be a model file written by pixelwise. It holds weights without their "
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
            f"{path} must hold the weights of the architecture it names, {card.architecture!r}. "
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
        return ModelCard.model_validate(content)
    except (json.JSONDecodeError, AttributeError, TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must hold a valid description. It does not: {reason}. Copy the file again"
        ) from error
