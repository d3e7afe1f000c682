"""Draws the layouts of docs/data/layouts.md and writes its section that shows them.

The folders are those of ``LAYOUTS`` in ``layout_folders.py``. Each is made in a temporary folder
and opened, and what pixelwise prints goes into the page; ``tests/test_docs.py`` checks that the
section is up to date and that every picture exists. Run it after a change there:
``make docs-pictures``.
"""

from __future__ import annotations

import io
import re
import sys
import textwrap
from contextlib import chdir
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import pixelwise
from pixelwise.classes import distinct_colors
from pixelwise.cli.wording import in_options
from pixelwise.prediction.writers import overlay_picture
from pixelwise.reporting.plots import color_ground_truth

sys.path.insert(0, str(Path(__file__).resolve().parent))

from layout_folders import LAYOUTS, Layout, make_folder, tree_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "data" / "layouts.md"
PICTURES = PAGE.parent / "pictures"

BEGIN = "<!-- tools/layout_pictures.py writes from here -->\n"
END = "<!-- to here -->\n"

WIDTH_PX = 720
"""Width of a picture. A phone shows it at half of that, where the text must be readable."""

FONT_PX, LINE_PX, CAPTION_PX, GAP_PX, MARGIN_PX = 21, 28, 27, 10, 15
CHARACTER_PX = 13
"""Width of a character of the monospaced font."""

PANEL_PX = (288, 192)
"""Width and height of an image in a picture: each of its pixels is a square of three."""

NUM_COLORS = 96
"""Colors of a picture file; with more, it takes more bytes and looks the same."""

INK, QUIET, PAPER, SHADE = "#1b1b1b", "#565656", "#ffffff", "#f1f3f5"


@dataclass
class Opened:
    """What opening a layout gave.

    Attributes:
        lines: What pixelwise prints.
        panels: The caption and the uint8 (H, W, 3) picture of each image to draw.
    """

    lines: list[str]
    panels: list[tuple[str, npt.NDArray[np.uint8]]]


def opened(layout: Layout) -> Opened:
    """Make the folder of a layout and open it as a user would, by its name."""
    with TemporaryDirectory() as parent, chdir(parent):
        make_folder(layout, Path(layout.folder))
        try:
            dataset = pixelwise.open_dataset(layout.folder, cache=False)
        except pixelwise.PixelwiseError as error:
            # The message for Python names arguments; the page shows the command line.
            with patch.object(sys, "argv", ["pixelwise", "data", "check"]):
                lines = in_options(str(error)).splitlines()
            return Opened(lines, _panels_of_question(layout))
        told = [note for note in dataset.notes if note.startswith(layout.told)]
        first = layout.paths()[0]
        record = next(
            one
            for one in dataset.records
            if one.image.relative_to(layout.folder).as_posix() == first
        )
        sample = dataset.load(record)
        image = (Path(first).name, sample.image[..., :3])
        masks = "\n".join(dict.fromkeys(path.name for path in record.masks))
        colored = color_ground_truth(sample, dataset.class_map)
        return Opened(told, [image, (masks, colored)])


def _panels_of_question(layout: Layout) -> list[tuple[str, npt.NDArray[np.uint8]]]:
    """Return the first image as each reading colors it, named by the file that is in question."""
    files = [
        (layout.is_photo(kind), path, np.asarray(Image.open(Path(layout.folder, path))))
        for path, (_, kind) in zip(layout.paths(of_first=True), layout.files, strict=True)
    ]
    photos = [file for file in files if file[0]]
    masks = [file for file in files if not file[0]]
    panels = []
    for (_, image, photo), (_, mask, values) in product(photos, masks):
        ids = np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.uint8)
        atop = photo if photo.ndim == 3 else photo[..., None]
        colored = overlay_picture(atop, ids, distinct_colors(3), hide=0)
        panels.append((mask if len(masks) > 1 else image, np.asarray(colored)))
    return panels


def section() -> str:
    """Return the Markdown of the layouts: of each its words, tree, printed lines and picture."""
    parts = []
    for layout in LAYOUTS:
        lines = opened(layout).lines
        parts.append(
            f"### {layout.title}\n{textwrap.fill(layout.words, 120)}\n\n```text\n"
            + "\n".join(
                [*tree_lines(layout), "", f"$ pixelwise data check {layout.folder}", *lines]
            )
            + f"\n```\n![{layout.alt}](pictures/{layout.name}.png)\n"
        )
    return "\n".join(parts)


