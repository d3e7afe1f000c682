"""Copies a model for prediction without changing its device, memory format or mode."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.models.base import SegmentationModel


def arranged(model: SegmentationModel, device: torch.device) -> SegmentationModel:
    """A model in evaluation mode, on a device, with its weights laid out channels last.

    Weights that already lie there in that layout are shared and take no memory; all others are
    copied. Hooks are shared, so one that is registered on the given model, before or after, is
    called when the twin computes.

    Args:
        model: The network; it is not changed.
        device: Where the twin computes.

    Returns:
        A model of the same classes and attributes, with every layer in evaluation mode.
    """
    memo: dict[int, Any] = {}  # deepcopy takes from it what must not be copied as it is
    for layer in model.modules():
        for name, value in vars(layer).items():
            if "_hooks" in name and isinstance(value, dict):
                memo[id(value)] = value
            elif isinstance(value, Tensor):  # such as a weight that a hook computes
                memo[id(value)] = _placed(value, device)
    for buffer in model.buffers():
        memo[id(buffer)] = _placed(buffer, device)
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(_placed(parameter, device), parameter.requires_grad)
    twin: SegmentationModel = copy.deepcopy(model, memo)
    for layer in twin.modules():
        layer.training = False
    return twin


def _placed(values: Tensor, device: torch.device) -> Tensor:
    """The same values on a device, those of convolutions channels last; shared where they are."""
    values = values.detach().to(device)
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
