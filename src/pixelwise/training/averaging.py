"""Averages the weights of a model over the steps of a training (EMA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixelwise.models.base import SegmentationModel

if TYPE_CHECKING:
    from timm.utils.model_ema import ModelEmaV3


def average_of(model: SegmentationModel, decay: float) -> ModelEmaV3 | None:
    """Return the moving average of the weights and buffers of a model.

    The decay rises with the number of steps, so that the initial weights are forgotten early.

    Args:
        model: The network, on its device.
        decay: Highest decay; 0 returns ``None``.
    """
    if not decay:
        return None
    from timm.utils.model_ema import ModelEmaV3  # takes seconds to import

    return ModelEmaV3(model, decay=decay, use_warmup=True)
