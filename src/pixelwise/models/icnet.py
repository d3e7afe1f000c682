"""ICNet: three branches at 1, 1/2 and 1/4 of the size, fused in a cascade."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import convolution, glorot_uniform, he_normal
from pixelwise.models.encoders import create_encoder

FUSED = 128
"""Channels of every fused map."""

RESNET_STEM = ("conv1", "bn1", "act1", "maxpool", "layer1")
"""timm's names for the parts of a ResNet down to a quarter of the size."""

HIGH_FILTERS = (32, 32, 64)
"""Filters of the three stride-2 convolutions of the full-size branch."""

POOLED_SIZES = (1, 2, 3, 6)
"""Grid sizes of the pyramid pooling at the end of the quarter-size branch."""


def strided_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3 x 3 convolution of stride 2 with batch normalization and ReLU."""
    layer = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    he_normal(layer.weight)
    return nn.Sequential(layer, nn.BatchNorm2d(out_channels), nn.ReLU())


def resized(feature_map: Tensor, like: Tensor) -> Tensor:
    """Resize bilinearly to the height and width of another feature map."""
    return nn.functional.interpolate(
        feature_map, like.shape[-2:], mode="bilinear", align_corners=False
    )


class CascadeFeatureFusion(nn.Module):
    """Fuses a finer map with a coarse map that is doubled in size and convolved with dilation.

    Reference:
        Zhao et al., ICNet (2018), arXiv:1704.08545, section 3.4.
    """

    def __init__(self, coarse_channels: int, fine_channels: int, num_classes: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(
            convolution(coarse_channels, FUSED, 3, initialize=he_normal, dilation=2),
            nn.BatchNorm2d(FUSED),
        )
        self.fine = nn.Sequential(
            convolution(fine_channels, FUSED, 1, initialize=he_normal), nn.BatchNorm2d(FUSED)
        )
        self.auxiliary = convolution(coarse_channels, num_classes, 1, initialize=glorot_uniform)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused map at the finer size, and the enlarged coarse map for its logits."""
        enlarged = resized(coarse, fine)
        return (self.coarse(enlarged) + self.fine(fine)).relu(), enlarged


@models.register("icnet")
class ICNet(SegmentationModel):
    """Most layers run at a quarter of the size; two shallow branches restore the detail.

    The half-size branch and the quarter-size branch share their first layers. In training, these
    two branches have their own logits and losses.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        encoder: A ResNet of timm; the paper uses ``resnet50``.
        pretrained: Use weights pretrained on ImageNet for the encoder, which are downloaded.

    Reference:
        Zhao et al., ICNet (2018), arXiv:1704.08545. Filters are not pruned after training as in the
        paper.
    """

    reference = "Zhao et al. 2018, ICNet"
    stride = 32
    smallest_px = 2 * stride
    learning_rate = 1e-3
    sees_px = None
    auxiliary_weights = (0.4, 0.16)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        encoder: str = "resnet50",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        stem, rest, channels, deepest = _divided(encoder, in_channels, pretrained=pretrained)
        self.shared, self.low = stem, rest
        self.reduce = nn.Sequential(
            convolution(deepest, 2 * FUSED, 1, initialize=he_normal),
            nn.BatchNorm2d(2 * FUSED),
            nn.ReLU(),
        )
        self.high = nn.Sequential(
            *(strided_convolution(*pair) for pair in pairwise([in_channels, *HIGH_FILTERS]))
        )
        self.fuse_low = CascadeFeatureFusion(2 * FUSED, channels, num_classes)
        self.fuse_high = CascadeFeatureFusion(FUSED, HIGH_FILTERS[-1], num_classes)
        self.head = convolution(FUSED, num_classes, 1, initialize=glorot_uniform)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images with sides that are multiples of 32, (N, C, H, W) to (N, K, H, W)."""
        fused, *_ = self._branches(image)
        return self._logits(self.head, resized_by(fused, 2), image)

    def segment_for_training(self, image: Tensor) -> list[Tensor]:
        """Return the logits of the fused map and of the half-size and quarter-size branches."""
        fused, middle, low = self._branches(image)
        return [
            self._logits(self.head, resized_by(fused, 2), image),
            self._logits(self.fuse_high.auxiliary, middle, image),
            self._logits(self.fuse_low.auxiliary, low, image),
        ]

    def _branches(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the fused map at 1/8, and its inputs at 1/8 and at 1/16."""
        half = self.shared(resized_by(image, 0.5))
        low = self.low(resized_by(half, 0.5))
        low = low + sum(
            resized(nn.functional.adaptive_avg_pool2d(low, size), low) for size in POOLED_SIZES
        )
        middle, enlarged_low = self.fuse_low(self.reduce(low), half)
        fused, enlarged_middle = self.fuse_high(middle, self.high(image))
        return fused, enlarged_middle, enlarged_low

    @staticmethod
    def _logits(head: nn.Module, feature_map: Tensor, image: Tensor) -> Tensor:
        return resized(head(feature_map), image)


def resized_by(feature_map: Tensor, factor: float) -> Tensor:
    """Resize bilinearly by a factor."""
    return nn.functional.interpolate(
        feature_map, scale_factor=factor, mode="bilinear", align_corners=False
    )


def _divided(
    name: str, in_channels: int, *, pretrained: bool
) -> tuple[nn.Sequential, nn.Sequential, int, int]:
    """Divide a ResNet after its first block at 1/8; the later layers are dilated.

    Returns:
        The shared part, the rest, and the channels of both.
    """

    def check(network: Any) -> None:
        if not all(hasattr(network, part) for part in (*RESNET_STEM, "layer2", "layer3", "layer4")):
            raise ConfigError(f"encoder of icnet must be a ResNet. Got {name!r}")

    network = create_encoder(name, in_channels, pretrained=pretrained, check=check, output_stride=8)
    begin = [getattr(network, part) for part in RESNET_STEM]
    first, *others = network.layer2
    rest = [*others, network.layer3, network.layer4]
    channels = network.feature_info[2]["num_chs"]
    return nn.Sequential(*begin, first), nn.Sequential(*rest), channels, network.num_features
