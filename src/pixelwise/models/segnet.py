"""SegNet with VGG16's convolutions on both sides, and a small variant of it."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import (
    Initialize,
    MaxPool,
    bed_of_nails,
    convolution,
    glorot_uniform,
    he_normal,
    transposed_convolution,
    unpool,
)
from pixelwise.models.encoders import fetch_torchvision_weights
from pixelwise.models.receptive_field import seen_px

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Filters and number of convolutions of VGG16's five stages."""

BASIC_FILTERS = (64, 128, 256, 512)
"""Filters of the small variant's encoder, one convolution each; reversed in the decoder."""

Unpool = Literal["indices", "nearest", "bed-of-nails", "transposed"]
"""How the small variant's decoder doubles the size."""


def normalized_convolution(
    in_channels: int, out_channels: int, *, initialize: Initialize, has_activation: bool = True
) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch normalization and, in the encoder, ReLU."""
    layers: list[nn.Module] = [
        convolution(in_channels, out_channels, 3, initialize=initialize),
        nn.BatchNorm2d(out_channels),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if has_activation else nn.Sequential(*layers)


@models.register("segnet")
class SegNet(SegmentationModel):
    """Five stages down and up; values are unpooled to the positions of the encoder's maxima.

    29,449,355 trainable parameters with 3 channels and 11 classes.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        pretrained: Use the weights of torchvision's VGG16 with batch normalization, pretrained on
            ImageNet, for the encoder; they are downloaded.

    Reference:
        Badrinarayanan et al., SegNet (2017), arXiv:1511.00561.
    """

    reference = "Badrinarayanan et al. 2017, SegNet"
    stride = 2 ** len(STAGES)
    is_padded = False  # the poolings round up, as in the paper for 360 x 480
    smallest_px = 2 * stride
    sees_px = None

    def __init__(self, num_classes: int, in_channels: int = 3, *, pretrained: bool = False) -> None:
        super().__init__()
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.pool = MaxPool()
        unit = partial(normalized_convolution, initialize=he_normal)
        before = in_channels
        for stage, (filters, count) in enumerate(STAGES):
            widths = [before, *[filters] * count]
            self.encoder.append(nn.Sequential(*(unit(*pair) for pair in pairwise(widths))))
            # The head is the last convolution of the first stage.
            back = [*[filters] * count, *([before] if stage else [])]
            self.decoder.insert(0, nn.Sequential(*(unit(*pair) for pair in pairwise(back))))
            before = filters
        self.head = convolution(STAGES[0][0], num_classes, 3, initialize=glorot_uniform)
        if pretrained:
            self._load_encoder()

    def segment(self, image: Tensor) -> Tensor:
        """Segment images of any size, (N, C, H, W) to (N, K, H, W)."""
        feature_map, places = image, []
        for stage in self.encoder:
            features = stage(feature_map)
            feature_map, indices = self.pool(features)
            places.append((indices, features.shape[-2:]))
        for stage in self.decoder:
            feature_map = stage(unpool(feature_map, *places.pop()))
        logits: Tensor = self.head(feature_map)
        return logits

    def _load_encoder(self) -> None:
        """Load torchvision's weights layer by layer; both networks have the same order."""
        state = fetch_torchvision_weights("vgg16_bn")
        theirs = [weights for name, weights in state.items() if name.startswith("features.")]
        ours = list(self.encoder.state_dict().values())
        skip = 0 if ours[0].shape == theirs[0].shape else 1  # keep the first layer otherwise
        with torch.no_grad():
            for own, weights in zip(ours[skip:], theirs[skip:], strict=True):
                own.copy_(weights)


@models.register("segnet-basic")
class SegNetBasic(SegmentationModel):
    """A small SegNet: four convolutions down and four up, each with batch normalization.

    5,464,140 trainable parameters with 3 channels and 12 classes, 5,467,980 with the running
    statistics.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        unpool: How the decoder doubles the size: at the ``indices`` of the encoder's maxima, by
            ``nearest`` neighbors, as ``bed-of-nails`` or by a ``transposed`` convolution, the only
            one with parameters. Maps with twice the channels that were pooled are unpooled, so each
            plane of indices is used for two maps.

    Reference:
        Badrinarayanan et al., SegNet (2017), arXiv:1511.00561, as tutorials simplify it. Glorot
        uniform initialization.
    """

    reference = "Badrinarayanan et al. 2017, SegNet, small variant"
    stride = 2 ** (len(BASIC_FILTERS) - 1)
    smallest_px = 2 * stride

    def __init__(
        self, num_classes: int, in_channels: int = 3, *, unpool: Unpool = "indices"
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            normalized_convolution(*pair, initialize=glorot_uniform)
            for pair in pairwise([in_channels, *BASIC_FILTERS])
        )
        self.pool = MaxPool()
        deepest = BASIC_FILTERS[-1]
        back = [deepest, *reversed(BASIC_FILTERS)]
        self.decoder = nn.ModuleList(
            normalized_convolution(*pair, initialize=glorot_uniform, has_activation=False)
            for pair in pairwise(back)
        )
        self.unpool = unpool
        self.up = nn.ModuleList(
            transposed_convolution(filters, filters) if unpool == "transposed" else nn.Identity()
            for filters in reversed(BASIC_FILTERS[1:])
        )
        self.head = convolution(BASIC_FILTERS[0], num_classes, 1, initialize=glorot_uniform)
        *pooled, last_down = self.encoder
        *doubled, last_up = self.decoder
        down = [layer for stage in pooled for layer in (stage, self.pool)]
        back_up = [layer for stage in doubled for layer in (stage, unpool)]
        self.sees_px = seen_px([*down, last_down, *back_up, last_up, self.head], self.stride)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images with sides that are multiples of 8, (N, C, H, W) to (N, K, H, W)."""
        feature_map, places = image, []
        *pooled, deepest = self.encoder
        for stage in pooled:
            feature_map, indices = self.pool(stage(feature_map))
            places.append(indices)
        feature_map = deepest(feature_map)
        *doubled, last = self.decoder
        for stage, up in zip(doubled, self.up, strict=True):
            feature_map = self._up_sampled(stage(feature_map), places.pop(), up)
        logits: Tensor = self.head(last(feature_map))
        return logits

    def _up_sampled(self, feature_map: Tensor, indices: Tensor, up: nn.Module) -> Tensor:
        if self.unpool == "indices":
            height, width = feature_map.shape[-2:]
            return unpool(feature_map, indices, (2 * height, 2 * width))
        if self.unpool == "bed-of-nails":
            return bed_of_nails(feature_map)
        if self.unpool == "nearest":
            return nn.functional.interpolate(feature_map, scale_factor=2, mode="nearest")
        doubled: Tensor = up(feature_map)
        return doubled
