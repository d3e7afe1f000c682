"""What the numbers of a model mean, in a few sentences that each name their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pixelwise.metrics.details import Details
from pixelwise.metrics.metrics import ClassMetrics, Metrics

LEVELS = ((0.85, "very good"), (0.7, "good"), (0.5, "fair"), (0.3, "weak"), (0.0, "poor"))
"""Mean IoU (of two classes, the lower IoU) from which a result is called so. Words for a first
look, not a measure: what a task needs is the user's to say."""

NUM_WITH_BACKGROUND = 2
RARE_SHARE = 0.01
WEAK_IOU = 0.5
BORDER_GAP = 0.2
FEW_IMAGES = 20
"""On fewer images than this, the intervals themselves are rough."""

MISCALIBRATED = 0.05
FIXED = 0.5
"""A temperature that leaves less than this share of the calibration error fixes it."""

SAME_TEMPERATURE = 1e-3
"""Found again, on another device, a temperature differs by less than this share."""


def verdict(metrics: Metrics, kept_temperature: float | None = None) -> list[str]:
    """What a person should know first.

    Args:
        metrics: Detailed ones say more.
        kept_temperature: What the model file holds, for metrics that were counted without it;
            ``None`` where they were counted with it.
    """
    constant = metrics.constant_prediction
    if constant is not None:
        advice = (
            "The report of its training says what went wrong, and pixelwise train --sanity-check "
            "whether model and labels can meet."
        )
        what = f"Every pixel is predicted as {constant}: the model tells nothing apart."
        return [what, *_overall(metrics), advice]
    return [*_overall(metrics), *_classes(metrics), *_detail(metrics, kept_temperature)]


def _overall(metrics: Metrics) -> Iterator[str]:
    ious = [row.iou for row in metrics.per_class if row.iou is not None]
    # Of two classes one is mostly background, which alone lifts the mean to a half.
    judged = min(ious) if len(ious) == NUM_WITH_BACKGROUND else metrics.mean_iou
    word = next(word for level, word in LEVELS if judged >= level)
    interval = metrics.intervals.get("mean_iou")
    sure = f" (95 %: {interval.low:.3f} to {interval.high:.3f})" if interval else ""
    yield (
        f"The result is {word}: mean IoU {metrics.mean_iou:.3f}{sure} on {metrics.images} images, "
        f"{metrics.pixel_accuracy:.1%} of the pixels right."
    )
    if metrics.images < FEW_IMAGES:
        yield f"{metrics.images} images are few: the interval is a rough one."
    yield from caveats(metrics)


def caveats(metrics: Metrics) -> Iterator[str]:
    """Why the numbers are better than what new images will give, one sentence for each reason."""
    if metrics.selected_on:
        yield (
            f"Epoch or temperature of the model were chosen by {metrics.selected_on} of these "
            "images: on images that chose nothing the numbers are usually a little lower."
        )
    if metrics.seen_in_training:
        yield (
            f"{metrics.seen_in_training} of these images were trained on, so that these numbers "
            "are better than what new images will give."
        )


def _classes(metrics: Metrics) -> Iterator[str]:
    if metrics.absent_classes:
        names = ", ".join(metrics.absent_classes)
        yield f"Not in these masks, so not counted: {names}."
    shown = [entry for entry in metrics.per_class if entry.iou is not None]
    if len(shown) < 2:
        return
    weakest = min(shown, key=lambda entry: entry.iou or 0.0)
    pixels = sum(entry.pixels for entry in shown)
    if (weakest.iou or 0.0) >= WEAK_IOU:
        yield f"The weakest class is {weakest.name} with IoU {weakest.iou:.3f}."
        return
    reasons = []
    if weakest.pixels < RARE_SHARE * pixels:
        reasons.append(f"it is rare, {weakest.pixels / pixels:.2%} of the labeled pixels")
    reasons.append(_fault(weakest, metrics))
    yield f"{weakest.name} is found badly, IoU {weakest.iou or 0.0:.3f}: {', '.join(reasons)}."


def _fault(entry: ClassMetrics, metrics: Metrics) -> str:
    """Whether a class is missed or seen where it is not, and with which class it is confused."""
    if entry.precision is None:
        return "it is never predicted" + _mostly("taken for", _rival(entry, metrics, axis=1))
    if entry.recall is not None and entry.recall < entry.precision:
        rival = _mostly("taken for", _rival(entry, metrics, axis=1))
        return f"{1 - entry.recall:.0%} of it is missed{rival}"
    rival = _mostly("labeled", _rival(entry, metrics, axis=0))
    return f"{1 - entry.precision:.0%} of what is called so is something else{rival}"


def _mostly(words: str, rival: str | None) -> str:
    return f", mostly {words} {rival}" if rival else ""


def _rival(entry: ClassMetrics, metrics: Metrics, axis: int) -> str | None:
    """The class that takes most of its missed pixels (axis 1), or of those called so (axis 0)."""
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
                f"Small objects (below 32 x 32 pixels) are found in {found[0]:.0%} of the cases, "
                f"larger ones in {found[1]:.0%}."
            )
    yield from _calibration(detail, kept_temperature)


def _calibration(detail: Details, kept_temperature: float | None) -> Iterator[str]:
    if detail.calibration_error <= MISCALIBRATED:
        return
    words = "too sure of itself" if detail.overconfidence > 0 else "less sure than it could be"
    left = detail.calibration_error_left
    is_fixed = left < FIXED * detail.calibration_error
    remedy = (
        f"A temperature of {detail.temperature:.2f} in place of the model's "
        f"{detail.model_temperature:.2f} leaves {left:.1%}."
        if is_fixed
        else "Another temperature does not fix that."
    )
    if is_fixed and _is_kept(detail.temperature, kept_temperature):
        remedy += " It is in the model file now."
    yield (
        f"The model is {words}: its probabilities are off by {detail.calibration_error:.1%} on "
        f"average. {remedy}"
    )


def _is_kept(temperature: float, kept: float | None) -> bool:
    return kept is not None and math.isclose(temperature, kept, rel_tol=SAME_TEMPERATURE)


def _borders(metrics: Metrics, detail: Details) -> Iterator[str]:
    if detail.boundary_iou is not None and detail.boundary_iou < metrics.mean_iou - BORDER_GAP:
        near, inside = detail.accuracy_by_distance[0], detail.accuracy_by_distance[-1]
        parts = ""
        if near[1] is not None and inside[1] is not None:
            parts = (
                f": {near[1]:.0%} of the pixels at a border are right, and {inside[1]:.0%} of "
                f"those that are {inside[0].rstrip('+')} px and more away from one"
            )
        yield f"Borders are the weak part, boundary IoU {detail.boundary_iou:.3f}{parts}."
