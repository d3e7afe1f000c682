"""Words that several modules write alike."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING_YET = (
    "interrupted before the first step of a training: nothing of it was trained yet, and nothing "
    "was written"
)
"""What a person is told who stops a training too early for anything to be kept."""

RUN_AS_BEFORE = (
    "interrupted before the first step of a training: nothing more was trained yet, and the run is "
    "as it was"
)
"""The same of a run that was being resumed."""


def amount(number: float, noun: str) -> str:
    """A number with its noun: ``1 image``, ``2 images``, ``0.5 minutes``."""
    return f"{number:.10g} {noun}{'' if number == 1 else 's'}"


def label_words(
    ignore: Sequence[int], unexpected: str | None, label_format: str | None
) -> tuple[str, ...]:
    """The options of a command that say how labels are read, as they are typed."""
    words = [word for value in ignore for word in ("--ignore", str(value))]
    for option, value in (("--unexpected", unexpected), ("--format", label_format)):
        if value is not None:
            words += [option, value]
    return tuple(words)
