"""The checkpoint for an exact resume of a training run.

It needs no generator states: random numbers are seeded at every step by seed, epoch and step.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixelwise.errors import ModelFileError
from pixelwise.files import written_aside

CHECKPOINT_NAME = "last.ckpt"


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


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write the checkpoint of a run atomically.

    Raises:
        OutputError: It cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "progress": vars(progress),
        },
        buffer,
    )
    with written_aside(folder / CHECKPOINT_NAME) as aside:
        aside.write_bytes(buffer.getbuffer())


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore model and optimizer from the checkpoint.

    Raises:
        ModelFileError: The checkpoint is missing, truncated, or from another run.
    """
    path = folder / CHECKPOINT_NAME
    for leftover in folder.glob(f".{path.stem}-*{path.suffix}"):
        leftover.unlink()  # a kill while writing leaves a partial temporary file
    if not path.is_file():
        raise ModelFileError(
            f"--resume needs the checkpoint {path}. It does not exist: the run was stopped before "
            f"its first step. Remove {folder} and start again"
        )
    try:
        # weights_only: only tensors and plain data are unpickled, so no code is executed.
        content = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        return Progress(**content["progress"])
    except Exception as error:  # torch raises many types of errors for unreadable files
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must be the checkpoint of this run. It cannot be used: {reason}. "
            "Start the run again in another folder"
        ) from error
