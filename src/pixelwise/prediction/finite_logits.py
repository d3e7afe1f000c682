"""Refuses logits that are no numbers, of which every decision would be wrong in silence."""

from __future__ import annotations

from torch import Tensor

from pixelwise.errors import DataError


def require_finite(logits: Tensor, name: str) -> Tensor:
    """Return logits that are numbers: of others, the class with the id 0 would be chosen.

    Raises:
        DataError: Some are not.
    """
    # The sum reads them once; it is finite unless one of them is not, or all are huge.
    if not logits.sum().isfinite() and not logits.isfinite().all():
        share = 1 - logits.isfinite().all(0).float().mean().item()
        raise DataError(
            f"{name} must have values like those of the training images. Those of the model's "
            f"outputs are infinite or no numbers for {share:.2%} of its pixels. Check the values "
            "of the image, such as placeholders for missing data, and the origin of the model"
        )
    return logits
