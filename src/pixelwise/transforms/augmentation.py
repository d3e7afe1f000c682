"""Augment samples with random crops, zoom, flips, turns, brightness and contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.config import AugmentationRecipe
from pixelwise.label_modes import Multiclass, Multilabel, mode_of
from pixelwise.transforms.labeled_image import LabeledImage
from pixelwise.transforms.preprocessing import image_to_tensor, pad_image, resize_image


@dataclass(frozen=True)
class TensorSample:
    """An image and its mask as tensors.

    Attributes:
        image: (C, H, W), in stored units and type.
        mask: Multiclass: uint8 (H, W). Multilabel: uint8 (K, H, W).
        valid: bool (H, W); False where the crop extends beyond the image.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor


def to_tensors(
    sample: LabeledImage, in_channels: int, size: tuple[int, int] | None = None
) -> TensorSample:
    """Convert a sample to tensors at working size.

    Args:
        sample: The decoded sample.
        in_channels: Number of channels of the model.
        size: Height and width in pixels; ``None`` keeps the size of the image.
    """
    image = image_to_tensor(sample.image, in_channels, sample.name)
    mask = torch.from_numpy(np.require(sample.mask, requirements=["C", "W"]))
    if size is not None and size != image.shape[-2:]:
        image, mask = resize_image(image, size), RESIZE_MASK[sample.label_mode](mask, size)
    return TensorSample(image, mask, torch.ones(image.shape[-2:], dtype=torch.bool))


def augment(
    sample: TensorSample,
    size: tuple[int, int],
    recipe: AugmentationRecipe,
    label_mode: LabelMode,
    rng: np.random.Generator,
) -> TensorSample:
    """Cut a random crop, zoomed and turned, from image and mask without distortion.

    Args:
        sample: The sample to crop.
        size: Height and width of the crop. Pixels outside a smaller image are ignored.
        recipe: The augmentation recipe, with every entry filled.
        label_mode: Determines how masks are resized: class ids nearest, soft masks bilinear.
        rng: The only source of randomness.
    """
    assert recipe.scale is not None
    low, high = recipe.scale
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if low < high else low
    height, width = sample.image.shape[-2:]
    window = [
        min(side, max(1, round(wanted / zoom)))
        for side, wanted in zip((height, width), size, strict=True)
    ]
    top = int(rng.integers(height - window[0], endpoint=True))
    left = int(rng.integers(width - window[1], endpoint=True))
    rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
    image, mask = sample.image[..., rows, columns], sample.mask[..., rows, columns]
    target = [min(side, max(1, round(cut * zoom))) for cut, side in zip(window, size, strict=True)]
    if target != window:
        image = resize_image(image, (target[0], target[1]))
        mask = RESIZE_MASK[label_mode](mask, (target[0], target[1]))
    image, mask = _turn(image, mask, recipe, rng)
    return _padded(image, mask, size, label_mode)


def jitter(
    image: Tensor, recipe: AugmentationRecipe, rng: np.random.Generator, *, std: float = 1.0
) -> Tensor:
    """Change brightness and contrast of each image of a normalized batch in place.

    Args:
        image: Float (N, C, H, W), normalized, any number of channels.
        recipe: The augmentation recipe, with every entry filled.
        rng: The only source of randomness.
        std: Standard deviation of the normalized images; brightness changes are relative to it.
    """
    if not (recipe.brightness or recipe.contrast):
        return image
    count = len(image)
    factors = 1 + rng.uniform(-1, 1, count) * (recipe.contrast or 0.0)
    shifts = rng.uniform(-1, 1, count) * (recipe.brightness or 0.0) * std
    values = torch.from_numpy(np.stack([factors, shifts])).to(image.dtype)
    if image.device.type == "cuda":
        values = values.pin_memory()  # only then does the copy not wait for the device
    values = values.to(image.device, non_blocking=True)
    factor, shift = values.view(2, -1, 1, 1, 1)
    return image.mul_(factor).add_(shift)


def _turn(
    image: Tensor, mask: Tensor, recipe: AugmentationRecipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Flip and turn as far as the orientation of the images allows."""
    flips_columns, flips_rows = rng.random(2) < 0.5
    turns = rng.random() < 0.5
    if recipe.orientation in ("mirrored", "free") and flips_columns:
        image, mask = image.flip(-1), mask.flip(-1)
    if recipe.orientation == "free":
        if flips_rows:
            image, mask = image.flip(-2), mask.flip(-2)
        if turns:  # with both flips, a transposition gives all eight orientations of a square
            image, mask = image.transpose(-1, -2), mask.transpose(-1, -2)
    return image, mask


def _padded(
    image: Tensor, mask: Tensor, size: tuple[int, int], label_mode: LabelMode
) -> TensorSample:
    """Pad to the size of the crop at the right and bottom, and mark the padding as ignored.

    After a quarter turn, a side can be longer than the crop; it is cut.
    """
    image, mask = image[..., : size[0], : size[1]], mask[..., : size[0], : size[1]]
    valid = torch.ones(image.shape[-2:], dtype=torch.bool)
    missing = [0, size[1] - image.shape[-1], 0, size[0] - image.shape[-2]]
    if any(missing):
        image = pad_image(image, size)
        mask = torch.nn.functional.pad(mask, missing, value=mode_of(label_mode).padding)
        valid = torch.nn.functional.pad(valid, missing, value=False)
    return TensorSample(image, mask, valid)


def _resize_ids(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pixel-aligned: nearest-exact uses pixel centers, nearest is off by half a pixel."""
    return torch.nn.functional.interpolate(mask[None, None], size, mode="nearest-exact")[0, 0]


RESIZE_MASK: dict[LabelMode, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    Multiclass.name: _resize_ids,
    Multilabel.name: resize_image,
}
"""How a mask is brought to a height and a width."""
