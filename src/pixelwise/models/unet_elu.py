"""The small U-Net with ELU, dropout and transposed convolutions (article A3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.models import SegmentationModel, models
from pixelwise.models.blocks import Dropout, convolution, glorot_uniform, he_normal

FILTERS = (16, 32, 64, 128, 256)
"""Filters of the five levels, from the full size to a sixteenth."""

ENCODER_DROPOUT = (0.1, 0.1, 0.2, 0.2, 0.3)
"""Dropout between the two convolutions of each level, downwards."""

DECODER_DROPOUT = (0.2, 0.2, 0.1, 0.1)
"""The same, upwards."""


def double_convolution(in_channels: int, out_channels: int, dropout: float) -> nn.Sequential:
    """Two 3 x 3 convolutions with ELU, dropout between them."""
    return nn.Sequential(
        convolution(in_channels, out_channels, 3, initialise=he_normal),
        nn.ELU(),
        Dropout(dropout),
        convolution(out_channels, out_channels, 3, initialise=he_normal),
        nn.ELU(),
    )


def transposed_convolution(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """A 2 x 2 transposed convolution of stride 2: it doubles the size, pixel-aligned."""
    layer = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    glorot_uniform(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


@models.register("unet-elu")
class UNetELU(SegmentationModel):
    """Five levels, 19 convolutions and 4 transposed ones, skips concatenated as [up, skip].

    1,941,105 parameters at 3 channels and 1 class.

    Args:
        num_classes: Planes of the logits.
        in_channels: Channels of the image.

    Reference:
        Article A3, "U-Net on your own data". He normal initialisation of the 3 x 3 convolutions;
        the transposed and the last convolution keep Keras' default, Glorot uniform.
    """

    article = "A3 U-Net on your own data"
    stride = 2 ** (len(FILTERS) - 1)
    learning_rate = 1e-3

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        *encoder_dropout, bottleneck_dropout = ENCODER_DROPOUT
        self.encoder = nn.ModuleList(
            double_convolution(before, filters, dropout)
            for before, filters, dropout in zip(
                (in_channels, *FILTERS[:-2]), FILTERS[:-1], encoder_dropout, strict=True
            )
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = double_convolution(FILTERS[-2], FILTERS[-1], bottleneck_dropout)
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for filters, dropout in zip(reversed(FILTERS[:-1]), DECODER_DROPOUT, strict=True):
            self.up.append(transposed_convolution(2 * filters, filters))
            self.decoder.append(double_convolution(2 * filters, filters, dropout))
        self.head = convolution(FILTERS[0], num_classes, 1, initialise=glorot_uniform)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of 16; (N, C, H, W) to (N, K, H, W)."""
        feature_map = image
        skips = []
        for block in self.encoder:
            feature_map = block(feature_map)
            skips.append(feature_map)
            feature_map = self.pool(feature_map)
        feature_map = self.bottleneck(feature_map)
        for up, block in zip(self.up, self.decoder, strict=True):
            feature_map = block(torch.cat([up(feature_map), skips.pop()], dim=1))
        logits: Tensor = self.head(feature_map)
        return logits
