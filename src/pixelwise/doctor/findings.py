"""Collects observations from single files into findings."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.doctor.finding_kinds import CATALOG, SEVERITIES, Severity
from pixelwise.io.arrays import BoolArray, Window

MAX_EXAMPLES = 6
"""Number of example images kept for a finding."""

MARKS_PX = 320
"""Largest height and width of the stored map of marked pixels."""


@dataclass(frozen=True)
class Example:
    """An example image of a finding.

    Attributes:
        image: The image file.
        caption: The caption of the image.
        marks: The affected pixels, bool (h, w), at most ``MARKS_PX`` a side; ``None`` for none.
        window: The part of the image file; ``None`` for all of it.
    """

    image: Path
    caption: str
    marks: BoolArray | None = field(default=None, repr=False)
    window: Window | None = None


@dataclass(frozen=True)
class Observation:
    """A problem in one file.

    Attributes:
        kind: A name in ``CATALOG``.
        file: The affected file.
        detail: Description of the problem, printed after the file name.
        count: Extent of the problem in the unit of its kind: pixels, polygons or objects.
        image: The image to show; ``None`` if there is none.
        marks: The affected pixels, bool (h, w).
        window: The affected part of the files; ``None`` for all of them.
    """

    kind: str
    file: Path
    detail: str = ""
    count: int = 1
    image: Path | None = None
    marks: BoolArray | None = field(default=None, repr=False)
    window: Window | None = None


@dataclass(frozen=True)
class Finding:
    """A problem, with all files that have it.

    Attributes:
        kind: Its stable name.
        severity: How harmful it is.
        title: One sentence.
        details: One line per file or class, the worst first.
        files: The affected files, in the order of the details.
        counts: Figures by name.
        advice: What pixelwise does by itself, or what the user should do.
        examples: Example images of the worst cases.
    """

    kind: str
    severity: Severity
    title: str
    details: tuple[str, ...]
    files: tuple[Path, ...]
    counts: dict[str, int]
    advice: str
    examples: tuple[Example, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the examples as JSON-compatible objects."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "title": self.title,
            "details": list(self.details),
            "files": [str(path) for path in self.files],
            "counts": self.counts,
            "advice": self.advice,
        }


class Tally:
    """Collects observations by kind; only the worst few images of each kind are kept.

    Args:
        root: Paths are shown relative to this folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lines: defaultdict[str, list[tuple[int, Path, str, str]]] = defaultdict(list)
        self._pictures: defaultdict[str, list[tuple[int, int, Example]]] = defaultdict(list)

    def add(self, observations: Iterable[Observation]) -> None:
        """Add the observations of one image."""
        for seen in observations:
            lines = self._lines[seen.kind]
            line = self.line(seen.file, seen.detail, seen.window)
            lines.append((seen.count, seen.file, seen.detail, line))
            if seen.image is None:
                continue
            # Among equals the first one wins: its negated position is larger.
            example = Example(seen.image, line, seen.marks, seen.window)
            entry = (seen.count, -len(lines), example)
            pictures = self._pictures[seen.kind]
            if len(pictures) < MAX_EXAMPLES:
                heapq.heappush(pictures, entry)
            else:
                heapq.heappushpop(pictures, entry)

    def say(self, path: Path, window: Window | None = None) -> str:
        """Return a path, and the place of a window in it, as they are displayed."""
        try:
            said = path.relative_to(self._root).as_posix()
        except ValueError:
            said = str(path)
        return f"{said} at row {window[0]}, column {window[1]}" if window else said

    def line(self, file: Path, detail: str, window: Window | None = None) -> str:
        """Return the line for a file, or for a window of it."""
        said = self.say(file, window)
        return f"{said}: {detail}" if detail else said

    def findings(self) -> list[Finding]:
        """Return one finding per observed kind."""
        return [self._finding(kind) for kind in self._lines]

    def _finding(self, kind: str) -> Finding:
        lines = sorted(self._lines[kind], key=lambda line: (-line[0], *line[1:]))
        pictures = sorted(self._pictures[kind], key=lambda entry: entry[:2], reverse=True)
        return make_finding(
            kind,
            [line for *_, line in lines],
            [file for _, file, *_ in lines],
            counts={"amount": sum(count for count, *_ in lines)},
            examples=[example for _, _, example in pictures],
        )


def make_finding(
    kind: str,
    details: Iterable[str],
    files: Iterable[Path] = (),
    *,
    counts: Mapping[str, int] | None = None,
    examples: Iterable[Example] = (),
) -> Finding:
    """Make a finding with the severity, title and advice of its kind."""
    severity, title, advice = CATALOG[kind]
    details, files = tuple(details), tuple(dict.fromkeys(files))
    return Finding(
        kind,
        severity,
        f"{title}: {len(details):,}" if files or len(details) > 1 else title,
        details,
        files,
        {"cases": len(details), "files": len(files), **(counts or {})},
        advice,
        tuple(examples),
    )


def by_harm(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by severity, then in the order of the catalog."""
    order = list(CATALOG)
    return tuple(
        sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), order.index(one.kind)))
    )


def shrink_marks(marks: BoolArray) -> BoolArray:
    """Reduce marked pixels (H, W) to ``MARKS_PX`` a side; a block with any mark is marked."""
    step = -(-max(marks.shape) // MARKS_PX)
    if step <= 1:
        return marks
    height, width = (-(-side // step) * step for side in marks.shape)
    padded = np.zeros((height, width), np.bool_)
    padded[: marks.shape[0], : marks.shape[1]] = marks
    blocks = padded.reshape(height // step, step, width // step, step)
    return np.asarray(blocks.any((1, 3)))