def page() -> str:
    """Return the text of the page with its section up to date."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{section()}{END}{rest.partition(END)[2]}"


class _Sheet:
    """A figure whose coordinates are pixels from the upper left corner."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH_PX / 100, height / 100), dpi=100, facecolor=PAPER)

    def text(self, left: int, top: float, words: str, **style: Any) -> None:
        """Write one line whose upper left corner is given."""
        self.figure.text(
            left / WIDTH_PX,
            1 - (top + LINE_PX * 0.72) / self.height,
            words,
            fontsize=style.pop("size", FONT_PX) * 0.72,
            verticalalignment="baseline",
            parse_math=False,
            **style,
        )

    def image(self, left: int, top: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Draw an image as a panel whose upper left corner is given."""
        width, height = PANEL_PX
        box = (
            left / WIDTH_PX,
            1 - (top + height) / self.height,
            width / WIDTH_PX,
            height / self.height,
        )
        axes = self.figure.add_axes(box)
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=QUIET, linewidth=1)

    def band(self, top: int) -> None:
        """Shade everything below a height."""
        share = 1 - top / self.height
        axes = self.figure.add_axes((0, 0, 1, share), zorder=-1)
        axes.set_facecolor(SHADE)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)

    def save(self, path: Path) -> None:
        """Write the figure as a small PNG."""
        buffer = io.BytesIO()
        FigureCanvasAgg(self.figure).print_png(buffer)
        picture = Image.open(buffer).convert("RGB").quantize(NUM_COLORS)
        picture.save(path, optimize=True)


def wrapped(lines: list[str]) -> list[str]:
    """Return the printed lines as a picture shows them: each template and option on its own line.

    Of a question, everything up to the last command is shown, without what each reading holds.
    """
    characters = (WIDTH_PX - 2 * MARGIN_PX) // CHARACTER_PX
    if len(lines) > 2:  # a question
        lines = [lines[0], *(line.partition("  #")[0] for line in lines if "--masks" in line)]
    shown = []
    for line in lines:
        broken = re.sub(r"(?<=\d:) (?=\S*\{)|(?<=}\S{4}) (?=with )|(?<=;) | (?=--)", "\n", line)
        first, *others = broken.split("\n")
        deeper = "  " + " " * (len(first) - len(first.lstrip()))
        for indent, part in ((deeper, first), *((deeper + "  ", deeper + one) for one in others)):
            shown += textwrap.wrap(
                part, characters, subsequent_indent=indent, break_on_hyphens=False
            )
    return shown


def draw(layout: Layout, path: Path) -> None:
    """Draw the tree, the image with its mask, and the printed lines of a layout."""
    found = opened(layout)
    tree = tree_lines(layout)
    printed = wrapped(found.lines)
    heights = [PANEL_PX[1] + (caption.count("\n") + 1) * CAPTION_PX for caption, _ in found.panels]
    body = max(len(tree) * LINE_PX, sum(heights) + GAP_PX) + 2 * MARGIN_PX
    sheet = _Sheet(body + len(printed) * LINE_PX + MARGIN_PX)
    for number, line in enumerate(tree):
        sheet.text(MARGIN_PX, MARGIN_PX + number * LINE_PX, line, family="monospace", color=INK)
    left, top = WIDTH_PX - MARGIN_PX - PANEL_PX[0], MARGIN_PX
    for (caption, pixels), height in zip(found.panels, heights, strict=True):
        sheet.image(left, top, pixels)
        for number, line in enumerate(caption.split("\n")):
            below = top + PANEL_PX[1] + number * CAPTION_PX
            sheet.text(left, below, line, color=QUIET, size=20)
        top += height + GAP_PX
    sheet.band(body)
    for number, line in enumerate(printed):
        top = body + MARGIN_PX / 2 + number * LINE_PX
        sheet.text(MARGIN_PX, top, line, family="monospace", color=INK)
    sheet.save(path)


def main() -> None:
    """Draw every picture, remove those of no layout, and write the section."""
    PICTURES.mkdir(exist_ok=True)
    for path in PICTURES.glob("*.png"):
        path.unlink()
    for layout in LAYOUTS:
        draw(layout, PICTURES / f"{layout.name}.png")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
