"""Building blocks that several architectures share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

Activation = Literal["relu", "elu"]
"""The activation after a convolution."""

Normalization = Literal["none", "batch", "batch-before", "group-before"]
"""Batch normalization after the activation or before it; group normalization before it, which
normalizes each image separately; or none."""

UpSampling = Literal["transposed", "nearest", "bilinear"]
"""How a U-Net doubles the size: a learned transposed convolution, or fixed interpolation followed
by a 2 x 2 convolution."""

Merge = Literal["concatenate", "add"]
"""How skip connections are merged into the decoder."""

Depth = Annotated[int, Field(ge=2, le=8)]
"""Number of levels of a U-Net."""

Padding = Literal["zeros", "replicate"]
"""Padding of convolutions at the border."""

MAX_GROUPS = 8
"""Number of groups of group normalization, if it divides the number of channels."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU}

Initialize = Callable[[Tensor], Tensor]


def glorot_uniform(weight: Tensor) -> Tensor:
    """Initialize weights uniformly after Glorot and Bengio (2010)."""
    return nn.init.xavier_uniform_(weight)


def he_normal(weight: Tensor) -> Tensor:
    """Initialize weights normally after He et al. (2015, arXiv:1502.01852), by fan-in.

    Some frameworks truncate the distribution at two standard deviations; the spread is the same.
    """
    return nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    initialize: Initialize,
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = "zeros",
) -> nn.Conv2d:
    """Return a convolution that keeps the size ('same') or halves it, with a zero bias.

    An even kernel that keeps the size pads the odd pixel at the right and the bottom, as in
    TensorFlow. An even kernel that halves the size is centered between the two pixels that become
    one, and an odd kernel on the first of them.
    """
    if kernel_size % 2 or stride > 1:
        layer = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * ((kernel_size - 1) // 2),
            dilation=dilation,
            padding_mode=padding,
        )
    else:
        layer = _EvenConvolution(in_channels, out_channels, kernel_size, padding_mode=padding)
    initialize(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def convolution_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    initialize: Initialize,
    activation: Activation = "relu",
    normalization: Normalization = "none",
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = "zeros",
) -> nn.Sequential:
    """Return a convolution with its activation, and a normalization before or after that.

    Reference:
        Ioffe and Szegedy, Batch normalization (2015), arXiv:1502.03167; Wu and He, Group
        normalization (2018), arXiv:1803.08494.
    """
    layers: list[nn.Module] = [
        convolution(
            in_channels,
            out_channels,
            kernel_size,
            initialize=initialize,
            stride=stride,
            dilation=dilation,
            padding=padding,
        ),
        _ACTIVATIONS[activation](),
    ]
    if normalization == "group-before":
        layers.insert(1, nn.GroupNorm(math.gcd(MAX_GROUPS, out_channels), out_channels))
    elif normalization != "none":
        layers.insert(1 if normalization == "batch-before" else 2, nn.BatchNorm2d(out_channels))
    return nn.Sequential(*layers)


