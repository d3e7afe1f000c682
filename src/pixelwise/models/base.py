"""The base class of all models, which pads images and crops logits."""

from __future__ import annotations

import inspect
from typing import Any, Self

import torch
from torch import Tensor, nn

from pixelwise.registry import Registry

models: Registry[nn.Module] = Registry(
    "model",
    "pixelwise.models",
    hint="List them with: pixelwise models",
    group="pixelwise.models",
    is_open=True,
)

FRESH_ONLY: dict[str, Any] = {
    "pretrained": False,
    "pretrained_backbone": False,
    "encoder_weights": None,
    "weights_backbone": None,
}
"""Arguments that only affect the initial weights, as timm, torchvision and
segmentation_models.pytorch call them, with the values for random weights. They are not stored in
model files, and a model whose weights come from a file is built with these values."""


class SegmentationModel(nn.Module):
    """A network that maps images of any size to logits of the same size.

    Images are padded to the stride of the network, and logits are cropped back, only in this class.
    The padding is at the right and the bottom, so pixel (0, 0) of the image stays at (0, 0). Both
    steps do not branch on sizes, so one traced graph supports every height and width.

    Attributes:
        reference: Source of the architecture: authors, year and network.
        stride: The network requires heights and widths that are multiples of this.
        is_padded: Whether images are padded to multiples of the stride; ``False`` if the network
            supports other sizes itself.
        learning_rate: Highest tested learning rate for Adam with warmup and decay.
        name: The registered name.
        arguments: Arguments of the constructor, sufficient to build the same network again.
        num_classes: Channels of the logits.
        in_channels: Channels of the image.
        smallest_px: Smaller images are padded to this size: batch normalization needs more than one
            pixel at the deepest level.
        sees_px: Side of the square around a pixel that its logits depend on; ``None`` for the whole
            image or nearly so.
        auxiliary_weights: Loss weights of auxiliary outputs in training; see
            :meth:`training_logits`.
        export_obstacle: Why ``torch.export`` cannot trace it with every height and width; ``None``
            where it can. See :func:`pixelwise.models.tracing.trace_program`.
        batch_obstacle: Why it cannot trace it with every number of images as well.
        defined_in: The module that makes the model known when it is imported; ``None`` for the
            models of pixelwise.
    """

    reference: str = ""
    stride: int = 1
    is_padded: bool = True
    learning_rate: float = 1e-3
    smallest_px: int = 1
    sees_px: int | None = None
    auxiliary_weights: tuple[float, ...] = ()
    export_obstacle: str | None = None
    batch_obstacle: str | None = None
    defined_in: str | None = None
    name: str
    arguments: dict[str, Any]
    num_classes: int
    in_channels: int

    @property
    def states_learning_rate(self) -> bool:
        """Whether the network or its class sets ``learning_rate``."""
        owners = (self, *(one for one in type(self).__mro__ if one is not SegmentationModel))
        return any("learning_rate" in vars(owner) for owner in owners)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Store the constructor's arguments, even if the class is called directly."""
        model = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        # Copying and unpickling build it without arguments, and bring the attributes themselves.
        given = signature.bind_partial(None, *args, **kwargs) if args or kwargs else None
        model.name = models.name_of(cls) or cls.__name__
        if given is not None:
            _remember(model, given)
        return model

    def forward(self, image: Tensor) -> Tensor:
        """Segment a batch of images.

        Args:
            image: Float (N, C, H, W), normalized; H and W are at least 1.

        Returns:
            Logits, float (N, num_classes, H, W); pixel (r, c) belongs to pixel (r, c) of the image.
        """
        height, width = image.shape[-2:]
        return self.segment(self._padded(image))[..., :height, :width]

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """Return the logits of every trained output, the main one first.

        Args:
            image: See :meth:`forward`.

        Returns:
            One tensor as from :meth:`forward`, and one for each of ``auxiliary_weights``.
        """
        height, width = image.shape[-2:]
        outputs = self.segment_for_training(self._padded(image))
        return [logits[..., :height, :width] for logits in outputs]

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose height and width are multiples of ``stride``."""
        raise NotImplementedError

    def segment_for_training(self, image: Tensor) -> list[Tensor]:
        """Return the logits of :meth:`segment` and of the auxiliary outputs, in the same size."""
        return [self.segment(image)]

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width to which an image of that size is padded."""
        grid = self.stride if self.is_padded else 1
        # torch.sym_max and no branches: a traced graph holds these sizes as expressions.
        least: Any = self.smallest_px
        height, width = (
            (torch.sym_max(side, least) + grid - 1) // grid * grid for side in (height, width)
        )
        return height, width

    def _padded(self, image: Tensor) -> Tensor:
        sizes: Any = image.shape[-2:]
        # torch.jit.trace, by which OpenVINO takes a model, has tensors as sizes: those are fixed.
        height, width = (int(size) if isinstance(size, Tensor) else size for size in sizes)
        height, width = self.padded_size(height, width)
        more = (0, width - image.shape[-1], 0, height - image.shape[-2])
        # The edge is repeated, as a black border would look like the edge of an object.
        return nn.functional.pad(image, more, mode="replicate")


def _remember(model: SegmentationModel, given: inspect.BoundArguments) -> None:
    """Set the attributes that follow from the constructor's arguments."""
    own = dict(list(given.arguments.items())[1:])  # without self
    for entry in given.signature.parameters.values():
        if entry.kind is entry.VAR_KEYWORD:
            own |= own.pop(entry.name, {})
    model.arguments = {
        key: value
        for key, value in own.items()
        if key not in ("name", "num_classes", "in_channels", *FRESH_ONLY)
    }
    given.apply_defaults()
    for key in ("name", "num_classes", "in_channels"):
        if key in given.arguments:
            setattr(model, key, given.arguments[key])
