"""The negative log-likelihood of the two label modes; ignored pixels and padding count nowhere."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.classes import IGNORE_INDEX


def cross_entropy_loss(
    logits: Tensor, mask: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy, averaged over the labeled pixels of the batch.

    Args:
        logits: Raw scores, float (N, K, H, W).
        mask: Class ids, int64 (N, H, W); pixels equal to 255 count nowhere.
        class_weights: (K,); each pixel counts by the weight of its class.

    Returns:
        Scalar, 0 or more; 0 for a batch that is ignored altogether.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038.
    """
    total = nn.functional.cross_entropy(
        logits, mask, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    return total / (mask != IGNORE_INDEX).sum().clamp(min=1)


def binary_cross_entropy_loss(
    logits: Tensor, mask: Tensor, valid: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy with soft targets, averaged over valid pixels and classes.

    Args:
        logits: Raw scores, float (N, K, H, W).
        mask: Soft target, float (N, K, H, W), 0 to 1.
        valid: bool (N, H, W); other pixels count nowhere.
        class_weights: (K,); how much more the pixels of a class count than those without it.

    Returns:
        Scalar, 0 or more.
    """
    weight = valid[:, None].to(logits.dtype).expand_as(logits)
    total = nn.functional.binary_cross_entropy_with_logits(
        logits,
        mask,
        weight=weight,
        pos_weight=None if class_weights is None else class_weights.view(-1, 1, 1),
        reduction="sum",
    )
    return total / (valid.sum() * logits.shape[1]).clamp(min=1)
