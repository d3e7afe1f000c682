"""Estimates the durations of a training, and refuses a budget that is too short for an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

from pixelwise.data.sample import Sample, spread
from pixelwise.devices import Machine
from pixelwise.errors import DataError, TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.prediction.predictor import Predictor
from pixelwise.training.budget import REPORT_S, Budget
from pixelwise.training.defaults import Facts

NUM_TRIED = 3
"""Number of validation images evaluated to estimate the duration of a validation."""

LONG_S = 0.5
"""If the evaluation of one image takes longer, its fixed costs do not matter, and no more are
evaluated."""

MIN_SHARE = 0.1
"""Minimum share of the images in the duration of an evaluation, because the difference of two short
measurements is noisy."""


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
    budget: Budget, predictor: Predictor, validation: Sequence[Sample], machine: Machine, key: str
) -> None:
    """Reserve time for a validation and the report, measured on a few images.

    Args:
        budget: The budget; its reserves are set.
        predictor: The model, for samples that are already enhanced.
        validation: The validation samples.
        machine: The clock, and the durations of earlier reports.
        key: See :func:`pixelwise.training.budget.report_key`.
    """
    budget.reserve_report(machine.recalled(key, REPORT_S))

    def seconds(some: Sequence[Sample], *, detailed: bool) -> float:
        started = machine.clock()
        with suppress(DataError):  # these few images may have no labeled pixels
            evaluate_samples(predictor, iter(some), len(some), detailed=detailed)
        return machine.clock() - started

    some = spread(validation, NUM_TRIED)
    seconds(some[:1], detailed=True)  # the first evaluation imports modules and builds kernels
    num_images = len(validation)
    fixed_s, per_image_s = _line(lambda samples: seconds(samples, detailed=False), some)
    budget.validation_s = fixed_s + per_image_s * num_images
    fixed_s, per_image_s = _line(lambda samples: seconds(samples, detailed=True), some)
    budget.finish_s = fixed_s + per_image_s * num_images
    budget.finish_s_per_image = per_image_s


def _line(
    seconds: Callable[[Sequence[Sample]], float], some: Sequence[Sample]
) -> tuple[float, float]:
    """Return the fixed seconds of an evaluation and those per image, from one and all samples.

    Args:
        seconds: Returns the duration of the evaluation of some samples.
        some: The samples, at least one.
    """
    one_s = seconds(some[:1])
    if len(some) == 1 or one_s > LONG_S:
        return 0.0, one_s
    all_s = seconds(some)
    one_s = min(one_s, seconds(some[:1]))  # a disturbed first time would make images look cheap
    per_image_s = max((all_s - one_s) / (len(some) - 1), MIN_SHARE * all_s / len(some))
    return max(0.0, all_s - per_image_s * len(some)), per_image_s


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
        f"the budget must allow at least one epoch. One epoch takes about "
        f"{seconds_per_epoch:.0f} s, but only {left:.0f} of the {budget.seconds:.0f} s "
        f"remain after reading, validation and report. Give --minutes {needed:g} or more, a "
        "smaller model, or a smaller --set data.scale"
    )
