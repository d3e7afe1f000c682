"""Writes suspects for the labeling tool LabelMe: the labels, with suspect regions added."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy.ndimage import binary_fill_holes

from pixelwise.data.card import CARD_NAME, card_of
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import formats
from pixelwise.data.formats.shapes import trace_regions
from pixelwise.data.sample import Record, Sample
from pixelwise.files import file_names, folder_written_aside
from pixelwise.label_modes import mode_of
from pixelwise.metrics.label_quality import Suspect

FORMAT_NAME = "labelme"

REVIEW_MARK = "review: "
"""Prefix of the label of a shape that marks a suspect region."""

SMOOTHING_PX = 0.75
"""Outlines of suspects are simplified to this tolerance, so that corners can be dragged."""


def write_labelme_review(
    folder: Path,
    suspects: Sequence[Suspect],
    dataset: Dataset,
    *,
    on_written: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the images with suspects in LabelMe's format, each suspect as a polygon.

    The folder is a data set with a card. It can be read once all shapes labeled ``review: ...`` are
    removed; a remaining one raises an error as an unknown label. Soft labels are written as hard
    labels.

    Args:
        folder: The folder to create; it must be new or empty.
        suspects: The suspects, likeliest first.
        dataset: Their data set.
        on_written: Called with the number of written images and the total number.

    Returns:
        The JSON files, in the order of their images' names.

    Raises:
        FormatError: LabelMe cannot hold the labels.
        OutputError: The folder is not empty or cannot be written.
    """
    names = {suspect.name for suspect in suspects}
    records = [record for record in dataset.records if record.name in names]
    stems = file_names([record.name.rsplit("/", 1)[-1] for record in records])
    target = formats.create(FORMAT_NAME, label_mode=dataset.label_mode)

    def samples() -> Iterator[tuple[Record, Sample]]:
        for number, (record, stem) in enumerate(zip(records, stems, strict=True), start=1):
            # The split of an image does not matter for corrections: all images go into one folder.
            yield dataclasses.replace(record, name=stem, split=None), _hard(dataset.load(record))
            if on_written:
                on_written(number, len(records))

    card = card_of(dataset.class_map, format=FORMAT_NAME, label_mode=dataset.label_mode)
    with folder_written_aside(folder) as aside:
        target.write(aside, samples(), dataset.class_map)
        (aside / CARD_NAME).write_text(card.to_yaml(), encoding="utf-8")
        for record, stem in zip(records, stems, strict=True):
            own = [suspect for suspect in suspects if suspect.name == record.name]
            _add_shapes(aside / f"{stem}.json", own)
    return [folder / f"{stem}.json" for stem in stems]


def _hard(sample: Sample) -> Sample:
    return dataclasses.replace(sample, mask=mode_of(sample.label_mode).hard(sample.mask))


def _add_shapes(path: Path, suspects: Sequence[Suspect]) -> None:
    """Add the polygons of suspects to a label file that was just written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["shapes"] += [_shape(suspect) for suspect in suspects]
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _shape(suspect: Suspect) -> dict[str, Any]:
    ((ring, *_), *_) = trace_regions(np.asarray(binary_fill_holes(suspect.region)))
    smooth = shapely.simplify(shapely.polygons(ring), SMOOTHING_PX)
    top, left, _, _ = suspect.box
    corners = shapely.get_coordinates(smooth)[:-1] + np.array([left, top])
    return {
        "label": f"{REVIEW_MARK}{suspect.change}",
        "points": corners.tolist(),
        "group_id": None,
        "description": f"confidence {suspect.confidence:.0%}, score {suspect.score:.2f}",
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
    }
