"""Cuts records into windows, whose names say where they lie."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from pixelwise.data.sample import Record
from pixelwise.data.split_assignment import SplitName
from pixelwise.errors import DataError
from pixelwise.io.arrays import Window
from pixelwise.io.image_windows import even_windows

MAX_WINDOWS = 2**20
"""Most windows of a scene; a header of a few bytes may promise a side of billions of pixels."""

_PLACE = re.compile(r"/r(\d+)_c(\d+)_h(\d+)_w(\d+)$")


def cut(record: Record, area: Window, side_px: int, split: str | None) -> list[Record]:
    """Cut an area of a scene into windows of nearly equal sizes.

    Args:
        record: The record of the whole image.
        area: The rectangle to cut.
        side_px: About the side of a window.
        split: The split of the windows.

    Raises:
        DataError: They are more than ``MAX_WINDOWS``.
    """
    num_windows = area[2] * area[3] / side_px**2
    if num_windows > MAX_WINDOWS:
        raise DataError(
            f"{record.image} must be a scene of at most {MAX_WINDOWS:,} windows. {area[2]} x "
            f"{area[3]} pixels are about {num_windows:,.0f} of {side_px} x {side_px}. Set larger "
            "`windows` in the card, or cut the scene into files"
        )
    return [
        in_place(record, (area[0] + top, area[1] + left, height, width), split)
        for top, left, height, width in even_windows(area[2:], side_px)
    ]


def in_place(record: Record, window: Window, split: str | None) -> Record:
    """Return the record of a window, such as ``city/r00000_c00512_h512_w512``."""
    top, left, height, width = window
    name = f"{record.name}/r{top:05d}_c{left:05d}_h{height}_w{width}"
    return dataclasses.replace(record, name=name, window=window, split=split)


def scene_name(record: Record) -> str:
    """Return the name of the whole image of a record."""
    return _PLACE.sub("", record.name) if record.window else record.name


def whole_records(records: Iterable[Record]) -> list[Record]:
    """Return the record of the whole image of each record, without a split, each once."""
    whole = (
        dataclasses.replace(record, name=scene_name(record), window=None, split=None)
        for record in records
    )
    return list(dict.fromkeys(whole))


def named_windows(
    records: Sequence[Record], splits: Mapping[SplitName, Sequence[str]]
) -> list[Record]:
    """Return the windows that a card names under splits, and the other records as they are.

    The names hold the place of each window, so that a card keeps its windows however windows are
    chosen later.
    """
    by_name = {record.name: record for record in records}
    found: list[Record] = []
    cut_names = set()
    for name in (name for names in splits.values() for name in names):
        place = _PLACE.search(name)
        scene = by_name.get(name[: place.start()]) if place else None
        if place and scene and name not in by_name:
            top, left, height, width = map(int, place.groups())
            found.append(in_place(scene, (top, left, height, width), scene.split))
            cut_names.add(scene.name)
    return [*(record for record in records if record.name not in cut_names), *found]
