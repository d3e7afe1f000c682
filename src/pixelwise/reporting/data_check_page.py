"""The page of the data check: a self-contained HTML file with pictures of every finding."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.sample import Record
from pixelwise.doctor import Examination
from pixelwise.doctor.findings import MAX_EXAMPLES, Example, Finding
from pixelwise.doctor.mask_checks import STRIDE_PX
from pixelwise.errors import PixelwiseError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.image_windows import in_window
from pixelwise.io.images import read_image
from pixelwise.prediction.writers import overlay_picture, viewable
from pixelwise.reporting.html import data_uri, shrunk, write_page
from pixelwise.reporting.plots import color_ground_truth
from pixelwise.reporting.scene_map import scene_maps, write_scene_maps
from pixelwise.text import amount

THUMBNAIL_PX = 320
MAX_DETAILS = 200
"""Maximum number of lines listed per finding; the JSON has all."""

NUM_SAMPLES = 6
LONGEST_WORD = 44
"""Maximum length of a word in a caption; the list above the pictures has the full names."""

MARK_COLOR = (255, 0, 170)
"""Color of marked pixels: rare in photographs, and distinct in lightness for color-blind users."""

MARK_OPACITY = 0.8

SEVERITY_TEXTS = {
    "refused": "Must be fixed before training",
    "harmful": "Harmful: training runs, but learns or measures something wrong",
    "notable": "Worth knowing",
}


@dataclass(frozen=True)
class Picture:
    """A thumbnail on the page.

    Attributes:
        uri: ``data:image/jpeg;base64,...``; ``None`` if the file cannot be decoded.
        caption: Text below it.
    """

    uri: str | None
    caption: str


def write_data_check_page(examination: Examination, path: Path, *, seed: int = 0) -> list[Path]:
    """Write the page of a data check, and the maps of scenes as pictures beside it.

    Args:
        examination: The findings; the images must still be at their paths.
        path: The HTML file.
        seed: Random seed for the choice of samples.

    Returns:
        The page and the pictures.

    Raises:
        OutputError: A file cannot be written.
    """
    maps = scene_maps(examination.dataset) if examination.dataset else []
    write_page(
        path,
        "doctor.html",
        examination=examination,
        dataset=examination.dataset,
        total=sum(examination.num_images.values()),
        splits=list(examination.num_images),
        severities=[
            (severity, text, held)
            for severity, text in SEVERITY_TEXTS.items()
            if (held := [one for one in examination.findings if one.severity == severity])
        ],
        pictures={one.kind: _pictures(one) for one in examination.findings},
        samples=_samples(examination, seed),
        maps=[Picture(data_uri(one.picture, lossless=True), one.name) for one in maps],
        max_details=MAX_DETAILS,
        stride_px=STRIDE_PX,
    )
    return [path, *write_scene_maps(maps, path)]


def _pictures(finding: Finding) -> list[Picture]:
    return [_marked(example) for example in finding.examples[:MAX_EXAMPLES]]


def _marked(example: Example) -> Picture:
    """Return the image of an example with its pixels marked."""
    caption = _middle_cut(example.caption)
    try:
        image = viewable(read_image(example.image, in_window(example.window)))
    except PixelwiseError:
        return Picture(None, caption)
    small = _thumbnail(image)
    if example.marks is not None:
        marks = Image.fromarray(example.marks).resize(small.size, Image.Resampling.NEAREST)
        small = overlay_picture(
            np.asarray(small),
            np.asarray(marks, np.uint8),
            [(0, 0, 0), MARK_COLOR],
            hide=0,
            opacity=MARK_OPACITY,
        )
    return Picture(data_uri(small), caption)


def _middle_cut(caption: str) -> str:
    """Shorten long words of a caption, such as hashes in file names, in the middle."""
    return " ".join(
        word if len(word) <= LONGEST_WORD else f"{word[:14]}…{word[-14:]}"
        for word in caption.split(" ")
    )


def _samples(examination: Examination, seed: int) -> list[tuple[Picture, Picture]]:
    """Return some randomly chosen images, each with its mask overlay."""
    dataset, usable = examination.dataset, examination.usable
    if dataset is None:
        return []
    # The splits are drawn from the plain seed: the same draw here would show test images only.
    draw = random.Random(f"samples {seed}")
    chosen: Sequence[Record] = draw.sample(usable, min(NUM_SAMPLES, len(usable)))
    pairs = []
    for record in chosen:
        try:
            sample = dataset.load(record)
        except PixelwiseError:  # it was readable during the check: somebody is editing the files
            continue
        image = _thumbnail(viewable(sample.image))
        target = _thumbnail(color_ground_truth(sample, dataset.class_map))
        caption = f"{_middle_cut(record.name)} · {record.split} · {_size(sample.image)}"
        pairs.append((Picture(data_uri(image), caption), Picture(data_uri(target), "its mask")))
    return pairs


def _size(image: np.ndarray) -> str:
    height, width, channels = image.shape
    return f"{width} x {height}, {amount(channels, 'channel')}, {image.dtype}"


def _thumbnail(pixels: UInt8Array) -> Image.Image:
    return shrunk(pixels, THUMBNAIL_PX)
