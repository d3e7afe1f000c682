"""Segmentation models: those of pixelwise by name, those of others by name or as a class."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from pixelwise.errors import ConfigError
from pixelwise.models.adapter import AdaptedModel
from pixelwise.models.base import SegmentationModel as SegmentationModel
from pixelwise.models.base import models
from pixelwise.models.creation import create_model as create_model
from pixelwise.models.creation import register_model as register_model
from pixelwise.models.outline import outlined


def list_models() -> list[str]:
    """Return the registered names, sorted."""
    return models.names()


@dataclass(frozen=True)
class ModelSummary:
    """Properties of a model, as listed by ``pixelwise models``.

    Attributes:
        name: The registered name.
        reference: Source of the architecture: authors, year and network.
        parameters: Number of trainable parameters, for the given channels and classes; ``None`` for
            a model from outside pixelwise that cannot be built so; the reason is its reference.
        gmacs: Multiply-accumulate operations for one image of the given size, in 10 ** 9; only
            convolutions and matrix products, as the rest is small; ``None`` as above.
        label_modes: Supported label modes.
    """

    name: str
    reference: str
    parameters: int | None
    gmacs: float | None
    label_modes: tuple[str, ...]


def summarize_models(
    num_classes: int, in_channels: int, size: tuple[int, int] = (256, 256)
) -> list[ModelSummary]:
    """Describe every registered model without computing anything or allocating weights."""
    # Logits suit both losses: softmax for multiclass masks, else a sigmoid each.
    label_modes = ("multiclass", "multilabel")
    summaries = []
    for name in list_models():
        try:
            model = outlined(name, num_classes, in_channels, {})
        except ConfigError as error:
            if models.is_own(models.builder(name)):
                raise
            # One from outside, which may need arguments, does not hide the others.
            summaries.append(ModelSummary(name, str(error), None, None, label_modes))
            continue
        num_parameters = sum(weights.numel() for weights in model.parameters())
        gmacs = count_gmacs(model, size)
        summaries.append(ModelSummary(name, model.reference, num_parameters, gmacs, label_modes))
    return summaries


def count_gmacs(model: SegmentationModel, size: tuple[int, int]) -> float:
    """Count the multiply-accumulate operations for one image by running the model on shapes only.

    Args:
        model: Any model of pixelwise, with weights or on the ``meta`` device.
        size: Height and width of the image.

    Returns:
        The number in 10 ** 9, for convolutions and matrix products.
    """
    from torch.utils.flop_counter import FlopCounterMode

    def count(twin: SegmentationModel, device: str) -> float:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device(device):
            twin.to(device).eval()(torch.zeros(1, model.in_channels, *size))
        flops: int = counter.get_total_flops()
        return flops / 2 / 1e9

    try:
        return count(copy.deepcopy(model), "meta")
    except (RuntimeError, NotImplementedError):
        if not isinstance(model, AdaptedModel):
            raise
        return count(copy.deepcopy(model), "cpu")  # its forward looks at values
