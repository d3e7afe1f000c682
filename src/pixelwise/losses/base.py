"""The registry of losses, and what a loss is: a function of logits and target."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pixelwise.registry import Builder, Registry

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss maps logits and target of a batch to a scalar.

- logits: raw scores, float32 (N, K, H, W).
- target: Multiclass: class ids, int64 (N, H, W). Multilabel: float32 (N, K, H, W), 0 to 1. In both,
  255 marks elements that are ignored, among them those outside the image.

These are the conventions of segmentation_models.pytorch with ``ignore_index=255``.
"""

LIKELIHOOD = "ce"
"""The default loss, which every evaluation computes as ``Metrics.loss``."""

losses: Registry[Loss] = Registry(
    "loss", "pixelwise.losses", group="pixelwise.losses", is_open=True
)
"""Builders of losses by name. A builder may take ``label_mode``, ``class_weights`` (Tensor (K,) or
``None``) and options of its own, which a recipe gives as in ``tversky(alpha=0.3)``."""


def register_loss(name: str) -> Callable[[Builder], Builder]:
    """Register a function that builds a loss under a name, as a decorator.

    Args:
        name: Name in loss expressions, such as ``--loss "ce + mine"``; a Python identifier.

    Example:
        >>> @register_loss("mine")
        ... def mine(label_mode, *, power: float = 1.0):
        ...     return lambda logits, target: logits.abs().mean() ** power
    """
    return losses.register(name)
