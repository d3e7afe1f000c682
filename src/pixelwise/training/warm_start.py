"""Starts a training from the weights of a run, a model file or another library's file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.files import as_path, utf8_path
from pixelwise.models import create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.models.lookup import INSTANCE
from pixelwise.models.model_file import MODEL_NAME, load_card
from pixelwise.text import amount

PICKLED = (".pth", ".pt", ".bin")
"""Files that torch writes; only tensors and plain data are unpickled from them."""

INSIDE = ("state_dict", "model_state_dict", "model", "model_ema")
"""Keys under which checkpoints of other libraries hold their weights."""

MIN_SHARE = 0.01
"""Minimum share of a model's weights to start from; fewer are a coincidence, or another model."""

ALMOST_ALL = 0.999

MAX_LISTED = 6
"""Number of tensors named in a message."""


@dataclass(frozen=True)
class WarmStart:
    """The weights that a model took over from a file.

    Attributes:
        path: The file.
        num_loaded: Number of tensors taken over.
        share: Share of the model's values that were taken over, 0 to 1.
        new: Names of the model's tensors that keep their initial values.
        unused: Names of tensors in the file that the model does not have.
    """

    path: Path
    num_loaded: int
    share: float
    new: tuple[str, ...]
    unused: tuple[str, ...]

    def describe(self) -> str:
        """Return what was taken over in one line."""
        share = f"{self.share:.1%} of the model's weights"
        if self.new and self.share > ALMOST_ALL:
            share = f"over {ALMOST_ALL:.1%} of the model's weights"
        words = f"weights from {self.path}: {amount(self.num_loaded, 'tensor')}, {share}"
        for what, names in (("new", self.new), ("not used", self.unused)):
            if names:
                more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
                words += f"; {what}: {', '.join(names[:MAX_LISTED])}{more}"
        return words


def read_weights(path: Path | str) -> tuple[Path, dict[str, Tensor]]:
    """Read the tensors of a run folder, a model file, or a file of weights.

    Args:
        path: A run folder, ``.safetensors``, or ``.pth``, ``.pt`` or ``.bin`` as torch writes them.

    Returns:
        The file and its tensors by name.

    Raises:
        ModelFileError: The file is missing, damaged, of another type or holds no tensors.
    """
    path = as_path(path, "start_from")
    if (path / MODEL_NAME).is_file():
        path = path / MODEL_NAME
    if not path.is_file():
        raise ModelFileError(f"start_from must be a run folder or a file of weights. Got {path}")
    try:
        if path.suffix in PICKLED:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            with utf8_path(path) as name:
                content = safetensors.torch.load_file(name)
    except Exception as error:  # torch raises many types of errors for unreadable files
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must be a safetensors file, or a .pth, .pt or .bin file that holds only "
            f"tensors. It cannot be read: {reason}"
        ) from error
    tensors = _tensors_in(content)
    if not tensors:
        raise ModelFileError(f"{path} must contain tensors by name. Got none")
    return path, tensors


def _tensors_in(content: Any) -> dict[str, Tensor]:
    """Return the state dict in the content of a file; empty if there is none."""
    if not isinstance(content, Mapping):
        return {}
    for key in INSIDE:
        if isinstance(content.get(key), Mapping):
            return _tensors_in(content[key])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def model_in(path: Path | str) -> dict[str, Any]:
    """Return name and arguments of the model in a run folder or model file, by recipe key.

    They are empty for files of other libraries, and for an instance, which a file cannot describe.
    """
    try:
        card = load_card(path)
    except ModelFileError:
        return {}
    if card.architecture.endswith(INSTANCE):
        return {}
    return {"model.name": card.architecture, "model.arguments": card.arguments}


def start_from(
    model: SegmentationModel, path: Path | str, class_names: tuple[str, ...]
) -> WarmStart:
    """Load those weights of a file into a model that match in name and shape.

    Prefixes may differ: the file of an encoder alone fits into the encoder of a model, and weights
    saved from a wrapper (``module.``, ``network.``) fit without it.

    Args:
        model: The network, with its initial weights.
        path: See :func:`read_weights`.
        class_names: The classes of the model. The head is new unless the file is a model of ours
            with the same classes.

    Raises:
        ModelFileError: The file cannot be read.
        ConfigError: Too few tensors match.
    """
    path, found = read_weights(path)
    own = model.state_dict()
    kept = set() if _classes_in(path) == class_names else _head(model)
    names = _matching_names(own, found)
    taken = {
        name: found[source]
        for name, source in names.items()
        if name not in kept and found[source].shape == own[name].shape
    }
    num_values = sum(tensor.numel() for tensor in own.values())
    num_taken = sum(own[name].numel() for name in taken)
    if num_taken < MIN_SHARE * num_values:
        raise ConfigError(
            f"`start_from` must hold weights of the model {model.name}. {path} has less than "
            f"{MIN_SHARE:.0%} of them, by name and shape: it holds {_some(found)}, and the model "
            f"{_some(own)}. Give the `model` of these weights"
        )
    model.load_state_dict({**own, **taken})
    sources = {names[name] for name in taken}
    return WarmStart(
        path,
        len(taken),
        num_taken / num_values,
        tuple(name for name in own if name not in taken),
        tuple(name for name in found if name not in sources),
    )


def _classes_in(path: Path) -> tuple[str, ...] | None:
    """Return the classes of a model file; ``None`` for files of other libraries."""
    try:
        return load_card(path).class_map.names
    except ModelFileError:
        return None


def _head(model: SegmentationModel) -> set[str]:
    """Return the names of the tensors whose shapes depend on the number of classes."""
    with torch.device("meta"):
        other = create_model(
            model.name, model.num_classes + 1, model.in_channels, **model.arguments
        )
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    own = model.state_dict()
    return {name for name, tensor in own.items() if shapes.get(name) != tensor.shape}


def _matching_names(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the name in the file for each name of the model, after one change of prefix.

    The change is the one after which most tensors match in name and shape.
    """
    by_end: dict[str, list[str]] = {}
    for name in own:
        for end in _ends(name):
            by_end.setdefault(end, []).append(name)
    votes: Counter[tuple[str, str]] = Counter()
    for source, tensor in found.items():
        for end in _ends(source):
            for name in by_end.get(end, ()):
                if own[name].shape == tensor.shape:
                    votes[source.removesuffix(end), name.removesuffix(end)] += 1
    if not votes:
        return {}
    most = max(votes.values())
    # The shortest of equally good changes: longer ones only drop parts that both names share.
    before, after = min((pair for pair, count in votes.items() if count == most), key=_length)
    renamed = {
        after + source.removeprefix(before): source for source in found if source.startswith(before)
    }
    return {name: source for name, source in renamed.items() if name in own}


def _ends(name: str) -> list[str]:
    """Return the endings of a dotted name, the whole name first."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _length(prefixes: tuple[str, str]) -> int:
    return sum(map(len, prefixes))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
