"""PNG pictures of a run: curves, segmentations with a legend, and per-class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.files import written_aside
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.prediction.writers import overlay_picture, viewable
from pixelwise.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

TRAIN_COLOR, VAL_COLOR = "#1f77b4", "#d95f02"


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and metrics over the epochs and mark the kept epoch.

    Args:
        history: Rows of ``history.csv``, at least one.
        path: The PNG to write.
    """
    figure = new_figure(9.0, 3.4)
    loss_axes, metric_axes = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    kept = max(row["epoch"] for row in history if row["is_best"])
    marker = "o" if len(epochs) < 30 else ""
    style = {"marker": marker, "markersize": 3, "linewidth": 1.5}
    for name, color, label in (
        ("train_loss", TRAIN_COLOR, "train"),
        ("val_loss", VAL_COLOR, "validation"),
    ):
        loss_axes.plot(epochs, [row[name] for row in history], color=color, label=label, **style)
    largest = max(max(row["train_loss"], row["val_loss"]) for row in history)
    smallest = min(min(row["train_loss"], row["val_loss"]) for row in history)
    if smallest > 0 and largest / smallest > 5:
        loss_axes.set_yscale("log")
    for name, color, label in (
        ("val_mean_iou", VAL_COLOR, "mean IoU"),
        ("val_pixel_accuracy", "#7570b3", "pixel accuracy"),
    ):
        metric_axes.plot(epochs, [row[name] for row in history], color=color, label=label, **style)
    metric_axes.set_ylim(0, 1)
    for axes, title in ((loss_axes, "loss"), (metric_axes, "validation metrics")):
        axes.axvline(kept, color="0.6", linewidth=1, linestyle=":", label=f"kept: epoch {kept}")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    save_figure(figure, path)


def draw_segmentation(
    sample: Sample, probabilities: npt.NDArray[np.float32], class_map: ClassMap, path: Path
) -> None:
    """Draw input, ground truth and prediction side by side, with one color per class and a legend.

    Args:
        sample: The image and its mask.
        probabilities: float32 (K, H, W).
        class_map: Names and colors.
        path: The PNG to write.
    """
    pictures = [
        viewable(sample.image),
        color_ground_truth(sample, class_map),
        color_prediction(sample, probabilities, class_map),
    ]
    mode = mode_of(sample.label_mode)
    has_ignored = bool(mode.ignored(sample.mask).any())
    height, width = sample.mask.shape[-2:]
    across = 3.2
    down = min(12.0, max(0.6, across * height / width))
    legend_rows = -(-class_map.num_classes // 6)
    figure = new_figure(3 * across + 0.4, down + 0.75 + 0.25 * legend_rows)
    columns = figure.subplots(1, 3)
    titles = ("input", "ground truth", mode.prediction_title)
    for axes, picture, title in zip(columns, pictures, titles, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    add_legend(figure, class_map, has_ignored=has_ignored)
    figure.suptitle(sample.name, fontsize=8, color="0.4")
    save_figure(figure, path)


def color_ground_truth(sample: Sample, class_map: ClassMap) -> UInt8Array:
    """Return the image with its mask overlaid, one color per class; ignored pixels are darkened.

    Returns:
        uint8 (H, W, 3).
    """
    mode = mode_of(sample.label_mode)
    ignored = mode.ignored(sample.mask)
    picture = _colored(sample, mode.numbers_of_mask(sample.mask), class_map)
    picture[ignored] = viewable(sample.image)[ignored] // 3
    return picture


def color_prediction(
    sample: Sample, probabilities: npt.NDArray[np.float32], class_map: ClassMap
) -> UInt8Array:
    """Return the image with a prediction overlaid; probabilities are float32 (K, H, W).

    Returns:
        uint8 (H, W, 3).
    """
    return _colored(sample, mode_of(sample.label_mode).numbers(probabilities), class_map)


def _colored(sample: Sample, classes: UInt8Array, class_map: ClassMap) -> UInt8Array:
    mode = mode_of(sample.label_mode)
    return np.array(
        overlay_picture(
            sample.image,
            classes,
            mode.palette(class_map),
            hide=mode.untinted(class_map),
            opacity=0.8,
        )
    )


def draw_class_grid(
    sample: Sample, probabilities: npt.NDArray[np.float32], class_map: ClassMap, path: Path
) -> None:
    """Draw one column per class: the ground truth above, the raw probability below.

    Args:
        sample: The image and its mask.
        probabilities: float32 (K, H, W).
        class_map: Names; of more than twelve classes, the twelve with the largest area are drawn.
        path: The PNG to write.
    """
    planes = mode_of(sample.label_mode).targets(sample.mask, class_map.num_classes)
    largest = np.argsort(-planes.sum((1, 2)), kind="stable")[:12]
    chosen = sorted(largest.tolist())
    height, width = sample.mask.shape[-2:]
    across = 1.7
    figure = new_figure(
        max(3.0, across * len(chosen)), 2 * min(8.0, max(0.5, across * height / width)) + 0.4
    )
    grid = figure.subplots(2, len(chosen), squeeze=False)
    for column, index in zip(grid.T, chosen, strict=True):
        for axes, plane in zip(column, (planes[index], probabilities[index]), strict=True):
            axes.imshow(plane, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        column[0].set_title(class_map.names[index], fontsize=9)
    grid[0, 0].set_ylabel("ground truth", fontsize=9)
    grid[1, 0].set_ylabel("prediction", fontsize=9)
    save_figure(figure, path)


def add_legend(
    figure: FigureBase, class_map: ClassMap, *, has_ignored: bool, is_striped: bool = False
) -> None:
    """Add a legend of the classes and of ignored pixels below a figure."""
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*color), edgecolor="0.4", label=name)
        for name, color in zip(class_map.names, class_map.colors, strict=True)
    ]
    if has_ignored:
        hatch, label = ("////", "ignored (striped)") if is_striped else (None, "ignored (darkened)")
        edge = "0.75" if is_striped else "0.4"
        entries.append(Patch(facecolor="0.2", edgecolor=edge, hatch=hatch, label=label))
    figure.legend(handles=entries, loc="outside lower center", ncols=6, fontsize=8, frameon=False)


def new_figure(width: float, height: float) -> Figure:
    """Create a figure without pyplot: no window, and no state shared between threads."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically, with foreign names as they are: a dollar sign is no formula."""
    from matplotlib.text import Text  # takes a second to import

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=100)
