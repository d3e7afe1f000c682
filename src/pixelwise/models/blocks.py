"""What the architectures share: convolutions with a named initialisation, and activations."""

from __future__ import annotations

from collections.abc import Callable

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
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")
    initialise(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
