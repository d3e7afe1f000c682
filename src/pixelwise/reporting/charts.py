"""Small SVG charts for HTML pages; they use the page's light or dark colors and no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from pixelwise.reporting.labels import (
    LETTER_PX,
    LINE_PX,
    Box,
    Point,
    box_of_line,
    distance_to_box,
    place_labels,
)

WIDTH, HEIGHT = 380, 250
"""Chart width, about that of a phone screen; wider charts would be unreadable when shrunk."""

LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 46
NUM_TICKS = 5
MAX_LABEL = 28


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: Name in the legend; an empty name is left out.
        points: (x, y), sorted by x.
        style: A CSS class of the page: ``one``, ``two`` or ``aid``.
    """

    name: str
    points: Sequence[Point]
    style: str = "one"


@dataclass(frozen=True)
class Dot:
    """One labeled point of a scatter chart.

    Attributes:
        name: Text of its label.
        x: Value on the horizontal axis, above 0.
        y: Value on the vertical axis.
        whisker: Range of y drawn as an error bar.
    """

    name: str
    x: float
    y: float
    whisker: Point | None = None


def line_chart(
    lines: Sequence[Line],
    across: str,
    up: str,
    *,
    x_range: Point | None = None,
    y_range: Point | None = None,
    mark: Point | None = None,
) -> str:
    """Draw a line chart.

    Args:
        lines: At least one point in all.
        across: Label of the horizontal axis.
        up: Label of the vertical axis.
        x_range: Range of the horizontal axis; ``None`` means that of the points.
        y_range: Range of the vertical axis.
        mark: A point to mark.

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

    parts = _rungs([(value, place((x_low, value))[1]) for value in ticks(y_low, y_high)])
    # Counts such as epochs get integer ticks.
    is_counted = x_range is None and all(float(x).is_integer() for x, _ in points)
    for value in ticks(x_low, x_high):
        if float(value).is_integer() or not is_counted:
            parts.append(_tick_label(place((value, y_low))[0], _short(value)))
    for line in lines:
        drawn = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in line.points)
        parts.append(f'<polyline class="{line.style}" points="{drawn}"/>')
        if len(line.points) == 1:
            parts.append(_dot(place(line.points[0]), line.style))
    if mark:
        parts.append(_dot(place(mark), "mark"))
    parts += [*_titles(across, up), _legend(lines, LETTER_PX * len(up))]
    return _svg(f"{up} over {across}", parts)


def bar_chart(bars: Sequence[tuple[str, float]], across: str, up: str) -> str:
    """Draw a bar chart of values between 0 and 1, with each value above its bar.

    Args:
        bars: (name, value).
        across: What the bars stand for.
        up: Label of the values.
    """
    width = (WIDTH - LEFT - RIGHT) / max(1, len(bars))
    room = HEIGHT - TOP - BOTTOM
    parts = _titles(across, up)
    for number, (name, value) in enumerate(bars):
        x, high = LEFT + number * width, value * (room - LINE_PX)
        top, middle = HEIGHT - BOTTOM - high, x + width / 2
        parts.append(
            f'<rect class="column" x="{x + width * 0.15:.1f}" y="{top:.1f}" '
            f'width="{width * 0.7:.1f}" height="{high:.1f}" rx="3"/>'
        )
        parts.append(_text(middle, top - 5, f"{value:.2f}"))
        parts.append(_tick_label(middle, name))
    return _svg(f"{up} by {across}", parts)


def scatter_chart(dots: Sequence[Dot], across: str, up: str) -> str:
    """Draw a scatter chart with labels, a logarithmic axis and the Pareto front.

    Args:
        dots: At least one.
        across: Label of the horizontal axis; lower is better.
        up: Label of the vertical axis; higher is better.

    Returns:
        ``<svg>...</svg>``; every text in it is escaped.
    """
    x_low, x_high = min(dot.x for dot in dots) / 1.5, max(dot.x for dot in dots) * 1.5
    ends = [end for dot in dots for end in (dot.y, *(dot.whisker or ()))]
    y_low, y_high = _span(ends)
    margin = 0.06 * (y_high - y_low)
    y_low, y_high = _lowered(y_low, margin), y_high + margin

    def place(x: float, y: float) -> Point:
        share = math.log(x / x_low) / math.log(x_high / x_low)
        return (
            LEFT + share * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM),
        )

    parts = _rungs([(value, place(x_low, value)[1]) for value in ticks(y_low, y_high)])
    for value in _log_ticks(x_low, x_high):
        parts.append(_tick_label(place(value, y_low)[0], with_unit(value)))
    front = set(pareto_front([(dot.x, dot.y) for dot in dots]))
    steps = _stairs(sorted(place(dots[index].x, dots[index].y) for index in front))
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
    parts.append(f'<polyline class="aid" points="{drawn}"/>')
    places = [place(dot.x, dot.y) for dot in dots]
    drawn_over = [box_of_line(one, two) for one, two in pairwise(steps)]
    for index, (dot, (x, y)) in enumerate(zip(dots, places, strict=True)):
        drawn_over.append((x - 5, y - 5, x + 5, y + 5))
        if dot.whisker:
            low, high = (place(dot.x, end)[1] for end in dot.whisker)
            drawn_over.append(box_of_line((x, low), (x, high)))
            parts.append(
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            )
        parts.append(_dot((x, y), "mark" if index in front else "one"))
    parts += _labels([dot.name for dot in dots], places, drawn_over)
    parts += _titles(across, up)
    return _svg(f"{up} over {across}", parts)


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Return the Pareto front: no other point is as cheap and better, or as good and cheaper.

    Args:
        points: (cost, metric).

    Returns:
        The indices of its points, the cheapest first.
    """
    return [
        index
        for index in sorted(range(len(points)), key=lambda index: points[index])
        if not any(
            cost <= points[index][0]
            and score >= points[index][1]
            and (cost, score) != points[index]
            for cost, score in points
        )
    ]


