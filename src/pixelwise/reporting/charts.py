"""Small charts as SVG inside a page: they follow its colours, light or dark, and need no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 42
NUM_TICKS = 5

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: For the legend; empty leaves it out.
        points: (x, y), x ascending.
        style: A class of the page's style sheet: ``one``, ``two`` or ``aid``.
    """

    name: str
    points: Sequence[Point]
    style: str = "one"


def line_chart(
    lines: Sequence[Line],
    across: str,
    up: str,
    *,
    x_range: Point | None = None,
    y_range: Point | None = None,
    mark: Point | None = None,
) -> str:
    """Lines over two axes.

    Args:
        lines: At least one point in all.
        across: What the horizontal axis is.
        up: What the vertical axis is.
        x_range: Of the axis; ``None`` takes that of the points.
        y_range: The same, upwards.
        mark: A point to be marked.

    Returns:
        ``<svg>...</svg>``; every text in it is escaped.
    """
    points = [point for line in lines for point in line.points]
    x_low, x_high = x_range or _span([x for x, _ in points])
    y_low, y_high = y_range or _span([y for _, y in points])

    def place(point: Point) -> Point:
        x, y = point
        return (
            LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    for value in ticks(y_low, y_high):
        _, y = place((x_low, value))
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    for value in ticks(x_low, x_high):
        x, _ = place((value, y_low))
        parts.append(_text(x, HEIGHT - BOTTOM + 17, _short(value)))
    for line in lines:
        drawn = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in line.points)
        parts.append(f'<polyline class="{line.style}" points="{drawn}"/>')
        if len(line.points) == 1:
            parts.append(_dot(place(line.points[0]), line.style))
    if mark:
        parts.append(_dot(place(mark), "mark"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across))
    parts.append(_legend(lines))
    return _svg(f"{up} over {across}", parts)


def bar_chart(bars: Sequence[tuple[str, float]], across: str, up: str) -> str:
    """Bars between 0 and 1, each with its value above it.

    Args:
        bars: (name, value).
        across: What the names are.
        up: What the values are.
    """
    width = (WIDTH - LEFT - RIGHT) / max(1, len(bars))
    room = HEIGHT - TOP - BOTTOM
    parts = []
    for number, (name, value) in enumerate(bars):
        x, high = LEFT + number * width, value * (room - 14)
        top, middle = HEIGHT - BOTTOM - high, x + width / 2
        parts.append(
            f'<rect class="column" x="{x + width * 0.15:.1f}" y="{top:.1f}" '
            f'width="{width * 0.7:.1f}" height="{high:.1f}" rx="3"/>'
        )
        parts.append(_text(middle, top - 5, f"{value:.2f}"))
        parts.append(_text(middle, HEIGHT - BOTTOM + 17, name))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across))
    return _svg(f"{up} by {across}", parts)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, about five of them."""
    rough = (high - low) / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 5, 10) if step * power >= rough) * power
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _span(values: Sequence[float]) -> Point:
    """The range of some values, never empty."""
    low, high = min(values), max(values)
    if high > low:
        return low, high
    return low - 0.5, high + 0.5


def _short(value: float) -> str:
    return f"{value:.6g}" if value else "0"


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'


def _dot(place: Point, style: str) -> str:
    return f'<circle class="{style}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4"/>'


def _legend(lines: Sequence[Line]) -> str:
    parts, x = [], LEFT + 6
    for line in lines:
        if not line.name:
            continue
        parts.append(
            f'<line class="{line.style}" x1="{x}" x2="{x + 18}" y1="{TOP - 5}" y2="{TOP - 5}"/>'
            f'<text x="{x + 23}" y="{TOP - 1}">{escape(line.name)}</text>'
        )
        x += 40 + 7 * len(line.name)
    return "".join(parts)


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
