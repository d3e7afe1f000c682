"""U-Net (Ronneberger et al. 2015), and the wiring that every U-Net here shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from pixelwise.config import Positive, Share
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


class UShape(SegmentationModel):
    """A way down and a way back up of the same depth, every level joined by a skip.

    Attributes:
        is_skip_first: The skip's channels come before those from below where both are concatenated.
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
        """Take the blocks, each kind in the order of its use; those of ``stem`` run before."""
        self.encoder = nn.ModuleList(encoder)
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = bottleneck
        self.up = nn.ModuleList(up)
        self.decoder = nn.ModuleList(decoder)
        self.head = head
        self.merge = merge
        self.stride = 2 ** (len(stem) + len(self.encoder))
        # Skips see less than the way through the bottleneck.
        down = [layer for block in self.encoder for layer in (block, self.pool)]
        back_up = [layer for pair in zip(self.up, self.decoder, strict=True) for layer in pair]
        self.sees_px = seen_px([*stem, *down, bottleneck, *back_up, head], self.stride)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of the stride; (N, C, H, W) to (N, K, H, W)."""
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
    """Filters of each level, doubled from one to the next."""
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
    """Double the size: a transposed convolution, or a fixed rule and then a 2 x 2 convolution."""
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
    """Five levels, skips concatenated as [skip, up], two filters for each class before the last.

    31,031,685 parameters at 1 channel and 1 class.

    Args:
        num_classes: Planes of the logits. The last 3 x 3 convolution has twice as many filters.
        in_channels: Channels of the image.
        filters: Of the first level; each further one has twice as many.
        depth: Levels, from the full size downwards.
        activation: After every convolution.
        normalization: After or before the activation, by the batch or by the image, or none.
        dropout: Chance, after the two deepest blocks; the skip takes the dropped-out features.
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

        def block(before: int, after: int, chance: float = 0.0) -> nn.Sequential:
            return nn.Sequential(unit(before, after), unit(after, after), Dropout(chance))

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
