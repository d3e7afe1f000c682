"""A context module of dilated convolutions without down-sampling."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pixelwise.config import Positive
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import convolution, convolution_block, glorot_uniform, he_normal

FRONT_END = 3
"""Number of 3 x 3 convolutions before the context module."""


@models.register("dilated")
class Dilated(SegmentationModel):
    """Three convolutions at full size, then seven with dilations from 1 to 16.

    The context module has a receptive field of 67 x 67 pixels, as in the paper, and the network one
    of 73 x 73. ``stacked-fcn`` has as many layers and a receptive field of 23 x 23.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        filters: Filters of every convolution but the last.
        dilations: Dilations of the context module's 3 x 3 convolutions; its receptive field is
            ``7 + 2 * sum(dilations)``.

    Reference:
        Yu and Koltun, Multi-scale context aggregation by dilated convolutions (2016),
        arXiv:1511.07122, table 1, basic. The paper uses VGG16 in front of the module, and this
        network three convolutions.
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
        """Segment images of any size, (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.head(self.context(self.front_end(image)))
        return logits
