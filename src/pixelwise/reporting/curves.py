"""Training curves of several runs, one chart per measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pixelwise.classes import Color
from pixelwise.reporting.charts import Line, line_chart

History = Sequence[Mapping[str, Any]]
"""The rows of a run's ``history.csv``."""

COLORS: tuple[Color, ...] = (
    (61, 133, 198), (217, 119, 43), (47, 163, 124), (198, 91, 157),
    (166, 138, 28), (106, 111, 214), (201, 79, 79), (127, 136, 148),
)  # fmt: skip
"""Line colors that are visible on dark and light pages."""

CHARTS = (
    ("epoch", "epoch", "val_mean_iou", "validation mean IoU"),
    ("elapsed_s", "seconds of training", "val_mean_iou", "validation mean IoU"),
    ("epoch", "epoch", "val_loss", "validation loss"),
    ("epoch", "epoch", "train_loss", "training loss"),
)
"""Column and label of the horizontal axis, column and label of the vertical axis."""


def color_of(place: int) -> Color:
    """Return the line color of a model; the colors repeat after the last."""
    return COLORS[place % len(COLORS)]


def curve_charts(models: Sequence[Sequence[History]]) -> list[str]:
    """Draw one chart per measure; all seeds of a model have the same color.

    Args:
        models: The histories of each model's runs, in the order of the page.

    Returns:
        ``<svg>...</svg>`` for each measure, with CSS classes ``run-0`` and so on; empty without
        history.
    """
    charts = []
    for across, across_words, up, up_words in CHARTS:
        lines = [
            Line("", points, f"run-{place % len(COLORS)}")
            for place, histories in enumerate(models)
            for rows in histories
            if (points := points_of(rows, across, up))
        ]
        if lines:
            charts.append(line_chart(lines, across_words, up_words))
    return charts


def points_of(rows: History, across: str, up: str) -> list[tuple[float, float]]:
    """Return the (x, y) values of two columns, without non-finite values."""
    pairs = [(float(row[across]), float(row[up])) for row in rows]
    return [pair for pair in pairs if all(map(math.isfinite, pair))]
