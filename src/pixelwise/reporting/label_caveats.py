"""The report's look at the labels: where the model is sure and the label says something else."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pixelwise.data.sample import Sample
from pixelwise.metrics.label_quality import likeliest_suspects
from pixelwise.metrics.metrics import Metrics
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.review_page import SuspectPicture, suspect_pictures

NUM_LOOKED_AT = 24
"""Images that are predicted once more. How sure the model is of every class was learned from all
while they were evaluated, so that a report costs this many predictions at most, however large the
split.
"""

NUM_SHOWN = 8

WEAK_IOU = 0.5
"""Below this mean IoU, most of what a model denies is its own mistake."""


@dataclass(frozen=True)
class LabelReview:
    """What the page says of the labels.

    Attributes:
        entries: The regions that are wrong most likely, the likeliest first.
        notes: What was looked at, and what to make of it, in words.
        command: That looks at all images and shows all regions.
    """

    entries: list[SuspectPicture]
    notes: tuple[str, ...]
    command: str


def review_worst(
    metrics: Metrics, predictor: Predictor, load: Callable[[str], Sample], command: Sequence[str]
) -> LabelReview:
    """Look for wrong labels in the images whose labels the model denies the most.

    Args:
        metrics: Detailed metrics of the split.
        predictor: The model.
        load: Gives the sample of a name, as the metrics have it.
        command: Words of the command that reviews all.
    """
    detail = metrics.detail
    assert detail is not None
    denied = sorted((row for row in detail.per_image if row.doubt), key=lambda row: -row.doubt)
    looked_at = [row.name for row in denied[:NUM_LOOKED_AT]]
    samples = map(load, looked_at)
    answers = ((sample, predictor.probabilities(sample.image)) for sample in samples)
    suspects = likeliest_suspects(detail.confidence, answers, top=NUM_SHOWN)
    entries = suspect_pictures(suspects, load, predictor.card.class_map)
    notes = [*_notes(metrics, len(denied)), *unknown_words(detail.confidence.unknown)]
    return LabelReview(entries, tuple(notes), shlex.join(command))


def unknown_words(names: Sequence[str]) -> list[str]:
    """What is to be said of classes that a model hardly knows; nothing where there are none."""
    if not names:
        return []
    return [f"The model hardly knows {', '.join(names)}: of their labels it doubts none."]


def _notes(metrics: Metrics, num_denied: int) -> list[str]:
    if num_denied > NUM_LOOKED_AT:
        looked_at = f"the {NUM_LOOKED_AT} whose labels it denies the most"
    else:
        looked_at = f"the {num_denied} whose labels it denies anywhere"
    notes = [
        (
            f"How sure the model is of each class was learned from all {metrics.images} images; of "
            f"these, {looked_at} were looked at again."
        )
    ]
    if metrics.mean_iou < WEAK_IOU:
        notes.append("The model is weak: most of what it denies will be its own mistake.")
    if metrics.seen_in_training:
        notes.append(
            f"{metrics.seen_in_training} of the images were trained on: the model may have "
            "memorized their errors, and not deny them."
        )
    return notes
