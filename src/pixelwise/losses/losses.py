"""The losses of the two label modes; ignored pixels and padding count nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pixelwise.classes import IGNORE_INDEX, LabelMode
from pixelwise.errors import ConfigError


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
    logits = logits.float()
    if label_mode == "multiclass":
        return cross_entropy_loss(logits, mask.long(), class_weights=class_weights)
    return binary_cross_entropy_loss(logits, mask.float() / 255, valid, class_weights=class_weights)


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
    present = shares * weights
    if label_mode == "multiclass":
        total = present.sum()
        return float(total * torch.special.entr(present / total).sum())
    total = present + 1 - shares
    chance = present / total
    return float((total * (torch.special.entr(chance) + torch.special.entr(1 - chance))).mean())


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
    present = shares > 0
    weights = torch.ones_like(shares)
    if label_mode == "multilabel":
        weights[present] = ((1 - shares[present]) / shares[present]).clamp(min=1).sqrt()
        return weights.float()
    weights[present] = shares[present].rsqrt()
    weights[present] /= (weights[present] * shares[present]).sum()
    return weights.float()
