"""Copies a model for prediction without changing the original's device, memory format or mode."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.models.base import SegmentationModel


def arranged(model: SegmentationModel, device: torch.device) -> SegmentationModel:
    """Return a copy of a model in evaluation mode, on a device, in channels-last format.

    Weights that are already on the device in this format are shared and use no extra memory; all
    others are copied. Hooks are shared, so that a hook registered on the original, before or after
    this call, is also called by the copy.

    Args:
        model: Network; it is not changed.
        device: Device of the copy.

    Returns:
        Model with the same classes and attributes, and every layer in evaluation mode.
    """
    memo: dict[int, Any] = {}  # objects that deepcopy replaces by these values
    for layer in model.modules():
        for name, value in vars(layer).items():
            if "_hooks" in name and isinstance(value, dict):
                memo[id(value)] = value
            elif isinstance(value, Tensor):  # e.g. a weight computed by a hook
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
    """Move a tensor to a device, 4-D ones in channels-last format; copy only if needed."""
    values = values.detach().to(device)
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
