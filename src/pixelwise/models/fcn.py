"""Fully convolutional networks with skips: FCN-32s, FCN-16s and FCN-8s (Long et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import (
    Dropout,
    bilinear_transposed_convolution,
    convolution,
    glorot_uniform,
)
from pixelwise.models.encoders import (
    CLASSIFIERS,
    Encoder,
    TimmEncoder,
    TorchvisionEncoder,
    fetch_torchvision_weights,
)
from pixelwise.schemas import Share

STRIDES = (8, 16, 32)
"""Strides of the encoder's feature maps, finest first."""

DENSE_UNITS = 4096
"""Number of units of the two dense layers in AlexNet and VGG."""


class SlidingDense(nn.Linear):
    """A dense layer applied at every position of a feature map, like a 'same' convolution.

    A convolution gives the same result, but its gradient took 5.4 s on a CPU for VGG16's first
    dense layer on a 2 x 2 map; windows and one matrix product take 0.2 s.

    Args:
        in_channels: Channels of the feature map.
        out_channels: Number of units.
        kernel_px: Side of the window; for an even one, the odd pixel is at the right and the
            bottom.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_px: int) -> None:
        super().__init__(in_channels * kernel_px**2, out_channels)
        self.kernel_px = kernel_px
        glorot_uniform(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Apply the layer, (N, C, H, W) to (N, units, H, W)."""
        num, _, height, width = feature_map.shape
        before, after = (self.kernel_px - 1) // 2, self.kernel_px // 2
        padded = nn.functional.pad(feature_map, (before, after, before, after))
        windows = nn.functional.unfold(padded, self.kernel_px)
        units = self.weight @ windows + self.bias[:, None]
        return units.view(num, self.out_features, height, width)


class FCN(SegmentationModel):
    """A classification network with dense layers as convolutions, and scores added by skips.

    The scores of the deepest feature map are doubled in size and added to those of the next finer
    map, once per skip, and then up-sampled to full size. Every up-sampling is learned for each
    class separately and initialized as bilinear. Skips are initialized with zero, so FCN-8s starts
    as FCN-32s.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        encoder: ``alexnet`` or ``vgg16``, which is used in the paper, with their dense layers as
            convolutions; or any convolutional encoder of timm, such as ``resnet18``.
        dropout: Dropout probability before the scores and between the dense layers, if any.
        pretrained: Use weights pretrained on ImageNet, which are downloaded.

    Attributes:
        num_skips: 0, 1 or 2.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038.
    """

    stride = STRIDES[-1]
    smallest_px = 2 * stride
    learning_rate = 1e-3
    sees_px = None
    num_skips: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        encoder: str = "resnet18",
        dropout: Share = 0.5,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.encoder: Encoder
        deepest: int
        if encoder in CLASSIFIERS:
            self.encoder = TorchvisionEncoder(encoder, in_channels)
            kernel_size = CLASSIFIERS[encoder].dense_px
            self.dense = nn.Sequential(
                SlidingDense(self.encoder.channels[-1], DENSE_UNITS, kernel_size),
                nn.ReLU(),
                Dropout(dropout),
                SlidingDense(DENSE_UNITS, DENSE_UNITS, 1),
                nn.ReLU(),
                Dropout(dropout),
            )
            deepest = DENSE_UNITS
        else:
            self.encoder = TimmEncoder(encoder, in_channels, STRIDES, pretrained=pretrained)
            self.dense = nn.Sequential(Dropout(dropout))
            deepest = self.encoder.channels[-1]
        self.score = convolution(deepest, num_classes, 1, initialize=glorot_uniform)
        self.skip_scores = nn.ModuleList(
            convolution(channels, num_classes, 1, initialize=nn.init.zeros_)
            for channels in reversed(self.encoder.channels[2 - self.num_skips : 2])
        )
        self.up = nn.ModuleList(
            bilinear_transposed_convolution(num_classes, 2) for _ in range(self.num_skips)
        )
        self.last_up = bilinear_transposed_convolution(num_classes, STRIDES[-1 - self.num_skips])
        if pretrained and encoder in CLASSIFIERS:
            self.load_classifier(fetch_torchvision_weights(encoder))

    def segment(self, image: Tensor) -> Tensor:
        """Segment images with sides that are multiples of 32, (N, C, H, W) to (N, K, H, W)."""
        *finer, deepest = self.encoder(image)
        scores = self.score(self.dense(deepest))
        for up, score, feature_map in zip(self.up, self.skip_scores, reversed(finer), strict=False):
            scores = up(scores) + score(feature_map)
        logits: Tensor = self.last_up(scores)
        return logits

    def score_map(self, image: Tensor) -> Tensor:
        """Return the deepest scores, at 1/32 of the size, without a margin around the image.

        With the weights of a classifier, the center value for an image of the classifier's input
        size is the classifier's output.
        """
        scores: Tensor = self.score(self.dense(self.encoder.deepest(image)))
        return scores

    def load_classifier(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of torchvision's ``alexnet`` or ``vgg16``, with reshaped dense layers.

        The last dense layer is loaded only if its number of units is the number of classes. With
        other than 3 channels, the first convolution keeps its initial weights.

        Args:
            state: The ``state_dict()`` of the classifier.

        Raises:
            ConfigError: The weights do not fit.
        """
        if not isinstance(self.encoder, TorchvisionEncoder):
            names = ", ".join(CLASSIFIERS)
            raise ConfigError(
                f"classifier weights need an encoder with dense layers: {names}. "
                "For others use pretrained=true"
            )
        features = {
            name.removeprefix("features."): weights
            for name, weights in state.items()
            if name.startswith("features.")
        }
        dense = [name.removesuffix(".weight") for name in state if name.startswith("classifier.")]
        dense = [name for name in dense if f"{name}.weight" in state]
        targets = [self.dense[0], self.dense[3], self.score]
        if len(dense) != len(targets):
            raise ConfigError(
                "classifier weights must contain three dense layers named classifier.N.weight. "
                f"Got {len(dense)}"
            )
        self.encoder.load_features(features)
        for name, layer in zip(dense, targets, strict=True):
            assert isinstance(layer, (nn.Conv2d, SlidingDense))
            weights, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            if layer is self.score and len(weights) != len(layer.weight):
                continue
            if weights.numel() != layer.weight.numel():
                raise ConfigError(
                    f"{name} must contain {layer.weight.numel():,} weights for this encoder. "
                    f"Got {weights.numel():,}"
                )
            with torch.no_grad():
                layer.weight.copy_(weights.view_as(layer.weight))
                assert layer.bias is not None
                layer.bias.copy_(bias)


@models.register("fcn32s")
class FCN32s(FCN):
    """Scores at 1/32 of the size, up-sampled in one step, which is coarse."""

    reference = "Long et al. 2015, FCN-32s"
    num_skips = 0


@models.register("fcn16s")
class FCN16s(FCN):
    """``fcn32s`` with the scores of the feature map at 1/16 added."""

    reference = "Long et al. 2015, FCN-16s"
    num_skips = 1


@models.register("fcn8s")
class FCN8s(FCN):
    """``fcn16s`` with the scores of the feature map at 1/8 added as well."""

    reference = "Long et al. 2015, FCN-8s"
    num_skips = 2
