"""What the architectures share: convolutions, activations, and the ways to sample up and down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

Activation = Literal["relu", "elu"]
"""What follows a convolution."""

Normalization = Literal["none", "batch", "batch-before", "group-before"]
"""Batch normalization after the activation or before it; group
normalization before it, which looks at each image by itself; or none."""

UpSampling = Literal["transposed", "nearest", "bilinear"]
"""How a U-Net doubles the size: a learned transposed convolution, or a fixed rule and then a
2 x 2 convolution."""

Merge = Literal["concatenate", "add"]
"""How a skip meets the decoder."""

Depth = Annotated[int, Field(ge=2, le=8)]
"""Levels of a U-Net."""

Padding = Literal["zeros", "replicate"]
"""What a convolution sees beyond the border."""

MAX_GROUPS = 8
"""Group normalization has this many groups, as far as the channels divide."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU}

Initialize = Callable[[Tensor], Tensor]


def glorot_uniform(weight: Tensor) -> Tensor:
    """Fill weights as Glorot and Bengio (2010) do, uniformly."""
    return nn.init.xavier_uniform_(weight)


def he_normal(weight: Tensor) -> Tensor:
    """Fill weights as He et al. (2015, arXiv:1502.01852) do, normally, by the inputs of a unit.

    Some frameworks truncate this at two standard deviations; the spread is the same.
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
    """A convolution that keeps the size ('same') or halves it, with a zero bias.

    An even kernel that keeps the size pads the odd pixel at the right and the bottom, as TensorFlow
    does. One that halves it lies evenly about the two pixels that become one, and an odd one has
    its center on the first of them.
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
    """A convolution as of :func:`convolution`, its activation, a normalization before or after.

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
    """The layers of a network that normalize by the batch."""
    return [
        layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]


class _EvenConvolution(nn.Conv2d):
    """Pads by itself: for an even kernel torch's ``padding="same"`` does so too, with a warning."""

    def forward(self, feature_map: Tensor) -> Tensor:
        before, after = (self.kernel_size[0] - 1) // 2, self.kernel_size[0] // 2
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return super().forward(
            nn.functional.pad(feature_map, (before, after, before, after), mode=mode)
        )


class Dropout(nn.Module):
    """Zero a random share of the features in training, and scale up the rest.

    The same as ``torch.nn.Dropout``, with chances in steps of 1 / 65,536. On the processor torch
    draws one number after the other for it, which was measured at 16 % of a U-Net's training; here
    one number serves four features. It draws from torch's generator, so that a run can be resumed.

    Args:
        chance: Share of the features that is zeroed, 0 to below 1.

    Reference:
        Srivastava et al., Dropout (2014), JMLR 15.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, feature_map: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if not self.training or self.chance == 0:
            return feature_map
        if feature_map.device.type != "cpu":
            return nn.functional.dropout(feature_map, self.chance)
        count = feature_map.numel()
        smallest, levels = torch.iinfo(torch.int16).min, 2**16
        num_dropped = round(self.chance * levels)
        bits = torch.empty((count + 3) // 4, dtype=torch.int64)
        bits.random_(torch.iinfo(torch.int64).min, None)
        is_kept = bits.view(torch.int16)[:count] >= smallest + num_dropped
        # The factors lie in memory as the features do, so that no element has to change place.
        factors = torch.empty_like(feature_map)
        torch.mul(is_kept, levels / (levels - num_dropped), out=factors.as_strided((count,), (1,)))
        return feature_map * factors

    def extra_repr(self) -> str:
        """The chance, for printing."""
        return f"{self.chance:g}"


def transposed_convolution(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """A 2 x 2 transposed convolution of stride 2: it doubles the size, pixel-aligned."""
    layer = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    glorot_uniform(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def bilinear_transposed_convolution(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A learned up-sampling that starts as the bilinear one, each channel by itself.

    Args:
        channels: In and out.
        factor: Of the size, a power of two from 2 on.

    Reference:
        Long et al., Fully Convolutional Networks (2015), arXiv:1411.4038, section 3.3.
    """
    layer = _EdgeRepeatingTransposedConvolution(
        channels,
        channels,
        2 * factor,
        stride=factor,
        padding=factor // 2 + factor,  # and the repeated edge, enlarged, is cut off again
        groups=channels,
        bias=False,
    )
    nearness = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    with torch.no_grad():
        layer.weight.copy_((nearness[:, None] * nearness).expand_as(layer.weight))
    return layer


class _EdgeRepeatingTransposedConvolution(nn.ConvTranspose2d):
    """Repeats the edge first; with zeros beyond it, the output fades toward the border."""

    def forward(self, feature_map: Tensor, output_size: list[int] | None = None) -> Tensor:
        padded = nn.functional.pad(feature_map, (1, 1, 1, 1), mode="replicate")
        return super().forward(padded, output_size)


class MaxPool(nn.Module):
    """2 x 2 max pooling that remembers where each maximum was; the last row may stand alone.

    Reference:
        Badrinarayanan et al., SegNet (2017), arXiv:1511.00561.
    """

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to half the size, rounded up, and the indices of the maxima, int64."""
        if not torch.compiler.is_exporting():
            pooled, indices = nn.functional.max_pool2d(
                feature_map, 2, ceil_mode=True, return_indices=True
            )
            return pooled, indices
        # torch.export cannot prove the sizes that ceil_mode gives: the same with a border that
        # holds no maximum, and the indices counted without it.
        rows, columns = feature_map.shape[-2:]
        more = (0, (columns + 1) // 2 * 2 - columns, 0, (rows + 1) // 2 * 2 - rows)
        even = nn.functional.pad(feature_map, more, value=-math.inf)
        pooled, indices = nn.functional.max_pool2d(even, 2, return_indices=True)
        width = even.shape[-1]
        return pooled, indices // width * columns + indices % width


def unpool(feature_map: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Put each value back where the encoder's maximum was; zeros elsewhere.

    Args:
        feature_map: (N, C, H, W); C is a multiple of the channels of ``indices``, each of which
            then serves C / channels maps.
        indices: Of the pooling, int64 (N, C', H, W).
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
    """Put each value into the upper left of a 2 x 2 field of zeros; (N, C, H, W) to double size."""
    rows, columns = feature_map.shape[-2:]
    nails = feature_map.new_zeros((*feature_map.shape[:-2], 2 * rows, 2 * columns))
    nails[..., ::2, ::2] = feature_map
    return nails
