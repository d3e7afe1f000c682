"""Tries one batch before training: whether it fits into memory, and how long a step takes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pixelwise.data.batches import Batch, Chance, random_for
from pixelwise.data.cache.memory_cache import free_bytes
from pixelwise.devices import Machine, MemoryFormat, is_out_of_memory
from pixelwise.errors import TrainingError
from pixelwise.models import count_gmacs
from pixelwise.text import amount
from pixelwise.training.defaults import MIN_FORMAT_SPEEDUP
from pixelwise.training.step import TrainingStep

LONG_STEP_GMACS = 5.0
"""Steps with fewer multiplications (in 10 ** 9, of the forward pass) keep channels last, because
the gain would be smaller than the noise of the measurement."""

NUM_MOMENTS = 2
"""Values that Adam keeps per weight."""

ROUNDS = (2, 12)
"""Minimum and maximum number of timed steps per memory format."""

TRIAL_S = 3.0
"""Seconds after which no further round starts, unless the measurement is in doubt."""

DOUBT_S = 9.0
"""Seconds after which no further round starts, even then."""

CLOSE = (0.9, 1.35)
"""Range of ratios in which two formats are nearly equal and need more rounds."""

SETTLED = 1.25
"""The two fastest steps differ by less than this factor, unless other programs disturbed them."""


class BatchTooLargeError(TrainingError):
    """A batch does not fit into the memory of the device."""


def require_room(num_crops: int, size: tuple[int, int], num_planes: int) -> None:
    """Check, before anything is allocated, that a batch alone can fit into the main memory.

    A system that promises more memory than it has ends the process when the crops are filled.

    Args:
        num_crops: Number of crops in the batch.
        size: Their height and width.
        num_planes: Channels of the images, and classes: each crop has a plane in float32 of each.

    Raises:
        BatchTooLargeError: It cannot.
    """
    needed, free = 4 * num_planes * num_crops * size[0] * size[1], free_bytes()
    if needed > free:
        raise BatchTooLargeError(
            f"one batch must fit into memory. {amount(num_crops, 'crop')} of {size[0]} x {size[1]} "
            f"need {needed / 2**30:,.1f} GiB or more. {free / 2**30:,.1f} GiB are free. Use a "
            "smaller `batch_size` or `size`"
        )


@dataclass(frozen=True)
class Trial:
    """The measurements of the trial.

    Attributes:
        seconds_per_crop: Time of a training step per crop, in the faster memory format.
        fastest_seconds_per_crop: The least that was ever measured on this machine.
        contiguous_speedup: Speedup of the contiguous format over channels last; ``None`` if only
            one format was tried.
    """

    seconds_per_crop: float
    fastest_seconds_per_crop: float
    contiguous_speedup: float | None


def try_batch(
    step: TrainingStep, batch: Batch, machine: Machine, loss: str, *, is_format_open: bool
) -> Trial:
    """Run a few forward and backward passes of a batch.

    The faster memory format is measured once per machine, model and batch and stored, so that a
    later training run on a busy machine makes the same choice. The duration of a step is measured
    each time, because it does depend on the load; the shortest one is stored too.

    Args:
        step: Model and settings, at full size.
        batch: A batch of that size.
        machine: The machine.
        loss: The loss in words, for the measurements that are stored.
        is_format_open: Whether the memory format may be chosen.

    Raises:
        TrainingError: The loss is not a finite number with a gradient.
        BatchTooLargeError: The batch does not fit into memory.
    """
    model, shape = step.model, list(batch.image.shape)
    value = run_once(step, batch, num_moments=NUM_MOMENTS)
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss {loss!r} of the first batch must be finite. Got {value}. Check the images "
            "for extreme values, and the loss, if it is your own, for a division by zero"
        )
    speedup = None
    gmacs = count_gmacs(model, (shape[2], shape[3])) * shape[0]
    facts = [model.name, model.arguments, model.num_classes, shape, step.precision]
    if is_format_open and machine.device.type == "cpu" and gmacs >= LONG_STEP_GMACS:
        speedup = machine.remembered(
            "contiguous speedup " + json.dumps(facts, default=str),
            lambda: _contiguous_speedup(step, batch, machine),
        )
    is_contiguous = speedup is not None and speedup >= MIN_FORMAT_SPEEDUP
    chosen = replace(step, memory_format="contiguous") if is_contiguous else step
    (seconds,) = _time([chosen], batch, machine)
    step.arrange()
    model.zero_grad(set_to_none=True)
    facts += [chosen.memory_format, loss, gmacs]
    fastest = machine.fastest("seconds of a step " + json.dumps(facts, default=str), seconds)
    return Trial(seconds / shape[0], fastest / shape[0], speedup)


def _contiguous_speedup(step: TrainingStep, batch: Batch, machine: Machine) -> float:
    formats: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
    steps = [replace(step, memory_format=name) for name in formats]
    last, contiguous = _time(steps, batch, machine)
    return last / contiguous


def run_once(step: TrainingStep, batch: Batch, *, num_moments: int = 0) -> float:
    """Run one forward and backward pass without changing the weights.

    Args:
        step: Model and settings.
        batch: The batch.
        num_moments: Number of values per weight that the optimizer will keep beside the gradient;
            their memory is occupied during the passes.

    Returns:
        The loss.

    Raises:
        TrainingError: The loss is not a number with a gradient.
        BatchTooLargeError: The batch does not fit into memory.
    """
    try:
        weights = [one for one in step.model.parameters() for _ in range(num_moments)]
        moments = [torch.empty_like(one) for one in weights]
        loss = step.loss(batch, random_for(Chance.STEP, 0))
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        del moments
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        count, _, height, width = batch.image.shape
        step.model.zero_grad(set_to_none=True)
        raise BatchTooLargeError(
            f"one batch must fit into the memory of the device ({step.device.type}). "
            f"{count} crops of {height} x {width} do not. Use a smaller `batch_size` or `size`"
        ) from error
    return value


def _time(steps: Sequence[TrainingStep], batch: Batch, machine: Machine) -> list[float]:
    """Return the seconds of each step: the fastest of a few interleaved rounds."""
    clock = machine.clock
    times: list[list[float]] = [[] for _ in steps]
    began = clock()
    for number in range(1, ROUNDS[1] + 1):
        for seconds, step in zip(times, steps, strict=True):
            step.arrange()
            started = clock()
            run_once(step, batch)
            if step.device.type == "cuda":
                torch.cuda.synchronize(step.device)
            seconds.append(clock() - started)
        # The first run in another memory format builds kernels, so run at least twice.
        if number >= ROUNDS[0] and clock() - began > (DOUBT_S if _in_doubt(times) else TRIAL_S):
            break
    return [min(seconds) for seconds in times]


def _in_doubt(times: Sequence[Sequence[float]]) -> bool:
    """Whether other programs disturbed all but one round of a step, or two steps nearly agree."""
    two_fastest = [sorted(seconds)[:2] for seconds in times]
    if any(second > SETTLED * first for first, second in two_fastest):
        return True
    return len(times) == 2 and CLOSE[0] < two_fastest[0][0] / two_fastest[1][0] < CLOSE[1]
