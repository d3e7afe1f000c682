"""Traces modules with dynamic batch size, height and width."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pixelwise.errors import ConfigError
from pixelwise.models.base import SegmentationModel

EXAMPLE_SIZE = (70, 83)
"""Image size for tracing, which is not a multiple of any stride."""

SIDES = {2: "height", 3: "width"}
"""The axes of the images that stay dynamic."""

MAX_BATCH = 2**16
"""Upper bound of the batch size, required by torch.export."""


def trace_program(
    module: nn.Module,
    in_channels: int,
    *,
    dtype: torch.dtype = torch.float32,
    num_images: int | None = None,
) -> torch.export.ExportedProgram:
    """Trace a module with ``torch.export``; height and width of the images stay dynamic.

    Args:
        module: A module in evaluation mode with one input (N, C, H, W): a model, or a module that
            contains a model, for example after its preprocessing.
        in_channels: Number of image channels.
        dtype: Data type of the images.
        num_images: N; ``None`` leaves it dynamic as well.

    Returns:
        The program, with the same outputs as the module for every size from 1 x 1.

    Raises:
        ConfigError: The module is in training mode or cannot be traced.
    """
    if module.training:
        raise ConfigError(
            "the model must be in evaluation mode to be traced. Call its eval() first"
        )
    _check_obstacles(module, is_batch_dynamic=num_images is None)
    weights = next(module.parameters(), torch.empty(0))
    shape = (num_images or 2, in_channels, *EXAMPLE_SIZE)
    example = torch.zeros(shape, dtype=dtype, device=weights.device)
    axes: dict[int, Any] = {axis: torch.export.Dim(name, min=1) for axis, name in SIDES.items()}
    if num_images is None:
        axes[0] = torch.export.Dim("num", min=1, max=MAX_BATCH)
    from torch.fx.experimental import _config

    # As in torch.onnx.export: otherwise all sizes are assumed to differ from 1, which is wrong for
    # the deepest feature map of a small image.
    config: Any = _config
    with config.patch(backed_size_oblivious=True), torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=(axes,), strict=False)


def _check_obstacles(module: nn.Module, *, is_batch_dynamic: bool) -> None:
    """Raise an error with the reason if a model inside cannot be traced."""
    for part in module.modules():
        if not isinstance(part, SegmentationModel):
            continue
        if part.export_obstacle is not None:
            raise ConfigError(
                f"{part.name!r} cannot be traced with every height and width: "
                f"{part.export_obstacle}. Choose another architecture to export"
            )
        if is_batch_dynamic and part.batch_obstacle is not None:
            raise ConfigError(
                f"{part.name!r} cannot be traced with every number of images: "
                f"{part.batch_obstacle}. Fix the number, such as num_images=1"
            )
