"""U-Net (Ronneberger et al. 2015), and the base class of all U-Nets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from pixelwise.config import Positive
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import (
    Activation,
    Depth,
    Dropout,
    Merge,
    Normalization,
    Padding,
    UpSampling,
    convolution,
    convolution_block,
    glorot_uniform,
    he_normal,
    transposed_convolution,
)
from pixelwise.models.receptive_field import seen_px
from pixelwise.schemas import Share


class UShape(SegmentationModel):
    """An encoder and a decoder of the same depth, with a skip connection at every level.

    Attributes:
        is_skip_first: Whether the skip's channels precede those from below when concatenated.
    """

    is_skip_first: bool

    def _assemble(
        self,
        *,
        encoder: Iterable[nn.Module],
        bottleneck: nn.Module,
        up: Iterable[nn.Module],
        decoder: Iterable[nn.Module],
        head: nn.Module,
        merge: Merge,
        stem: Sequence[nn.Module] = (),
    ) -> None:
        """Register the blocks, each kind in the order of its use; those of ``stem`` run first."""
        self.encoder = nn.ModuleList(encoder)
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = bottleneck
        self.up = nn.ModuleList(up)
        self.decoder = nn.ModuleList(decoder)
        self.head = head
        self.merge = merge
        self.stride = 2 ** (len(stem) + len(self.encoder))
        # Skips have smaller receptive fields than the path through the bottleneck.
        down = [layer for block in self.encoder for layer in (block, self.pool)]
        back_up = [layer for pair in zip(self.up, self.decoder, strict=True) for layer in pair]
        self.sees_px = seen_px([*stem, *down, bottleneck, *back_up, head], self.stride)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images, (N, C, H, W) to (N, K, H, W); sides must be multiples of the stride."""
        feature_map = image
        skips = []
        for block in self.encoder:
            feature_map = block(feature_map)
            skips.append(feature_map)
            feature_map = self.pool(feature_map)
        feature_map = self.bottleneck(feature_map)
        for up, block in zip(self.up, self.decoder, strict=True):
            feature_map = block(self._merged(up(feature_map), skips.pop()))
        logits: Tensor = self.head(feature_map)
        return logits

    def _merged(self, from_below: Tensor, skip: Tensor) -> Tensor:
        if self.merge == "add":
            return skip + from_below
        return torch.cat([skip, from_below] if self.is_skip_first else [from_below, skip], dim=1)


def filters_by_level(filters: int, depth: int) -> list[int]:
    """Return the filters of each level, which double from level to level."""
    return [filters * 2**level for level in range(depth)]


def up_sampling(
    kind: UpSampling,
    in_channels: int,
    out_channels: int,
    *,
    activation: Activation,
    normalization: Normalization = "none",
    padding: Padding = "zeros",
) -> nn.Module:
    """Return layers that double the size: transposed, or interpolation and a 2 x 2 convolution."""
    if kind == "transposed":
        return transposed_convolution(in_channels, out_channels)
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode=kind),
        convolution_block(
            in_channels,
            out_channels,
            2,
            initialize=he_normal,
            activation=activation,
            normalization=normalization,
            padding=padding,
        ),
    )


@models.register("unet")
class UNet(UShape):
    """Five levels, skips concatenated as [skip, up], two filters per class before the last layer.

    31,031,685 parameters with 1 channel and 1 class.

    Args:
        num_classes: Channels of the logits. The last 3 x 3 convolution has twice as many filters.
        in_channels: Channels of the image.
        filters: Filters of the first level; they double from level to level.
        depth: Number of levels, including full size.
        activation: Activation after every convolution.
        normalization: Normalization after or before the activation, or none.
        dropout: Dropout probability after the two deepest blocks, which also affects the skip.
        up: How the decoder doubles the size.
        merge: Whether skips are concatenated or added.

    Reference:
        Ronneberger et al., U-Net (2015), arXiv:1505.04597, with padded convolutions as tutorials
        build it. He normal initialization, Glorot uniform of the last convolution.
    """

    reference = "Ronneberger et al. 2015, U-Net"
    learning_rate = 3e-4
    is_skip_first = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        filters: Positive = 64,
        depth: Depth = 5,
        activation: Activation = "relu",
        normalization: Normalization = "none",
        dropout: Share = 0.5,
        up: UpSampling = "nearest",
        merge: Merge = "concatenate",
    ) -> None:
        super().__init__()
        levels = filters_by_level(filters, depth)
        unit = partial(
            convolution_block,
            initialize=he_normal,
            activation=activation,
            normalization=normalization,
        )

        def block(before: int, after: int, probability: float = 0.0) -> nn.Sequential:
            return nn.Sequential(unit(before, after), unit(after, after), Dropout(probability))

        self._assemble(
            encoder=[
                block(before, after, dropout if after == levels[-2] else 0.0)
                for before, after in pairwise([in_channels, *levels[:-1]])
            ],
            bottleneck=block(levels[-2], levels[-1], dropout),
            up=[
                up_sampling(up, below, here, activation=activation, normalization=normalization)
                for below, here in pairwise(reversed(levels))
            ],
            decoder=[
                block(here if merge == "add" else 2 * here, here) for here in reversed(levels[:-1])
            ],
            head=nn.Sequential(
                unit(filters, 2 * num_classes),
                convolution(2 * num_classes, num_classes, 1, initialize=glorot_uniform),
            ),
            merge=merge,
        )
