"""A U-Net for few minutes: normalized, behind a stem that makes the image smaller."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from pixelwise.config import Positive, Share
from pixelwise.models.base import models
from pixelwise.models.blocks import (
    Depth,
    Dropout,
    Normalization,
    convolution,
    convolution_block,
    glorot_uniform,
    he_normal,
    transposed_convolution,
)
from pixelwise.models.unet import UShape, filters_by_level

Stem = Literal[1, 2, 4]
"""How many times smaller than the image the first level is."""


def alike(weight: Tensor, times: int) -> Tensor:
    """Glorot's initialization, the same for each ``times`` filters in a row.

    The pixels that a head stands for begin with the same logits, as if enlarged by copies.

    Reference:
        Aitken et al., Checkerboard artifact free sub-pixel convolution (2017), arXiv:1707.02937.
    """
    with torch.no_grad():
        weight.copy_(glorot_uniform(weight[::times].clone()).repeat_interleave(times, 0))
    return weight


@models.register("unet-fast")
class FastUNet(UShape):
    """The small U-Net of ``unet-elu``, made to learn as much as possible in few minutes.

    A convolution of stride 2 halves the image before the first level, which leaves a quarter of the
    work. Batch normalization and relu follow every 3 x 3 convolution, which takes learning rates
    five times as high. The head has a logit of each class for each of the pixels that it stands
    for, 2 x 2, so that logits are as fine as the image.

    Args:
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
        filters: Of the stem and the first level; each further one has twice as many.
        depth: Levels, from the stem's size downwards.
        stem: How many times smaller than the image the first level is; 1 leaves the stem out.
        normalization: Of the stem and of every 3 x 3 convolution.
        dropout: Chance between the two convolutions of the deepest level.

    Reference:
        Ronneberger et al., U-Net (2015), arXiv:1505.04597; Ioffe and Szegedy, Batch normalization
        (2015), arXiv:1502.03167; Shi et al., sub-pixel convolution (2016), arXiv:1609.05158.
    """

    reference = "Ronneberger et al. 2015, U-Net, for short trainings"
    learning_rate = 5e-3
    is_skip_first = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        filters: Positive = 16,
        depth: Depth = 5,
        stem: Stem = 2,
        normalization: Normalization = "batch-before",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        levels = filters_by_level(filters, depth)
        unit = partial(
            convolution_block, initialize=he_normal, activation="relu", normalization=normalization
        )

        def block(before: int, after: int, chance: float = 0.0) -> nn.Sequential:
            return nn.Sequential(unit(before, after), Dropout(chance), unit(after, after))

        halvings = stem.bit_length() - 1
        self.stem = nn.Sequential(
            # An even kernel lies between the pixels: nothing is off by half of one.
            *(
                unit(before, filters, 4, stride=2)
                for before in ([in_channels] + [filters] * halvings)[:halvings]
            )
        )
        self._assemble(
            stem=[*self.stem],
            encoder=[
                block(before, after)
                for before, after in pairwise([filters if halvings else in_channels, *levels[:-1]])
            ],
            bottleneck=block(levels[-2], levels[-1], dropout),
            up=[transposed_convolution(below, here) for below, here in pairwise(reversed(levels))],
            decoder=[block(2 * here, here) for here in reversed(levels[:-1])],
            head=nn.Sequential(
                convolution(
                    filters, num_classes * stem**2, 1, initialize=partial(alike, times=stem**2)
                ),
                nn.PixelShuffle(stem),
            ),
            merge="concatenate",
        )
        # A normalization needs more than one pixel at the deepest level.
        self.smallest_px = 2 * self.stride

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of the stride; (N, C, H, W) to (N, K, H, W)."""
        return super().segment(self.stem(image))
