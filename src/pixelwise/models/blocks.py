"""What the architectures share: convolutions with a named initialisation, and activations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def glorot_uniform(weight: Tensor) -> Tensor:
    """Fill weights as Glorot and Bengio (2010) do, uniformly: the default of Keras layers."""
    return nn.init.xavier_uniform_(weight)


def he_normal(weight: Tensor) -> Tensor:
    """Fill weights as He et al. (2015, arXiv:1502.01852) do, normally, by the inputs of a unit.

    Keras truncates this at two deviations; the spread is the same.
    """
    return nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    initialise: Callable[[Tensor], Tensor],
) -> nn.Conv2d:
    """A convolution that keeps the size ('same'), with a zero bias.

    An even kernel pads the odd pixel at the right and the bottom, as Keras does.
    """
    if kernel_size % 2:
        layer = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")
    else:
        layer = _EvenConvolution(in_channels, out_channels, kernel_size)
    initialise(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class _EvenConvolution(nn.Conv2d):
    """Pads by itself: for an even kernel torch's ``padding="same"`` does so too, with a warning."""

    def forward(self, feature_map: Tensor) -> Tensor:
        before, after = (self.kernel_size[0] - 1) // 2, self.kernel_size[0] // 2
        return super().forward(nn.functional.pad(feature_map, (before, after, before, after)))


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
