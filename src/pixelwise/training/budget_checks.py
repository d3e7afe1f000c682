"""Checks that a training fits into its budget of minutes, before its first step."""

from __future__ import annotations

import math

from pixelwise.config import TrainingRecipe
from pixelwise.devices import Machine
from pixelwise.errors import TrainingError
from pixelwise.models import count_gmacs
from pixelwise.training.budget import Budget
from pixelwise.training.step import TrainingStep


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
    gmacs = count_gmacs(step.model, size) * count
    least_s = (
        3 * 2 * gmacs / machine.gflops(step.precision)
    )  # the backward pass costs twice the forward pass
    if left_s <= 0:
        raise TrainingError(
            f"reading the data must leave time for training. It took all of the "
            f"{training.minutes or 0:g} minutes. Give more --minutes"
        )
    if least_s > left_s:
        raise TrainingError(
            f"one training step must fit into the budget. A step of {count} crops of {size[0]} x "
            f"{size[1]} takes at least {least_s:.0f} s on this machine, and {left_s:.0f} s are "
            "left. Give more --minutes, a smaller --batch-size or --size, or a smaller model"
        )


def require_an_epoch(seconds_per_epoch: float, budget: Budget) -> None:
    """Check that the budget holds at least one epoch.

    Args:
        seconds_per_epoch: Duration of an epoch without validation.
        budget: The budget, with its estimates.

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
