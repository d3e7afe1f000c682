"""Dilated convolutions instead of down-sampling: the context module."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pixelwise.config import Positive
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import convolution, convolution_block, glorot_uniform, he_normal

FRONT_END = 3
"""3 x 3 convolutions before the context module."""


@models.register("dilated")
class Dilated(SegmentationModel):
    """Everything at full size: three convolutions, then seven whose grid widens from 1 to 16.

    The context module sees 67 x 67 pixels, as in the paper, and the whole network 73 x 73, with as
    many layers as ``stacked-fcn``, which sees 23 x 23.

    Args:
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
        filters: Of every convolution but the last.
        dilations: Of the context module's 3 x 3 convolutions; the receptive field is
            ``7 + 2 * sum(dilations)``.

    Reference:
        Yu and Koltun, Multi-scale context aggregation by dilated convolutions (2016),
        arXiv:1511.07122, table 1, basic. The front end is a small one of ours, where
        the paper has VGG16's.
    """

    reference = "Yu and Koltun 2016, context module"
    learning_rate = 3e-3

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        filters: Positive = 32,
        dilations: tuple[Positive, ...] = (1, 1, 2, 4, 8, 16, 1),
    ) -> None:
        super().__init__()
        self.front_end = nn.Sequential(
            *(
                convolution_block(*pair, initialize=he_normal)
                for pair in pairwise([in_channels, *[filters] * FRONT_END])
            )
        )
        self.context = nn.Sequential(
            *(
                convolution_block(filters, filters, initialize=he_normal, dilation=dilation)
                for dilation in dilations
            )
        )
        self.head = convolution(filters, num_classes, 1, initialize=glorot_uniform)
        self.sees_px = 1 + 2 * (FRONT_END + sum(dilations))

    def segment(self, image: Tensor) -> Tensor:
        """Segment images of any size; (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.head(self.context(self.front_end(image)))
        return logits
