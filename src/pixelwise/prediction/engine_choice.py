"""Chooses the fastest engine whose outputs match, by measurement, if there is enough work."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from pixelwise.devices import Machine
from pixelwise.errors import ConfigError, UnknownNameError, how_to_install
from pixelwise.prediction.engines import (
    EXTRA,
    Engine,
    OpenVinoEngine,
    TorchEngine,
    import_openvino,
    is_openvino_installed,
)
from pixelwise.prediction.parity import (
    NO_PARITY,
    CheckedEngine,
    Decide,
    Note,
    Parity,
    in_one_line,
    parity,
)

ENGINES = ("auto", "torch", "openvino")
"""Names of the engines."""

MIN_GAIN = 1.1
"""Minimum speedup over torch in float32 for an engine to be chosen."""

SETUP_S = 10.0
"""Time to load, convert and compile the candidates; 3 to 7 s were measured for each."""

NUM_ROUNDS = 5
"""Number of timed batches per engine in a trial, after a first untimed one."""

NUM_FORWARDS = 24
"""Approximate cost of trying three candidates, in batches at the speed of torch."""

MAX_TRIALS = 4
"""Maximum number of batch shapes for which engines are tried; it limits the time spent on trials
and the number of compiled models."""


Remember = Callable[[str, Callable[[], list[float]]], list[float]]
"""Returns the measurement stored under a key, or measures and stores it."""


@dataclass(frozen=True)
class Trial:
    """Comparison of an engine with torch in float32 on one batch.

    Attributes:
        engine: Name of the engine.
        parity: Agreement of the outputs.
        speedup: Speedup over torch; ``None`` if not measured.
        error: Error message of the engine; ``None`` if it did not fail.
    """

    engine: str
    parity: Parity = NO_PARITY
    speedup: float | None = None
    error: str | None = None

    @property
    def is_passed(self) -> bool:
        """Whether the outputs match and the speedup is large enough."""
        return self.parity.is_enough and (self.speedup or 0.0) >= MIN_GAIN

    def describe(self) -> str:
        """Return a description without a full stop."""
        if self.error is not None:
            return f"{self.engine} failed ({self.error})"
        matched = f"matched {self.parity.describe()}"
        if self.speedup is None:
            return f"{self.engine} {matched}, which is too few"
        return f"{self.engine} was {self.speedup:.2f} times as fast, {matched}"


@dataclass(frozen=True)
class EngineChoice:
    """The engine chosen for batches of one shape.

    Attributes:
        shape: Batch shape (N, C, H, W).
        engine: Name of the chosen engine.
        trials: Trials of all candidates.
    """

    shape: tuple[int, ...]
    engine: str
    trials: tuple[Trial, ...]

    def describe(self) -> str:
        """Return the message for the user."""
        shape = " x ".join(map(str, self.shape))
        tried = "; ".join(trial.describe() for trial in self.trials)
        return f"engine for batches of {shape}: {self.engine}. Compared with torch float32: {tried}"


def engine_by_name(
    name: str,
    reference: TorchEngine,
    decide: Decide,
    note: Note,
) -> Engine:
    """Return the engine with the given name.

    Args:
        name: One of :data:`ENGINES`. ``auto`` starts with torch and tries the others when it is
            worth the time; in bfloat16 and on an accelerator it is the same as ``torch``.
        reference: Torch engine, whose decisions the other engines must match.
        decide: Function that maps logits to a decision.
        note: Callback that receives messages about choices and failures.

    Raises:
        UnknownNameError: No engine has this name.
        ConfigError: The engine does not support the device or the precision.
        MissingExtraError: OpenVINO is requested but not installed.
    """
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    has_choice = reference.precision == "float32"  # bfloat16 was requested explicitly
    is_on_cpu = reference.device.type == "cpu"  # no other engine computes elsewhere
    if name == "torch" or (name == "auto" and not (has_choice and is_on_cpu)):
        return reference
    if not has_choice:
        raise ConfigError(
            "precision must be float32 with the engine 'openvino'. "
            f"Got {reference.precision!r}. Use the engine 'torch'"
        )
    if name == "auto":
        remember = _memory_of(reference)
        candidates = partial(_candidates, reference, note)
        return AutoEngine(reference, candidates, decide, note, remember=remember)
    if not is_on_cpu:
        raise ConfigError(
            "device must be cpu with the engine 'openvino'. "
            f"Got {reference.device.type!r}. Use --device cpu, or the engine 'auto'"
        )
    import_openvino()
    return CheckedEngine(OpenVinoEngine(reference.model), reference, decide, note)


def _memory_of(reference: TorchEngine) -> Remember:
    """Return a cache for a model on this machine, so that later choices are the same."""
    machine = Machine.here(str(reference.device))
    model = reference.model
    num_weights = sum(weights.numel() for weights in model.parameters())
    name = getattr(model, "name", type(model).__name__)
    facts = json.dumps([name, getattr(model, "arguments", {}), num_weights], default=str)

    def remember(key: str, measure: Callable[[], list[float]]) -> list[float]:
        return [float(value) for value in machine.remembered(f"{key} of {facts}", measure)]

    return remember


def _candidates(reference: TorchEngine, note: Note) -> list[Engine]:
    """Return the engines that may be faster than torch on this machine at the same precision."""
    if not is_openvino_installed():
        note(f"OpenVINO may predict faster on this processor: {how_to_install(EXTRA)}")
        return []
    try:
        import_openvino()
        return [OpenVinoEngine(reference.model)]
    except Exception as error:  # any error of the library: continue with torch
        note(f"OpenVINO cannot be used; torch is used instead: {in_one_line(error)}")
        return []


class AutoEngine:
    """Engine that starts with torch and switches to the fastest one whose outputs match.

    The candidates are tried on a batch shape once torch has spent as much time on this shape as a
    trial costs. In the worst case, where the work ends right after the trial, this takes about
    twice as long as torch alone.

    Args:
        reference: Torch engine in float32.
        candidates: Function that creates the engines to try, called for each shape; those not
            chosen are released.
        decide: Function that maps logits to a decision.
        note: Callback that receives a message about each choice.
        clock: Monotonic clock in seconds.
        remember: Function that returns a stored measurement for a key, or measures.

    Attributes:
        choices: Choices made so far.
    """

    name = "auto"

    def __init__(
        self,
        reference: Engine,
        candidates: Callable[[], Sequence[Engine]],
        decide: Decide,
        note: Note,
        *,
        clock: Callable[[], float] = time.perf_counter,
        remember: Remember = lambda _, measure: measure(),
    ) -> None:
        self._remember = remember
        self._reference = reference
        self._candidates = candidates
        self._decide = decide
        self._note = note
        self._clock = clock
        self._spent: dict[tuple[int, ...], tuple[float, int]] = {}
        self._chosen: dict[tuple[int, ...], Engine] = {}
        self._num_trials_left = MAX_TRIALS
        self.choices: list[EngineChoice] = []

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`pixelwise.prediction.engines.Engine`."""
        shape = tuple(images.shape)
        if shape in self._chosen:
            return self._chosen[shape](images)
        if not self._num_trials_left:
            return self._reference(images)
        logits, seconds = self._timed(self._reference, images)
        total_s, num_batches = self._spent.get(shape, (0.0, 0))
        total_s, num_batches = total_s + seconds, num_batches + 1
        self._spent[shape] = (total_s, num_batches)
        if total_s >= SETUP_S + NUM_FORWARDS * total_s / num_batches:
            self._choose(images, logits)
        return logits

    def _timed(self, engine: Engine, images: Tensor) -> tuple[Tensor, float]:
        started = self._clock()
        logits = engine(images)  # in host memory, so the device has finished
        return logits, self._clock() - started

    def _choose(self, images: Tensor, reference: Tensor) -> None:
        """Try the candidates on a batch, with the logits of torch as reference, and choose."""
        shape = tuple(images.shape)
        self._num_trials_left -= 1
        self._chosen[shape] = self._reference
        try:
            candidates = list(self._candidates())
            trials = self._try(candidates, images, reference)
        except Exception as error:  # any error here only means that torch continues
            self._note(f"other engines cannot be tried; torch is used: {in_one_line(error)}")
            return
        if not candidates:
            self._num_trials_left = 0
            return
        passed = [trial for trial in trials if trial.is_passed]
        taken = self._reference
        if passed:
            best = max(passed, key=lambda trial: trial.speedup or 0.0)
            taken = candidates[trials.index(best)]
            self._chosen[shape] = CheckedEngine(taken, self._reference, self._decide, self._note)
        self.choices.append(EngineChoice(shape, taken.name, tuple(trials)))
        self._note(self.choices[-1].describe())

    def _try(self, candidates: list[Engine], images: Tensor, reference: Tensor) -> list[Trial]:
        """Return one trial per candidate, in order; only engines whose outputs match are timed."""
        trials = [self._compare(engine, images, reference) for engine in candidates]
        running = {
            index: engine
            for index, engine in enumerate(candidates)
            if trials[index].parity.is_enough
        }
        if not running:
            return trials
        names = ", ".join(engine.name for engine in running.values())
        key = f"speedup over torch of {names} for {' x '.join(map(str, images.shape))}"
        speedups = self._remember(key, lambda: self._speedups(list(running.values()), images))
        for index, speedup in zip(running, speedups, strict=True):
            trials[index] = dataclasses.replace(trials[index], speedup=speedup)
        return trials

    def _speedups(self, engines: list[Engine], images: Tensor) -> list[float]:
        """Measure the speedup of each engine over torch."""
        torch_s: list[float] = []
        seconds: list[list[float]] = [[] for _ in engines]
        for _ in range(NUM_ROUNDS):  # alternate, so that a temporary slowdown affects all engines
            torch_s.append(self._timed(self._reference, images)[1])
            for engine, values in zip(engines, seconds, strict=True):
                values.append(self._timed(engine, images)[1])
        return [statistics.median(torch_s) / statistics.median(values) for values in seconds]

    def _compare(self, engine: Engine, images: Tensor, reference: Tensor) -> Trial:
        """Compare the outputs of an engine with those of torch; the engine compiles in this run."""
        try:
            return Trial(engine.name, parity(self._decide, engine(images), reference))
        except Exception as error:  # libraries raise errors of any type
            return Trial(engine.name, error=in_one_line(error))
