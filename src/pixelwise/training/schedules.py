"""Learning-rate schedules by name, as functions of the completed fraction of a training.

They depend on the fraction and not on a number of steps, because a budget in minutes has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pixelwise.registry import Registry

FINAL_LEARNING_RATE = 0.001
"""Final learning rate as a fraction of the peak."""

POLY_POWER = 0.9
"""Exponent of the polynomial decay, as in Chen et al., DeepLab (2018), arXiv:1606.00915."""

ONE_CYCLE_START = 1 / 25
"""First learning rate of one-cycle as a fraction of the peak, as in torch."""

Schedule = Callable[[float], float]
"""Maps the completed fraction of the decay, 0 to 1, to a fraction of the peak learning rate."""

schedules: Registry[Schedule] = Registry("schedule", "pixelwise.training.schedules")


@schedules.register("cosine")
def cosine() -> Schedule:
    """Half a cosine wave from the peak to nearly zero."""
    return lambda past: 0.5 * (1 + math.cos(math.pi * past))


@schedules.register("one-cycle")
def one_cycle() -> Schedule:
    """Cosine decay; its warm-up follows a cosine too, see :func:`share_of_peak`.

    Reference:
        Smith and Topin, Super-Convergence (2018), arXiv:1708.07120.
    """
    return cosine()


@schedules.register("poly")
def poly() -> Schedule:
    """Polynomial decay."""
    return lambda past: (1 - past) ** POLY_POWER


@schedules.register("constant")
def constant() -> Schedule:
    """The peak learning rate to the end."""
    return lambda _: 1.0


def share_of_peak(name: str, fraction: float, warmup: float) -> float:
    """Return the learning rate as a fraction of its peak.

    Args:
        name: A registered schedule.
        fraction: Completed fraction of the training, 0 to 1.
        warmup: Fraction of the training in which the learning rate rises, linearly, or for
            ``one-cycle`` along a cosine.
    """
    if fraction < warmup:
        share = fraction / warmup
        if name == "one-cycle":
            rise = 0.5 * (1 - math.cos(math.pi * share))
            share = ONE_CYCLE_START + (1 - ONE_CYCLE_START) * rise
    else:
        share = schedules.create(name)((fraction - warmup) / (1 - warmup))
    return max(share, FINAL_LEARNING_RATE)
