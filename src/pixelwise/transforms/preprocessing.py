"""What happens to an image before the model sees it; the same in training and ever after.

In this order: the steps of :mod:`pixelwise.transforms.enhancement` on its pixels, then its size,
then its units. Training does the first when it reads an image, and the second when it makes
tensors; whoever only predicts does both with :func:`prepare_image`.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pixelwise.config import Letterbox, Resize, ShortestSide
from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.transforms.enhancement import Enhancement, enhance
from pixelwise.transforms.statistics import conform_channels

MAX_ENLARGED_PIXELS = 2**27
"""No image is enlarged beyond this: a shortest side of 512 makes 1.3 billion of 1 x 5000 pixels."""


class Preprocessing(Enhancement):
    """What is done to an image, in this order; a model file holds it.

    Attributes:
        dtype: Type of the training images; others are refused, for their units differ.
        scale: Images are resized by this factor, and logits back to the image's size.
        resize: How images are brought to a working size instead: height and width, distorted where
            the sides have another ratio, ``shortest_side`` or ``letterbox`` without distortion.
        mean: Subtracted from each channel, in stored units.
        std: Each channel is divided by it.
    """

    dtype: Literal["uint8", "uint16", "float32"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = Field(default=1.0, gt=0, le=1)
    resize: Resize | None = None

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if self.bands is not None and len(self.bands) != len(self.mean):
            raise ValueError(f"bands must be {len(self.mean)} numbers, one per channel")
        return self

    def fitted_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that an image is resized to, at least 1 x 1.

        Raises:
            DataError: It would be enlarged beyond what memory holds.
        """
        if isinstance(self.resize, tuple):
            return self.resize
        factors = (self.scale, self.scale)
        limits: tuple[float, float] = (math.inf, math.inf)
        if isinstance(self.resize, ShortestSide):
            factors = (self.resize.shortest_side / min(height, width),) * 2
        elif isinstance(self.resize, Letterbox):
            limits = self.resize.letterbox
            factors = (min(limits[0] / height, limits[1] / width),) * 2
        fitted_height, fitted_width = (
            int(min(limit, max(1, round(side * factor))))
            for side, factor, limit in zip((height, width), factors, limits, strict=True)
        )
        if height * width < fitted_height * fitted_width > MAX_ENLARGED_PIXELS:
            raise DataError(
                f"images must not be enlarged beyond {MAX_ENLARGED_PIXELS:,} pixels. One of "
                f"{height} x {width} would be {fitted_height} x {fitted_width}. "
                "Use {letterbox: [HEIGHT, WIDTH]} as data.resize, or leave the image out"
            )
        return fitted_height, fitted_width

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of what the model sees of an image: as resized, and filled up to a letterbox.

        Raises:
            DataError: It would be enlarged beyond what memory holds.
        """
        if isinstance(self.resize, Letterbox):
            return self.resize.letterbox
        return self.fitted_size(height, width)

    def without_enhancement(self) -> Self:
        """What remains to be done to images that have been enhanced already."""
        return self.model_copy(update=dict(Enhancement()))

    def describe(self) -> list[str]:
        """The steps but the normalization in words, in their order; empty where none is done."""
        steps = super().describe()
        if isinstance(self.resize, ShortestSide):
            steps.append(f"shortest side {self.resize.shortest_side}")
        elif isinstance(self.resize, Letterbox):
            steps.append("letterbox {} x {}".format(*self.resize.letterbox))
        elif self.resize is not None:
            steps.append("resized to {} x {}".format(*self.resize))
        elif self.scale != 1:
            steps.append(f"scale {self.scale:g}")
        return steps


def prepare_image(
    image: Array, preprocessing: Preprocessing, in_channels: int, name: str = "image"
) -> Tensor:
    """An image as the model sees it but for the normalization.

    Args:
        image: (H, W, C), as read.
        preprocessing: What is done to it.
        in_channels: Channels that the model takes.
        name: The image's name, for messages.

    Returns:
        (C, H, W) in stored units and at working size: uint8, or float32 of deeper images. Where a
        letterbox is larger than the image, its last row and column continue to the right and
        bottom.

    Raises:
        DataError: It lacks a band, has other channels, or would be enlarged beyond memory.
    """
    height, width = image.shape[:2]
    image = enhance(image, preprocessing, name)
    tensor = image_to_tensor(image, in_channels, name)
    tensor = resize_image(tensor, preprocessing.fitted_size(height, width))
    return pad_image(tensor, preprocessing.working_size(height, width))


def restore_size(logits: Tensor, preprocessing: Preprocessing, height: int, width: int) -> Tensor:
    """Logits at working size brought back to the image that they are of, pixel-aligned.

    Args:
        logits: (K, H, W) at working size.
        preprocessing: What was done to the image.
        height: The image's height in pixels, as read.
        width: The image's width in pixels, as read.

    Returns:
        (K, height, width).
    """
    fitted = preprocessing.fitted_size(height, width)
    logits = logits[:, : fitted[0], : fitted[1]]
    if fitted == (height, width):
        return logits
    return nn.functional.interpolate(
        logits[None], (height, width), mode="bilinear", align_corners=False
    )[0]


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


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pixel-aligned, without aliasing; the one way in training and prediction.

    Args:
        image: (C, H, W); uint8 is rounded to uint8 again.
        size: Height and width in pixels.
    """
    if size == image.shape[-2:]:
        return image
    if size[1] == 1 < size[0]:  # torch 2.15 fills a single column with its first pixel
        return resize_image(image.mT, (1, size[0])).mT
    dtype = image.dtype
    if size == (1, 1):  # and breaks off where it makes one uint8 pixel of three channels
        image = image.float()
    resized = nn.functional.interpolate(
        image[None], size, mode="bilinear", align_corners=False, antialias=True
    )[0]
    return resized if resized.dtype == dtype else resized.round().to(dtype)


def pad_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill up to a size at the right and the bottom with the last column and row.

    Args:
        image: (C, H, W), no larger than ``size``.
        size: Height and width in pixels.
    """
    if size == image.shape[-2:]:
        return image
    rows, columns = (
        torch.arange(longer).clamp(max=side - 1)
        for longer, side in zip(size, image.shape[-2:], strict=True)
    )
    return image.index_select(-2, rows).index_select(-1, columns)


def normalize(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Bring stored units to those that the model was trained on.

    Args:
        image: (N, C, H, W) or (C, H, W), in stored units, any number type.
        preprocessing: Mean and standard deviation per channel.

    Returns:
        float32 of the same shape.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=image.device).view(-1, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (image.float() - mean) / std
