"""Losses of constant predictions, which a model that learns from the images must fall below."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.label_modes import mode_of
from pixelwise.losses.base import Loss


def constant_loss(loss: Loss, target: Tensor, logits: Tensor) -> float:
    """Return the loss of a prediction that is the same for all pixels.

    Args:
        loss: The loss.
        target: Target of a batch of N images; see :data:`pixelwise.losses.base.Loss`.
        logits: float (K,).
    """
    shape = len(target), len(logits), *target.shape[-2:]
    everywhere = logits.float().to(target.device).view(1, -1, 1, 1).expand(shape).contiguous()
    with torch.no_grad():
        return loss(everywhere, target).item()


def lowest_constant_loss(
    loss: Loss,
    target: Tensor,
    label_mode: LabelMode,
    frequencies: Tensor,
    class_weights: Tensor | None = None,
) -> float:
    """Return the lowest loss of some constant predictions.

    They are the optimum of the cross-entropy, the most frequent class, and no preference. For
    cross-entropy the result is the minimum; for other losses it is an upper bound.

    Args:
        loss: The loss.
        target: Target of a batch.
        label_mode: Label mode of the target.
        frequencies: Fraction of labeled pixels of each class, (K,).
        class_weights: (K,), as for the loss.
    """
    shares = frequencies.double().cpu()
    weights = torch.ones_like(shares) if class_weights is None else class_weights.cpu().double()
    most_frequent = torch.full_like(shares, -10.0)
    most_frequent[shares.argmax()] = 10.0
    candidates = (
        mode_of(label_mode).constant_logits(shares, weights),
        most_frequent,
        torch.zeros_like(shares),
    )
    return min(constant_loss(loss, target, logits) for logits in candidates)
