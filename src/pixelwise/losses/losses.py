"""Losses and class weights, as defined by the label mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.errors import ConfigError
from pixelwise.label_modes import mode_of


def batch_loss(
    logits: Tensor,
    mask: Tensor,
    valid: Tensor,
    label_mode: LabelMode,
    class_weights: Tensor | None,
) -> Tensor:
    """Compute the loss of a batch in float32, as defined by the label mode.

    Args:
        logits: Raw scores, (N, K, H, W), of any float type.
        mask: Multiclass: uint8 (N, H, W) class ids, 255 is ignored. Multilabel: uint8 (N, K, H, W).
        valid: bool (N, H, W); False beyond the image.
        label_mode: Label mode of the mask.
        class_weights: (K,), or ``None``.

    Returns:
        Scalar, 0 or more.
    """
    return mode_of(label_mode).loss(logits.float(), mask, valid, class_weights)


def constant_loss(
    frequencies: Sequence[float], label_mode: LabelMode, class_weights: Tensor | None = None
) -> float:
    """Return the lowest loss of a constant prediction, which is the class frequencies.

    Args:
        frequencies: Fraction of labeled pixels of each class, 0 to 1.
        label_mode: Label mode of the masks.
        class_weights: (K,), as for the losses.

    Returns:
        The loss in nats per labeled pixel (multilabel: per pixel and class).
    """
    shares = torch.tensor(frequencies, dtype=torch.float64)
    weights = torch.ones_like(shares) if class_weights is None else class_weights.cpu().double()
    return mode_of(label_mode).constant_loss(shares, weights)


def class_weights(
    choice: Literal["none", "balanced"] | Sequence[float],
    frequencies: Sequence[float],
    label_mode: LabelMode,
) -> Tensor | None:
    """Return the class weights of a recipe.

    Args:
        choice: ``none``; ``balanced``, which weights classes by 1 / sqrt(frequency), a compromise
            between no weights and full inverse frequency; or a weight for each class.
        frequencies: Fraction of labeled pixels of each class.
        label_mode: Balanced weights of multiclass masks have mean 1 over the pixels; those of
            multilabel masks are the weights of positive pixels relative to negative ones.

    Returns:
        float32 (K,), or ``None`` without weights. Balanced weights are 1 for classes that never
        occur.

    Raises:
        ConfigError: The number of weights differs from the number of classes.
    """
    if choice == "none":
        return None
    if choice != "balanced":
        if len(choice) != len(frequencies):
            raise ConfigError(
                f"training.class_weights must have one weight for each of the {len(frequencies)} "
                f"classes. Got {len(choice)}"
            )
        return torch.tensor(choice, dtype=torch.float32)
    shares = torch.tensor(frequencies, dtype=torch.float64)
    return mode_of(label_mode).balanced_weights(shares).float()
