"""Keeps the whole samples of scenes whose format cannot read a window alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Record, Sample
from pixelwise.io.file_state import FileState, kept_while_unchanged, state_of
from pixelwise.io.members import file_of


class Decoder(Protocol):
    """What decodes whole samples: a label format."""

    def sample(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode one image and its mask."""


def whole_sample(record: Record, decoder: Decoder, class_map: ClassMap) -> Sample:
    """Return the sample of a whole image; it is shared, and must not be modified.

    Raises:
        DataError: A file cannot be read.
    """
    states = tuple(state_of(path) for path in record.files[1:] if file_of(path).exists())
    return _kept(record.image, record, decoder, class_map, states)


def part_of_sample(record: Record, decoder: Decoder, class_map: ClassMap) -> Sample:
    """Return the sample of a window, cut from that of its whole image; its arrays are its own.

    Raises:
        DataError: A file cannot be read.
    """
    assert record.window is not None
    # The name and the split of a window would make every window a sample of its own.
    source = dataclasses.replace(record, name="", split=None, window=None, group=None)
    whole = whole_sample(source, decoder, class_map)
    top, left, height, width = record.window
    place = slice(top, top + height), slice(left, left + width)
    return dataclasses.replace(
        whole,
        name=record.name,
        image=np.array(whole.image[place]),
        mask=np.array(whole.mask[(..., *place)]),
    )


def _load(
    _image: Path,
    record: Record,
    decoder: Decoder,
    class_map: ClassMap,
    _states: tuple[FileState, ...],
) -> Sample:
    return decoder.sample(record, class_map)


_kept = kept_while_unchanged(_load, size_of=lambda sample: sample.image.nbytes + sample.mask.nbytes)
