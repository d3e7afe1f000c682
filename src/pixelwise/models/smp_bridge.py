"""The bridge to segmentation_models.pytorch: ``smp:<architecture>:<encoder>``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.encoders import fetched

PREFIX = "smp:"

REFUSED = {
    "activation": "models give logits, and the loss takes them",
    "aux_params": "classes of whole images are not trained",
}
"""Arguments of that library that its models here cannot have, and why."""

SMALLEST_PX = {"pan": 128}
"""Of architectures that pool the deepest map further."""

EXPORT_OBSTACLES = {
    "pan": "it pools to a map of 1 channel that is 1 px high and wide in small images and larger "
    "in others, and torch.export fixes the memory layout of such a map to one of the two",
}
"""Of architectures that have one; see :class:`pixelwise.models.base.SegmentationModel`."""

BATCH_OBSTACLES = dict.fromkeys(
    ("segformer", "dpt"),
    "torch.export fixes whether a batch holds one image or several where tokens become a map",
)
"""The same, of architectures that can be traced with a fixed number of images alone."""


class SteadyBatchNorm(nn.BatchNorm2d):
    """Normalizes by the running statistics where a batch holds one value of each channel.

    Behind a pooling over the whole image, a batch of one image has no spread to normalize by, and
    torch refuses it; the last batch of an epoch may be such a one.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training or feature_map.numel() > feature_map.shape[1]:
            return super().forward(feature_map)
        return nn.functional.batch_norm(
            feature_map, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


@models.register_family(PREFIX, "smp:ARCHITECTURE:ENCODER")
class SmpModel(SegmentationModel):
    """A network of segmentation_models.pytorch: 12 architectures, 800 encoders.

    Args:
        name: ``smp:unet:resnet34``, for example; both parts as that library names them.
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
        pretrained: The encoder starts from weights learned on ImageNet; they are downloaded.
        **arguments: Passed through, such as ``decoder_channels``.

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
                f"arguments that it takes. Got: {reason}"
            ) from error
        self.smallest_px = SMALLEST_PX.get(architecture, self.smallest_px)
        self.export_obstacle = EXPORT_OBSTACLES.get(architecture)
        self.batch_obstacle = BATCH_OBSTACLES.get(architecture)
        if pretrained:
            self.network = fetched(lambda: build("imagenet"), name)
        for layer in self.network.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = SteadyBatchNorm  # the same weights and statistics

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of 32; (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.network(image)
        return logits
