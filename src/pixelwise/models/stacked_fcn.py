"""Eleven convolutions of one size, one after the other."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pixelwise.config import Positive, Share
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

HIDDEN = 10
"""Convolutions before the last one: the first and the last of them have ``filters``, those between
twice as many. The encoder-decoder has the same ones."""


def hidden_convolutions(
    in_channels: int,
    filters: int,
    *,
    activation: Activation,
    normalization: Normalization,
    dropout: float,
) -> list[nn.Sequential]:
    """The ten hidden convolutions of both networks, each with what follows it."""
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
    """Eleven 3 x 3 convolutions with relu between them; nothing is down-sampled.

    74,595 parameters at 1 channel and 3 classes. A pixel sees the 23 x 23 pixels around it.

    Args:
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
        filters: Of the first and the tenth convolution; those between have twice as many.
        activation: After every convolution but the last.
        normalization: After or before the activation, by the batch or by the image, or none.
        dropout: Chance, after every convolution but the last.

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
        """Segment images of any size; (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.layers(image)
        return logits
