"""Refuses images whose values or logits are no sensible numbers: decisions would be wrong."""

from __future__ import annotations

from torch import Tensor

from pixelwise.errors import DataError
from pixelwise.text import amount
from pixelwise.transforms.preprocessing import Preprocessing

MOST_TIMES = 1e9
"""Largest ratio of a value to those of the training images. Placeholders for missing data are
beyond it, such as -3.4e38 and 1e20; -9999 is not, as it may be a measurement."""


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


def require_likely(image: Tensor, preprocessing: Preprocessing, name: str) -> Tensor:
    """Return an image in stored units without values far beyond all of the training images.

    One such value spoils the decision of every pixel whose receptive field it is in.

    Raises:
        DataError: It has such values.
    """
    if image.is_floating_point() and image.numel():
        usual = max(1.0, *map(abs, preprocessing.mean), *preprocessing.std)
        far = image.abs() > MOST_TIMES * usual  # false where there is no number
        if far.any():
            raise DataError(
                f"{name} must have values like those of the training images. It has "
                f"{amount(int(far.sum()), 'value')} of {MOST_TIMES:,.0f} times their size or more, "
                "perhaps placeholders for missing data. Save such pixels as NaN"
            )
    return image
