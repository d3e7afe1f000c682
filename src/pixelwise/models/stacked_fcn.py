"""Eleven convolutions of one size, one after the other (article A1, model 1)."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models import SegmentationModel, models
from pixelwise.models.blocks import convolution, glorot_uniform

FILTERS = (16, 32, 32, 32, 32, 32, 32, 32, 32, 16)
"""Filters of the ten hidden convolutions; the encoder-decoder has the same ones."""


@models.register("stacked-fcn")
class StackedFCN(SegmentationModel):
    """Eleven 3 x 3 convolutions with relu between them; nothing is down-sampled.

    74,595 parameters at 1 channel and 3 classes. A pixel sees the 23 x 23 pixels around it.

    Args:
        num_classes: Planes of the logits.
        in_channels: Channels of the image.

    Reference:
        Article A1, "Simple semantic segmentation", model 1; Glorot uniform initialisation.
    """

    article = "A1 Simple semantic segmentation, model 1"
    learning_rate = 3e-3

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, filters in zip((in_channels, *FILTERS), FILTERS, strict=False):
            layers += [convolution(before, filters, 3, initialise=glorot_uniform), nn.ReLU()]
        layers.append(convolution(FILTERS[-1], num_classes, 3, initialise=glorot_uniform))
        self.layers = nn.Sequential(*layers)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images of any size; (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.layers(image)
        return logits
