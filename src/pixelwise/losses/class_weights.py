"""Class weights of the losses, as defined by the label mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.errors import ConfigError
from pixelwise.label_modes import mode_of


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
