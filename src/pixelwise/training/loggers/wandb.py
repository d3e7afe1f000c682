"""The logger ``wandb``: a run of Weights & Biases, offline by default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pixelwise.training.loggers.base import RunLogger, register_logger

PROJECT = "pixelwise"


@register_logger("wandb")
class WandbLogger(RunLogger):
    """Writes a run of Weights & Biases into ``wandb/`` of the run folder.

    It is offline: ``wandb sync`` uploads it later. Where the environment variable ``WANDB_MODE`` is
    set, that mode is used; ``WANDB_PROJECT`` names another project.
    """

    package = "wandb"
    steps_per_value = 10
    _run: Any

    def start(self, folder: Path, recipe: str) -> None:
        """Begin a run that is called as the folder; a resumed run is a further one."""
        # Offline, too, its errors would be reported to its makers.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._run = wandb.init(
            mode=os.environ.get("WANDB_MODE", "offline"),
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            name=folder.name,
            config=yaml.safe_load(recipe),
        )
        for axis in ("step", "epoch"):
            self._run.define_metric(f"{axis}/*", step_metric=axis)

    def scalars(self, values: Mapping[str, float], axis: str, position: int) -> None:
        """Write all numbers in one call, over their own axis."""
        self._run.log({**values, axis: position})

    def picture(self, path: Path, epoch: int) -> None:
        """Write a picture under its file name."""
        import wandb

        self._run.log({path.stem: wandb.Image(str(path)), "epoch": epoch})

    def close(self, status: str) -> None:
        """End the run; one that failed or was interrupted has exit code 1."""
        self._run.finish(exit_code=0 if status == "finished" else 1)
