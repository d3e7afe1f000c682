"""Outlines of models: their shapes without weights, to check a model before it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pixelwise.models.adapter import AdaptedModel, try_out
from pixelwise.models.base import SegmentationModel, models
from pixelwise.models.creation import Architecture, adopted, build_named, copied
from pixelwise.models.lookup import find_builder


class _Uninitialized(TorchFunctionMode):
    """Draws no random numbers into weights: on the meta device, torch would import SymPy for it."""

    DRAWING = (torch.Tensor.normal_, torch.Tensor.uniform_)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return args[0] if func in self.DRAWING else func(*args, **(kwargs or {}))


def outlined(
    model: str | type[nn.Module],
    num_classes: int | None,
    in_channels: int | None,
    arguments: Mapping[str, Any],
) -> SegmentationModel:
    """Build a model to look at its shapes, without pretrained weights.

    A model of pixelwise is built on the meta device, which allocates no weights. One from outside
    may look at values, so it is built on the CPU and tried there.

    Args:
        model: A name or a class.
        num_classes: Number of classes; ``None`` if it is not known yet.
        in_channels: Channels of the images; ``None`` if they are not known yet.
        arguments: Further arguments of the architecture.

    Raises:
        PixelwiseError: See :func:`create_model`.
    """
    if models.is_own(find_builder(model) if isinstance(model, str) else model):
        with _Uninitialized(), torch.device("meta"):
            return build_named(model, num_classes, in_channels, arguments, is_fresh=False)
    with torch.random.fork_rng(devices=[]):
        return build_named(model, num_classes, in_channels, arguments, is_fresh=False)


def check_model(
    model: Architecture, arguments: Mapping[str, Any], num_classes: int | None = None
) -> None:
    """Check that a model can be built and maps images to logits of the same size.

    Args:
        model: See :func:`create_model`.
        arguments: Further arguments of the architecture.
        num_classes: Number of classes; ``None`` if it is not known yet.

    Raises:
        PixelwiseError: See :func:`create_model`.
    """
    if isinstance(model, nn.Module):
        known = adopted(model)
        copied(known, num_classes or known.num_classes, None, arguments)
        return
    built = outlined(model, num_classes, None, arguments)
    if built.defined_in is not None and not isinstance(built, AdaptedModel):
        # A class derived from ours: it pads images itself, so every size must work.
        try_out(
            built, f"model {built.name!r}", (1,),
            num_classes=getattr(built, "num_classes", num_classes),
            in_channels=getattr(built, "in_channels", None),
        )  # fmt: skip
