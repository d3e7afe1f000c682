"""A reader's own network as a model: its images are padded, its outputs are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.base import SegmentationModel


class OwnNetwork(SegmentationModel):
    """A plain module that maps images (N, C, H, W) to logits (N, K, H, W).

    Args:
        network: The module; it is held, not copied. It may return the logits or, as those of
            torchvision, a mapping that holds them under ``out``.
        num_classes: Number of classes, K.
        in_channels: Channels of the images, C.
        stride: The network gets heights and widths that are multiples of this.
    """

    def __init__(
        self, network: nn.Module, num_classes: int, in_channels: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.network = network
        self.num_classes, self.in_channels, self.stride = num_classes, in_channels, stride
        self.name = type(network).__name__
        self.arguments = {}

    def segment(self, image: Tensor) -> Tensor:
        """Segment images with sides that are multiples of the stride.

        Raises:
            ConfigError: The network does not return logits of this number of classes and size.
        """
        output: Any = self.network(image)
        logits = output["out"] if isinstance(output, Mapping) and "out" in output else output
        wanted = (image.shape[0], self.num_classes, *image.shape[-2:])
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError(
                f"model must return one channel of logits per class, at the size of its input: "
                f"{wanted}. {self.name} returned {got}. Wrap it in a module that does"
            )
        return logits
