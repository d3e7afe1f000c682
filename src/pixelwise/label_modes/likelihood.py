"""The negative log-likelihood of the two label modes; ignored pixels and padding do not count."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.classes import IGNORE_INDEX


def cross_entropy_loss(
    logits: Tensor, mask: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy, averaged over the labeled pixels of the batch.

    Args:
        logits: Raw scores, float (N, K, H, W).
        mask: Class ids, int64 (N, H, W); pixels with the value 255 are ignored.
        class_weights: Class weights, float (K,); each pixel is weighted by its class.

    Returns:
        Scalar, at least 0; 0 if all pixels of the batch are ignored.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038.
    """
    total = nn.functional.cross_entropy(
        logits, mask, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    return total / (mask != IGNORE_INDEX).sum().clamp(min=1)


def binary_cross_entropy_loss(
    logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Return the binary cross-entropy with soft targets, averaged over labeled elements.

    Args:
        logits: Raw scores, float (N, K, H, W).
        target: Soft targets, float (N, K, H, W), 0 to 1; elements with the value 255 are ignored.
        class_weights: Weights of the positive pixels of each class, float (K,).

    Returns:
        Scalar, at least 0.
    """
    labeled = target != IGNORE_INDEX
    total = nn.functional.binary_cross_entropy_with_logits(
        logits,
        target * labeled,
        weight=labeled.to(logits.dtype),
        pos_weight=None if class_weights is None else class_weights.view(-1, 1, 1),
        reduction="sum",
    )
    return total / labeled.sum().clamp(min=1)