def with_unit(value: float) -> str:
    """Format a cost with a unit prefix, such as 75k or 31M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def ticks(low: float, high: float) -> list[float]:
    """Return about five round tick values inside a range."""
    rough = (high - low) / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 5, 10) if step * power >= rough) * power
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return at most about seven round tick values inside a range of a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in powers for step in steps]
        inside = [value for value in found if low <= value <= high]
        if len(inside) <= 7:
            break
    return inside if len(inside) > 1 else [value for value in ticks(low, high) if value > 0]


def _rungs(levels: Sequence[tuple[float, float]]) -> list[str]:
    """Draw horizontal grid lines at (value, y) with their values."""
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        for value, y in levels
    ]


def _stairs(points: Sequence[Point]) -> list[Point]:
    """Return the step line of the Pareto front: horizontal to the next point, then up."""
    steps: list[Point] = []
    for x, y in points:
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    return [*steps, (WIDTH - RIGHT, steps[-1][1])]


def _labels(names: Sequence[str], places: Sequence[Point], drawn: Sequence[Box]) -> list[str]:
    """Draw names beside their points, with a leader line to names that had to move away."""
    texts = [name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1]}…" for name in names]
    boxes = place_labels(texts, places, drawn, (LEFT, LINE_PX, WIDTH, HEIGHT - BOTTOM + 4))
    parts = []
    for text, (x, y), box in zip(texts, places, boxes, strict=True):
        if distance_to_box((x, y), box) > LINE_PX:
            end_x = min(max(box[0], x), box[2])
            end_y = box[1] if box[1] > y else box[3]
            parts.append(
                f'<line class="lead" x1="{x:.1f}" y1="{y:.1f}" x2="{end_x:.1f}" y2="{end_y:.1f}"/>'
            )
        baseline = box[3] - 4
        parts.append(f'<text x="{box[0]:.1f}" y="{baseline:.1f}">{escape(text)}</text>')
    return parts


def _span(values: Sequence[float]) -> Point:
    """Return the range of some values: never empty, and below 0 only if a value is."""
    low, high = min(values), max(values)
    if high > low:
        return low, high
    return _lowered(low, 0.5), high + 0.5


def _lowered(low: float, margin: float) -> float:
    """Return the lower end of an axis, below 0 only if a value is."""
    return low - margin if low < 0 else max(0.0, low - margin)


def _short(value: float) -> str:
    return f"{value:.6g}" if value else "0"


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'


def _tick_label(x: float, text: str) -> str:
    """Draw a tick label below the horizontal axis, kept inside the chart."""
    return _text(min(x, WIDTH - LETTER_PX * len(text) / 2), HEIGHT - BOTTOM + 20, text)


def _titles(across: str, up: str) -> list[str]:
    """Draw the axis labels, the vertical one horizontally above its axis."""
    return [
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across),
        f'<text x="0" y="13">{escape(up)}</text>',
    ]


def _dot(place: Point, style: str) -> str:
    return f'<circle class="{style}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4"/>'


def _legend(lines: Sequence[Line], taken_px: float) -> str:
    """Draw the legend in the first row, to the right of the axis label."""
    parts, x = [], max(LEFT + 6, taken_px + 20)
    for line in lines:
        if not line.name:
            continue
        parts.append(
            f'<line class="{line.style}" x1="{x:.1f}" x2="{x + 18:.1f}" y1="9" y2="9"/>'
            f'<text x="{x + 23:.1f}" y="13">{escape(line.name)}</text>'
        )
        x += 36 + LETTER_PX * len(line.name)
    return "".join(parts)


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
