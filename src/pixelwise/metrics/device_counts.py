"""Pixel counts computed on the device of the logits; only the counts are copied to the host."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pixelwise.classes import HALF, IGNORE_INDEX
from pixelwise.metrics.formulas import Counts


def count_pairs_on_device(prediction: Tensor, mask: Tensor, num_classes: int) -> Counts:
    """Like :func:`pixelwise.metrics.confusion.count_pairs`, on the device of the tensors.

    Args:
        prediction: Class ids (H, W), any integer type.
        mask: Class ids (H, W), uint8; 255 is ignored.
        num_classes: K.

    Returns:
        int64 (K, K), rows: ground truth.
    """
    pairs = mask.long() * num_classes + prediction
    pairs = torch.where(mask == IGNORE_INDEX, num_classes**2, pairs)
    counts = torch.bincount(pairs.flatten(), minlength=num_classes**2 + 1)[: num_classes**2]
    return np.asarray(counts.view(num_classes, num_classes).cpu().numpy())


def count_classes_on_device(prediction: Tensor, mask: Tensor) -> Counts:
    """Like :class:`pixelwise.metrics.confusion.MultilabelCounts`, on the device of the tensors.

    Args:
        prediction: bool (K, H, W).
        mask: uint8 (K, H, W), 0..255 for 0..1.

    Returns:
        int64 (4, K).
    """
    target = mask >= HALF
    pairs = ((prediction, target), (prediction, ~target), (~prediction, target))
    hits, extra, missed = ((first & second).sum((1, 2)) for first, second in pairs)
    rest = target[0].numel() - hits - extra - missed
    return np.asarray(torch.stack([hits, extra, missed, rest]).cpu().numpy())
