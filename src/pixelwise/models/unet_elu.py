"""A small U-Net with ELU, dropout and transposed convolutions."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import nn

from pixelwise.config import Positive
from pixelwise.models.base import models
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
)
from pixelwise.models.unet import UShape, filters_by_level, up_sampling
from pixelwise.schemas import Share


def dropout_of_level(level: int, depth: int, dropout: float) -> float:
    """Return the dropout of a level: for 0.3 and depth 5, it is 0.1, 0.1, 0.2, 0.2 and 0.3."""
    return round(dropout * (1 + level // 2) / (1 + (depth - 1) // 2), 6)


@models.register("unet-elu")
class UNetELU(UShape):
    """Five levels, 19 convolutions and 4 transposed ones, skips concatenated as [up, skip].

    1,941,105 parameters with 3 channels and 1 class. Common variants are one
    argument each: ``normalization="batch"``, ``activation="relu"``, ``padding="replicate"``; the
    model ``resunet`` has the residual encoder.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        filters: Filters of the first level; they double from level to level.
        depth: Number of levels, including full size.
        activation: Activation after every convolution but the transposed ones and the last.
        normalization: Normalization after or before the activation, or none.
        dropout: Dropout probability between the convolutions of the deepest level; the
            other levels have less.
        up: How the decoder doubles the size.
        merge: Whether skips are concatenated or added.
        padding: Padding of convolutions with zeros, or by repeating the edge.

    Reference:
        Ronneberger et al., U-Net (2015), arXiv:1505.04597; Clevert et al., ELU (2016),
        arXiv:1511.07289. He normal initialization of the 3 x 3 convolutions, Glorot uniform of the
        transposed and the last one.
    """

    reference = "Ronneberger et al. 2015, U-Net, small, with ELU"
    learning_rate = 1e-3
    is_skip_first = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        filters: Positive = 16,
        depth: Depth = 5,
        activation: Activation = "elu",
        normalization: Normalization = "none",
        dropout: Share = 0.3,
        up: UpSampling = "transposed",
        merge: Merge = "concatenate",
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        levels = filters_by_level(filters, depth)
        probabilities = [dropout_of_level(level, depth, dropout) for level in range(depth)]
        unit = partial(
            convolution_block,
            initialize=he_normal,
            activation=activation,
            normalization=normalization,
            padding=padding,
        )

        def block(before: int, after: int, probability: float) -> nn.Sequential:
            return nn.Sequential(unit(before, after), Dropout(probability), unit(after, after))

        self._assemble(
            encoder=[
                self._encoder_block(before, block(before, after, probability), after)
                for (before, after), probability in zip(
                    pairwise([in_channels, *levels[:-1]]), probabilities, strict=False
                )
            ],
            bottleneck=self._encoder_block(
                levels[-2], block(levels[-2], levels[-1], probabilities[-1]), levels[-1]
            ),
            up=[
                up_sampling(
                    up,
                    below,
                    here,
                    activation=activation,
                    normalization=normalization,
                    padding=padding,
                )
                for below, here in pairwise(reversed(levels))
            ],
            decoder=[
                block(here if merge == "add" else 2 * here, here, probability)
                for here, probability in zip(
                    reversed(levels[:-1]), reversed(probabilities[:-1]), strict=True
                )
            ],
            head=convolution(filters, num_classes, 1, initialize=glorot_uniform),
            merge=merge,
        )

    def _encoder_block(
        self,
        before: int,  # noqa: ARG002  used by the residual encoder
        block: nn.Sequential,
        after: int,  # noqa: ARG002
    ) -> nn.Module:
        """Return an encoder block."""
        return block
