"""Shows what a model file, checkpoint, card or recipe says; nothing is built or run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pixelwise.classes import ClassMap
from pixelwise.config import Recipe
from pixelwise.data.card import CARD_NAME, DatasetCard
from pixelwise.errors import ConfigError, ModelFileError, in_one_line
from pixelwise.files import as_path, readable
from pixelwise.io.quiet import quietly
from pixelwise.models.model_file import (
    MODEL_NAME,
    ModelCard,
    has_right_checksum,
    parse_card,
    read_parts,
)
from pixelwise.schemas import bounded, read_yaml, validated
from pixelwise.text import amount, listed
from pixelwise.training import checkpoint

Kind = Literal["model file", "checkpoint", "dataset card", "recipe"]

MOST_NAMES = 30
"""Number of class names that are listed."""

MOST_ENTRIES = 10**6
"""Maximum number of entries in the progress of a checkpoint."""

_ARCHIVE = b"PK\x03\x04"
"""First bytes of the ZIP archives that torch writes."""


@dataclass(frozen=True)
class Inspection:
    """What a file says about itself.

    Attributes:
        path: The file.
        kind: What it is.
        num_bytes: Its size.
        is_intact: Whether its checksum is right; ``None`` for files without one.
        facts: Plain data by topic.
    """

    path: Path
    kind: Kind
    num_bytes: int
    is_intact: bool | None
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "bytes": self.num_bytes,
            "checksum": _CHECKSUMS[self.is_intact],
            **self.facts,
        }

    def lines(self) -> Iterator[str]:
        """Yield the text that ``pixelwise inspect`` prints."""
        yield f"{self.path}: {self.kind}, {amount(self.num_bytes, 'byte')}"
        if self.is_intact is not None:
            advice = "" if self.is_intact else ": the file was damaged or edited"
            yield f"checksum: {_CHECKSUMS[self.is_intact]}{advice}"
        for topic, value in self.facts.items():
            if value is not None and value not in ({}, [], ""):
                yield f"{topic.replace('_', ' ')}: {_in_words(value)}"


_CHECKSUMS = {True: "right", False: "wrong", None: None}


def inspect(path: Path | str) -> Inspection:
    """Return what a file says about itself; no code of it is run, and no network is built.

    Args:
        path: A model file, a checkpoint ``last.ckpt``, a dataset card, a recipe, or a folder that
            holds a model file or a card.

    Raises:
        ModelFileError: The file is damaged so that it cannot be shown, or of another kind.
        ConfigError: The file is missing, or no valid card or recipe.
    """
    path = as_path(path, "file")
    with readable(path, ModelFileError):
        return _inspected(path)


def _inspected(path: Path) -> Inspection:
    if path.is_dir():
        inside = (path / name for name in (MODEL_NAME, CARD_NAME))
        path = next((file for file in inside if file.is_file()), path)
    if not path.is_file():
        raise ConfigError(
            "`file` must be a model file, a checkpoint, a dataset card or a recipe, or a folder "
            f"with one. {path} is none"
        )
    if path.suffix.lower() in (".yaml", ".yml"):
        return _of_yaml(path)
    with path.open("rb") as file:
        is_archive = file.read(len(_ARCHIVE)) == _ARCHIVE
    return _of_checkpoint(path) if is_archive else _of_model_file(path)


def _of_model_file(path: Path) -> Inspection:
    description, weights = read_parts(path)
    card = parse_card(description, path)
    facts = {
        "version": card.version,
        "architecture": card.architecture,
        "arguments": card.arguments,
        "defined_in": card.defined_in,
        "classes": list(card.class_map.names),
        "stored_values": _values(card.class_map),
        "label_mode": card.label_mode,
        "bands": card.in_channels,
        "training_size": list(card.training_size),
        "preprocessing": card.preprocessing.model_dump(mode="json", exclude_defaults=True),
        "temperature": card.temperature,
        "metrics": _metrics(card),
        "training": {
            "fingerprint": card.data.fingerprint,
            "images": _count(card.data.images),
            "selected_by": _count(card.data.selected_by),
            "split": card.data.split,
            "split_seed": card.data.split_seed,
        },
        "weights": _sizes(weights),
        "versions": card.versions,
    }
    is_intact = has_right_checksum(description, weights)
    return Inspection(path, "model file", path.stat().st_size, is_intact, facts)


def _of_checkpoint(path: Path) -> Inspection:
    content = path.read_bytes()
    try:
        with quietly:  # torch warns about damaged files
            loaded = checkpoint.unpacked(content)
        progress = bounded(dict(loaded["progress"]), MOST_ENTRIES)
        facts = {
            "epoch": progress["epoch"],
            "step": progress["step"],
            "is_done": progress["is_done"],
            "training_seconds": progress["elapsed_s"],
            "best_epoch": _counted_from_one(progress["best_epoch"]),
            "last_epoch": progress["history"][-1] if progress["history"] else None,
            "data": progress["data"],
            "weights": _sizes(dict(_tensors(loaded["model"]))),
            "parts": sorted(map(str, loaded)),
        }
    except Exception as error:  # torch raises many types of errors for unreadable files
        raise ModelFileError(
            f"{path} must be a checkpoint that pixelwise wrote. It cannot be read: "
            f"{in_one_line(error)}"
        ) from error
    is_intact = checkpoint.has_right_checksum(content)
    return Inspection(path, "checkpoint", len(content), is_intact, facts)


def _counted_from_one(epoch: int | None) -> int | None:
    """Return the number of an epoch as everything that people read has it."""
    return None if epoch is None else epoch + 1


def _of_yaml(path: Path) -> Inspection:
    """Return what a card or a recipe says: a recipe has only sections."""
    content = read_yaml(path)
    size = path.stat().st_size
    if content and set(content) <= set(Recipe.model_fields) and set(content) != {"augmentation"}:
        recipe = validated(Recipe, content, str(path))
        said = recipe.model_dump(mode="json", exclude_defaults=True)
        return Inspection(path, "recipe", size, None, said)
    card = validated(DatasetCard, content, str(path))
    class_map = card.class_map(path)
    facts = card.model_dump(mode="json", exclude_none=True, exclude={"classes", "splits"})
    if class_map is not None:
        facts["classes"] = list(class_map.names)
        facts["stored_values"] = _values(class_map)
    if card.splits is not None:
        facts["splits"] = {name: len(images) for name, images in card.splits.items()}
    return Inspection(path, "dataset card", size, None, facts)


def _values(class_map: ClassMap) -> list[int] | None:
    """Return the stored values of the classes; ``None`` if these are the ids."""
    values = list(class_map.values)
    return None if values == list(range(class_map.num_classes)) else values


def _metrics(card: ModelCard) -> dict[str, Any] | None:
    """Return the headline metrics with their intervals, and the IoU of each class."""
    if card.metrics is None:
        return None
    numbers = {
        name: value for name, value in card.metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }  # fmt: skip
    rows = card.metrics.get("per_class")
    named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {
        **numbers,
        "intervals": card.metrics.get("intervals", {}),
        "iou": {str(row.get("name")): row.get("iou") for row in named},
    }


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the number of weights, their bytes and types."""
    types = Counter[str]()
    for tensor in weights.values():
        types[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return {
        "tensors": len(weights),
        "numbers": sum(types.values()),
        "bytes": sum(tensor.nbytes for tensor in weights.values()),
        "types": dict(types),
    }


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state."""
    for name, value in dict(content).items():
        if isinstance(value, Tensor):
            yield str(name), value


def _count(keys: tuple[str, ...] | None) -> int | None:
    return None if keys is None else len(keys)


def _in_words(value: Any) -> str:
    """Return plain data in one line."""
    if isinstance(value, Mapping):
        inside = ((key, held) for key, held in value.items() if held not in (None, {}, []))
        return ", ".join(f"{str(key).replace('_', ' ')} {_within(held)}" for key, held in inside)
    if isinstance(value, list):
        return listed([*map(_within, value)], MOST_NAMES)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _within(value: Any) -> str:
    return f"({_in_words(value)})" if isinstance(value, Mapping | list) else _in_words(value)
