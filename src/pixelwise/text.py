"""Text fragments that several modules share."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING_YET = "interrupted before the first training step; nothing was trained or written"
"""Message for a training run that was interrupted before anything was saved."""

RUN_AS_BEFORE = "interrupted before the first resumed step; the run is unchanged"
"""Message for a resumed run that was interrupted before its first step."""


def amount(number: float, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``, ``0.5 minutes``."""
    return f"{number:.10g} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int) -> str:
    """Return names with commas, and dots in place of those beyond ``most``: ``a, b, ...``."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def label_words(
    ignore: Sequence[int],
    unexpected: str | None,
    label_format: str | None,
    class_property: str | None = None,
    max_bad_annotations: float | None = None,
) -> tuple[str, ...]:
    """Return the command-line options that determine how labels are read."""
    words = [word for value in ignore for word in ("--ignore", str(value))]
    for option, given in (
        ("--unexpected", unexpected),
        ("--format", label_format),
        ("--class-property", class_property),
        ("--max-bad-annotations", max_bad_annotations),
    ):
        if given is not None:
            words += [option, str(given)]
    return tuple(words)
