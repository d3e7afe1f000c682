"""What the numbers of a model mean, in a few sentences that each name their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from pixelwise.scoring.detail import Detail
from pixelwise.scoring.scores import ClassScores, Scores

LEVELS = ((0.85, "very good"), (0.7, "good"), (0.5, "fair"), (0.3, "weak"), (0.0, "poor"))
"""Mean IoU from which a result is called so. Words for a first look, not a measure: what a task
needs is the user's to say."""

RARE_SHARE = 0.01
WEAK_IOU = 0.5
BORDER_GAP = 0.2
FEW_IMAGES = 20
"""On fewer images than this, the intervals themselves are rough."""

MISCALIBRATED = 0.05


def verdict(scores: Scores) -> list[str]:
    """What a person should know first.

    Args:
        scores: Detailed ones say more.
    """
    return [*_overall(scores), *_classes(scores), *_detail(scores)]


def _overall(scores: Scores) -> Iterator[str]:
    word = next(word for level, word in LEVELS if scores.mean_iou >= level)
    interval = scores.intervals.get("mean_iou")
    sure = f" (95 %: {interval.low:.3f} to {interval.high:.3f})" if interval else ""
    yield (
        f"The result is {word}: mean IoU {scores.mean_iou:.3f}{sure} on {scores.images} images, "
        f"{scores.pixel_accuracy:.1%} of the pixels right."
    )
    if scores.images < FEW_IMAGES:
        yield f"{scores.images} images are few: the interval is a rough one."
    if scores.seen_in_training:
        yield (
            f"{scores.seen_in_training} of these images were trained on, so that these numbers are "
            "better than what new images will give."
        )


def _classes(scores: Scores) -> Iterator[str]:
    if scores.absent_classes:
        names = ", ".join(scores.absent_classes)
        yield f"Not in these masks, so not counted: {names}."
    shown = [entry for entry in scores.per_class if entry.iou is not None]
    if len(shown) < 2:
        return
    weakest = min(shown, key=lambda entry: entry.iou or 0.0)
    pixels = sum(entry.pixels for entry in shown)
    if (weakest.iou or 0.0) >= WEAK_IOU:
        yield f"The weakest class is {weakest.name} with IoU {weakest.iou:.3f}."
        return
    reasons = []
    if weakest.pixels < RARE_SHARE * pixels:
        reasons.append(f"it is rare, {weakest.pixels / pixels:.2%} of the labelled pixels")
    if weakest.precision is None:
        reasons.append("it is never predicted")
    elif weakest.recall is not None and weakest.recall < weakest.precision:
        reasons.append(f"{1 - weakest.recall:.0%} of it is missed")
    else:
        reasons.append(f"{1 - weakest.precision:.0%} of what is called so is something else")
    confused = _taken_for(weakest, scores)
    if confused:
        reasons.append(f"it is mostly taken for {confused}")
    yield f"{weakest.name} is found badly, IoU {weakest.iou or 0.0:.3f}: {', '.join(reasons)}."


def _taken_for(entry: ClassScores, scores: Scores) -> str | None:
    """The class that most of the missed pixels were predicted as."""
    if scores.detail is None or scores.detail.confusion is None:
        return None
    names = [other.name for other in scores.per_class]
    index = names.index(entry.name)
    row = list(scores.detail.confusion[index])
    row[index] = 0
    return names[row.index(max(row))] if any(row) else None


def _detail(scores: Scores) -> Iterator[str]:
    detail = scores.detail
    if detail is None:
        return
    yield from _borders(scores, detail)
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
    if detail.calibration_error > MISCALIBRATED:
        words = "too sure of itself" if detail.temperature > 1 else "less sure than it could be"
        yield (
            f"The model is {words}: its probabilities are off by {detail.calibration_error:.1%} on "
            f"average. A temperature of {detail.temperature:.2f} mends most of it; train keeps the "
            "one of its validation images in the model file."
        )


def _borders(scores: Scores, detail: Detail) -> Iterator[str]:
    if detail.boundary_iou is not None and detail.boundary_iou < scores.mean_iou - BORDER_GAP:
        near, inside = detail.accuracy_by_distance[0], detail.accuracy_by_distance[-1]
        parts = ""
        if near[1] is not None and inside[1] is not None:
            parts = (
                f": {near[1]:.0%} of the pixels at a border are right, and {inside[1]:.0%} of "
                f"those that are {inside[0].rstrip('+')} px and more away from one"
            )
        yield f"Borders are the weak part, boundary IoU {detail.boundary_iou:.3f}{parts}."
