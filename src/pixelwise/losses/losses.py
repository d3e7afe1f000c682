"""The loss of a batch and the weights of its classes; the label mode says what they are."""

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
    """The loss of the label mode for a batch, computed in float32.

    Args:
        logits: Raw scores, (N, K, H, W), of any float type.
        mask: Multiclass: uint8 (N, H, W) class ids, 255 is ignored. Multilabel: uint8 (N, K, H, W).
        valid: bool (N, H, W); False beyond the image.
        label_mode: Which of the two the mask is.
        class_weights: (K,), or ``None``.

    Returns:
        Scalar, 0 or more.
    """
    return mode_of(label_mode).loss(logits.float(), mask, valid, class_weights)


def constant_loss(
    frequencies: Sequence[float], label_mode: LabelMode, class_weights: Tensor | None = None
) -> float:
    """The lowest loss that a prediction which ignores the image can have: it says how often.

    Args:
        frequencies: Share of the labeled pixels that is of each class, 0 to 1.
        label_mode: Of the masks.
        class_weights: (K,), as the losses take them.

    Returns:
        In nats per labeled pixel (multilabel: per pixel and class).
    """
    shares = torch.tensor(frequencies, dtype=torch.float64)
    weights = torch.ones_like(shares) if class_weights is None else class_weights.cpu().double()
    return mode_of(label_mode).constant_loss(shares, weights)


def class_weights(
    choice: Literal["none", "balanced"] | Sequence[float],
    frequencies: Sequence[float],
    label_mode: LabelMode,
) -> Tensor | None:
    """The weights that a recipe asks for.

    Args:
        choice: ``none``; ``balanced``, which lifts rare classes by 1 / sqrt(frequency), so that
            none drowns and none explodes; or a weight for each class.
        frequencies: Share of the labeled pixels that is of each class.
        label_mode: Balanced weights of multiclass masks have mean 1 over the pixels; multilabel
            ones say how much the pixels of a class count against those without it.

    Returns:
        float32 (K,), or ``None`` where no class is weighted; balanced, a class that never occurs
        weighs 1.

    Raises:
        ConfigError: There is not one weight for each class.
    """
    if choice == "none":
        return None
    if choice != "balanced":
        if len(choice) != len(frequencies):
            raise ConfigError(
                f"training.class_weights must hold a weight for each of the {len(frequencies)} "
                f"classes. Got {len(choice)}"
            )
        return torch.tensor(choice, dtype=torch.float32)
    shares = torch.tensor(frequencies, dtype=torch.float64)
    return mode_of(label_mode).balanced_weights(shares).float()
