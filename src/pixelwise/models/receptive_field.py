"""Computes the receptive field of a network from its layers."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pixelwise.models.blocks import MaxPool

Layer = nn.Module | str
"""A layer, or the name of an up-sampling that is not a module."""


def seen_px(layers: Iterable[Layer], stride: int) -> int | None:
    """Return the side of the square around a pixel that its output depends on.

    In a network with poolings, the receptive field differs between pixels, and with even kernels
    between sides. The square is centered and contains the largest extent.

    Args:
        layers: Layers from the image on, in the order in which they run; containers are entered. Of
            parallel branches, only the one with the largest receptive field.
        stride: Shifting the image by this many pixels shifts the output by as many.

    Returns:
        An odd number of pixels, at least 1; ``None`` for the whole image, if a layer normalizes
        over all of it.
    """
    backwards = [*_leaves(layers)][::-1]
    if any(isinstance(layer, nn.GroupNorm) for layer in backwards):
        return None
    reach = 0
    for pixel in range(stride):
        first = last = pixel
        for layer in backwards:
            first, last = _inputs(layer, first, last)
        reach = max(reach, pixel - first, last - pixel)
    return 2 * reach + 1


def _leaves(layers: Iterable[Layer]) -> Iterable[Layer]:
    for layer in layers:
        if isinstance(layer, nn.Module):
            yield from layer.modules()
        else:
            yield layer


def _inputs(layer: Layer, first: int, last: int) -> tuple[int, int]:
    """Return the first and the last input that a range of outputs depends on."""
    if isinstance(layer, nn.Conv2d):
        step, spread = layer.stride[0], layer.dilation[0] * (layer.kernel_size[0] - 1)
        return step * first - spread // 2, step * last + (spread + 1) // 2
    if isinstance(layer, (nn.MaxPool2d, MaxPool)):
        assert isinstance(layer, MaxPool) or layer.kernel_size == layer.stride == 2
        return 2 * first, 2 * last + 1
    if isinstance(layer, nn.PixelShuffle):
        return first // layer.upscale_factor, last // layer.upscale_factor
    if isinstance(layer, nn.Upsample):
        assert layer.scale_factor == 2
        layer = layer.mode
    if layer == "bilinear":
        return (first - 1) // 2, (last + 1) // 2
    if layer == "bed-of-nails":
        return (first + 1) // 2, last // 2
    if isinstance(layer, nn.ConvTranspose2d):
        assert layer.kernel_size == layer.stride == (2, 2)
    if isinstance(layer, (nn.ConvTranspose2d, str)):  # 2 x 2 with stride 2, or nearest
        return first // 2, last // 2
    return first, last
