"""Draws maps of scenes: which windows and blocks belong to which split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.classes import Color
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Record
from pixelwise.data.scene_windows import scene_name
from pixelwise.data.split_assignment import SPLITS
from pixelwise.errors import DataError
from pixelwise.files import file_names, written_aside
from pixelwise.io.image_windows import image_size, shrunk_image
from pixelwise.prediction.writers import viewable, with_legend

MAP_PX = 720
"""Largest side of a map; at half of it, the legend is still legible."""

TEXT_PX = 28

MAX_MAPS = 12
"""Maps are drawn of at most this many scenes."""

SPLIT_COLORS: dict[str, Color] = {
    "train": (0, 114, 178),
    "val": (230, 159, 0),
    "test": (0, 158, 115),
}
"""Colors of the palette of Okabe and Ito, which differ for color-blind readers too."""

GAP_COLOR: Color = (45, 45, 45)

TINT, GAP_TINT = 0.35, 0.75
"""Opacity of the color of a split, and of the color of what is in no split."""


@dataclass(frozen=True)
class SceneMap:
    """A map of one scene.

    Attributes:
        name: The name of the scene.
        picture: The scene with the colors of its splits, and a legend.
    """

    name: str
    picture: Image.Image


def scene_maps(dataset: Dataset) -> list[SceneMap]:
    """Draw the scenes of a data set; none if its images are read as a whole.

    A scene that cannot be read is left out: the data check reports it.
    """
    windows: dict[str, list[Record]] = {}
    for record in dataset.records:
        if record.window is not None:
            windows.setdefault(scene_name(record), []).append(record)
    maps = []
    for name, records in list(windows.items())[:MAX_MAPS]:
        try:
            maps.append(SceneMap(name, _draw(records)))
        except DataError:
            continue
    return maps


def write_scene_maps(maps: Sequence[SceneMap], page: Path) -> list[Path]:
    """Write maps as PNG files beside a page, which names them.

    Raises:
        OutputError: A file cannot be written.
    """
    stems = file_names([one.name.rsplit("/", 1)[-1] for one in maps])
    written = []
    for one, stem in zip(maps, stems, strict=True):
        path = page.with_name(f"{page.stem}-map-{stem}.png")
        with written_aside(path) as aside:
            one.picture.save(aside, "PNG")
        written.append(path)
    return written


def _draw(records: Sequence[Record]) -> Image.Image:
    """Draw the windows of one scene."""
    path = records[0].image
    height, width = image_size(path)
    step = max(1, max(height, width) // MAP_PX)
    scene = Image.fromarray(viewable(shrunk_image(path, step)))
    scale = MAP_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scene = scene.resize(size, Image.Resampling.BILINEAR if step == 1 else Image.Resampling.BOX)
    colors = np.full((size[1], size[0], 3), GAP_COLOR, np.float32)
    cover = np.full((size[1], size[0], 1), GAP_TINT, np.float32)
    boxes = []
    for record in records:
        assert record.window is not None
        top, left, rows, columns = record.window
        edges = [round(edge * scale) for edge in (left, top, left + columns, top + rows)]
        place = slice(edges[1], edges[3]), slice(edges[0], edges[2])
        colors[place], cover[place] = SPLIT_COLORS[record.split or "train"], TINT
        boxes.append((record.split or "train", edges))
    base = np.asarray(scene, np.float32)
    picture = Image.fromarray((base + (colors - base) * cover).round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for split, (left, top, right, bottom) in boxes:
        draw.rectangle((left, top, right - 1, bottom - 1), outline=SPLIT_COLORS[split], width=2)
    return with_legend(picture, _legend(records, height * width), text_px=TEXT_PX)


def _legend(records: Sequence[Record], num_pixels: int) -> list[tuple[str, Color]]:
    """Return the splits with their shares of the scene, and the share that is in none."""
    areas = {
        split: sum(r.window[2] * r.window[3] for r in records if r.window and r.split == split)
        for split in SPLITS
    }
    entries = [
        (f"{split} {area / num_pixels:.0%}", SPLIT_COLORS[split])
        for split, area in areas.items()
        if area
    ]
    lost = 1 - sum(areas.values()) / num_pixels
    return [*entries, (f"gap {lost:.0%}", GAP_COLOR)] if lost > 0 else entries
