"""Prepare images for a model, in the same way for training and prediction.

The steps are, in this order: enhancement (:mod:`pixelwise.transforms.enhancement`), resizing and
normalization. Training enhances an image when reading it and resizes it when making tensors;
prediction does both with :func:`prepare_image`.
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
"""Limit for enlarging: with a shortest side of 512, 1 x 5000 would become 1.3 billion pixels."""


class Preprocessing(Enhancement):
    """The preprocessing of an image, in the order of the steps; stored in the model file.

    Attributes:
        dtype: Type of the training images; images of other types are refused.
        scale: Images are resized by this factor, and logits back to the size of the image.
        resize: Resizes to a fixed working size instead: height and width, which may distort, or
            ``shortest_side`` or ``letterbox``, which do not.
        mean: Subtracted from each channel, in stored units.
        std: Divisor of each channel.
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
        """Return the size to which an image is resized, at least 1 x 1.

        Raises:
            DataError: The image would be enlarged beyond the limit.
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
        """Return the size of the model's input: the resized image, with letterbox padding.

        Raises:
            DataError: The image would be enlarged beyond the limit.
        """
        if isinstance(self.resize, Letterbox):
            return self.resize.letterbox
        return self.fitted_size(height, width)

    def without_enhancement(self) -> Self:
        """Return the steps that remain for images that are already enhanced."""
        return self.model_copy(update=dict(Enhancement()))

    def describe(self) -> list[str]:
        """Return the active steps but the normalization as text, in order."""
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
    """Enhance and resize an image for the model, without normalizing it.

    Args:
        image: (H, W, C), as read.
        preprocessing: The preprocessing.
        in_channels: Number of channels of the model.
        name: The image's name, for messages.

    Returns:
        (C, H, W) in stored units and at working size: uint8, or float32 for deeper images. A
        letterbox larger than the image is padded with its last row and column at the bottom and
        right.

    Raises:
        DataError: The image lacks a band, has other channels, or would be enlarged too much.
    """
    height, width = image.shape[:2]
    image = enhance(image, preprocessing, name)
    tensor = image_to_tensor(image, in_channels, name)
    tensor = resize_image(tensor, preprocessing.fitted_size(height, width))
    return pad_image(tensor, preprocessing.working_size(height, width))


def restore_size(logits: Tensor, preprocessing: Preprocessing, height: int, width: int) -> Tensor:
    """Resize logits from working size to the size of the image, pixel-aligned.

    Args:
        logits: (K, H, W) at working size.
        preprocessing: The preprocessing of the image.
        height: Height of the image in pixels, as read.
        width: Width of the image in pixels, as read.

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
    """Convert an image to a tensor (C, H, W) in stored units; uint16 becomes float32.

    Args:
        image: (H, W, C).
        in_channels: Number of channels of the model.
        name: The image's name, for messages.

    Raises:
        DataError: The image has other channels.
    """
    image = conform_channels(image, in_channels, name)
    if image.dtype == np.uint16:  # torch does not support arithmetic on it
        image = image.astype(np.float32)
    # Arrays from Pillow are read-only, and torch warns about those, so they are copied.
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image pixel-aligned and with antialiasing, in training and prediction alike.

    Args:
        image: (C, H, W); uint8 images are rounded to uint8.
        size: Height and width in pixels.
    """
    if size == image.shape[-2:]:
        return image
    if size[1] == 1 < size[0]:  # torch 2.15 fills a single column with its first pixel
        return resize_image(image.mT, (1, size[0])).mT
    dtype = image.dtype
    if size == (1, 1):  # and fails when it makes one uint8 pixel of three channels
        image = image.float()
    resized = nn.functional.interpolate(
        image[None], size, mode="bilinear", align_corners=False, antialias=True
    )[0]
    return resized if resized.dtype == dtype else resized.round().to(dtype)


def pad_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad an image at the right and the bottom by repeating its last column and row.

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
    """Normalize an image from stored units to the model's input.

    Args:
        image: (N, C, H, W) or (C, H, W), in stored units, any number type.
        preprocessing: Mean and standard deviation per channel.

    Returns:
        A float32 tensor of the same shape.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=image.device).view(-1, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (image.float() - mean) / std
