"""Averages a loss over images."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.losses.base import Loss


class MeanLoss:
    """The mean of a loss over images, each taken as a batch of its own.

    Args:
        loss: The loss.
        label_mode: Label mode of the masks.
    """

    def __init__(self, loss: Loss, label_mode: LabelMode) -> None:
        self._loss = loss
        self._mode = mode_of(label_mode)
        self._sum = 0.0
        self._count = 0

    def add(self, logits: Tensor, mask: UInt8Array) -> None:
        """Add one image.

        Args:
            logits: float32 (K, H, W), on any device.
            mask: As in a sample.
        """
        valid = torch.ones(1, *logits.shape[-2:], dtype=torch.bool)
        target = self._mode.loss_target(torch.from_numpy(mask)[None], valid).to(logits.device)
        with torch.no_grad():
            self._sum += self._loss(logits[None], target).item()
        self._count += 1

    @property
    def mean(self) -> float:
        """The mean over the images so far; not a number without any."""
        return self._sum / self._count if self._count else float("nan")
