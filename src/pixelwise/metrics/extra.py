"""Additional metrics: objects that are updated with every image and return values of a split."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from pixelwise.classes import LabelMode
from pixelwise.errors import ConfigError, PixelwiseError, in_one_line
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.registry import Builder, Registry
from pixelwise.text import several


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


extra_metrics: Registry[ExtraMetric] = Registry("metric", "pixelwise.metrics", is_open=True)
"""Metrics by their names in recipes and on the command line."""

MetricSource = str | Callable[[], ExtraMetric] | ExtraMetric
"""A registered name, a class or function that makes a metric, or a metric."""


def register_metric(name: str) -> Callable[[Builder], Builder]:
    """Register a metric under a name, as a decorator of a class or of a function that makes it.

    The name can then be used in ``training.metrics`` of a recipe, ``train(metrics=...)`` and
    ``evaluate(metrics=...)``. A metric without the attribute ``name`` gets this one.

    Args:
        name: Name in recipes and beginning of the names of its values.

    Example:
        >>> @register_metric("area")
        ... class Area:
        ...     def __init__(self):
        ...         self.areas = []
        ...
        ...     def add(self, prediction, probabilities, mask):
        ...         self.areas.append((prediction == 1).mean())
        ...
        ...     def figures(self):
        ...         return {"area": sum(self.areas) / len(self.areas)}
    """
    return extra_metrics.register(name)


def create_metrics(sources: Iterable[MetricSource]) -> list[ExtraMetric]:
    """Create metrics from names, classes and functions; objects are returned as they are.

    Raises:
        UnknownNameError: One of the names is not registered.
        ConfigError: One of the others is no metric.
    """
    metrics, named = [], set()
    for source in several(sources):
        if isinstance(source, str):
            if source in named:
                continue
            named.add(source)
        metrics.append(_created(source))
    return metrics


def _created(source: MetricSource) -> ExtraMetric:
    if isinstance(source, str):
        return _named(extra_metrics.create(source), source)
    if not inspect.isclass(source) and _is_metric(source):
        return _named(source, type(source).__name__)
    metric = source() if callable(source) else source
    if not _is_metric(metric):
        raise ConfigError(
            "metrics must be names, or have the methods add(prediction, probabilities, mask) and "
            f"figures(). Got {source!r}"
        )
    return _named(metric, getattr(source, "__name__", type(metric).__name__))


def _is_metric(item: Any) -> TypeGuard[ExtraMetric]:
    return callable(getattr(item, "add", None)) and callable(getattr(item, "figures", None))


def _named(metric: ExtraMetric, name: str) -> ExtraMetric:
    """Return a metric, which is called ``name`` if it has no name of its own."""
    if not hasattr(metric, "name"):
        metric.name = name
    return metric


def registered_names(sources: Iterable[MetricSource]) -> tuple[str, ...]:
    """Return names under which a training makes new metrics in every epoch.

    Classes, functions and objects are registered for this process; a copy of an object is made each
    time, so that it counts from its present state.

    Names are not looked up, as the modules that register them may not be imported yet.

    Raises:
        ConfigError: One of the others is no metric.
    """
    names = []
    for source in several(sources):
        if isinstance(source, str):
            names.append(source)
            continue
        name = _created(source).name
        if not inspect.isclass(source) and _is_metric(source):
            extra_metrics.register(name)(partial(copy.deepcopy, source))
        elif callable(source):
            extra_metrics.register(name)(source)
        names.append(name)
    return tuple(dict.fromkeys(names))


def update(
    metric: ExtraMetric,
    prediction: npt.NDArray[Any],
    probabilities: npt.NDArray[np.float32],
    mask: UInt8Array,
) -> None:
    """Count one image; the arguments are those of :meth:`ExtraMetric.add`.

    Raises:
        ConfigError: The metric raised an error.
    """
    with _named_mistakes(metric, "add"):
        metric.add(prediction, probabilities, mask)


def figures_of(metrics: Sequence[ExtraMetric]) -> dict[str, float]:
    """Return all values of some metrics as ``METRIC_VALUE``, or ``METRIC`` if both names are equal.

    Raises:
        ConfigError: A metric raised an error, returned anything but numbers by name, or two return
            values with the same name.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        with _named_mistakes(metric, "figures"):
            figures = metric.figures()
        if not isinstance(figures, Mapping):
            raise ConfigError(
                f"figures() of the metric {metric.name!r} must return numbers by name, such as "
                f"{{'mean': 0.5}}. Got {figures!r}"
            )
        for figure, value in figures.items():
            name = figure if figure == metric.name else f"{metric.name}_{figure}"
            if name in found:
                raise ConfigError(
                    f"values of metrics must have different names. Got {name!r} twice. Rename one"
                )
            found[name] = _number(metric, figure, value)
    return found


def _number(metric: ExtraMetric, figure: str, value: Any) -> float:
    """Return a value of a metric as a float.

    Raises:
        ConfigError: It is no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"the value {figure!r} of the metric {metric.name!r} must be a number. Got {value!r}. "
            "Leave it out where it is undefined"
        ) from None


def try_metrics(
    metrics: Sequence[ExtraMetric], mask: UInt8Array, label_mode: LabelMode, num_classes: int
) -> None:
    """Try metrics on one image whose prediction is its mask, so that mistakes are found early.

    Args:
        metrics: New metrics, which are not used again.
        mask: The mask of a sample.
        label_mode: Its label mode.
        num_classes: Number of classes.

    Raises:
        ConfigError: A metric raised an error, or returned anything but numbers.
    """
    import torch  # imported late: names of metrics are checked without torch

    mode = mode_of(label_mode)
    logits = torch.from_numpy(mode.targets(mask, num_classes).astype(np.float32)) * 8 - 4
    prediction, probabilities = mode.decide(logits).numpy(), mode.probabilities(logits).numpy()
    for metric in metrics:
        update(metric, prediction, probabilities, mask)
        try:
            figures_of([metric])
        except ConfigError as error:
            # A mean over no object, say, is undefined for one image, but perhaps not for all.
            if not isinstance(error.__cause__, ArithmeticError | ValueError):
                raise


@contextmanager
def _named_mistakes(metric: ExtraMetric, method: str) -> Iterator[None]:
    """Name the metric whose method raises an error.

    Raises:
        ConfigError: The method raised anything but a PixelwiseError.
    """
    try:
        yield
    except (PixelwiseError, MemoryError):
        raise
    except Exception as error:  # whatever the code of a user raises
        raise ConfigError(
            f"metric {metric.name!r} failed: its method {method} raised {in_one_line(error)}. "
            "Correct the metric, or leave it out"
        ) from error
