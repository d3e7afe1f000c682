"""What happens to an image before the model sees it; the same in training and ever after."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pixelwise.data.reading import LARGEST_VALUE, Array
from pixelwise.data.statistics import conform_channels

STRETCH = (1.0, 99.0)
"""Percentiles of an image that become black and white when its contrast is stretched."""


class Preprocessing(BaseModel):
    """What is done to an image, in this order; a model file holds it.

    Attributes:
        dtype: Type of the training images; others are refused, for their units differ.
        mean: Subtracted from each channel, in stored units.
        std: Each channel is divided by it.
        scale: Images are resized by this factor, and logits back to the image's size.
        resize: Height and width in pixels that every image is brought to instead, distorted where
            its sides have another ratio; logits go back to the image's size.
        contrast: ``stretch`` spreads the values of each image over the whole range first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["uint8", "uint16", "float32"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = Field(default=1.0, gt=0, le=1)
    resize: tuple[int, int] | None = None
    contrast: Literal["none", "stretch"] = "none"

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the model sees an image, at least 1 x 1."""
        if self.resize is not None:
            return self.resize
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))


def stretch_contrast(image: Array) -> Array:
    """Spread an image's values, all channels alike, over the range of its type.

    Args:
        image: (H, W, C), uint8, uint16 or float32.

    Returns:
        The same shape and type; the 1st percentile is 0, the 99th the type's largest value. An
        image of one value is returned as it is.
    """
    low, high = np.percentile(image, STRETCH)
    if high <= low:
        return image
    largest = LARGEST_VALUE[str(image.dtype)]
    stretched = (image.astype(np.float32) - low) * (largest / (high - low))
    stretched = np.clip(stretched, 0, largest)
    if image.dtype != np.float32:
        stretched = np.rint(stretched)
    return np.asarray(stretched, dtype=image.dtype)


def image_to_tensor(image: Array, in_channels: int, name: str) -> Tensor:
    """An image as a tensor (C, H, W) in stored units; uint16 becomes float32, which can hold it.

    Args:
        image: (H, W, C).
        in_channels: Channels that the model takes.
        name: The image's name, for messages.

    Raises:
        DataError: It has other channels.
    """
    image = conform_channels(image, in_channels, name)
    if image.dtype == np.uint16:  # torch has no arithmetic on it
        image = image.astype(np.float32)
    # Arrays that come from Pillow are read-only, which torch warns of: those are copied.
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)


def normalise(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Bring stored units to those that the model was trained on.

    Args:
        image: (N, C, H, W) or (C, H, W), in stored units, any number type.
        preprocessing: Mean and deviation per channel.

    Returns:
        float32 of the same shape.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=image.device).view(-1, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (image.float() - mean) / std
