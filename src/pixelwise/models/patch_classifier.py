"""A small classifier of the window around each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.config import Positive
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import glorot_uniform, he_normal

WINDOW_PX = 31
"""Side of the window, which is centered on the classified pixel."""

WINDOWS_AT_ONCE = 4096
"""Number of windows that are classified together when they are cut out separately."""


@models.register("patch-classifier")
class PatchClassifier(SegmentationModel):
    """Three convolutions, two poolings and two dense layers over 31 x 31 pixels.

    If windows are cut out separately, neighboring ones repeat nearly all computations. Therefore,
    ``forward`` applies the same weights as convolutions over the whole image: after each pooling,
    later layers are dilated instead of dropping every second pixel. The logits are the same as
    those of :meth:`classify_windows`.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        filters: Filters of the first convolution; later ones have twice as many.

    Reference:
        Giusti et al., Fast image scanning with deep max-pooling convolutional neural networks
        (2013), arXiv:1302.1700.
    """

    reference = "Giusti et al. 2013, sliding window as a convolution"
    learning_rate = 3e-3
    sees_px = WINDOW_PX

    def __init__(self, num_classes: int, in_channels: int = 3, *, filters: Positive = 16) -> None:
        super().__init__()
        more = 2 * filters
        # Window: 31 -> 28 -> pool 14 -> 12 -> pool 6 -> 4 -> 1.
        self.first = _valid_convolution(in_channels, filters, 4)
        self.second = _valid_convolution(filters, more, 3)
        self.third = _valid_convolution(more, more, 3)
        self.dense = _valid_convolution(more, 2 * more, 4)
        self.head = nn.Conv2d(2 * more, num_classes, 1)
        glorot_uniform(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images of any size, (N, C, H, W) to (N, K, H, W)."""
        return self._classify(self._with_margin(image), is_dense=True)

    def classify_windows(self, image: Tensor) -> Tensor:
        """Compute the same logits from a window around each pixel, slowly, by definition."""
        num, channels, height, width = image.shape
        windows = self._with_margin(image).unfold(2, WINDOW_PX, 1).unfold(3, WINDOW_PX, 1)
        crops = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels, WINDOW_PX, WINDOW_PX)
        logits = [
            self._classify(part, is_dense=False) for part in torch.split(crops, WINDOWS_AT_ONCE)
        ]
        return torch.cat(logits).view(num, height, width, -1).permute(0, 3, 1, 2)

    def _classify(self, image: Tensor, *, is_dense: bool) -> Tensor:
        """Map (N, C, H, W) to logits (N, K, H - 30, W - 30), or one window to (N, K, 1, 1)."""
        grid = 1
        feature_map = image
        for layer, is_pooled in ((self.first, True), (self.second, True), (self.third, False)):
            feature_map = _run(layer, feature_map, grid).relu()
            if is_pooled:
                feature_map = nn.functional.max_pool2d(
                    feature_map, 2, stride=1 if is_dense else 2, dilation=grid
                )
                grid = 2 * grid if is_dense else 1
        feature_map = _run(self.dense, feature_map, grid).relu()
        logits: Tensor = self.head(feature_map)
        return logits

    def _with_margin(self, image: Tensor) -> Tensor:
        """Repeat the edges, so that there is a window around every pixel."""
        return nn.functional.pad(image, [WINDOW_PX // 2] * 4, mode="replicate")


def _valid_convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    layer = nn.Conv2d(in_channels, out_channels, kernel_size)
    he_normal(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _run(layer: nn.Conv2d, feature_map: Tensor, grid: int) -> Tensor:
    """Apply a convolution with a dilation of ``grid``."""
    return nn.functional.conv2d(feature_map, layer.weight, layer.bias, dilation=grid)
