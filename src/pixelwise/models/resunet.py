"""A small U-Net with a residual encoder."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.base import models
from pixelwise.models.blocks import convolution, glorot_uniform
from pixelwise.models.unet_elu import UNetELU


class Residual(nn.Module):
    """Adds the input of a block, after a 1 x 1 convolution, to its output.

    Reference:
        He et al., Deep residual learning (2016), arXiv:1512.03385, option B.
    """

    def __init__(self, in_channels: int, block: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.block = block
        self.shortcut = convolution(in_channels, out_channels, 1, initialize=glorot_uniform)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Return the block's output plus the shortcut, in the same size as (N, C, H, W)."""
        features: Tensor = self.block(feature_map) + self.shortcut(feature_map)
        return features


@models.register("resunet")
class ResUNet(UNetELU):
    """``unet-elu`` with residual encoder blocks, and the same arguments.

    Reference:
        Zhang et al., Road extraction by deep residual U-Net (2018), arXiv:1711.10684.
    """

    reference = "Zhang et al. 2018, deep residual U-Net"

    def _encoder_block(self, before: int, block: nn.Sequential, after: int) -> nn.Module:
        return Residual(before, block, after)
