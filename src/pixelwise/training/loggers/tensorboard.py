"""The logger ``tensorboard``: event files in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.training.loggers.base import RunLogger, register_logger

FOLDER_NAME = "tensorboard"
"""Folder of the event files in a run folder; ``tensorboard --logdir runs`` shows all runs."""


@register_logger("tensorboard")
class TensorBoardLogger(RunLogger):
    """Writes event files into the folder ``tensorboard`` of the run; nothing leaves the machine."""

    package = "tensorboard"
    extra = "tensorboard"
    _writer: Any

    def start(self, folder: Path, recipe: str) -> None:
        """Open an event file; a resumed run gets a further one, which continues its curves."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER_NAME))
        # Indented lines are shown as they are written.
        self._writer.add_text("recipe", "\n".join(f"    {line}" for line in recipe.splitlines()))

    def scalars(self, values: Mapping[str, float], axis: str, position: int) -> None:
        """Write each number as a curve over its axis."""
        del axis  # each curve has positions of its own
        for name, value in values.items():
            self._writer.add_scalar(name, value, position)

    def picture(self, path: Path, epoch: int) -> None:
        """Write a picture under its file name."""
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer.add_image(path.stem, pixels, epoch, dataformats="HWC")

    def close(self, status: str) -> None:
        """Write what is pending."""
        del status
        self._writer.close()
