"""A1's eleven convolutions with pooling and up-sampling between them (article A1, model 2)."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models import SegmentationModel, models
from pixelwise.models.blocks import convolution, glorot_uniform
from pixelwise.models.stacked_fcn import FILTERS

POOL_AFTER = (2, 4)
"""2 x 2 max pooling follows the 2nd and the 4th convolution."""

UPSAMPLE_AFTER = (6, 8)
"""2 x 2 nearest up-sampling follows the 6th and the 8th convolution."""


@models.register("encoder-decoder")
class EncoderDecoder(SegmentationModel):
    """The stacked FCN's convolutions and parameters, half of them at a half or quarter of the size.

    74,595 parameters at 1 channel and 3 classes, as the stacked FCN, at 0.4 times its computation.

    Args:
        num_classes: Planes of the logits.
        in_channels: Channels of the image.

    Reference:
        Article A1, "Simple semantic segmentation", model 2; Glorot uniform initialisation.
    """

    article = "A1 Simple semantic segmentation, model 2"
    stride = 4
    learning_rate = 3e-3

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = in_channels
        for number, filters in enumerate(FILTERS, start=1):
            layers += [convolution(before, filters, 3, initialise=glorot_uniform), nn.ReLU()]
            if number in POOL_AFTER:
                layers.append(nn.MaxPool2d(2))
            if number in UPSAMPLE_AFTER:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            before = filters
        layers.append(convolution(before, num_classes, 3, initialise=glorot_uniform))
        self.layers = nn.Sequential(*layers)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of 4; (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.layers(image)
        return logits
