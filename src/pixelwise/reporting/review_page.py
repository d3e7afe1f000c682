"""Writes likely label errors as a page with pictures and as a CSV table."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.files import written_aside
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.metrics.label_quality import Suspect
from pixelwise.prediction.writers import viewable
from pixelwise.reporting.data_check_page import MARK_COLOR
from pixelwise.reporting.html import data_uri, write_page
from pixelwise.reporting.plots import color_ground_truth
from pixelwise.text import portable

PAGE_NAME, TABLE_NAME = "review.html", "review.csv"

MIN_CROP_PX = 48
"""Minimum side of the crop shown around a region, in pixels."""

PICTURE_PX = 240
"""Longer side of a crop on the page; crops are enlarged or shrunk to about this size."""

COLUMNS = (
    "rank", "name", "row", "column", "height", "width", "given", "suggested", "area_px",
    "confidence", "score", "image",
)  # fmt: skip


@dataclass(frozen=True)
class SuspectPicture:
    """A suspect on the page.

    Attributes:
        rank: Rank, counted from 1.
        name: Record name of its image.
        place: Its position in the image, in words.
        given: The given label, in words.
        suggested: The label suggested by the model.
        facts: Confidence, area and score.
        pictures: (caption, data URI) of the image, its label and the suggestion, for the same crop.
    """

    rank: int
    name: str
    place: str
    given: str
    suggested: str
    facts: str
    pictures: list[tuple[str, str]]


def suspect_pictures(
    suspects: Sequence[Suspect], load: Callable[[str], Sample], class_map: ClassMap
) -> list[SuspectPicture]:
    """Return the gallery entries of suspects in order; every image is decoded once.

    Args:
        suspects: The suspects, likeliest first.
        load: Returns the sample of a record's name.
        class_map: Names and colors.
    """
    entries: dict[int, SuspectPicture] = {}
    for name in dict.fromkeys(suspect.name for suspect in suspects):
        own = [(rank, one) for rank, one in enumerate(suspects, start=1) if one.name == name]
        sample = load(name)
        suggested = as_suggested(sample, [one for _, one in own], class_map)
        layers = [
            ("image", viewable(sample.image)),
            ("label", color_ground_truth(sample, class_map)),
            ("suggested", color_ground_truth(suggested, class_map)),
        ]
        for rank, suspect in own:
            entries[rank] = _entry(rank, suspect, layers)
    return [entries[rank] for rank in sorted(entries)]


def as_suggested(sample: Sample, suspects: Sequence[Suspect], class_map: ClassMap) -> Sample:
    """Return the sample with its mask changed as suggested.

    Args:
        sample: The image and its labels.
        suspects: The suspects of this image.
        class_map: The classes.
    """
    mask, mode = sample.mask.copy(), mode_of(sample.label_mode)
    for suspect in suspects:
        for name, change in ((suspect.given, mode.erase), (suspect.suggested, mode.paint)):
            if name is not None:
                change(mask, suspect.place, suspect.region, class_map.names.index(name))
    return dataclasses.replace(sample, mask=mask)


def write_review_page(
    path: Path,
    suspects: Sequence[Suspect],
    load: Callable[[str], Sample],
    class_map: ClassMap,
    *,
    title: str,
    notes: Sequence[str] = (),
) -> None:
    """Write the page of a review.

    Args:
        path: The HTML file.
        suspects: The suspects, likeliest first.
        load: Returns the sample of a record's name.
        class_map: Names and colors.
        title: Model and data.
        notes: Notes on the review.

    Raises:
        OutputError: The page cannot be written.
    """
    changes = Counter(suspect.answers for suspect in suspects)
    write_page(
        path,
        "review.html",
        title=title,
        notes=notes,
        num_images=len({suspect.name for suspect in suspects}),
        num_pixels=sum(suspect.area_px for suspect in suspects),
        changes=[(*answers, count) for answers, count in changes.most_common()],
        legend=[
            *zip(class_map.names, class_map.colors, strict=True),
            ("edge of the region", MARK_COLOR),
        ],
        entries=suspect_pictures(suspects, load, class_map),
    )


def write_review_table(
    path: Path, suspects: Sequence[Suspect], image_of: Callable[[str], Path]
) -> None:
    """Write suspects as CSV, one per row, likeliest first.

    Args:
        path: The file.
        suspects: The suspects, likeliest first.
        image_of: Returns the image file of a record's name.

    Raises:
        OutputError: The file cannot be written.
    """
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for rank, one in enumerate(suspects, start=1):
            measured = (one.area_px, f"{one.confidence:.4f}", f"{one.score:.4f}")
            rows.writerow(
                (
                    rank,
                    one.name,
                    *one.box,
                    *one.answers,
                    *measured,
                    portable(str(image_of(one.name))),
                )
            )


def _entry(rank: int, suspect: Suspect, layers: Sequence[tuple[str, UInt8Array]]) -> SuspectPicture:
    top, left, _, _ = suspect.box
    return SuspectPicture(
        rank,
        suspect.name,
        f"row {top}, column {left}",
        *suspect.answers,
        f"confidence {suspect.confidence:.0%} · {suspect.area_px:,} px · score {suspect.score:.2f}",
        [(words, data_uri(_crop(pixels, suspect))) for words, pixels in layers],
    )


def _crop(picture: UInt8Array, suspect: Suspect) -> Image.Image:
    """Return a crop around the region at viewing size, with the outline of the region."""
    shape = (picture.shape[0], picture.shape[1])
    rows, columns = (
        _with_context(start, length, whole)
        for start, length, whole in zip(suspect.box[:2], suspect.box[2:], shape, strict=True)
    )
    pixels, region = picture[rows, columns], suspect.inside(shape)[rows, columns]
    longest = max(region.shape)
    # Integer factors keep the pixels square.
    factor = max(1, PICTURE_PX // longest)
    size = (region.shape[1] * factor, region.shape[0] * factor)
    if longest > PICTURE_PX:
        size = (
            max(1, size[0] * PICTURE_PX // longest),
            max(1, size[1] * PICTURE_PX // longest),
        )
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
    shown = np.array(Image.fromarray(pixels).resize(size, how))
    drawn = np.asarray(Image.fromarray(region).resize(size, Image.Resampling.NEAREST))
    shown[binary_dilation(drawn, iterations=2) & ~drawn] = MARK_COLOR
    return Image.fromarray(shown)


def _with_context(start: int, length: int, whole: int) -> slice:
    """Return an interval around another one, shifted to lie inside the image."""
    wanted = min(whole, max(MIN_CROP_PX, 2 * length))
    begin = min(max(0, start + length // 2 - wanted // 2), whole - wanted)
    return slice(begin, begin + wanted)
