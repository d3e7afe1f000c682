"""Draws samples: the image, its mask, and augmented versions of both."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.prediction.writers import overlay_picture, viewable
from pixelwise.reporting.plots import add_legend, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL_INCHES = 2.6
"""Width of a picture in the grid, in inches."""

NUM_STRIPES = 24
"""Number of stripes along a picture's longer side; ignored pixels are striped."""

OPACITY = 0.6
"""Opacity of the class colors."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SampleRow:
    """A sample and its augmented versions.

    Attributes:
        sample: The sample as read.
        versions: The augmented versions, in the units of the sample.
        beyond: For each version, bool (H, W): pixels outside the image, which are ignored.
    """

    sample: Sample
    versions: tuple[Sample, ...]
    beyond: tuple[Flags, ...]


def draw_samples(
    rows: Sequence[SampleRow], class_map: ClassMap, captions: Sequence[str], path: Path
) -> None:
    """Draw a grid: each row shows an image, its mask overlay, and augmented versions of both.

    Args:
        rows: At least one, each with the same number of versions.
        class_map: Names and colors.
        captions: Lines of text above the grid.
        path: The PNG to write.
    """
    headings = ["image", "mask", *(f"augmented {i + 1}" for i in range(len(rows[0].versions)))]
    width = CELL_INCHES * len(headings)
    heights = [
        max(_cell_height(sample.image) for sample in (row.sample, *row.versions)) for row in rows
    ]
    lines = [line for text in captions for line in textwrap.wrap(text, int(width * 13))]
    legend_rows = -(-(class_map.num_classes + 1) // 6)
    figure = new_figure(width, sum(heights) + 0.25 * len(rows) + 0.16 * len(lines)
                        + 0.25 * legend_rows + 0.5)  # fmt: skip
    grid = figure.subplots(
        len(rows), len(headings), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes_row, row in zip(grid, rows, strict=True):
        for axes, picture in zip(axes_row, _pictures(row, class_map), strict=True):
            _show(axes, picture)
        axes_row[0].set_xlabel(_shortened(row.sample.name), fontsize=7, color="0.3")
    for axes, heading in zip(grid[0], headings, strict=True):
        axes.set_title(heading, fontsize=10)
    has_ignored = any(_has_ignored(row) for row in rows)
    add_legend(figure, class_map, has_ignored=has_ignored, is_striped=True)
    figure.suptitle("\n".join(lines), fontsize=8, color="0.25", x=0.01, ha="left")
    save_figure(figure, path)


def _pictures(row: SampleRow, class_map: ClassMap) -> list[UInt8Array]:
    shown = viewable(row.sample.image)
    nothing = np.zeros(row.sample.image.shape[:2], bool)
    pictures = [shown, _colored(row.sample, shown, nothing, class_map)]
    for version, beyond in zip(row.versions, row.beyond, strict=True):
        shown = viewable(version.image, like=row.sample.image)
        pictures.append(_colored(version, shown, beyond, class_map))
    return pictures


def _colored(sample: Sample, shown: UInt8Array, beyond: Flags, class_map: ClassMap) -> UInt8Array:
    """Return the image with its mask overlaid; background pixels keep their colors."""
    mode = mode_of(sample.label_mode)
    ignored = beyond | mode.ignored(sample.mask)
    picture = np.array(
        overlay_picture(
            shown,
            mode.numbers_of_mask(sample.mask),
            mode.palette(class_map),
            hide=mode.untinted(class_map),
            opacity=OPACITY,
        )
    )
    rows, columns = np.indices(ignored.shape)
    stripe_px = max(2, max(ignored.shape) // NUM_STRIPES // 2)
    is_light = (rows + columns) // stripe_px % 2 == 0
    picture[ignored] = np.where(is_light[ignored][:, None], 190, shown[ignored] // 3)
    return picture


def _has_ignored(row: SampleRow) -> bool:
    samples = (row.sample, *row.versions)
    mode = mode_of(row.sample.label_mode)
    is_marked = any(mode.ignored(sample.mask).any() for sample in samples)
    return is_marked or any(bool(beyond.any()) for beyond in row.beyond)


def _show(axes: Axes, picture: UInt8Array) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_anchor("N")  # headings are aligned, whatever the pictures' shapes
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cell_height(image: Array) -> float:
    height, width = image.shape[:2]
    return float(min(2 * CELL_INCHES, max(0.4, CELL_INCHES * height / width)))


def _shortened(name: str, longest: int = 40) -> str:
    if len(name) <= longest:
        return name
    half = longest // 2 - 1
    return f"{name[:half]}…{name[-half:]}"
