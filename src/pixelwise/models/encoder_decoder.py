"""The stacked FCN's eleven convolutions with pooling and up-sampling between them."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pixelwise.config import Positive
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import Activation, Normalization, convolution, glorot_uniform
from pixelwise.models.receptive_field import seen_px
from pixelwise.models.stacked_fcn import hidden_convolutions
from pixelwise.schemas import Share

POOL_AFTER = (2, 4)
"""2 x 2 max pooling follows the 2nd and the 4th convolution."""

UPSAMPLE_AFTER = (6, 8)
"""2 x 2 up-sampling follows the 6th and the 8th convolution."""


@models.register("encoder-decoder")
class EncoderDecoder(SegmentationModel):
    """The convolutions of the stacked FCN, half of them at a half or a quarter of the size.

    74,595 parameters with 1 channel and 3 classes, as the stacked FCN, at 0.4 times its operations.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        filters: Filters of the first and the tenth convolution; those between have twice as many.
        activation: Activation after every convolution but the last.
        normalization: Normalization after or before the activation, or none.
        dropout: Dropout probability after every convolution but the last.
        up: How the size is doubled; neither way has parameters.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038, for the principle; the
        layers are those of a tutorial on small images of digits. Glorot uniform initialization.
    """

    reference = "after Long et al. 2015, encoder-decoder"
    stride = 4
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
        up: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        hidden = hidden_convolutions(
            in_channels,
            filters,
            activation=activation,
            normalization=normalization,
            dropout=dropout,
        )
        layers: list[nn.Module] = []
        for number, block in enumerate(hidden, start=1):
            layers.append(block)
            if number in POOL_AFTER:
                layers.append(nn.MaxPool2d(2))
            if number in UPSAMPLE_AFTER:
                layers.append(nn.Upsample(scale_factor=2, mode=up))
        layers.append(convolution(filters, num_classes, 3, initialize=glorot_uniform))
        self.layers = nn.Sequential(*layers)
        self.sees_px = seen_px(self.layers, self.stride)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images with sides that are multiples of 4, (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.layers(image)
        return logits
