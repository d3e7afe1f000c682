"""How far a network sees, worked out from its layers."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pixelwise.models.blocks import MaxPool

Layer = nn.Module | str
"""A layer, or by name a way to double the size that is no module of its own."""


def seen_px(layers: Iterable[Layer], stride: int) -> int | None:
    """Side of the square around a pixel that holds all that the pixel's output depends on.

    A network with poolings sees further from some pixels than from others, and with even kernels
    further to one side. The square is centered and holds the furthest of them.

    Args:
        layers: From the image on, in the order in which they run; containers are entered. Of
            branches that meet again, the one that sees furthest.
        stride: Shifted by this many pixels, the network does the same.

    Returns:
        An odd number of pixels, at least 1; ``None`` for the whole image, where a layer normalizes
        by all of it.
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
    """The first and the last input that the outputs from first to last depend on."""
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
    if isinstance(layer, (nn.ConvTranspose2d, str)):  # 2 x 2 at a stride of 2, or copies
        return first // 2, last // 2
    return first, last
