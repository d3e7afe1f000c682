"""The base class of all models: it pads and crops, the architectures do the rest."""

from __future__ import annotations

import inspect
from typing import Any, Self

import torch
from torch import Tensor, nn

from pixelwise.registry import Registry

models: Registry[nn.Module] = Registry(
    "model", "pixelwise.models", hint="List them with: pixelwise models"
)

FRESH_ONLY = ("pretrained",)
"""Arguments that decide the fresh weights and nothing else; a model file need not know them."""


class SegmentationModel(nn.Module):
    """A network that maps every image size to logits of the same size.

    The one place where images are padded to the network's stride and logits are cropped back. The
    padding is at the right and the bottom, so pixel (0, 0) of the image stays at (0, 0). Both hold
    no branch on a size, so that one traced graph serves every height and width.

    Attributes:
        article: Where the architecture is described.
        stride: Heights and widths that the network itself needs are multiples of this.
        is_padded: Images are padded to multiples of the stride; ``False`` where the network takes
            other sizes by itself.
        learning_rate: The highest learning rate of Adam, warmed up and decayed, that it was seen to
            take.
        name: The registered name.
        arguments: What the builder was called with, enough to build the same network again.
        num_classes: Planes of the logits.
        in_channels: Channels of the image.
        smallest_px: Smaller images are padded to this: batch normalization needs more than one
            pixel at the deepest level.
        sees_px: Side of the square around a pixel that its logits depend on; ``None``: the whole
            image, or nearly.
        auxiliary_weights: Of the losses of further outputs in training; see
            :meth:`training_logits`.
        export_obstacle: Why ``torch.export`` cannot trace it with every height and width; ``None``
            where it can. See :func:`pixelwise.models.tracing.trace_program`.
        batch_obstacle: Why it cannot trace it with every number of images as well.
    """

    article: str = ""
    stride: int = 1
    is_padded: bool = True
    learning_rate: float = 1e-3
    smallest_px: int = 1
    sees_px: int | None = None
    auxiliary_weights: tuple[float, ...] = ()
    export_obstacle: str | None = None
    batch_obstacle: str | None = None
    name: str
    arguments: dict[str, Any]
    num_classes: int
    in_channels: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep what the model is built with, also where its class is called directly."""
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
            image: Float (N, C, H, W), normalized; every H and W from 1 upwards.

        Returns:
            Logits, float (N, num_classes, H, W); pixel (r, c) belongs to the image's pixel (r, c).
        """
        height, width = image.shape[-2:]
        return self.segment(self._padded(image))[..., :height, :width]

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """The logits of every output that is trained, the main one first.

        Args:
            image: As for :meth:`forward`.

        Returns:
            One tensor as of :meth:`forward`, and one for each of ``auxiliary_weights``.
        """
        height, width = image.shape[-2:]
        outputs = self.segment_for_training(self._padded(image))
        return [logits[..., :height, :width] for logits in outputs]

    def segment(self, image: Tensor) -> Tensor:
        """Segment images whose height and width are multiples of ``stride``."""
        raise NotImplementedError

    def segment_for_training(self, image: Tensor) -> list[Tensor]:
        """As :meth:`segment`, with the auxiliary outputs after the main one, of the same size."""
        return [self.segment(image)]

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width at which an image of that size goes through the network."""
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
        # Edge pixels are repeated: a black border would look like the edge of an object.
        return nn.functional.pad(image, more, mode="replicate")


def _remember(model: SegmentationModel, given: inspect.BoundArguments) -> None:
    """Set the attributes that follow from the arguments of a model's class."""
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
