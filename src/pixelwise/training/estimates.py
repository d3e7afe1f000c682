"""Estimates the durations of a training, and warns of a budget that is too short for an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

from pixelwise.config import TrainingRecipe
from pixelwise.data.sample import Sample
from pixelwise.devices import Machine
from pixelwise.errors import DataError, TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.io.counting import spread
from pixelwise.models import count_gmacs
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount
from pixelwise.training.budget import REPORT_S, Budget
from pixelwise.training.defaults import Facts
from pixelwise.training.step import TrainingStep

NUM_TRIED = 3
"""Number of validation images evaluated to estimate the duration of a validation."""

LONG_S = 0.5
"""If the evaluation of one image takes longer, its fixed costs do not matter, and no more are
evaluated."""

MIN_SHARE = 0.1
"""Minimum share of the images in the duration of an evaluation, because the difference of two short
measurements is noisy."""


def epoch_seconds(facts: Facts, size: tuple[int, int], num_crops: int) -> float:
    """Estimate the duration of an epoch from the present time per tried crop, scaled by the pixels.

    Args:
        facts: The facts after the trial.
        size: Height and width of the crops of the training.
        num_crops: Number of crops per epoch.
    """
    share = math.prod(size) / math.prod(facts.tried_size)
    return facts.seconds_per_crop_now * share * num_crops


def least_seconds(
    step: TrainingStep, size: tuple[int, int], num_crops: int, machine: Machine
) -> float:
    """Return the duration of training on some crops that the machine cannot go below.

    Args:
        step: Model and precision.
        size: Height and width of the crops.
        num_crops: Number of crops.
        machine: The machine, whose speed is that of a matrix product.
    """
    # The backward pass costs twice the forward pass.
    return 3 * 2 * count_gmacs(step.model, size) * num_crops / machine.gflops(step.precision)


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


def warn_of_short_budget(
    budget: Budget, seconds_per_epoch: float, least_s: float
) -> tuple[str, ...]:
    """Return a warning if the budget seems too short for an epoch.

    Only the number of operations is reason enough to refuse a budget, because other programs may
    disturb a measurement of seconds.

    Args:
        budget: The budget, with its reserves.
        seconds_per_epoch: Duration of an epoch, as measured.
        least_s: Duration of an epoch that the machine cannot go below.

    Raises:
        TrainingError: An epoch cannot fit into the budget; the message names one that fits.
    """
    left = max(0.0, budget.for_steps_s)
    if left >= seconds_per_epoch:
        return ()
    overhead = budget.seconds - budget.for_steps_s
    needed = math.ceil((overhead + 1.2 * seconds_per_epoch) / 6) / 10
    found = (
        f"One epoch takes about {seconds_per_epoch:.0f} s, but only {left:.0f} of the "
        f"{budget.seconds:.0f} s remain after reading, validation and report. Give "
        f"`minutes={needed:g}` or more, a smaller model, or a smaller `data.scale`"
    )
    if left < least_s or left == 0:
        raise TrainingError(f"the budget must allow at least one epoch. {found}")
    return (f"{found}, unless other programs slow this machine only now",)


def require_short_step(
    step: TrainingStep, training: TrainingRecipe, machine: Machine, left_s: float
) -> None:
    """Check by its number of operations that a single step fits into the budget.

    Args:
        step: The step at full size.
        training: Its recipe, with size and budget.
        machine: The machine.
        left_s: Seconds that are left of the budget.

    Raises:
        TrainingError: One step would take longer than the remaining time.
    """
    size = training.size
    assert size is not None
    count = training.batch_size or 1
    least_s = least_seconds(step, size, count, machine)
    if left_s <= 0:
        raise TrainingError(
            "reading the data used up the whole budget of "
            f"{amount(training.minutes or 0, 'minute')}. Give more `minutes`"
        )
    if least_s > left_s:
        raise TrainingError(
            f"one training step must fit into the budget. A step of {count} crops of {size[0]} x "
            f"{size[1]} takes at least {least_s:.0f} s on this machine, and {left_s:.0f} s are "
            "left. Give more `minutes`, a smaller `batch_size` or `size`, or a smaller model"
        )
