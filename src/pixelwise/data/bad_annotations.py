"""Counts the annotations that cannot be used, and says when there are too many of them.

One box among ten thousand polygons must not stop a training run, and a file of boxes must. The
formats leave such annotations out and list them; what happens then is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.problems import report_problem
from pixelwise.errors import ConfigError, FormatError
from pixelwise.text import listed, rounded

MAX_BAD_SHARE = 0.05
"""Largest share of annotations that are left out unless the user allows more."""

MAX_EXAMPLES = 4
"""Number of bad annotations of one kind that a message names."""


@dataclass(frozen=True)
class BadAnnotation:
    """An annotation, or a part of one, that is left out.

    Attributes:
        file: The file that contains it.
        name: Its place in the file, such as ``id 11`` or ``line 3``.
        must: What it must have, the same text for all of its kind.
        got: What it has instead.
    """

    file: Path
    name: str
    must: str
    got: str

    def __str__(self) -> str:
        return f"{self.name} must have {self.must}. Got {self.got}"


@dataclass(frozen=True)
class AnnotationCount:
    """How many annotations there are, and those that are left out.

    Attributes:
        total: Number of all annotations.
        bad: Those that are left out.
    """

    total: int = 0
    bad: tuple[BadAnnotation, ...] = ()

    @property
    def share(self) -> float:
        """Share of the annotations that are left out, 0 to 1."""
        return len(self.bad) / self.total if self.total else 0.0

    def note(self) -> str:
        """Describe what is left out, as text for the user."""
        return (
            f"{len(self.bad):,} of {self.total:,} annotations are left out: "
            f"{_by_kind(self.bad)}; pixelwise data check lists them"
        )


def added(counts: Iterable[AnnotationCount]) -> AnnotationCount:
    """Return the sum of the counts of several files."""
    counts = list(counts)
    bad = tuple(each for count in counts for each in count.bad)
    return AnnotationCount(sum(count.total for count in counts), bad)


def require_few(count: AnnotationCount, folder: Path, most: float | None) -> None:
    """Refuse a data set if more than a share of its annotations cannot be used.

    Args:
        count: The annotations of the data set.
        folder: The data set.
        most: The largest accepted share, 0 to below 1; ``None`` means :data:`MAX_BAD_SHARE`.

    Raises:
        FormatError: There are too many.
        ConfigError: The share is not one.
    """
    most = MAX_BAD_SHARE if most is None else most
    if not 0 <= most < 1:
        raise ConfigError(f"`max_bad_annotations` must be a share, 0 to below 1. Got {most:g}")
    if count.share <= most:
        return
    # Rounded up, so that the value that the message proposes is accepted.
    enough = math.ceil(count.share * 100) / 100
    fix = "fix these annotations"
    if enough < 1:
        fix = f"{fix}, or leave them out with `max_bad_annotations={enough:g}`"
    files = list(dict.fromkeys(bad.file for bad in count.bad))
    more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
    error = FormatError(
        f"{folder} must have at most {rounded(100 * most)} % of annotations that cannot be used. "
        f"Got {len(count.bad):,} of {count.total:,} in {files[0].name}{more}: "
        f"{_by_kind(count.bad)}. Export the labels again as segmentation, or {fix}"
    )
    report_problem("too-many-bad-annotations", error, files[0])


def _by_kind(bad: Sequence[BadAnnotation]) -> str:
    """Describe annotations by what they lack, the most frequent first."""
    kinds: dict[str, list[BadAnnotation]] = {}
    for each in bad:
        kinds.setdefault(each.must, []).append(each)
    ordered = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    return "; ".join(_of_kind(must, alike) for must, alike in ordered)


def _of_kind(must: str, alike: Sequence[BadAnnotation]) -> str:
    names = listed([each.name for each in alike], MAX_EXAMPLES)
    got = listed(list(dict.fromkeys(each.got for each in alike)), MAX_EXAMPLES)
    return f"{len(alike):,} ({names}) must have {must} but have {got}"
