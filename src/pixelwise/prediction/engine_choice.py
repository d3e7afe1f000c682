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
"""An engine is taken only where it is faster than torch in float32 by this factor."""

SETUP_S = 10.0
"""What loading, converting and compiling the candidates takes; 3 to 7 s were measured for each."""

NUM_ROUNDS = 5
"""Every engine computes a batch so often when it is tried, beside the first time."""

NUM_FORWARDS = 24
"""This many batches are computed when three candidates are tried, at about torch's speed."""

MAX_TRIALS = 4
"""Engines are tried for this many batch shapes; trying and what is compiled cost that much at
most."""


Remember = Callable[[str, Callable[[], list[float]]], list[float]]
"""Gives what was measured before under a key, or measures now and keeps it."""


@dataclass(frozen=True)
class Trial:
    """The result of an engine compared with torch in float32, on one batch.

    Attributes:
        engine: Its name.
        parity: How far the outputs of both match.
        speedup: How many times faster it was; ``None`` where it was not measured.
        error: What it failed with; ``None`` where it did not.
    """

    engine: str
    parity: Parity = NO_PARITY
    speedup: float | None = None
    error: str | None = None

    @property
    def is_passed(self) -> bool:
        """Its outputs match, and it is fast enough to be taken."""
        return self.parity.is_enough and (self.speedup or 0.0) >= MIN_GAIN

    def describe(self) -> str:
        """What is to be said of it, without a full stop."""
        if self.error is not None:
            return f"{self.engine} failed ({self.error})"
        matched = f"matched {self.parity.describe()}"
        if self.speedup is None:
            return f"{self.engine} {matched}: too few"
        return f"{self.engine} was {self.speedup:.2f} times as fast, {matched}"


@dataclass(frozen=True)
class EngineChoice:
    """The engine chosen for batches of one shape.

    Attributes:
        shape: N, C, H, W.
        engine: The name of the one taken.
        trials: All that were tried.
    """

    shape: tuple[int, ...]
    engine: str
    trials: tuple[Trial, ...]

    def describe(self) -> str:
        """The line that the user is told."""
        shape = " x ".join(map(str, self.shape))
        tried = "; ".join(trial.describe() for trial in self.trials)
        return f"engine for batches of {shape}: {self.engine}. Against torch float32: {tried}"


def engine_by_name(
    name: str,
    reference: TorchEngine,
    decide: Decide,
    note: Note,
) -> Engine:
    """The engine that was asked for.

    Args:
        name: One of :data:`ENGINES`. ``auto`` begins with torch and tries others when it pays; of
            a predictor in bfloat16 it is torch.
        reference: torch, whose decisions the others must share.
        decide: Makes decisions of logits.
        note: Told what was chosen, and what has failed.

    Raises:
        UnknownNameError: There is none of that name.
        ConfigError: The device or the precision leave no choice.
        MissingExtraError: OpenVINO is asked for and not installed.
    """
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    has_choice = reference.precision == "float32"  # another one was asked for on purpose
    if name == "torch" or (name == "auto" and not has_choice):
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
    if reference.device.type != "cpu":
        raise ConfigError(
            "device must be cpu with the engine 'openvino'. "
            f"Got {reference.device.type!r}. Use --device cpu, or the engine 'auto'"
        )
    import_openvino()
    return CheckedEngine(OpenVinoEngine(reference.model), reference, decide, note)


def _memory_of(reference: TorchEngine) -> Remember:
    """What this machine remembers of a model, so that a later prediction chooses the same."""
    machine = Machine.here(str(reference.device))
    model = reference.model
    facts = json.dumps([model.name, model.arguments, model.num_classes], default=str)

    def remember(key: str, measure: Callable[[], list[float]]) -> list[float]:
        return [float(value) for value in machine.remembered(f"{key} of {facts}", measure)]

    return remember


def _candidates(reference: TorchEngine, note: Note) -> list[Engine]:
    """The engines that may be faster than torch on this machine, in the same precision."""
    if reference.device.type != "cpu":
        return []
    if not is_openvino_installed():
        note(f"OpenVINO may predict faster on this processor: {how_to_install(EXTRA)}")
        return []
    try:
        import_openvino()
        return [OpenVinoEngine(reference.model)]
    except Exception as error:  # whatever another library raises, torch continues
        note(f"OpenVINO cannot be used, torch continues: {in_one_line(error)}")
        return []


class AutoEngine:
    """torch at first; where it computes long enough, the fastest engine whose outputs match.

    Engines are tried on a batch shape once torch has spent on that shape what trying costs. So it
    takes at most about twice as long as torch alone, and that only where the work ends just then.

    Args:
        reference: torch in float32.
        candidates: Makes the engines to try, again for each shape; what is not taken is let go.
        decide: Makes decisions of logits.
        note: Told of each choice.
        clock: Seconds that only increase.
        remember: Gives what was measured before under a key, or measures now.

    Attributes:
        choices: What was chosen so far.
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
        logits = engine(images)  # in main memory, so the device has ended
        return logits, self._clock() - started

    def _choose(self, images: Tensor, reference: Tensor) -> None:
        """Try the candidates on a batch of which torch says ``reference``, and take the best."""
        shape = tuple(images.shape)
        self._num_trials_left -= 1
        self._chosen[shape] = self._reference
        try:
            candidates = list(self._candidates())
            trials = self._try(candidates, images, reference)
        except Exception as error:  # e.g. a device without bfloat16: nothing is lost but a gain
            self._note(f"other engines cannot be tried, torch continues: {in_one_line(error)}")
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
        """One trial for each candidate, in order; only those with matching outputs are timed."""
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
        """How many times faster than torch each engine is."""
        torch_s: list[float] = []
        seconds: list[list[float]] = [[] for _ in engines]
        for _ in range(NUM_ROUNDS):  # in turns: a slow moment of the machine slows all of them
            torch_s.append(self._timed(self._reference, images)[1])
            for engine, values in zip(engines, seconds, strict=True):
                values.append(self._timed(engine, images)[1])
        return [statistics.median(torch_s) / statistics.median(values) for values in seconds]

    def _compare(self, engine: Engine, images: Tensor, reference: Tensor) -> Trial:
        """A first run, in which engines compile."""
        try:
            return Trial(engine.name, parity(self._decide, engine(images), reference))
        except Exception as error:  # whatever another library raises
            return Trial(engine.name, error=in_one_line(error))
