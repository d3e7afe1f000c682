"""Classification networks from torchvision and timm as encoders."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.errors import ConfigError, DownloadError


class Encoder(nn.Module):
    """Computes feature maps of an image at several strides.

    Attributes:
        channels: Channels of each feature map, finest first.
    """

    channels: tuple[int, ...]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return a map per stride, finest first; sides must be multiples of the last stride."""
        raise NotImplementedError

    def deepest(self, image: Tensor) -> Tensor:
        """Return only the deepest feature map, as the classifier computes it."""
        *_, last = self(image)
        feature_map: Tensor = last
        return feature_map


@dataclass(frozen=True)
class Classifier:
    """The structure of a torchvision classifier.

    Attributes:
        ends: Ends of the parts of ``features`` whose outputs have the strides 8, 16 and 32.
        channels: Channels of these outputs.
        dense_px: Height and width of the input of the first dense layer.
        margin_px: Rows and columns added before the image, so that the deepest map covers it.
        starts: The first row and column of each map that lies on the image with this margin.
    """

    ends: tuple[int, int, int]
    channels: tuple[int, int, int]
    dense_px: int
    margin_px: int = 0
    starts: tuple[int, int, int] = (0, 0, 0)


CLASSIFIERS = {
    # AlexNet's convolutions and poolings without padding shift the maps to the right and down.
    # Without a margin, its maps would lack a cell and be off by 32 pixels.
    "alexnet": Classifier((3, 6, 13), (64, 192, 256), 6, margin_px=32, starts=(3, 1, 0)),
    "vgg16": Classifier((17, 24, 31), (256, 512, 512), 7),
}
"""Classifiers whose dense layers are kept as convolutions."""


class TorchvisionEncoder(Encoder):
    """The convolutions of AlexNet or VGG16, with He normal initialization.

    Args:
        name: One of :data:`CLASSIFIERS`.
        in_channels: Channels of the image.

    Reference:
        Krizhevsky et al., ImageNet classification (2012); Simonyan and Zisserman, VGG (2015),
        arXiv:1409.1556.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        import torchvision

        self._cut = CLASSIFIERS[name]
        self.channels = self._cut.channels
        build = {"alexnet": torchvision.models.alexnet, "vgg16": torchvision.models.vgg16}[name]
        device = torch.empty(0).device
        with torch.device("meta"):  # avoids allocating its dense layers, 100 million weights
            layers = list(build(weights=None).features.children())
            first = layers[0]
            layers[0] = nn.Conv2d(
                in_channels,
                first.out_channels,
                first.kernel_size,
                stride=first.stride,
                padding=first.padding,
            )
        for layer in layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.features = nn.Sequential(*layers).to_empty(device=device)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps at strides 8, 16 and 32; the sides must be multiples of 32."""
        height, width = image.shape[-2:]
        margin, begin, maps = self._cut.margin_px, 0, []
        feature_map = nn.functional.pad(image, (margin, 0, margin, 0), mode="replicate")
        for end, start, stride in zip(self._cut.ends, self._cut.starts, (8, 16, 32), strict=True):
            feature_map = self.features[begin:end](feature_map)
            begin = end
            rows, columns = height // stride, width // stride
            maps.append(feature_map[..., start : start + rows, start : start + columns])
        return maps

    def deepest(self, image: Tensor) -> Tensor:
        """Return the output of the last pooling, without a margin around the image."""
        feature_map: Tensor = self.features(image)
        return feature_map

    def load_features(self, state: Mapping[str, Tensor]) -> None:
        """Load the classifier's convolutions.

        Raises:
            ConfigError: The weights do not fit.
        """
        own = self.features.state_dict()
        fitting = dict(state)
        first = "0.weight"
        if first in fitting and fitting[first].shape[1] != own[first].shape[1]:
            fitting[first], fitting["0.bias"] = own[first], own["0.bias"]
        try:
            self.features.load_state_dict(fitting)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"classifier weights must fit the encoder. {reason}") from error


class TimmEncoder(Encoder):
    """Any timm encoder with feature maps at the requested strides.

    Args:
        name: Its name in timm, such as ``resnet50``.
        in_channels: Channels of the image.
        strides: Strides of the feature maps, finest first.
        pretrained: Use timm's pretrained weights, which are downloaded.

    Raises:
        ConfigError: timm has no such encoder, or it lacks one of the strides.
        DownloadError: The weights cannot be downloaded.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        strides: Sequence[int],
        *,
        pretrained: bool = False,
    ) -> None:
        super().__init__()

        def check(network: Any) -> None:
            reductions = network.feature_info.reduction()
            # If several maps have the same stride, the deepest one is used.
            last = {reduction: place for place, reduction in enumerate(reductions)}
            if not set(strides) <= set(last):
                raise ConfigError(
                    f"encoder must give feature maps at strides {_listed(strides)}. {name!r} gives "
                    f"them at {_listed(reductions)}. Choose a convolutional one, such as resnet50"
                )
            self._places = [last[stride] for stride in strides]
            channels = network.feature_info.channels()
            self.channels = tuple(channels[place] for place in self._places)
            _check_maps(network, name, in_channels, strides, self._places, self.channels)

        self.body = create_encoder(
            name, in_channels, pretrained=pretrained, check=check, features_only=True
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return a map per stride; the sides must be multiples of the last stride."""
        maps = self.body(image)
        return [maps[place] for place in self._places]


