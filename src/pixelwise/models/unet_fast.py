"""A U-Net for short training runs, with normalization and a stem that reduces the image size."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from pixelwise.config import Positive
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
from pixelwise.schemas import Share

Stem = Literal[1, 2, 4]
"""Factor by which the stem reduces the image size."""


def alike(weight: Tensor, times: int) -> Tensor:
    """Initialize weights as Glorot does, with groups of ``times`` equal filters.

    The pixels that share a position in the head then start with equal logits.

    Reference:
        Aitken et al., Checkerboard artifact free sub-pixel convolution (2017), arXiv:1707.02937.
    """
    with torch.no_grad():
        weight.copy_(glorot_uniform(weight[::times].clone()).repeat_interleave(times, 0))
    return weight


@models.register("unet-fast")
class FastUNet(UShape):
    """A variant of ``unet-elu`` that learns as much as possible in a few minutes.

    A convolution of stride 2 halves the image before the first level, which leaves a quarter of the
    operations. Batch normalization and ReLU follow every 3 x 3 convolution, which allows learning
    rates five times as high. The head has one logit per class for each of the 2 x 2 pixels at its
    position, so that logits have the resolution of the image.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        filters: Filters of the stem and the first level; they double from level to level.
        depth: Number of levels, starting at the size after the stem.
        stem: Factor by which the stem reduces the image size; 1 omits the stem.
        normalization: Normalization of the stem and of every 3 x 3 convolution.
        dropout: Dropout probability between the two convolutions of the deepest level.

    Reference:
        Ronneberger et al., U-Net (2015), arXiv:1505.04597; Ioffe and Szegedy, Batch normalization
        (2015), arXiv:1502.03167; Shi et al., sub-pixel convolution (2016), arXiv:1609.05158.
    """

    reference = "Ronneberger et al. 2015, U-Net, for short training runs"
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

        def block(before: int, after: int, probability: float = 0.0) -> nn.Sequential:
            return nn.Sequential(unit(before, after), Dropout(probability), unit(after, after))

        halvings = stem.bit_length() - 1
        self.stem = nn.Sequential(
            # An even kernel is centered between pixels, so there is no shift by half a pixel.
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
        # Normalization needs more than one pixel at the deepest level.
        self.smallest_px = 2 * self.stride

    def segment(self, image: Tensor) -> Tensor:
        """Segment images, (N, C, H, W) to (N, K, H, W); sides must be multiples of the stride."""
        return super().segment(self.stem(image))
