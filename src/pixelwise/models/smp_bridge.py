"""Models of segmentation_models.pytorch, named ``smp:<architecture>:<encoder>``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.blocks import make_batchnorm_steady
from pixelwise.models.encoders import fetched

PREFIX = "smp:"

REFUSED = {
    "activation": "models return logits, as the loss expects",
    "aux_params": "image classification heads are not trained",
}
"""Arguments of segmentation_models.pytorch that are not supported, and why."""

ENCODER_ARGUMENTS = ("drop_rate", "drop_path_rate", "img_size", "dynamic_img_size")
"""Arguments for encoders of timm. Others could name a file or an address to load weights from, and
a model file must not be able to do that."""

TIMM_PREFIX = "tu-"
"""Prefix of the encoders of timm."""

SMALLEST_PX = {"pan": 128}
"""Smallest image side of architectures that pool the deepest map further."""

EXPORT_OBSTACLES = {
    "pan": "it pools to a map of 1 channel that is 1 px high and wide in small images and larger "
    "in others, and torch.export fixes the memory layout of such a map to one of the two",
}
"""Export obstacle by architecture; see :class:`pixelwise.models.base.SegmentationModel`."""

FIXED_BATCH = ("segformer", "dpt", "upernet")
"""Architectures that can only be traced with a fixed number of images."""

FIXED_BATCH_ENCODERS = ("mit_",)
"""Name prefixes of encoders with the same limitation."""

BATCH_OBSTACLE = "torch.export fixes whether a batch holds one image or several"


@models.register_family(PREFIX, "smp:ARCHITECTURE:ENCODER")
class SmpModel(SegmentationModel):
    """A network of segmentation_models.pytorch: 12 architectures, 800 encoders.

    Args:
        name: For example ``smp:unet:resnet34``, with the names of that library.
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        pretrained: Use weights pretrained on ImageNet for the encoder, which are downloaded.
        **arguments: Further arguments for the library, such as ``decoder_channels``.

    Reference:
        Iakubovskii, Segmentation Models Pytorch (2019).
    """

    reference = "Iakubovskii 2019, segmentation_models.pytorch"
    stride = 32
    smallest_px = 2 * stride
    learning_rate = 1e-3
    sees_px = None

    def __init__(
        self,
        name: str,
        num_classes: int,
        in_channels: int = 3,
        *,
        pretrained: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp  # takes seconds to import

        architecture, colon, encoder = name.removeprefix(PREFIX).partition(":")
        if not (colon and architecture and encoder):
            raise ConfigError(
                f"model must be smp:ARCHITECTURE:ENCODER, such as smp:unet:resnet34. Got {name!r}"
            )

        for argument in REFUSED.keys() & arguments.keys():
            raise ConfigError(f"{argument} must be left out for {name!r}: {REFUSED[argument]}")
        _require_installed(name, encoder)
        _require_known(name, smp.MODEL_ARCHITECTURES_MAPPING.get(architecture), arguments)

        def build(weights: str | None) -> Any:
            return smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=weights,
                in_channels=in_channels,
                classes=num_classes,
                **arguments,
            )

        try:
            self.network = build(None)
        except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"{name!r} must be a network of segmentation_models.pytorch, with "
                f"arguments that it accepts. Got: {reason}"
            ) from error
        self.smallest_px = SMALLEST_PX.get(architecture, self.smallest_px)
        self.export_obstacle = EXPORT_OBSTACLES.get(architecture)
        if architecture in FIXED_BATCH or encoder.startswith(FIXED_BATCH_ENCODERS):
            self.batch_obstacle = BATCH_OBSTACLE
        if pretrained:
            self.network = fetched(lambda: build("imagenet"), name)
        make_batchnorm_steady(self.network)

    def segment(self, image: Tensor) -> Tensor:
        """Segment images with sides that are multiples of 32, (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.network(image)
        return logits


def _require_installed(name: str, encoder: str) -> None:
    """Check that an encoder is one of the installed libraries, not a file or an address.

    Raises:
        ConfigError: It is not.
    """
    import timm
    from segmentation_models_pytorch.encoders import get_encoder_names

    if encoder in get_encoder_names():
        return
    if encoder.startswith(TIMM_PREFIX) and timm.is_model(encoder.removeprefix(TIMM_PREFIX)):
        return
    raise ConfigError(
        f"{name!r} must be a network of segmentation_models.pytorch, with an encoder that is "
        f"installed. Got {encoder!r}. Give a name such as resnet34, or {TIMM_PREFIX} and a model "
        "name of timm"
    )


def _require_known(
    name: str, architecture: Callable[..., Any] | None, arguments: Mapping[str, Any]
) -> None:
    """Check that the arguments are those of the architecture, or :data:`ENCODER_ARGUMENTS`.

    Raises:
        UnknownNameError: One is not.
    """
    if architecture is None:  # the library names those that it has
        return
    taken = inspect.signature(architecture).parameters.values()
    known = {entry.name for entry in taken if entry.kind is not entry.VAR_KEYWORD}
    known |= set(ENCODER_ARGUMENTS)
    for argument in arguments:
        if argument not in known:
            raise UnknownNameError(f"argument of {name!r}", argument, sorted(known))
