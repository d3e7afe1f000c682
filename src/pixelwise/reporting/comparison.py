"""One page that puts several models side by side: cost, scores, and the same images predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.prediction.writers import viewable
from pixelwise.reporting.plots import (
    add_legend,
    colour_prediction,
    colour_truth,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

IMAGE_INCHES = 1.75
"""Width of a picture in the grid."""


@dataclass(frozen=True)
class Compared:
    """One model of the page.

    Attributes:
        name: What it is called.
        mean_iou: On the validation split.
        parameters: Trained weights.
        gmacs: Of one image of the training size, in 10 ** 9.
        ms_per_image: Of a prediction, measured on this machine.
        per_class: IoU by class; ``None`` where the masks do not show it.
        class_map: Names and colours.
        samples: The images that are drawn, the same for every model.
        probabilities: float32 (K, H, W), one per sample.
    """

    name: str
    mean_iou: float
    parameters: int
    gmacs: float
    ms_per_image: float
    per_class: dict[str, float | None]
    class_map: ClassMap
    samples: Sequence[Sample]
    probabilities: Sequence[npt.NDArray[np.float32]]


def draw_comparison(models: Sequence[Compared], title: str, path: Path) -> None:
    """Draw the page: score against parameters, computation and time, a table, predictions.

    Args:
        models: At least one; their samples are the same.
        title: At the head of the page.
        path: The PNG to write.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    samples = models[0].samples
    colours = [colormaps["tab10"](index % 10) for index in range(len(models))]
    columns = 2 + len(models)
    ratio = max(sample.mask.shape[-2] / sample.mask.shape[-1] for sample in samples)
    image_rows = len(samples) * IMAGE_INCHES * ratio
    table_rows = 0.26 * (len(models) + 2)
    width = max(10.0, IMAGE_INCHES * columns + 0.5)
    figure = new_figure(width, 3.2 + table_rows + image_rows + 1.0)
    # The types of matplotlib say that there is one; there are three.
    rooms: Any = figure.subfigures(3, 1, height_ratios=[3.2, table_rows, image_rows + 0.6])
    top, middle, bottom = rooms
    figure.suptitle(title)
    scatters = top.subplots(1, 3, sharey=True)
    for axes, (field, label) in zip(
        scatters,
        (
            ("parameters", "parameters"),
            ("gmacs", "GMAC of an image of the training size"),
            ("ms_per_image", "ms to predict an image, here"),
        ),
        strict=True,
    ):
        for model, colour in zip(models, colours, strict=True):
            axes.scatter(
                getattr(model, field), model.mean_iou, color=colour, label=model.name, s=45
            )
        costs = [getattr(model, field) for model in models]
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=5))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
    scatters[0].set_ylim(0, max(0.1, 1.1 * max(model.mean_iou for model in models)))
    scatters[0].set_ylabel("mean IoU, validation")
    handles, labels = scatters[0].get_legend_handles_labels()
    top.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    _draw_table(middle, models)
    grid = bottom.subplots(len(samples), columns, squeeze=False)
    for row, sample in zip(range(len(samples)), samples, strict=True):
        pictures = [
            viewable(sample.image),
            colour_truth(sample, models[0].class_map),
            *(
                colour_prediction(sample, model.probabilities[row], model.class_map)
                for model in models
            ),
        ]
        for axes, picture in zip(grid[row], pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
    for axes, name in zip(
        grid[0], ("input", "truth", *(model.name for model in models)), strict=True
    ):
        axes.set_title(name.replace("-", "-\n", 1) if len(name) > 14 else name, fontsize=8)
    add_legend(bottom, models[0].class_map, has_void=False)
    save_figure(figure, path)


def _short(value: float, _: object) -> str:
    """A cost with a unit, such as 75k or 31M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _draw_table(figure: FigureBase, models: Sequence[Compared]) -> None:
    """IoU by class, a row per model; the best of each class in bold."""
    names = list(models[0].per_class)
    axes = figure.subplots()
    axes.set_axis_off()
    values = [[model.mean_iou, *(model.per_class[name] for name in names)] for model in models]
    table = axes.table(
        cellText=[["-" if value is None else f"{value:.3f}" for value in row] for row in values],
        rowLabels=[model.name for model in models],
        colLabels=["mean IoU", *names],
        loc="center",
        cellLoc="center",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(7 if len(names) > 6 else 9)
    for column in range(len(names) + 1):
        best = max(range(len(models)), key=lambda row: values[row][column] or 0.0)
        table[best + 1, column].set_text_props(fontweight="bold")
    for cell in table.get_celld().values():
        cell.set_edgecolor("0.85")
