"""Wraps a ``torch.nn.Module`` from outside pixelwise, and finds the image sizes that it takes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.errors import ConfigError, in_one_line
from pixelwise.models.base import SegmentationModel
from pixelwise.models.blocks import make_batchnorm_steady
from pixelwise.text import amount

STRIDES = (1, 2, 4, 8, 16, 32, 64)
"""Tried in this order, unless the network has an attribute ``stride``."""

LARGE_PX = 128
"""Side in pixels from which on an image is large enough for every usual network."""

AUXILIARY_WEIGHT = 0.5
"""Loss weight of the output ``aux``, as in the reference training of torchvision."""


@dataclass(frozen=True)
class Fit:
    """What a network takes and returns, found by trying.

    Attributes:
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        stride: Heights and widths must be multiples of this.
        smallest_px: Smallest side that works, also for a batch of one image in training.
        has_auxiliary: Whether it also returns logits ``aux``.
    """

    in_channels: int
    num_classes: int
    stride: int
    smallest_px: int
    has_auxiliary: bool


class AdaptedModel(SegmentationModel):
    """A network from outside pixelwise, trained on and predicting images of any size.

    Args:
        network: Maps images (N, C, H, W) to logits (N, K, H, W), or to a dict with them as ``out``,
            as the networks of torchvision do. Not copied; its batch normalizations become
            :class:`~pixelwise.models.blocks.SteadyBatchNorm`.
        name: Name of the model.
        num_classes: Channels that the logits must have; ``None`` takes those that they have.
        in_channels: Channels of the images; ``None`` takes those of the first convolution.

    Raises:
        ConfigError: The network returns something else, or fails for every tried size.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        num_classes: int | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.arguments = {}
        make_batchnorm_steady(network)
        reference = getattr(network, "reference", None)
        self.reference = reference if isinstance(reference, str) else type(network).__module__
        learning_rate = getattr(network, "learning_rate", None)
        if isinstance(learning_rate, float) and learning_rate > 0:
            self.learning_rate = learning_rate
        self.fit_to(num_classes, in_channels)

    def fit_to(self, num_classes: int | None, in_channels: int | None) -> None:
        """Set the attributes that follow from trying the network.

        Raises:
            ConfigError: See the constructor.
        """
        stride = getattr(self.network, "stride", None)
        strides = (stride,) if isinstance(stride, int) and stride > 0 else STRIDES
        found = try_out(
            self.network,
            f"model {self.name!r}",
            strides,
            num_classes=num_classes,
            in_channels=in_channels,
        )
        self.num_classes, self.in_channels = found.num_classes, found.in_channels
        self.stride, self.smallest_px = found.stride, found.smallest_px
        self.auxiliary_weights = (AUXILIARY_WEIGHT,) if found.has_auxiliary else ()

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of the stride."""
        output = self.network(image)
        logits: Tensor = output["out"] if isinstance(output, Mapping) else output
        return logits

    def segment_for_training(self, image: Tensor) -> list[Tensor]:
        """Return the logits, and those of the output ``aux`` if there is one."""
        output = self.network(image)
        if not isinstance(output, Mapping):
            return [output]
        return [output["out"], *([output["aux"]] if self.auxiliary_weights else [])]


class _FailureError(Exception):
    """A network does not work with an image of some size; others may do."""


def try_out(
    network: nn.Module,
    what: str,
    strides: Sequence[int],
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
) -> Fit:
    """Find the image sizes that a network takes, by trying.

    A copy of the network computes a few small images, on the device of its weights.

    Args:
        network: The network; it is not changed.
        what: Description of the network, for messages.
        strides: Multiples to try for heights and widths, in this order.
        num_classes: Channels that the logits must have; ``None`` takes those that they have.
        in_channels: Channels of the images; ``None`` takes those of the first convolution.

    Raises:
        ConfigError: The network returns no logits, or logits of another size or number of
            channels, or it fails for every stride.
    """
    twin = copy.deepcopy(network)
    failure: _FailureError | None = None
    for count in [in_channels] if in_channels else _usual_channels(network):
        try:
            return _Trial(twin, what, count, num_classes).fit(strides)
        except _FailureError as error:
            failure = failure or error  # that of the likeliest number of channels
    raise ConfigError(str(failure)) from failure


def _usual_channels(network: nn.Module) -> Iterator[int]:
    """Yield numbers of image channels, the likeliest first."""
    convolutions = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    first = next(convolutions, None)
    yield from dict.fromkeys([first.in_channels] if first else []) | {3: None, 1: None}


@dataclass(frozen=True)
class _Trial:
    """Tries images of one number of channels."""

    network: nn.Module
    what: str
    in_channels: int
    num_classes: int | None

    def fit(self, strides: Sequence[int]) -> Fit:
        """Find stride and smallest size.

        Raises:
            _FailureError: No stride works; the message is that of the last one.
            ConfigError: The output is wrong whatever the size.
        """
        stride = self._stride(strides)
        failure: _FailureError | None = None
        for side in self._sides(stride):
            try:
                num_classes, _ = self._run(side, side, training=False)
                _, keys = self._run(side, side, training=True)
            except _FailureError as error:
                failure = error
                continue
            return Fit(self.in_channels, num_classes, stride, side, "aux" in keys)
        assert failure is not None
        raise failure

    def _stride(self, strides: Sequence[int]) -> int:
        failure: _FailureError | None = None
        for stride in strides:
            height = self._large(stride)
            try:
                self._run(height, height + 2 * stride, training=False)
            except _FailureError as error:
                failure = error
                continue
            return stride
        assert failure is not None
        raise failure

    @staticmethod
    def _large(stride: int) -> int:
        """Return an odd multiple of the stride, which is no multiple of the next larger stride."""
        return (-(-LARGE_PX // stride) | 1) * stride

    def _sides(self, stride: int) -> Iterator[int]:
        side, large = stride, self._large(stride)
        while side < large:
            yield side
            side *= 2
        yield large

    def _run(self, height: int, width: int, *, training: bool) -> tuple[int, Sequence[str]]:
        """Run the network on one image; return the number of classes and the keys of its output."""
        self.network.train(training)
        shape = (1, self.in_channels, height, width)
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                output = self.network(torch.zeros(shape, device=self._device()))
        except Exception as error:  # whatever the network of a user raises
            reason = in_one_line(error)
            mode = "training" if training else "evaluation"
            raise _FailureError(
                f"{self.what} must take images (N, {self.in_channels}, H, W). With "
                f"{height} x {width}, in {mode} mode, it raised {reason}. If it needs other "
                "sizes than multiples of 64, give it an attribute stride"
            ) from error
        keys = tuple(output) if isinstance(output, Mapping) else ()
        logits: Any = output.get("out") if isinstance(output, Mapping) else output
        self._check(logits, output, keys)
        if tuple(logits.shape[2:]) != (height, width):
            raise _FailureError(
                f"{self.what} must return logits of the size of the image. For {height} x {width} "
                f"it returned {logits.shape[2]} x {logits.shape[3]}. Resize them in its forward; "
                "if it needs images of other sizes, give it an attribute stride"
            )
        return logits.shape[1], keys

    def _device(self) -> torch.device:
        weights = next(chain(self.network.parameters(), self.network.buffers()), None)
        return torch.device("cpu") if weights is None else weights.device

    def _check(self, logits: Any, output: Any, keys: Sequence[str]) -> None:
        """Check what does not depend on the size of the image."""
        if not isinstance(logits, Tensor) or logits.ndim != 4:
            found = f"a {type(output).__name__}" + (f" with {', '.join(keys)}" if keys else "")
            if isinstance(logits, Tensor):
                found = f"a tensor of shape {tuple(logits.shape)}"
            raise ConfigError(
                f"{self.what} must return logits (N, K, H, W), or a dict with them as 'out'. "
                f"It returned {found}. Change its forward"
            )
        if self.num_classes not in (None, logits.shape[1]):
            raise ConfigError(
                f"{self.what} must return logits of {amount(self.num_classes, 'channel')}, one for "
                f"each class. It returned {logits.shape[1]}. Build it for "
                f"{amount(self.num_classes, 'class')}"
            )
