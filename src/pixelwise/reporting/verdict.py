"""Summarizes the metrics of a model in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pixelwise.metrics.details import Details
from pixelwise.metrics.metrics import ClassMetrics, Metrics
from pixelwise.text import amount, listed

LEVELS = ((0.85, "very good"), (0.7, "good"), (0.5, "fair"), (0.3, "weak"), (0.0, "poor"))
"""Lowest mean IoU (of two classes, the lower IoU) for each word. The words give a first
impression only: the required quality depends on the task."""

NUM_WITH_BACKGROUND = 2
RARE_SHARE = 0.01
WEAK_IOU = 0.5
BORDER_GAP = 0.2
MAX_NAMES = 5
"""Number of classes that are named in a sentence."""

FEW_IMAGES = 20
"""With fewer images than this, the intervals are rough."""

MISCALIBRATED = 0.05
FIXED = 0.5
"""A temperature fixes the calibration if it leaves less than this share of the error."""

SAME_TEMPERATURE = 1e-3
"""Relative difference of temperatures that are considered equal, as between devices."""


def verdict(metrics: Metrics, kept_temperature: float | None = None) -> list[str]:
    """Summarize the metrics in a few sentences.

    Args:
        metrics: The metrics; detailed metrics give more sentences.
        kept_temperature: Temperature in the model file, if the metrics were computed without it;
            ``None`` if they were computed with it.
    """
    constant = metrics.constant_prediction
    if constant is not None:
        advice = (
            "See the report of its training for likely causes, and check with pixelwise train "
            "--sanity-check whether the model can learn these labels."
        )
        what = f"Every pixel is predicted as {constant}: the model does not distinguish classes."
        return [what, *_overall(metrics), advice]
    return [*_overall(metrics), *_classes(metrics), *_detail(metrics, kept_temperature)]


def _overall(metrics: Metrics) -> Iterator[str]:
    ious = [row.iou for row in metrics.per_class if row.iou is not None]
    # Of two classes, one is usually background, which alone raises the mean to one half.
    judged = min(ious) if len(ious) == NUM_WITH_BACKGROUND else metrics.mean_iou
    word = next(word for level, word in LEVELS if judged >= level)
    interval = metrics.intervals.get("mean_iou")
    sure = f" (95 %: {interval.low:.3f} to {interval.high:.3f})" if interval else ""
    yield (
        f"The result is {word}: mean IoU {metrics.mean_iou:.3f}{sure} on "
        f"{amount(metrics.images, 'image')}, pixel accuracy {metrics.pixel_accuracy:.1%}."
    )
    if metrics.images < FEW_IMAGES:
        yield f"With only {amount(metrics.images, 'image')}, the interval is rough."
    yield from caveats(metrics)


def caveats(metrics: Metrics) -> Iterator[str]:
    """Explain what limits the metrics, and why they are optimistic for new images."""
    if metrics.detail is not None and len(metrics.detail.per_image) != metrics.images:
        yield (
            "Borders, objects, calibration and examples were measured on "
            f"{len(metrics.detail.per_image)} of these images, because the budget was used up."
        )
    if metrics.selected_on:
        yield (
            f"The epoch or temperature of the model was selected on {metrics.selected_on} of these "
            "images: on new images, the metrics are usually slightly lower."
        )
    if metrics.seen_in_training:
        yield (
            f"The model was trained on {metrics.seen_in_training} of these images: on new images, "
            "the metrics will be lower."
        )


def _classes(metrics: Metrics) -> Iterator[str]:
    if metrics.absent_classes:
        names = ", ".join(metrics.absent_classes)
        yield f"Absent from these masks, so not averaged: {names}."
    shown = [entry for entry in metrics.per_class if entry.iou is not None]
    if len(shown) < 2:
        return
    weakest = min(shown, key=lambda entry: entry.iou or 0.0)
    pixels = sum(entry.pixels for entry in shown)
    if (weakest.iou or 0.0) >= WEAK_IOU:
        alike = [one.name for one in shown if f"{one.iou:.3f}" == f"{weakest.iou:.3f}"]
        if len(alike) == len(shown):
            yield f"All classes have IoU {weakest.iou:.3f}."
        elif len(alike) > 1:
            names = listed(alike, MAX_NAMES)
            yield f"The weakest classes are {names}, each with IoU {weakest.iou:.3f}."
        else:
            yield f"The weakest class is {weakest.name} with IoU {weakest.iou:.3f}."
        return
    reasons = []
    if weakest.pixels < RARE_SHARE * pixels:
        reasons.append(f"it is rare, {weakest.pixels / pixels:.2%} of the labeled pixels")
    reasons.append(_fault(weakest, metrics))
    yield f"{weakest.name} is segmented poorly, IoU {weakest.iou or 0.0:.3f}: {', '.join(reasons)}."


def _fault(entry: ClassMetrics, metrics: Metrics) -> str:
    """Describe whether a class is missed or over-predicted, and the class it is confused with."""
    if entry.precision is None:
        return "it is never predicted" + _mostly("taken for", _rival(entry, metrics, axis=1))
    if entry.recall is not None and entry.recall < entry.precision:
        rival = _mostly("taken for", _rival(entry, metrics, axis=1))
        return f"{1 - entry.recall:.0%} of it is missed{rival}"
    rival = _mostly("labeled", _rival(entry, metrics, axis=0))
    return f"{1 - entry.precision:.0%} of its predictions are wrong{rival}"


def _mostly(words: str, rival: str | None) -> str:
    return f", mostly {words} {rival}" if rival else ""


def _rival(entry: ClassMetrics, metrics: Metrics, axis: int) -> str | None:
    """Return the class most confused with it, in missed (axis 1) or predicted (axis 0) pixels."""
    if metrics.detail is None or metrics.detail.confusion is None:
        return None
    names = [other.name for other in metrics.per_class]
    index = names.index(entry.name)
    confused = np.array(metrics.detail.confusion).take(index, axis=1 - axis)
    confused[index] = 0
    return names[int(confused.argmax())] if confused.any() else None


def _detail(metrics: Metrics, kept_temperature: float | None) -> Iterator[str]:
    detail = metrics.detail
    if detail is None:
        return
    yield from _borders(metrics, detail)
    small = [row for row in detail.objects if row.size == "small"]
    others = [row for row in detail.objects if row.size != "small"]
    if small and others:
        found = [
            sum(row.found * row.objects for row in rows) / sum(row.objects for row in rows)
            for rows in (small, others)
        ]
        if found[0] < found[1] - BORDER_GAP:
            yield (
                f"Object recall is {found[0]:.0%} for small objects (below 32 x 32 pixels) and "
                f"{found[1]:.0%} for larger ones."
            )
    yield from _calibration(detail, kept_temperature)


def _calibration(detail: Details, kept_temperature: float | None) -> Iterator[str]:
    if detail.calibration_error <= MISCALIBRATED:
        return
    words = "overconfident" if detail.overconfidence > 0 else "underconfident"
    left = detail.calibration_error_left
    is_fixed = left < FIXED * detail.calibration_error
    remedy = (
        f"A temperature of {detail.temperature:.2f} instead of the model's "
        f"{detail.model_temperature:.2f} reduces this to {left:.1%}."
        if is_fixed
        else "Temperature scaling does not fix this."
    )
    if is_fixed and _is_kept(detail.temperature, kept_temperature):
        remedy += " The model file now contains it."
    yield (
        f"The model is {words}: its expected calibration error is "
        f"{detail.calibration_error:.1%}. {remedy}"
    )


def calibration_errors(detail: Details) -> list[tuple[str, float]]:
    """Return (name, calibration error) of the model, and after temperature scaling if it has none.

    A training run measures before the temperature is in the model file, an evaluation with it.
    """
    if detail.model_temperature != 1:
        name = f"calibration error, at the model's temperature {detail.model_temperature:.2f}"
        return [(name, detail.calibration_error)]
    errors = [("calibration error", detail.calibration_error)]
    if detail.temperature != 1:
        after = f"calibration error, at the fitted temperature {detail.temperature:.2f}"
        errors.append((after, detail.calibration_error_left))
    return errors


def _is_kept(temperature: float, kept: float | None) -> bool:
    return kept is not None and math.isclose(temperature, kept, rel_tol=SAME_TEMPERATURE)


def _borders(metrics: Metrics, detail: Details) -> Iterator[str]:
    if detail.boundary_iou is not None and detail.boundary_iou < metrics.mean_iou - BORDER_GAP:
        near, inside = detail.accuracy_by_distance[0], detail.accuracy_by_distance[-1]
        parts = ""
        if near[1] is not None and inside[1] is not None:
            parts = (
                f": {near[1]:.0%} of the pixels at a border are correct, and {inside[1]:.0%} of "
                f"those at least {inside[0].rstrip('+')} px away from one"
            )
        yield f"Accuracy is lower at borders, boundary IoU {detail.boundary_iou:.3f}{parts}."
