"""The engine that each thread of a predictor uses, with the engines that were made so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from pixelwise.prediction.engine_choice import AutoEngine, EngineChoice, engine_by_name
from pixelwise.prediction.engines import Engine, TorchEngine
from pixelwise.prediction.parity import CheckedEngine, Decide, Note


@dataclass(frozen=True)
class _EngineInUse:
    """Engine of a thread and the callback for its messages."""

    name: str
    note: Note | None


class EngineSwitch:
    """Computes logits with one engine, or within a context and a thread with another.

    Args:
        reference: Torch engine, whose decisions the other engines must match.
        decide: Function that maps logits to a decision.
        name: Engine name; see :func:`pixelwise.prediction.engine_choice.engine_by_name`.
        note: Callback that receives messages about choices and failures.

    Raises:
        PixelwiseError: The engine cannot be used.
    """

    def __init__(
        self, reference: TorchEngine, decide: Decide, name: str, note: Note | None
    ) -> None:
        self._reference = reference
        self._decide = decide
        self._engines: dict[str, Engine] = {}
        # Engines other than torch keep state between batches, so they run one batch at a time.
        self._lock = threading.RLock()
        self._own = _EngineInUse(name, note)
        self._of_thread = threading.local()
        self._prepare(self._own)

    @property
    def name(self) -> str:
        """Name of the requested engine."""
        return self._in_use.name

    @property
    def choices(self) -> tuple[EngineChoice, ...]:
        """Choices of the engine ``auto`` by batch shape, with the trials."""
        engines = self._engines.values()
        return tuple(
            choice for auto in engines if isinstance(auto, AutoEngine) for choice in auto.choices
        )

    @contextmanager
    def using(self, name: str, note: Note | None = None) -> Iterator[None]:
        """Use another engine within a context, in this thread only.

        The engine is kept, so that its choices and compiled models can be used again.

        Args:
            name: Engine name, as for the constructor.
            note: Callback for messages, as for the constructor.

        Raises:
            PixelwiseError: The engine cannot be used.
        """
        before = self._in_use
        self._of_thread.engine = _EngineInUse(name, note)
        try:
            self._prepare(self._of_thread.engine)
            yield
        finally:
            self._of_thread.engine = before

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`pixelwise.prediction.engines.Engine`."""
        engine = self._engines[self.name]
        if engine is self._reference:
            return engine(images)
        with self._lock:
            return engine(images)

    @property
    def _in_use(self) -> _EngineInUse:
        """Engine of the current thread."""
        in_use: _EngineInUse = getattr(self._of_thread, "engine", self._own)
        return in_use

    def _prepare(self, wanted: _EngineInUse) -> None:
        with self._lock:
            known = self._engines.get(wanted.name)
            if known is None or (isinstance(known, CheckedEngine) and known.is_given_up):
                self._engines[wanted.name] = engine_by_name(
                    wanted.name, self._reference, self._decide, self._say
                )

    def _say(self, line: str) -> None:
        note = self._in_use.note
        if note is not None:
            note(line)
