"""Further metrics: objects that see every evaluated image and give figures of the whole split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ConfigError
from pixelwise.io.arrays import UInt8Array
from pixelwise.registry import Registry


class ExtraMetric(Protocol):
    """Counts over a split, one image after the other, at original size.

    Attributes:
        name: Its figures are called by it; see :func:`figures_of`.
    """

    name: str

    def add(
        self, prediction: npt.NDArray[Any], probabilities: npt.NDArray[np.float32], mask: UInt8Array
    ) -> None:
        """Count one image.

        Args:
            prediction: Multiclass: class ids, uint8 (H, W). Multilabel: bool (K, H, W).
            probabilities: float32 (K, H, W), 0..1, calibrated as those of ``predict``.
            mask: Multiclass: class ids, uint8 (H, W), 255 is ignored. Multilabel: uint8
                (K, H, W), 0..255 for 0..1.
        """

    def figures(self) -> dict[str, float]:
        """The figures of all images so far, by name; empty where they are not defined."""


extra_metrics: Registry[ExtraMetric] = Registry("metric", "pixelwise.metrics")
"""Metrics by the names that a recipe and the command line know them by."""


def create_metrics(names: Iterable[str]) -> list[ExtraMetric]:
    """Registered metrics, each with nothing counted yet.

    Raises:
        UnknownNameError: One of the names is not registered.
    """
    return [extra_metrics.create(name) for name in dict.fromkeys(names)]


def figures_of(metrics: Sequence[ExtraMetric]) -> dict[str, float]:
    """Every figure of some metrics, as ``NAME_FIGURE``; as ``NAME`` where both are the same.

    Raises:
        ConfigError: Two metrics give a figure of the same name.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        for figure, value in metric.figures().items():
            name = figure if figure == metric.name else f"{metric.name}_{figure}"
            if name in found:
                raise ConfigError(
                    f"the figures of metrics must have different names. Got {name!r} twice"
                )
            found[name] = float(value)
    return found
