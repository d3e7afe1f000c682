"""A stack of eleven convolutions at full size."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pixelwise.config import Positive
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import (
    Activation,
    Dropout,
    Normalization,
    convolution,
    convolution_block,
    glorot_uniform,
)
from pixelwise.models.receptive_field import seen_px
from pixelwise.schemas import Share

HIDDEN = 10
"""Number of convolutions before the last one. The first and the last of them have ``filters``
filters, the others twice as many. The encoder-decoder uses the same convolutions."""


def hidden_convolutions(
    in_channels: int,
    filters: int,
    *,
    activation: Activation,
    normalization: Normalization,
    dropout: float,
) -> list[nn.Sequential]:
    """Return the ten hidden convolutions of both networks with their activations."""
    widths = [in_channels, filters, *[2 * filters] * (HIDDEN - 2), filters]
    return [
        nn.Sequential(
            convolution_block(
                before,
                after,
                initialize=glorot_uniform,
                activation=activation,
                normalization=normalization,
            ),
            Dropout(dropout),
        )
        for before, after in pairwise(widths)
    ]


@models.register("stacked-fcn")
class StackedFCN(SegmentationModel):
    """Eleven 3 x 3 convolutions with ReLU between them, without down-sampling.

    74,595 parameters with 1 channel and 3 classes. The receptive field is 23 x 23 pixels.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        filters: Filters of the first and the tenth convolution; those between have twice as many.
        activation: Activation after every convolution but the last.
        normalization: Normalization after or before the activation, or none.
        dropout: Dropout probability after every convolution but the last.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038, for the principle; the
        layers are those of a tutorial on small images of digits. Glorot uniform initialization.
    """

    reference = "after Long et al. 2015, without down-sampling"
    learning_rate = 3e-3

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        filters: Positive = 16,
        activation: Activation = "relu",
        normalization: Normalization = "none",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *hidden_convolutions(
                in_channels,
                filters,
                activation=activation,
                normalization=normalization,
                dropout=dropout,
            ),
            convolution(filters, num_classes, 3, initialize=glorot_uniform),
        )
        self.sees_px = seen_px(self.layers, self.stride)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images of any size, (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.layers(image)
        return logits
