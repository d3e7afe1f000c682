"""The registry of losses, and what a loss is: a function of logits and target."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pixelwise.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss maps logits and target of a batch to a scalar.

- logits: raw scores, float32 (N, K, H, W).
- target: Multiclass: class ids, int64 (N, H, W). Multilabel: float32 (N, K, H, W), 0 to 1. In both,
  255 marks elements that are ignored, among them those outside the image.

These are the conventions of segmentation_models.pytorch with ``ignore_index=255``.
"""

LIKELIHOOD = "ce"
"""The default loss, which every evaluation computes as ``Metrics.loss``."""

losses: Registry[Loss] = Registry("loss", "pixelwise.losses", group="pixelwise.losses")
"""Builders of losses by name. A builder may take ``label_mode``, ``class_weights`` (Tensor (K,) or
``None``) and options of its own, which a recipe gives as in ``tversky(alpha=0.3)``."""
