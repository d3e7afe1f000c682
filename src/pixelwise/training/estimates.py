"""Estimates the durations of a training, and refuses a budget that is too short for an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

from pixelwise.data.sample import Sample, spread
from pixelwise.devices import Machine
from pixelwise.errors import DataError, TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.prediction.predictor import Predictor
from pixelwise.training.budget import REPORT_KEY, REPORT_S, Budget
from pixelwise.training.defaults import Facts

NUM_TRIED = 2
"""Number of validation images evaluated to estimate the duration of a validation."""


def epoch_seconds(facts: Facts, size: tuple[int, int], num_crops: int) -> float:
    """Estimate the duration of an epoch from the time per tried crop, scaled by the pixels.

    Args:
        facts: The facts after the trial.
        size: Height and width of the crops of the training.
        num_crops: Number of crops per epoch.
    """
    share = math.prod(size) / math.prod(facts.tried_size)
    return facts.seconds_per_crop * share * num_crops


def estimate_end(
    budget: Budget, predictor: Predictor, validation: Sequence[Sample], machine: Machine
) -> None:
    """Reserve time for a validation and the report, measured on a few images.

    Args:
        budget: The budget; its reserves are set.
        predictor: The model, for samples that are already enhanced.
        validation: The validation samples.
        machine: The clock, and the durations of earlier reports.
    """
    some = spread(validation, NUM_TRIED)
    budget.report_s = machine.recalled(REPORT_KEY, REPORT_S)
    seconds = []
    for detailed in (False, True):
        started = machine.clock()
        with suppress(DataError):  # these few images may have no labeled pixels
            evaluate_samples(predictor, iter(some), len(some), detailed=detailed)
        seconds.append((machine.clock() - started) / len(some))
    budget.validation_s = seconds[0] * len(validation)
    budget.finish_s_per_image = seconds[1]
    budget.finish_s = seconds[1] * len(validation)


def require_an_epoch(budget: Budget, seconds_per_epoch: float) -> None:
    """Check that the budget holds at least one epoch.

    Raises:
        TrainingError: The budget is too short; the message names one that fits.
    """
    left = max(0.0, budget.for_steps_s)
    epochs = left / seconds_per_epoch
    if epochs >= 1:
        return
    overhead = budget.seconds - budget.for_steps_s
    needed = math.ceil((overhead + 1.2 * seconds_per_epoch) / 6) / 10
    raise TrainingError(
        f"the budget must allow at least one epoch. {epochs:.2g} epochs fit: one takes about "
        f"{seconds_per_epoch:.0f} s, and of {budget.seconds:.0f} s {max(left, 0):.0f} s are "
        f"left for it after reading, validation and report. Give --minutes {needed:g} or more, a "
        "smaller model, or a smaller --set data.scale"
    )
