"""How several trainings went, each measure of all of them in one chart."""

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
"""Of the lines, light enough for a dark page and dark enough for a light one."""

CHARTS = (
    ("epoch", "epoch", "val_mean_iou", "validation mean IoU"),
    ("elapsed_s", "seconds of training", "val_mean_iou", "validation mean IoU"),
    ("epoch", "epoch", "val_loss", "validation loss"),
    ("epoch", "epoch", "train_loss", "training loss"),
)
"""Column and name of the horizontal axis, column and name of the vertical one."""


def color_of(place: int) -> Color:
    """The color of a model's lines; there are this many, then they repeat."""
    return COLORS[place % len(COLORS)]


def curve_charts(models: Sequence[Sequence[History]]) -> list[str]:
    """One chart per measure; the lines of a model's seeds have one color.

    Args:
        models: The histories of each model's runs, in the order of the page.

    Returns:
        ``<svg>...</svg>``, whose lines have the classes ``run-0`` and so on; none without history.
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
    """The (across, up) values of two columns, without those that are no finite number."""
    pairs = [(float(row[across]), float(row[up])) for row in rows]
    return [pair for pair in pairs if all(map(math.isfinite, pair))]
