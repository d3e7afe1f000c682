"""The augmentation steps that are off by default, in the order in which they are applied.

A step is one decorated function in this module, named as its key in
:class:`~pixelwise.config.AugmentationRecipe`, where its range is declared. A function under
:func:`moves_pixels` draws a movement, which is then applied to image, mask and valid pixels alike.
A function under :func:`changes_values` changes the image only.

Every random number comes from the generator that a step is given. The kernels of torchvision get
explicit parameters, because its transforms draw from torch's global generator, which training
threads share. torchvision is imported when a step is used: its import takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise.config import AugmentationRecipe
from pixelwise.errors import ConfigError

Interpolation = Literal["nearest", "bilinear"]

Movement = Callable[[Tensor, Interpolation, list[float]], Tensor]
"""Moves planes (P, H, W); pixels from outside the planes get the fill value of their plane."""

DrawMovement = Callable[[tuple[int, int], Any, np.random.Generator], Movement]
ChangeValues = Callable[[Tensor, Any, np.random.Generator], Tensor]

ELASTIC_SPACING_PX = 64
"""Distance of the independent shifts of an elastic deformation, in pixels."""

BLUR_RADIUS = 3.0
"""Radius of the blur kernel in standard deviations; 99.7 % of the weight lie within."""


@dataclass(frozen=True)
class AugmentationStep:
    """One step of the augmentation.

    Attributes:
        key: Its entry in the augmentation recipe.
        draw_movement: The function of a step that moves pixels, else ``None``.
        change_values: The function of a step that changes values, else ``None``.
        channels: Number of channels that images must have; ``None`` means any.
    """

    key: str
    draw_movement: DrawMovement | None = None
    change_values: ChangeValues | None = None
    channels: int | None = None


STEPS: list[AugmentationStep] = []
"""All steps, in the order in which they are applied."""


def moves_pixels(function: DrawMovement) -> DrawMovement:
    """Declare a step that moves pixels of image and mask; its name is its key in the recipe.

    The function takes the size of the crop (H, W), the entry of the recipe and the random
    generator, and returns a :data:`Movement`.
    """
    STEPS.append(AugmentationStep(function.__name__, draw_movement=function))
    return function


def changes_values(*, channels: int | None = None) -> Callable[[ChangeValues], ChangeValues]:
    """Declare a step that changes the image only; its name is its key in the recipe.

    The function takes the image (C, H, W), uint8 or float32 in stored units, the entry of the
    recipe and the random generator. It returns a new tensor of the same shape and dtype.

    Args:
        channels: Number of channels that images must have; ``None`` means any.
    """

    def declare(function: ChangeValues) -> ChangeValues:
        step = AugmentationStep(function.__name__, change_values=function, channels=channels)
        STEPS.append(step)
        return function

    return declare


def check_channels(recipe: AugmentationRecipe, in_channels: int) -> None:
    """Check that every step that is on can work with the channels of the images.

    Raises:
        ConfigError: A step needs another number of channels.
    """
    for step in STEPS:
        if step.channels not in (None, in_channels) and recipe.is_on(step.key):
            raise ConfigError(
                f"augmentation.{step.key} needs images of {step.channels} channels (red, green, "
                f"blue). Got {in_channels}. Set augmentation.{step.key}=0, or choose "
                f"{step.channels} bands with data.bands"
            )


@moves_pixels
def rotation(size: tuple[int, int], degrees: float, rng: np.random.Generator) -> Movement:  # noqa: ARG001  the signature of every step
    """Rotate around the center by an angle from ``-degrees`` to ``degrees``."""
    from torchvision.transforms.v2 import functional

    angle = rng.uniform(-degrees, degrees)
    return lambda planes, interpolation, fill: functional.rotate_image(
        planes, angle, interpolation, fill=fill
    )


@moves_pixels
def elastic(size: tuple[int, int], alpha: float, rng: np.random.Generator) -> Movement:
    """Shift pixels by a smooth random field with a standard deviation of up to ``alpha`` pixels.

    Independent normal shifts on a coarse grid are interpolated bicubically.

    Reference:
        Ronneberger, Fischer and Brox, U-Net (2015), arXiv:1505.04597, section 3.1, with a standard
        deviation of 10 pixels.
    """
    from torchvision.transforms.v2 import functional

    points = [math.ceil(side / ELASTIC_SPACING_PX) + 1 for side in size]
    shifts = rng.normal(0, rng.uniform(0, alpha), (1, 2, *points))
    field = torch.nn.functional.interpolate(
        torch.from_numpy(shifts).float(), size, mode="bicubic", align_corners=True
    )
    # The kernel measures shifts in halves of a side, columns before rows.
    displacement = field.permute(0, 2, 3, 1) * torch.tensor([2 / size[1], 2 / size[0]])
    return lambda planes, interpolation, fill: functional.elastic_image(
        planes, displacement, interpolation, fill=fill
    )


@changes_values(channels=3)
def hue(image: Tensor, largest: float, rng: np.random.Generator) -> Tensor:
    """Shift the hue by up to ``largest`` of the color circle, in both directions."""
    from torchvision.transforms.v2 import functional

    shift = rng.uniform(-largest, largest)
    return _in_unit_range(image, lambda unit: functional.adjust_hue_image(unit, shift))


@changes_values(channels=3)
def saturation(image: Tensor, largest: float, rng: np.random.Generator) -> Tensor:
    """Multiply the saturation by a factor from ``1 - largest`` to ``1 + largest``."""
    from torchvision.transforms.v2 import functional

    factor = rng.uniform(1 - largest, 1 + largest)
    return _in_unit_range(image, lambda unit: functional.adjust_saturation_image(unit, factor))


@changes_values()
def blur(image: Tensor, sigmas: tuple[float, float], rng: np.random.Generator) -> Tensor:
    """Blur by a Gaussian whose standard deviation is between the two given ones, in pixels."""
    from torchvision.transforms.v2 import functional

    sigma = rng.uniform(*sigmas)
    blurred = image.float()
    # One direction after the other: the kernel of both is the product, and far more work.
    for axis, side in enumerate((image.shape[-1], image.shape[-2])):
        radius = min(math.ceil(BLUR_RADIUS * sigma), side - 1)  # the kernel reflects at the border
        if radius and sigma:
            kernel = [1, 1]
            kernel[axis] = 2 * radius + 1
            blurred = functional.gaussian_blur_image(blurred, kernel, [sigma, sigma])
    return _as_stored(blurred, image.dtype)


@changes_values()
def noise(image: Tensor, largest: float, rng: np.random.Generator) -> Tensor:
    """Add normal noise, its standard deviation up to ``largest`` times that of each channel."""
    strength = rng.uniform(0, largest)
    values = image.float()
    std = values.std((-2, -1), correction=0, keepdim=True)
    drawn = torch.from_numpy(rng.standard_normal(image.shape, np.float32))
    return _as_stored(drawn.mul_(std * strength).add_(values), image.dtype)


def _in_unit_range(image: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a color function of torchvision, which takes uint8, or float from 0 to 1.

    Float images have no known range, so that of the crop is used. A hue does not depend on it, and
    a saturated color is clipped to it.
    """
    if image.dtype == torch.uint8:
        return function(image)
    low, high = image.aminmax()
    if low == high:
        return image.clone()
    return function((image - low) / (high - low)) * (high - low) + low


def _as_stored(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return float values as float, or rounded and clipped to uint8."""
    return values.round_().clamp_(0, 255).to(dtype) if dtype == torch.uint8 else values