_SUITABLE: set[tuple[str, int, tuple[int, ...]]] = set()
"""Networks that passed :func:`_check_maps`, so that each is checked once per process."""


def _check_maps(
    network: nn.Module,
    name: str,
    in_channels: int,
    strides: Sequence[int],
    places: Sequence[int],
    channels: Sequence[int],
) -> None:
    """Run a timm network on shapes only, to check that its maps have the declared shapes.

    Raises:
        ConfigError: They differ, such as (N, H, W, C), or only one image size is supported.
    """
    key = (name, in_channels, tuple(strides))
    if key in _SUITABLE:
        return
    sizes = [(2 * strides[-1], 3 * strides[-1]), (5 * strides[-1], 7 * strides[-1])]
    on_shapes = copy.deepcopy(network).to("meta").eval()
    for height, width in sizes:
        expected = [
            (1, count, height // stride, width // stride)
            for count, stride in zip(channels, strides, strict=True)
        ]
        try:
            with torch.no_grad():
                maps = on_shapes(torch.empty(1, in_channels, height, width, device="meta"))
            got = str([tuple(maps[place].shape) for place in places])
        except (RuntimeError, AssertionError, TypeError, ValueError, AttributeError) as error:
            got = " ".join(str(error).split())[:120]
        if got != str(expected):
            raise ConfigError(
                f"encoder must turn an image of {height} x {width} px into maps of shape "
                f"{expected}. {name!r} gives {got}. Choose a convolutional one, such as resnet50"
            )
    _SUITABLE.add(key)


def create_encoder(
    name: str,
    in_channels: int,
    *,
    pretrained: bool,
    check: Callable[[Any], None] = lambda _: None,
    **arguments: Any,
) -> Any:
    """Build a timm network without its classifier.

    Args:
        name: Its name in timm.
        in_channels: Channels of the image.
        pretrained: Use timm's pretrained weights, which are downloaded.
        check: Raises an error for an unsuitable network; it is called with newly initialized
            weights, so that nothing is downloaded for an unsuitable one.
        **arguments: Further arguments for timm, such as ``output_stride``.

    Raises:
        ConfigError: timm has no such network, or it does not accept the arguments.
        DownloadError: The weights cannot be downloaded.
    """
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5] or ["resnet18", "resnet50"]
        raise ConfigError(
            f"encoder must be a name that timm knows. Got {name!r}. Similar names: "
            f"{', '.join(near)}"
        )
    if not arguments.get("features_only"):
        arguments["num_classes"] = 0

    def build(*, pretrained: bool) -> Any:
        return timm.create_model(name, in_chans=in_channels, pretrained=pretrained, **arguments)

    try:
        network = build(pretrained=False)
    except (RuntimeError, AttributeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"encoder must be a convolutional network, such as resnet50. {name!r} does not provide "
            f"feature maps: {' '.join(str(error).split())[:120]}"
        ) from error
    check(network)
    if pretrained:
        return fetched(lambda: build(pretrained=True), name)
    # timm initializes residual branches with zero. Until they grow, only the 1 x 1 convolutions of
    # stride 2 beside them see the image, and those skip three of four pixels.
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    return network


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def fetched(build: Callable[[], Any], what: str) -> Any:
    """Build something with downloaded weights, after building it without them has succeeded.

    Raises:
        ConfigError: The weights do not exist or do not fit.
        DownloadError: The weights cannot be downloaded, or are damaged.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from safetensors import SafetensorError

    # Base classes: OSError, and that of all errors of the HTTP client of huggingface_hub.
    hub_errors: tuple[Any, ...] = HfHubHTTPError.__bases__
    try:
        return build()
    except (OSError, HTTPException, *hub_errors) as error:
        raise DownloadError(
            f"the pretrained weights of {what!r} cannot be downloaded. Check the connection, or "
            f"leave out pretrained ({' '.join(str(error).split())[:120]})"
        ) from error
    except (
        SafetensorError,
        EOFError,
        UnpicklingError,
        KeyError,
        ValueError,
        RuntimeError,
    ) as error:
        is_damaged = isinstance(error, (SafetensorError, EOFError, UnpicklingError))
        if is_damaged or "invalid hash" in str(error):
            raise DownloadError(
                f"the downloaded weights of {what!r} are damaged. Delete the file from the cache "
                f"and try again ({' '.join(str(error).split())[:200]})"
            ) from error
        raise ConfigError(
            f"pretrained must be left out for {what!r}: its weights are missing or do not fit "
            f"({' '.join(str(error).split())[:120]})"
        ) from error


def fetch_torchvision_weights(name: str) -> Mapping[str, Tensor]:
    """Return torchvision's ImageNet weights of a classifier.

    Raises:
        DownloadError: The weights cannot be downloaded.
    """
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    state: Mapping[str, Tensor] = fetched(
        lambda: weights.get_state_dict(progress=False, check_hash=True), name
    )
    return state
