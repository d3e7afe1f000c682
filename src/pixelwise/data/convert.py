"""Converts a data set to another label format, with its splits and classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from pixelwise.data.card import CARD_NAME, card_of
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.formats import formats
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import FormatError
from pixelwise.files import as_path, file_names, folder_written_aside, require_outside


def convert_data(
    data: Dataset | Path | str,
    out: Path | str,
    to: str,
    *,
    keep_splits: bool = True,
    on_written: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set in another format, with a card that holds its classes and splits.

    Args:
        data: A folder, a dataset card, or an opened data set.
        out: The folder to create; it must be new or empty.
        to: The name of the format to write.
        keep_splits: Store the images by split, as the format does; otherwise all together.
        on_written: Called with the number of written images and the total number.

    Raises:
        FormatError: The format has no writer, or cannot represent the data; nothing is written.
        UnknownNameError: The format is unknown.
        DataError: A file cannot be read.
        OutputError: The folder is not empty, or cannot be written.
    """
    target = formats.create(to)
    if not target.has_writer:
        raise FormatError(
            f"{out} cannot be written as {to}, which has no writer. Choose another format"
        )
    dataset = data if isinstance(data, Dataset) else open_dataset(data)
    if dataset.label_mode in target.label_modes:
        target = formats.create(to, label_mode=dataset.label_mode)
    # Files in different folders may share a name, but the output is one folder.
    stems = file_names([_plain_name(record) for record in dataset.records])
    records = [
        dataclasses.replace(
            record,
            name=f"{record.split}/{stem}" if keep_splits and record.split else stem,
            split=record.split if keep_splits else None,
        )
        for record, stem in zip(dataset.records, stems, strict=True)
    ]

    def samples() -> Iterator[tuple[Record, Sample]]:
        for number, (old, new) in enumerate(zip(dataset.records, records, strict=True), start=1):
            yield new, dataset.load(old)
            if on_written:
                on_written(number, len(records))

    class_map = target.stored(dataset.class_map)
    varied = dataset.augmentation
    # Windows become images of their own, which must not be cut again.
    is_final = dataset.window_rule.side == "off" or any(record.window for record in records)
    card = card_of(
        class_map,
        format=to,
        label_mode=dataset.label_mode,
        bands=dataset.bands,
        windows="off" if is_final else None,
        augmentation=varied if varied.model_dump(exclude_none=True) else None,
    )
    out = as_path(out, "out")
    require_outside(out, dataset.path, "the data set")
    with folder_written_aside(out) as aside:
        target.write(aside, samples(), class_map)
        (aside / CARD_NAME).write_text(card.to_yaml(), encoding="utf-8")


def _plain_name(record: Record) -> str:
    """Return the last part of a record's name; a window keeps the name of its scene."""
    parts = record.name.split("/")
    return "-".join(parts[-2:]) if record.window else parts[-1]
