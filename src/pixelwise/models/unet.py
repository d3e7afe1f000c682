"""U-Net as the tutorials build it (article A2): up-sampling by nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.models import SegmentationModel, models
from pixelwise.models.blocks import Dropout, convolution, glorot_uniform, he_normal

FILTERS = (64, 128, 256, 512, 1024)
"""Filters of the five levels, from the full size to a sixteenth."""

DROPOUT = 0.5
"""After the 512 and the 1024 block; the skip takes the dropped-out 512 features."""


def double_convolution(in_channels: int, out_channels: int, dropout: float = 0.0) -> nn.Sequential:
    """Two 3 x 3 convolutions with relu, then dropout."""
    return nn.Sequential(
        convolution(in_channels, out_channels, 3, initialise=he_normal),
        nn.ReLU(),
        convolution(out_channels, out_channels, 3, initialise=he_normal),
        nn.ReLU(),
        Dropout(dropout),
    )


@models.register("unet")
class UNet(SegmentationModel):
    """Five levels, skips concatenated as [skip, up], two filters for each class before the last.

    31,031,685 parameters at 1 channel and 1 class.

    Args:
        num_classes: Planes of the logits. The last 3 x 3 convolution has twice as many filters, as
            the article's 2 before its 1 class.
        in_channels: Channels of the image.

    Reference:
        Article A2, "From FCN to U-Net"; Ronneberger et al. (2015), arXiv:1505.04597. He normal
        initialisation; the last convolution keeps Keras' default, Glorot uniform.
    """

    article = "A2 From FCN to U-Net"
    stride = 2 ** (len(FILTERS) - 1)
    learning_rate = 3e-4

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        *_, second_deepest, deepest = FILTERS
        self.encoder = nn.ModuleList(
            double_convolution(before, filters, DROPOUT if filters == second_deepest else 0.0)
            for before, filters in zip((in_channels, *FILTERS), FILTERS[:-1], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = double_convolution(second_deepest, deepest, DROPOUT)
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for filters in reversed(FILTERS[:-1]):
            self.up.append(
                nn.Sequential(
                    nn.Upsample(scale_factor=2, mode="nearest"),
                    convolution(2 * filters, filters, 2, initialise=he_normal),
                    nn.ReLU(),
                )
            )
            self.decoder.append(double_convolution(2 * filters, filters))
        self.head = nn.Sequential(
            convolution(FILTERS[0], 2 * num_classes, 3, initialise=he_normal),
            nn.ReLU(),
            convolution(2 * num_classes, num_classes, 1, initialise=glorot_uniform),
        )

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
            feature_map = block(torch.cat([skips.pop(), up(feature_map)], dim=1))
        logits: Tensor = self.head(feature_map)
        return logits
