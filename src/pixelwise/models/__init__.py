"""The models: tensor in, logits out. One file per architecture; ``create_model`` builds by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.registry import Registry

models: Registry[nn.Module] = Registry(
    "model", "pixelwise.models", hint="List them with: pixelwise models"
)


class SegmentationModel(nn.Module):
    """A network that maps every image size to logits of the same size.

    The one place where images are padded to the network's stride and logits are cropped back. The
    padding is at the right and the bottom, so pixel (0, 0) of the image stays at (0, 0).

    Attributes:
        article: Where the architecture is described.
        stride: Heights and widths that the network itself needs are multiples of this.
        learning_rate: The highest rate of Adam, warmed up and decayed, that it was seen to take.
        name: The registered name.
        arguments: What the builder was called with, enough to build the same network again.
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
    """

    article: str = ""
    stride: int = 1
    learning_rate: float = 1e-3
    name: str
    arguments: dict[str, Any]
    num_classes: int
    in_channels: int

    def forward(self, image: Tensor) -> Tensor:
        """Segment a batch of images.

        Args:
            image: Float (N, C, H, W), normalised; every H and W from 1 upwards.

        Returns:
            Logits, float (N, num_classes, H, W); pixel (r, c) belongs to the image's pixel (r, c).
        """
        height, width = image.shape[-2:]
        pad_height, pad_width = -height % self.stride, -width % self.stride
        if pad_height or pad_width:
            # Edge pixels are repeated: a black border would look like the edge of an object.
            image = nn.functional.pad(image, (0, pad_width, 0, pad_height), mode="replicate")
        return self.segment(image)[..., :height, :width]

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose height and width are multiples of ``stride``."""
        raise NotImplementedError


def create_model(
    name: str, num_classes: int, in_channels: int = 3, **arguments: Any
) -> SegmentationModel:
    """Build a model with fresh weights.

    Args:
        name: A registered name; see :func:`list_models`.
        num_classes: Planes of the logits, at least 1.
        in_channels: Channels of the images, at least 1.
        **arguments: Further arguments of that architecture, as in the signature of its class.

    Raises:
        UnknownNameError: No such model, or no such argument.
        ConfigError: A count is below 1.
    """
    for what, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ConfigError(f"{what} must be at least 1. Got {count}")
    model = models.create(name, num_classes=num_classes, in_channels=in_channels, **arguments)
    assert isinstance(model, SegmentationModel)
    model.name, model.arguments = name, arguments
    model.num_classes, model.in_channels = num_classes, in_channels
    return model


def list_models() -> list[str]:
    """The registered names, sorted."""
    return models.names()


@dataclass(frozen=True)
class ModelSummary:
    """What ``pixelwise models`` says of a model.

    Attributes:
        name: The registered name.
        article: Where the architecture is described.
        parameters: How many weights are trained or kept, at the given channels and classes.
        label_modes: The label modes that it can be trained on.
    """

    name: str
    article: str
    parameters: int
    label_modes: tuple[str, ...]


def summarise_models(num_classes: int, in_channels: int) -> list[ModelSummary]:
    """Describe every registered model; nothing is computed, the weights are never allocated."""
    summaries = []
    for name in list_models():
        with torch.device("meta"):
            model = create_model(name, num_classes, in_channels)
        parameters = sum(weights.numel() for weights in model.parameters())
        # Logits suit both losses: softmax for exclusive labels, a sigmoid each for overlapping.
        summaries.append(
            ModelSummary(name, model.article, parameters, ("exclusive", "overlapping"))
        )
    return summaries
