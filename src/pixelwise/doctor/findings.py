"""What the doctor found: observations file by file, gathered into findings."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.doctor.finding_kinds import CATALOG, SEVERITIES, Severity
from pixelwise.io.arrays import BoolArray

MAX_EXAMPLES = 6
"""Pictures that a finding keeps."""

MARKS_PX = 320
"""Marked pixels are kept at most so large."""


@dataclass(frozen=True)
class Example:
    """A picture of a finding.

    Attributes:
        image: The image file.
        caption: What it shows.
        marks: The finding's pixels, bool (h, w), at most ``MARKS_PX`` large; ``None`` for none.
    """

    image: Path
    caption: str
    marks: BoolArray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Observation:
    """One file in which something was found.

    Attributes:
        kind: A name of ``CATALOG``.
        file: The file that is at fault.
        detail: What was found in it, as words behind its name.
        count: How much of it, in what the kind counts: pixels, polygons, objects.
        image: The image that shows it; ``None`` where none can.
        marks: Where it is, bool (h, w).
    """

    kind: str
    file: Path
    detail: str = ""
    count: int = 1
    image: Path | None = None
    marks: BoolArray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Finding:
    """Something that was found, in all files that show it.

    Attributes:
        kind: Its stable name.
        severity: How harmful it is.
        title: One sentence.
        details: A line per file or class, the worst first.
        files: The files concerned, in the order of the details.
        counts: Figures by name.
        advice: What pixelwise does by itself, or what to do.
        examples: Pictures of the worst.
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
        """All but the pictures, as JSON holds it."""
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
    """Observations, gathered by kind; of the pictures only the worst few are kept.

    Args:
        root: Paths are said relative to it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lines: defaultdict[str, list[tuple[int, Path, str]]] = defaultdict(list)
        self._pictures: defaultdict[str, list[tuple[int, int, Example]]] = defaultdict(list)

    def add(self, observations: Iterable[Observation]) -> None:
        """Gather what was seen in one image."""
        for seen in observations:
            lines = self._lines[seen.kind]
            lines.append((seen.count, seen.file, seen.detail))
            if seen.image is None:
                continue
            # Of equals the first one met: its position, negated, is the larger.
            example = Example(seen.image, self.line(seen.file, seen.detail), seen.marks)
            entry = (seen.count, -len(lines), example)
            pictures = self._pictures[seen.kind]
            if len(pictures) < MAX_EXAMPLES:
                heapq.heappush(pictures, entry)
            else:
                heapq.heappushpop(pictures, entry)

    def say(self, path: Path) -> str:
        """A path as it is shown."""
        try:
            return path.relative_to(self._root).as_posix()
        except ValueError:
            return str(path)

    def line(self, file: Path, detail: str) -> str:
        """What is said of a file."""
        return f"{self.say(file)}: {detail}" if detail else self.say(file)

    def findings(self) -> list[Finding]:
        """One finding per kind that was observed."""
        return [self._finding(kind) for kind in self._lines]

    def _finding(self, kind: str) -> Finding:
        lines = sorted(self._lines[kind], key=lambda line: (-line[0], line[1]))
        pictures = sorted(self._pictures[kind], key=lambda entry: entry[:2], reverse=True)
        return make_finding(
            kind,
            [self.line(file, detail) for _, file, detail in lines],
            [file for _, file, _ in lines],
            counts={"amount": sum(count for count, _, _ in lines)},
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
    """A finding with the harm, the title and the advice of its kind."""
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
    """The most harmful first; of equal harm in the order of the catalog."""
    order = list(CATALOG)
    return tuple(
        sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), order.index(one.kind)))
    )


def shrink_marks(marks: BoolArray) -> BoolArray:
    """Marked pixels (H, W) at most ``MARKS_PX`` large; a block is marked where any pixel is."""
    step = -(-max(marks.shape) // MARKS_PX)
    if step <= 1:
        return marks
    height, width = (-(-side // step) * step for side in marks.shape)
    padded = np.zeros((height, width), np.bool_)
    padded[: marks.shape[0], : marks.shape[1]] = marks
    blocks = padded.reshape(height // step, step, width // step, step)
    return np.asarray(blocks.any((1, 3)))