def batch_normalizations(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a network that use batch normalization."""
    return [
        layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]


class _EvenConvolution(nn.Conv2d):
    """Pads explicitly, as torch warns about ``padding="same"`` with even kernels."""

    def forward(self, feature_map: Tensor) -> Tensor:
        before, after = (self.kernel_size[0] - 1) // 2, self.kernel_size[0] // 2
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return super().forward(
            nn.functional.pad(feature_map, (before, after, before, after), mode=mode)
        )


class Dropout(nn.Module):
    """Sets a random share of the features to zero in training, and scales up the rest.

    The same as ``torch.nn.Dropout``, with probabilities in steps of 1 / 65,536. On a CPU, torch
    draws one number per feature, which took 16 % of a U-Net's training time; here, one number
    serves four features. The numbers come from torch's generator, so that runs can be resumed.

    Args:
        probability: Share of the features set to zero, 0 to below 1.

    Reference:
        Srivastava et al., Dropout (2014), JMLR 15.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, feature_map: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape."""
        if not self.training or self.probability == 0:
            return feature_map
        if feature_map.device.type != "cpu":
            return nn.functional.dropout(feature_map, self.probability)
        count = feature_map.numel()
        smallest, levels = torch.iinfo(torch.int16).min, 2**16
        num_dropped = round(self.probability * levels)
        bits = torch.empty((count + 3) // 4, dtype=torch.int64)
        bits.random_(torch.iinfo(torch.int64).min, None)
        is_kept = bits.view(torch.int16)[:count] >= smallest + num_dropped
        # The factors have the memory layout of the features, so that nothing must be reordered.
        factors = torch.empty_like(feature_map)
        torch.mul(is_kept, levels / (levels - num_dropped), out=factors.as_strided((count,), (1,)))
        return feature_map * factors

    def extra_repr(self) -> str:
        """Return the probability, for printing."""
        return f"{self.probability:g}"


def transposed_convolution(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Return a 2 x 2 transposed convolution of stride 2, which doubles the size pixel-aligned."""
    layer = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    glorot_uniform(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def bilinear_transposed_convolution(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a learned up-sampling of each channel that is initialized as bilinear.

    Args:
        channels: Number of input and output channels.
        factor: Scale factor, a power of two, at least 2.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038, section 3.3.
    """
    layer = _EdgeRepeatingTransposedConvolution(
        channels,
        channels,
        2 * factor,
        stride=factor,
        padding=factor // 2 + factor,  # also removes the repeated edge after up-sampling
        groups=channels,
        bias=False,
    )
    nearness = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    with torch.no_grad():
        layer.weight.copy_((nearness[:, None] * nearness).expand_as(layer.weight))
    return layer


class _EdgeRepeatingTransposedConvolution(nn.ConvTranspose2d):
    """Repeats the edge first; with zeros beyond it, the output would fade toward the border."""

    def forward(self, feature_map: Tensor, output_size: list[int] | None = None) -> Tensor:
        padded = nn.functional.pad(feature_map, (1, 1, 1, 1), mode="replicate")
        return super().forward(padded, output_size)


class MaxPool(nn.Module):
    """2 x 2 max pooling that also returns the positions of the maxima; odd sizes are supported.

    Reference:
        Badrinarayanan et al., SegNet (2017), arXiv:1511.00561.
    """

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Halve (N, C, H, W), rounding up; also return the indices of the maxima, int64."""
        if not torch.compiler.is_exporting():
            pooled, indices = nn.functional.max_pool2d(
                feature_map, 2, ceil_mode=True, return_indices=True
            )
            return pooled, indices
        # torch.export cannot prove the sizes with ceil_mode. Padding with -inf gives the same
        # maxima; the indices are converted to those without padding.
        rows, columns = feature_map.shape[-2:]
        more = (0, (columns + 1) // 2 * 2 - columns, 0, (rows + 1) // 2 * 2 - rows)
        even = nn.functional.pad(feature_map, more, value=-math.inf)
        pooled, indices = nn.functional.max_pool2d(even, 2, return_indices=True)
        width = even.shape[-1]
        return pooled, indices // width * columns + indices % width


def unpool(feature_map: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Put each value at the position of the encoder's maximum, with zeros elsewhere.

    Args:
        feature_map: (N, C, H, W); C is a multiple of the channels C' of ``indices``, each of which
            is used for C / C' maps.
        indices: Indices from the pooling, int64 (N, C', H, W).
        size: Height and width before the pooling.

    Returns:
        (N, C, *size).

    Reference:
        Badrinarayanan et al., SegNet (2017), arXiv:1511.00561.
    """
    repeats = feature_map.shape[1] // indices.shape[1]
    if repeats > 1:
        indices = indices.repeat(1, repeats, 1, 1)
    # Without the function around it, whose check of the size is a branch that no graph can hold.
    unpooled: Tensor = torch.ops.aten.max_unpool2d(feature_map, indices, size)
    return unpooled


def bed_of_nails(feature_map: Tensor) -> Tensor:
    """Put each value at the upper left of 2 x 2 zeros; doubles the size of (N, C, H, W)."""
    rows, columns = feature_map.shape[-2:]
    nails = feature_map.new_zeros((*feature_map.shape[:-2], 2 * rows, 2 * columns))
    nails[..., ::2, ::2] = feature_map
    return nails
