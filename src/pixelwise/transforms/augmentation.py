"""Augment samples: crops and zoom, flips and turns, the optional steps, brightness and contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.config import AugmentationRecipe
from pixelwise.label_modes import Multiclass, Multilabel, mode_of
from pixelwise.transforms.augmentation_steps import STEPS, Interpolation, Movement
from pixelwise.transforms.labeled_image import LabeledImage
from pixelwise.transforms.preprocessing import image_to_tensor, pad_image, resize_image

MAX_UNCOVERED = 0.05
"""A crop is transposed if at most this share of a side more than otherwise stays uncovered."""

ALL_VALID = 0.999
"""Interpolated valid planes are above this value only where every contributing pixel is valid."""


@dataclass(frozen=True)
class TensorSample:
    """An image and its mask as tensors.

    Attributes:
        image: (C, H, W), in stored units and type.
        mask: Multiclass: uint8 (H, W). Multilabel: uint8 (K, H, W).
        valid: bool (H, W); False where the crop extends beyond the image. The mask is ignored
            there: 255 (multiclass), or 0 (multilabel), where the loss leaves out such pixels.
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
    window = _draw_window((height, width), size, zoom, rng)
    flips_columns, flips_rows, is_transposed = _draw_orientation(recipe, rng)
    cut_size = size
    if is_transposed and size[0] != size[1]:
        turned_zoom = _zoom_if_transposed((height, width), size, zoom, high)
        is_transposed = turned_zoom is not None
        if turned_zoom is not None:  # cut with swapped sides: transposed, they are those of a crop
            zoom, cut_size = turned_zoom, (size[1], size[0])
            window = _draw_window((height, width), cut_size, zoom, rng)
    image, mask = sample.image[..., *window], sample.mask[..., *window]
    cut = image.shape[-2:]
    target = [min(side, max(1, round(now * zoom))) for now, side in zip(cut, cut_size, strict=True)]
    if target != list(cut):
        image = resize_image(image, (target[0], target[1]))
        mask = RESIZE_MASK[label_mode](mask, (target[0], target[1]))
    if flips_columns:
        image, mask = image.flip(-1), mask.flip(-1)
    if flips_rows:
        image, mask = image.flip(-2), mask.flip(-2)
    if is_transposed:
        image, mask = image.transpose(-1, -2), mask.transpose(-1, -2)
    return apply_steps(_padded(image, mask, size, label_mode), recipe, label_mode, rng)


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


def _draw_window(
    image_size: tuple[int, int], size: tuple[int, int], zoom: float, rng: np.random.Generator
) -> tuple[slice, slice]:
    """Return the rows and columns of a random crop, which has the given size after the zoom."""
    window = []
    for side, wanted in zip(image_size, size, strict=True):
        length = min(side, max(1, round(wanted / zoom)))
        window.append((int(rng.integers(side - length, endpoint=True)), length))
    (top, height), (left, width) = window
    return slice(top, top + height), slice(left, left + width)


def _draw_orientation(
    recipe: AugmentationRecipe, rng: np.random.Generator
) -> tuple[bool, bool, bool]:
    """Return whether to flip columns, flip rows and transpose, as the orientation allows.

    With both flips, a transposition gives all eight orientations of a square.
    """
    flips_columns, flips_rows = rng.random(2) < 0.5
    is_transposed = rng.random() < 0.5
    is_free = recipe.orientation == "free"
    return (
        bool(flips_columns) and recipe.orientation in ("mirrored", "free"),
        bool(flips_rows) and is_free,
        is_transposed and is_free,
    )


def _zoom_if_transposed(
    image_size: tuple[int, int], size: tuple[int, int], zoom: float, largest: float
) -> float | None:
    """Return the zoom of a transposed crop; ``None`` if the image is too small to transpose it.

    A wide image covers a wide crop, but transposed it leaves a part of the crop empty. The zoom is
    raised, up to the largest of the recipe, until the crop is covered as well as it would be
    without the transposition.
    """
    height, width = image_size
    covering = max(size[0] / height, size[1] / width)
    covering_transposed = max(size[1] / height, size[0] / width)
    needed = max(zoom, covering_transposed * min(1.0, zoom / covering))
    if needed > largest * (1 + MAX_UNCOVERED):
        return None
    return min(needed, largest)


def apply_steps(
    sample: TensorSample,
    recipe: AugmentationRecipe,
    label_mode: LabelMode,
    rng: np.random.Generator,
) -> TensorSample:
    """Apply the optional steps that are on."""
    for step in STEPS:
        if not recipe.is_on(step.key):
            continue
        entry = getattr(recipe, step.key)
        if step.draw_movement is not None:
            size = (sample.valid.shape[0], sample.valid.shape[1])
            sample = _moved(sample, step.draw_movement(size, entry, rng), label_mode)
        if step.change_values is not None:
            sample = replace(sample, image=step.change_values(sample.image, entry, rng))
    return sample


def _moved(sample: TensorSample, movement: Movement, label_mode: LabelMode) -> TensorSample:
    """Move image, mask and valid pixels alike.

    Uncovered pixels of the image get its mean, which is near the 0 of a normalized image.
    """
    size = sample.valid.shape
    means = sample.image.flatten(1).float().mean(1)
    # Interpolated with the image, the valid plane is below 1 where outside pixels contribute.
    planes = torch.cat([sample.image.float(), sample.valid[None].float()])
    moved = movement(planes, "bilinear", [*means.tolist(), 0.0])
    image = moved[:-1]
    if sample.image.dtype == torch.uint8:
        image = image.round_()
    labels = sample.mask.reshape(-1, *size)
    padding = mode_of(label_mode).padding
    labels = movement(labels, MASK_INTERPOLATION[label_mode], [float(padding)] * len(labels))
    return ignored_outside(
        TensorSample(
            image.to(sample.image.dtype), labels.reshape(sample.mask.shape), moved[-1] > ALL_VALID
        ),
        label_mode,
    )


def ignored_outside(sample: TensorSample, label_mode: LabelMode) -> TensorSample:
    """Return the sample with the padding of the label mode where the mask is not valid."""
    mask = sample.mask.masked_fill(~sample.valid, mode_of(label_mode).padding)
    return replace(sample, mask=mask)


def _padded(
    image: Tensor, mask: Tensor, size: tuple[int, int], label_mode: LabelMode
) -> TensorSample:
    """Pad to the size of the crop at the right and bottom, and mark the padding as ignored."""
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

MASK_INTERPOLATION: dict[LabelMode, Interpolation] = {
    Multiclass.name: "nearest",
    Multilabel.name: "bilinear",
}
"""How a mask is sampled between its pixels."""
