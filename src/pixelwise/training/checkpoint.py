"""The resume checkpoint: everything that makes the next step what it would have been.

Generators are not in it: chance is seeded again at every step, by seed, epoch and step.
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
    """How far a training has come.

    Attributes:
        data: State of the data set that is trained on; see :attr:`Dataset.state`.
        epoch: The epoch that is being trained, from 0.
        step: Steps done in it.
        elapsed_s: Seconds trained so far, validation included, start-up left out.
        validation_s: Seconds that the last validation took, 0 before the first.
        loss_sum: Sum of the losses of the epoch's images so far.
        loss_images: How many images that were.
        best: Validation mean IoU and negative loss of the kept epoch, compared in this order.
        best_epoch: Which epoch was kept, from 0; ``None`` before the first validation.
        history: One row per finished epoch.
        is_done: The training has reached its end.
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
    """Write the checkpoint of a run, whole or not at all.

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
    """Bring model and optimizer back to where the checkpoint was written.

    Raises:
        ModelFileError: There is no checkpoint, or it is cut or of another run.
    """
    path = folder / CHECKPOINT_NAME
    for leftover in folder.glob(f".{path.stem}-*{path.suffix}"):
        leftover.unlink()  # a kill while writing leaves the half-written file aside
    if not path.is_file():
        raise ModelFileError(
            f"--resume needs the checkpoint {path}. There is none: the run was stopped before "
            f"its first step. Remove {folder} and start again"
        )
    try:
        # weights_only: nothing but tensors and plain data is unpickled, so no code runs.
        content = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        return Progress(**content["progress"])
    except Exception as error:  # torch raises many kinds for a file that it cannot read
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} must be the checkpoint of this run. It cannot be used: {reason}. "
            "Start the run again in another folder"
        ) from error
