"""The bridge to segmentation_models.pytorch: ``smp:<architecture>:<encoder>``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pixelwise.errors import ConfigError
from pixelwise.models import SegmentationModel, models
from pixelwise.models.encoders import fetched

PREFIX = "smp:"


@models.register_family(PREFIX, "smp:ARCHITECTURE:ENCODER")
class SmpModel(SegmentationModel):
    """A network of segmentation_models.pytorch: 12 architectures, 800 encoders.

    Args:
        name: ``smp:unet:resnet34``, for example; both parts as that library names them.
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
        pretrained: The encoder starts from weights learnt on ImageNet; they are downloaded.
        **arguments: Passed through, such as ``decoder_channels``.

    Reference:
        Iakubovskii, Segmentation Models Pytorch (2019).
    """

    article = "segmentation_models.pytorch"
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

        def build() -> Any:
            return smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights="imagenet" if pretrained else None,
                in_channels=in_channels,
                classes=num_classes,
                **arguments,
            )

        if pretrained:
            self.network = fetched(build, name)
            return
        try:
            self.network = build()
        except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"{name!r} must be a network of segmentation_models.pytorch, with "
                f"arguments that it takes. Got: {reason}"
            ) from error

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose sides are multiples of 32; (N, C, H, W) to (N, K, H, W)."""
        logits: Tensor = self.network(image)
        return logits
