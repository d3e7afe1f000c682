"""The label review of a report: regions where a confident model disagrees with the label."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pixelwise.data.sample import Sample
from pixelwise.metrics.label_quality import likeliest_suspects, unknown_words
from pixelwise.metrics.metrics import Metrics
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.review_page import SuspectPicture, suspect_pictures
from pixelwise.text import amount

NUM_LOOKED_AT = 24
"""Maximum number of images predicted again for the review. The confidence thresholds come from the
evaluation of all images, so the cost of the review does not grow with the split.
"""

NUM_SHOWN = 8

WEAK_IOU = 0.5
"""Below this mean IoU, most disagreements with the labels are errors of the model."""


@dataclass(frozen=True)
class LabelReview:
    """The label review of a page.

    Attributes:
        entries: The most likely label errors, likeliest first.
        notes: What was reviewed and how to interpret it.
        command: The command that reviews all images and shows all regions.
    """

    entries: list[SuspectPicture]
    notes: tuple[str, ...]
    command: str


def review_worst(
    metrics: Metrics, predictor: Predictor, load: Callable[[str], Sample], command: Sequence[str]
) -> LabelReview:
    """Find label errors in the images whose labels the model disagrees with the most.

    Args:
        metrics: Detailed metrics of the split.
        predictor: The model.
        load: Returns the sample with a name of the metrics.
        command: Words of the command that reviews all images.
    """
    detail = metrics.detail
    assert detail is not None
    denied = sorted(
        (row for row in detail.per_image if row.disagreement), key=lambda row: -row.disagreement
    )
    looked_at = [row.name for row in denied[:NUM_LOOKED_AT]]
    samples = map(load, looked_at)
    answers = ((sample, predictor.probabilities(sample.image)) for sample in samples)
    suspects = likeliest_suspects(detail.confidence, answers, top=NUM_SHOWN)
    entries = suspect_pictures(suspects, load, predictor.card.class_map)
    notes = [*_notes(metrics, len(denied)), *unknown_words(detail.confidence.unknown)]
    return LabelReview(entries, tuple(notes), shlex.join(command))


def _notes(metrics: Metrics, num_denied: int) -> list[str]:
    if num_denied > NUM_LOOKED_AT:
        looked_at = f"the {NUM_LOOKED_AT} with the most disagreement"
    else:
        looked_at = f"the {num_denied} with any disagreement"
    notes = [
        (
            f"The confidence thresholds were estimated on all {amount(metrics.images, 'image')}; "
            f"{looked_at} were reviewed."
        )
    ]
    if metrics.mean_iou < WEAK_IOU:
        notes.append("The model is weak, so most disagreements are probably errors of the model.")
    if metrics.seen_in_training:
        notes.append(
            f"The model was trained on {metrics.seen_in_training} of the images and may have "
            "memorized their label errors."
        )
    return notes
