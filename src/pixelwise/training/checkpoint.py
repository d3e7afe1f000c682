"""The checkpoint for an exact resume of a training run.

It needs no generator states: random numbers are seeded at every step by seed, epoch and step.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pixelwise.errors import ModelFileError
from pixelwise.files import written_aside

CHECKPOINT_NAME = "last.ckpt"

_COMMENT_BYTES = len("sha256:") + 64
"""Length of the checksum, the comment of the ZIP archive that torch writes."""

_NO_COMMENT = b"\0\0"  # the length of the comment, which ends an archive without one


@dataclass
class Progress:
    """The progress of a training run.

    Attributes:
        data: State of the training data; see :attr:`Dataset.state`.
        epoch: The current epoch, counted from 0.
        step: Number of finished steps in it.
        elapsed_s: Training time so far in seconds, including validation, without start-up.
        validation_s: Duration of the last validation in seconds, 0 before the first.
        loss_sum: Sum of the losses of the epoch's images so far.
        loss_images: Number of these images.
        best: Rank of the best epoch under ``training.monitor``; tuples are compared in order.
        best_epoch: The best epoch, counted from 0; ``None`` before the first validation.
        history: One row per finished epoch.
        is_done: Whether the training has finished.
    """

    data: str
    epoch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    validation_s: float = 0.0
    loss_sum: float = 0.0
    loss_images: int = 0
    best: Sequence[float] | None = None
    best_epoch: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    is_done: bool = False


class Stateful(Protocol):
    """A part of a training whose state is saved: network, optimizer or averaged network."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Restore the state."""


def save_checkpoint(folder: Path, parts: Mapping[str, Stateful], progress: Progress) -> None:
    """Write the checkpoint of a run atomically.

    Args:
        folder: The run folder.
        parts: The parts to save, by name.
        progress: The progress.

    Raises:
        OutputError: It cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(
        {name: part.state_dict() for name, part in parts.items()} | {"progress": vars(progress)},
        buffer,
    )
    with written_aside(folder / CHECKPOINT_NAME) as aside:
        aside.write_bytes(_with_checksum(buffer.getvalue()))


def load_checkpoint(folder: Path, parts: Mapping[str, Stateful]) -> Progress:
    """Restore the parts of a training from the checkpoint.

    Args:
        folder: The run folder.
        parts: The parts that were saved, by name.

    Raises:
        ModelFileError: The checkpoint is missing, truncated, or from another run.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        raise ModelFileError(
            f"`resume=True` needs the checkpoint {path}. It does not exist. "
            "Restore it, or start a new run"
        )
    try:
        content = read_checkpoint(path)
        for name, part in parts.items():
            part.load_state_dict(content[name])
        return Progress(**content["progress"])
    except ModelFileError:
        raise
    except Exception as error:  # torch raises many types of errors for unreadable files
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must be the checkpoint of this run. It cannot be used: {reason}. "
            "Start the run again in another folder"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint: the states of the parts, and ``"progress"``.

    Raises:
        ModelFileError: It is damaged, or of an earlier pixelwise.
        Exception: It is no checkpoint; torch raises many types of errors.
    """
    content = path.read_bytes()
    if not has_right_checksum(content):
        raise ModelFileError(
            f"{path} must be as pixelwise wrote it. Its checksum is missing or differs: the file "
            "was damaged, or an earlier pixelwise wrote it. Restore it, or start a new run"
        )
    return unpacked(content)


def unpacked(content: bytes) -> dict[str, Any]:
    """Return what the bytes of a checkpoint hold, right or wrong; no code of them is executed.

    Raises:
        Exception: They are no checkpoint; torch raises many types of errors.
    """
    # weights_only: only tensors and plain data are unpickled.
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


def has_right_checksum(content: bytes) -> bool:
    """Whether the content of a checkpoint is what :func:`save_checkpoint` wrote."""
    start = len(content) - _COMMENT_BYTES
    return start > 0 and content == _with_checksum(content[: start - 2] + _NO_COMMENT)


def _with_checksum(archive: bytes) -> bytes:
    """Return a ZIP archive without a comment with one: its own hash."""
    comment = f"sha256:{hashlib.sha256(archive).hexdigest()}".encode()
    return archive[: -len(_NO_COMMENT)] + struct.pack("<H", len(comment)) + comment
