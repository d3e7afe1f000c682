"""Additional metrics: objects that are updated with every image and return values of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ConfigError
from pixelwise.io.arrays import UInt8Array
from pixelwise.registry import Registry


class ExtraMetric(Protocol):
    """A metric that is updated image by image, at original size.

    Attributes:
        name: Prefix of the names of its values; see :func:`figures_of`.
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
        """Return the values over all images so far, by name; empty if they are undefined."""


extra_metrics: Registry[ExtraMetric] = Registry("metric", "pixelwise.metrics")
"""Metrics by their names in recipes and on the command line."""


def create_metrics(names: Iterable[str]) -> list[ExtraMetric]:
    """Create registered metrics.

    Raises:
        UnknownNameError: One of the names is not registered.
    """
    return [extra_metrics.create(name) for name in dict.fromkeys(names)]


def figures_of(metrics: Sequence[ExtraMetric]) -> dict[str, float]:
    """Return all values of some metrics as ``METRIC_VALUE``, or ``METRIC`` if both names are equal.

    Raises:
        ConfigError: Two metrics return values with the same name.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        for figure, value in metric.figures().items():
            name = figure if figure == metric.name else f"{metric.name}_{figure}"
            if name in found:
                raise ConfigError(
                    f"values of metrics must have different names. Got {name!r} twice. Rename one"
                )
            found[name] = float(value)
    return found
