"""Segmentation models, created by name with ``create_model``."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch

from pixelwise.errors import ConfigError
from pixelwise.models.base import FRESH_ONLY, SegmentationModel, models


def create_model(
    name: str, num_classes: int, in_channels: int = 3, **arguments: Any
) -> SegmentationModel:
    """Build a model with newly initialized weights.

    Args:
        name: A registered name; see :func:`list_models`.
        num_classes: Number of classes, which is the number of channels of the logits, at least 1.
        in_channels: Channels of the images, at least 1.
        **arguments: Further arguments of the architecture, see the signature of its class.

    Raises:
        UnknownNameError: The model or an argument is unknown.
        ConfigError: A count is below 1.
    """
    for what, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ConfigError(f"{what} must be at least 1. Got {count}")
    model = models.create(name, num_classes=num_classes, in_channels=in_channels, **arguments)
    assert isinstance(model, SegmentationModel)
    model.name = name
    model.arguments = {key: value for key, value in arguments.items() if key not in FRESH_ONLY}
    model.num_classes, model.in_channels = num_classes, in_channels
    return model


def check_model(name: str, **arguments: Any) -> None:
    """Check that a model can be built, without allocating weights.

    Args:
        name: See :func:`create_model`.
        **arguments: See :func:`create_model`.

    Raises:
        PixelwiseError: See :func:`create_model`.
    """
    kept = {key: value for key, value in arguments.items() if key not in FRESH_ONLY}
    models.checked(name, num_classes=2, in_channels=3, **arguments)
    with torch.device("meta"):
        create_model(name, 2, 3, **kept)


def list_models() -> list[str]:
    """Return the registered names, sorted."""
    return models.names()


@dataclass(frozen=True)
class ModelSummary:
    """Properties of a model, as listed by ``pixelwise models``.

    Attributes:
        name: The registered name.
        reference: Source of the architecture: authors, year and network.
        parameters: Number of trainable parameters, for the given channels and classes.
        gmacs: Multiply-accumulate operations for one image of the given size, in 10 ** 9; only
            convolutions and matrix products, as the rest is small.
        label_modes: Supported label modes.
    """

    name: str
    reference: str
    parameters: int
    gmacs: float
    label_modes: tuple[str, ...]


def summarize_models(
    num_classes: int, in_channels: int, size: tuple[int, int] = (256, 256)
) -> list[ModelSummary]:
    """Describe every registered model without computing anything or allocating weights."""
    summaries = []
    for name in list_models():
        with torch.device("meta"):
            model = create_model(name, num_classes, in_channels)
        summaries.append(
            ModelSummary(
                name,
                model.reference,
                sum(weights.numel() for weights in model.parameters()),
                count_gmacs(model, size),
                # Logits suit both losses: softmax for multiclass masks, else a sigmoid each.
                ("multiclass", "multilabel"),
            )
        )
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

    shapes_only = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes_only(torch.empty(1, model.in_channels, *size, device="meta"))
    flops: int = counter.get_total_flops()
    return flops / 2 / 1e9
