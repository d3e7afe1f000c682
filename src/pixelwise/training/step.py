"""One training step: computes the loss of a batch in the chosen precision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.config import AugmentationRecipe
from pixelwise.data.batches import Batch
from pixelwise.devices import MEMORY_FORMATS, MemoryFormat, Precision
from pixelwise.label_modes import mode_of
from pixelwise.losses.base import Loss
from pixelwise.models.base import SegmentationModel
from pixelwise.transforms.augmentation import jitter
from pixelwise.transforms.preprocessing import Normalize, Preprocessing


def network_input(
    image: Tensor,
    normalize: Normalize,
    augmentation: AugmentationRecipe,
    rng: np.random.Generator,
    *,
    std: float,
) -> Tensor:
    """Normalize a batch and vary its brightness and contrast.

    Args:
        image: (N, C, H, W), in stored units.
        normalize: The normalization, on the device of the batch.
        augmentation: Strength of the variation; all entries are filled in.
        rng: The random generator.
        std: Standard deviation of the normalized training images.

    Returns:
        float32 of the same shape, on the same device.
    """
    return jitter(normalize(image), augmentation, rng, std=std)


@dataclass(frozen=True)
class TrainingStep:
    """The model and settings of a training step.

    Attributes:
        model: The network, on its device.
        device: The device of the model.
        label_mode: Label mode of the masks.
        preprocessing: Provides mean and standard deviation per channel.
        augmentation: Variation of brightness and contrast; all entries are filled in.
        std: Standard deviation of the normalized training images.
        criterion: The loss.
        class_weights: Class weights of the loss, (K,) on the device; ``None`` without weights.
        precision: ``float32`` or ``bfloat16`` (autocast).
        memory_format: Memory format of images and weights.
    """

    model: SegmentationModel
    device: torch.device
    label_mode: LabelMode
    preprocessing: Preprocessing
    augmentation: AugmentationRecipe
    std: float
    criterion: Loss
    class_weights: Tensor | None
    precision: Precision
    memory_format: MemoryFormat

    @cached_property
    def normalize(self) -> Normalize:
        """The normalization, moved to the device once and not at every step."""
        return Normalize(self.preprocessing).to(self.device)

    def arrange(self) -> None:
        """Convert the weights to the chosen memory format."""
        self.model.to(memory_format=MEMORY_FORMATS[self.memory_format])

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the loss of one batch, including auxiliary outputs.

        Args:
            batch: The batch, on the CPU.
            rng: Random generator for brightness and contrast.

        Returns:
            Scalar, float32, on the device.
        """
        fields = (batch.image, batch.mask, batch.valid)
        image, mask, valid = (tensor.to(self.device, non_blocking=True) for tensor in fields)
        image = network_input(image, self.normalize, self.augmentation, rng, std=self.std)
        image = image.contiguous(memory_format=MEMORY_FORMATS[self.memory_format])
        in_bfloat16 = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bfloat16):
            outputs = self.model.training_logits(image)
        target = mode_of(self.label_mode).loss_target(mask, valid)
        shares = (1.0, *self.model.auxiliary_weights)
        losses = [
            share * self.criterion(logits.float(), target)  # in float32 also under autocast
            for share, logits in zip(shares, outputs, strict=True)
        ]
        return torch.stack(losses).sum()
