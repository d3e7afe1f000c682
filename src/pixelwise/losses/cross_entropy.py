"""Cross-entropy (``ce``) and binary cross-entropy (``bce``)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.label_modes import mode_of
from pixelwise.label_modes.likelihood import binary_cross_entropy_loss
from pixelwise.losses.base import LIKELIHOOD, Loss, losses


@losses.register(LIKELIHOOD)
def cross_entropy(label_mode: LabelMode, class_weights: Any = None) -> Loss:
    """Build the negative log-likelihood: cross-entropy, or for multilabel masks ``bce``.

    Args:
        label_mode: Label mode of the target.
        class_weights: See :data:`pixelwise.losses.base.losses`.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038.
    """
    mode = mode_of(label_mode)
    return lambda logits, target: mode.loss(logits, target, class_weights)


@losses.register("bce")
def binary_cross_entropy(label_mode: LabelMode, class_weights: Any = None) -> Loss:
    """Build the binary cross-entropy, averaged over labeled pixels and classes.

    For multiclass masks, each class is separated from all others, which can help if a class is
    rare; the probabilities are then less well calibrated.

    Args:
        label_mode: Label mode of the target.
        class_weights: Weights of the positive pixels of each class, (K,), or ``None``.
    """
    mode = mode_of(label_mode)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        members = mode.memberships(target, logits.shape[1])
        return binary_cross_entropy_loss(logits, members, class_weights=class_weights)

    return loss
