"""Prepares images for a model, in the same way for training and prediction.

The steps are, in this order: enhancement (:mod:`pixelwise.transforms.enhancement`), resizing and
normalization. Training enhances an image when reading it and resizes it when making tensors;
prediction does both with :func:`prepare_image`.

:class:`Preprocess` applies the same steps to a batch, as a module that is exported with the model.
It calls the functions below, which therefore do not branch on sizes while they are traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pixelwise.config import Letterbox, Resize, ShortestSide
from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.text import amount
from pixelwise.transforms.enhancement import Enhancement, enhance
from pixelwise.transforms.statistics import conform_channels

MAX_ENLARGED_PIXELS = 2**27
"""Size limit of enlarged images: with a shortest side of 512, 1 x 5000 would be 1.3 gigapixels."""


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
    mean: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    scale: float = Field(default=1.0, gt=0, le=1)
    resize: Resize | None = None

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if self.bands is not None and len(self.bands) != len(self.mean):
            raise ValueError(f"bands must be {len(self.mean)} numbers, one per channel")
        return self

    @model_validator(mode="after")
    def _check_resize(self) -> Self:
        size = self.resize.letterbox if isinstance(self.resize, Letterbox) else self.resize
        if isinstance(size, tuple) and size[0] * size[1] > MAX_ENLARGED_PIXELS:
            raise ValueError(
                f"resize must have at most {MAX_ENLARGED_PIXELS:,} pixels. "
                f"Got {size[0]} x {size[1]}"
            )
        return self

    def fitted_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to which an image is resized, at least 1 x 1.

        Raises:
            DataError: The image would be enlarged beyond the limit.
        """
        fitted_height, fitted_width = self._fitted(height, width)
        if isinstance(self.resize, tuple) or torch.compiler.is_exporting():
            return (
                fitted_height,
                fitted_width,
            )  # the image itself is as large, or a graph is traced, which cannot raise
        if height * width < fitted_height * fitted_width > MAX_ENLARGED_PIXELS:
            raise DataError(
                f"images must not be enlarged beyond {MAX_ENLARGED_PIXELS:,} pixels. One of "
                f"{height} x {width} would be {fitted_height} x {fitted_width}. "
                "Use {letterbox: [HEIGHT, WIDTH]} as data.resize, or leave the image out"
            )
        return fitted_height, fitted_width

    def _fitted(self, height: Any, width: Any) -> tuple[int, int]:
        """Return the size without the check, in operations that support symbolic sizes."""
        factor: Any = self.scale
        if isinstance(self.resize, tuple):
            return self.resize
        if isinstance(self.resize, Letterbox):
            box = self.resize.letterbox
            factor = torch.sym_min(box[0] / height, box[1] / width)
            sides: Any = (_scaled(height, factor), _scaled(width, factor))
            return torch.sym_min(box[0], sides[0]), torch.sym_min(box[1], sides[1])
        if isinstance(self.resize, ShortestSide):
            factor = self.resize.shortest_side / torch.sym_min(height, width)
        return _scaled(height, factor), _scaled(width, factor)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the model's input: the resized image, with letterbox padding.

        Raises:
            DataError: The image would be enlarged beyond the limit.
        """
        if isinstance(self.resize, Letterbox):
            return self.resize.letterbox
        return self.fitted_size(height, width)

    @property
    def changes_size(self) -> bool:
        """Whether images may be resized or padded."""
        return self.resize is not None or self.scale != 1

    def without_enhancement(self) -> Self:
        """Return the steps that remain for images that are already enhanced."""
        return self.model_copy(update=dict(Enhancement()))

    def describe(self) -> list[str]:
        """Return the active steps, except normalization, as text in order."""
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

    @property
    def whole_image_step(self) -> str | None:
        """The first step that needs the whole image, as text; ``None`` if there is none."""
        others = self.model_copy(update={"bands": None, "scale": 1.0}).describe()
        return others[0] if others else None


def _scaled(side: Any, factor: Any) -> Any:
    """Return a height or width times a factor, at least 1."""
    return torch.sym_max(1, round(side * factor))


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
        logits: (K, H, W) or (N, K, H, W) at working size.
        preprocessing: The preprocessing of the image.
        height: Height of the image in pixels, as read.
        width: Width of the image in pixels, as read.

    Returns:
        (K, height, width) or (N, K, height, width).
    """
    if not preprocessing.changes_size:
        return logits
    fitted = preprocessing.fitted_size(height, width)
    logits = logits[..., : fitted[0], : fitted[1]]
    if _is_same_size(fitted, (height, width)):
        return logits
    batch = logits if logits.ndim == 4 else logits[None]
    restored = nn.functional.interpolate(
        batch, (height, width), mode="bilinear", align_corners=False
    )
    return restored if logits.ndim == 4 else restored[0]


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

    While it is traced, a resize to the same size stays in the graph, where it changes nothing.

    Args:
        image: (C, H, W) or (N, C, H, W); uint8 images are rounded to uint8.
        size: Height and width in pixels.
    """
    if _is_same_size(size, image.shape[-2:]):
        return image
    dtype = image.dtype
    if (
        not torch.compiler.is_exporting()
    ):  # graphs are run by other engines, which resize such images correctly
        if size[1] == 1 < size[0]:  # torch 2.15 fills a single column with its first pixel
            return resize_image(image.mT, (1, size[0])).mT
        if size == (1, 1):  # and fails for a result of one uint8 pixel with three channels
            image = image.float()
    batch = image if image.ndim == 4 else image[None]
    resized = nn.functional.interpolate(
        batch, size, mode="bilinear", align_corners=False, antialias=True
    )
    resized = resized if image.ndim == 4 else resized[0]
    return resized if resized.dtype == dtype else resized.round().to(dtype)


def pad_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad an image at the right and the bottom by repeating its last column and row.

    Args:
        image: (C, H, W) or (N, C, H, W), no larger than ``size``.
        size: Height and width in pixels.
    """
    if _is_same_size(size, image.shape[-2:]):
        return image
    rows, columns = (
        torch.arange(longer, device=image.device).clamp(max=side - 1)
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
    normalized: Tensor = Normalize(preprocessing).to(image.device)(image)
    return normalized


def _is_same_size(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether the image keeps its size; ``False`` in a graph, which must support every size."""
    return not torch.compiler.is_exporting() and tuple(size) == tuple(other)


class Normalize(nn.Module):
    """Normalizes images from stored units to the model's input.

    Args:
        preprocessing: Mean and standard deviation per channel.

    Attributes:
        mean: Buffer, float32 (C, 1, 1), in stored units.
        std: Buffer, float32 (C, 1, 1), in stored units.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32)
            self.register_buffer(name, values.view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Normalize (N, C, H, W) or (C, H, W) of any number type to float32 of the same shape."""
        return (image.float() - self.mean) / self.std


class Preprocess(nn.Module):
    """Prepares a batch of stored images for the network; exported together with the model.

    The steps of :func:`host_steps` precede it and are not included. If there are such steps, they
    also select the bands.

    An exported graph accepts every size, but it cannot raise an error for images that would be
    enlarged beyond memory, and torch itself resizes incorrectly to a width of 1 pixel (see
    :func:`resize_image`).

    Args:
        preprocessing: The preprocessing.

    Attributes:
        preprocessing: The preprocessing.
        host_steps: Names of the steps that precede this module; empty for most models.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.host_steps = host_steps(preprocessing)
        self.bands = None if self.host_steps else preprocessing.bands
        self.normalize = Normalize(preprocessing)

    def forward(self, image: Tensor) -> Tensor:
        """Prepare a batch of images of one size.

        Args:
            image: (N, C, H, W) in stored units: uint8, or float32 for uint16 and float32 images. C
                is the number of stored channels; bands are selected, and grayscale is repeated to
                all channels.

        Returns:
            float32 (N, channels of the model, working height, working width), normalized.

        Raises:
            DataError: The images lack a band, have other channels, or would be enlarged beyond
            memory.
        """
        height, width = image.shape[-2:]
        image = self._conformed(image)
        if self.preprocessing.changes_size:
            image = resize_image(image, self.preprocessing.fitted_size(height, width))
        if isinstance(self.preprocessing.resize, Letterbox):
            image = pad_image(image, self.preprocessing.working_size(height, width))
        normalized: Tensor = self.normalize(image)
        return normalized

    def restore(self, logits: Tensor, height: int, width: int) -> Tensor:
        """Resize logits (N, K, H, W) to the size of the images; see :func:`restore_size`."""
        return restore_size(logits, self.preprocessing, height, width)

    def _conformed(self, image: Tensor) -> Tensor:
        """Select the bands of the model; the number of channels is fixed in a graph."""
        channels, wanted = image.shape[1], len(self.preprocessing.mean)
        if self.bands is not None:
            if max(self.bands) > channels:
                raise DataError(
                    f"images must have the bands {', '.join(map(str, self.bands))}. "
                    f"They have {channels}. Choose existing bands, counted from 1"
                )
            return image[:, [band - 1 for band in self.bands]]
        if channels == 1 and wanted == 3:
            return image.expand(-1, wanted, -1, -1)
        if channels != wanted:
            raise DataError(
                f"images must have {amount(wanted, 'channel')}. Got {channels}. "
                "Convert them, or train a model on such images"
            )
        return image


def host_steps(preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return the steps that cannot be part of a graph and are applied to each image before it.

    They use sorted values, histograms or means of the whole image, and are implemented with OpenCV
    or numpy in :func:`pixelwise.transforms.enhancement.enhance`.

    Returns:
        Descriptions of the steps in order, such as ``("denoise median", "contrast clahe")``,
        preceded by the band selection if there are any. Empty if the graph contains all steps.
    """
    steps = Enhancement.describe(preprocessing)
    chosen = Enhancement(bands=preprocessing.bands).describe()
    return () if steps == chosen else tuple(steps)
