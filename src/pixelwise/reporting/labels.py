"""Places the labels of points in a chart without overlaps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

LETTER_PX = 7.6
"""Approximate width of a character in the charts' font, used to compute label sizes."""

LINE_PX = 16
"""Line height in the charts' font."""

GAP_PX = 9
"""Distance between a point and its label."""

MAX_LINES = 12
"""Maximum distance of a label from its point, in lines: the lines of a chart."""

BY_ANOTHER, OVER_DRAWN, ONE_LINE_AWAY = 8, 3, 2
"""Penalties: a label next to another point is misleading, one over a line is only ugly."""


def place_labels(
    texts: Sequence[str], points: Sequence[Point], drawn: Sequence[Box], frame: Box
) -> list[Box]:
    """Place the labels of points.

    Args:
        texts: The labels.
        points: Their points.
        drawn: Boxes that labels should not cover.
        frame: Box that labels must stay inside.

    Returns:
        The box of each label, the one with the lowest penalty.
    """
    taken: list[Box] = []
    for text, point in zip(texts, points, strict=True):
        width = LETTER_PX * len(text)
        costs = {
            box: (
                _is_outside(box, frame),
                _hits(box, taken),
                BY_ANOTHER * _num_nearer(box, point, points)
                + OVER_DRAWN * _hits(box, drawn)
                + ONE_LINE_AWAY * (lines_away + distance_to_box(point, box) / LINE_PX),
            )
            for lines_away in range(MAX_LINES + 1)
            for box in _boxes(point, width, lines_away, frame)
        }
        taken.append(min(costs, key=costs.__getitem__))
    return taken


def _boxes(point: Point, width: float, lines_away: int, frame: Box) -> Iterator[Box]:
    """Yield boxes beside a point; further away also centered on it and at the frame's edges."""
    x, y = point
    lefts = [x + GAP_PX, x - GAP_PX - width]
    if lines_away:
        first, last = frame[0], frame[2] - width
        lefts += [min(max(first, x - width / 2), last), first, last]
    for step in sorted({-lines_away, lines_away}):
        top = y + (step - 0.5) * LINE_PX
        for left in lefts:
            yield left, top, left + width, top + LINE_PX


def _num_nearer(box: Box, own: Point, points: Sequence[Point]) -> int:
    """Count the points that are nearer to a label than its own point."""
    distance = distance_to_box(own, box)
    return sum(distance_to_box(point, box) < distance for point in points)


def distance_to_box(point: Point, box: Box) -> float:
    """Return the distance of a point from a box; 0 inside it."""
    across = max(box[0] - point[0], 0.0, point[0] - box[2])
    down = max(box[1] - point[1], 0.0, point[1] - box[3])
    return math.hypot(across, down)


def box_of_line(one: Point, two: Point) -> Box:
    """Return the box that a horizontal or vertical line covers."""
    (left, right), (top, bottom) = sorted((one[0], two[0])), sorted((one[1], two[1]))
    return left - 1, top - 1, right + 1, bottom + 1


def _is_outside(box: Box, frame: Box) -> bool:
    return box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]


def _hits(box: Box, others: Sequence[Box]) -> int:
    return sum(
        box[0] < other[2] and box[2] > other[0] and box[1] < other[3] and box[3] > other[1]
        for other in others
    )
