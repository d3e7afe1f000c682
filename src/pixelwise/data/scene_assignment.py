"""Assigns images to splits: scenes in windows, and single scenes in spatial blocks."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pixelwise.classes import ClassMap
from pixelwise.data.formats import Format
from pixelwise.data.problems import collect_problems
from pixelwise.data.sample import Record
from pixelwise.data.scene_windows import cut
from pixelwise.data.split_assignment import (
    SPLITS,
    VAL_SHARE,
    assign_splits,
    parse_split,
)
from pixelwise.errors import PixelwiseError
from pixelwise.label_modes import mode_of
from pixelwise.scenes.spatial_blocks import ClassSums, Layout, divide
from pixelwise.scenes.window_rule import MIN_GAPS, Size, WindowRule
from pixelwise.text import amount, listed, rounded

MAP_PX = 512
"""Largest side of the shrunk mask by which the classes are balanced."""


class Assigned(NamedTuple):
    """Records with their splits.

    Attributes:
        records: Sorted by name.
        notes: What was done, as text for the user.
    """

    records: tuple[Record, ...]
    notes: list[str]


def assign(
    records: Sequence[Record],
    found: Format,
    class_map: ClassMap,
    rule: WindowRule,
    shares: str,
    seed: int,
    origin: str,
) -> Assigned:
    """Assign every image its split, and cut scenes into windows.

    Several scenes are split as wholes. If there are fewer images than splits to draw, each scene is
    divided into spatial blocks with gaps between them.

    Args:
        records: The records of the folder, with the splits that it gives.
        found: The format that reads them.
        class_map: The classes.
        rule: What the card says about windows.
        shares: Shares as :func:`~pixelwise.data.split_assignment.parse_split` reads them.
        seed: Seed of the draw.
        origin: The source of existing splits, for the notes.

    Raises:
        FormatError: Only some records have a split.
    """
    wanted, inside = _to_draw(records, parse_split(shares))
    num_parts = sum(share > 0 for share in wanted)
    notes: list[str] = []
    if any(record.window for record in records):  # the format or the card has cut them
        return Assigned(*assign_splits(records, shares, seed, origin))
    if inside and len(inside) < num_parts:
        scenes = rule.to_divide([record.image for record in inside])
        if any(map(rule.has_room, scenes.values())):
            divided = divide_scenes(inside, scenes, found, class_map, rule, wanted, seed)
            others = [record for record in records if record not in inside]
            rest = _cut_whole(others, found, rule, [])
            return Assigned(_by_name(divided.records + rest.records), divided.notes + rest.notes)
        notes = [_no_room(inside[number], size, rule) for number, size in scenes.items()]
    whole, drawn = assign_splits(records, shares, seed, origin)
    # Also where the folder gives the splits, a large image is read in windows.
    return _cut_whole(whole, found, rule, drawn + notes)


def _no_room(record: Record, size: Size, rule: WindowRule) -> str:
    return (
        f"{record.name}, {size[1]} x {size[0]} pixels, has no room for blocks with gaps of "
        f"{amount(rule.gap, 'pixel')}: its shorter side would have to be {MIN_GAPS} times as long. "
        "Set a smaller gap in dataset.yaml"
    )


def _by_name(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=lambda record: record.name))


def _to_draw(
    records: Sequence[Record], shares: tuple[float, float, float]
) -> tuple[tuple[float, float, float], list[Record]]:
    """Return the shares to draw, and the records to draw them from; none if nothing is drawn."""
    given = {record.split for record in records}
    if given == {None}:
        return shares, sorted(records, key=lambda record: record.name)
    if None not in given and "train" in given and "val" not in given:
        inside = [record for record in records if record.split == "train"]
        return (1 - VAL_SHARE, VAL_SHARE, 0.0), sorted(inside, key=lambda record: record.name)
    return shares, []


def _cut_whole(
    records: Sequence[Record], found: Format, rule: WindowRule, notes: list[str]
) -> Assigned:
    """Cut scenes whose splits are known; their windows cover every pixel."""
    images = [record.image for record in records]
    sizes = rule.to_cut(images, is_map=found.is_seen_from_above)
    side_px = rule.window_px(list(sizes.values()))
    made: list[Record] = []
    scenes: list[Size] = []
    for number, record in enumerate(records):
        area = (0, 0, *sizes[number]) if number in sizes else None
        parts = cut(record, area, side_px, record.split) if area else []
        made += parts if len(parts) > 1 else [record]
        scenes += [sizes[number]] if len(parts) > 1 else []
    if not scenes:
        return Assigned(tuple(records), notes)
    num_windows = sum(record.window is not None for record in made)
    line = (
        f"{_scenes(scenes)} read as {amount(num_windows, 'window')} of about {side_px} x "
        f"{side_px}: {_counts(made)}; every scene is in one split"
    )
    return Assigned(_by_name(made), [*notes, line])


def divide_scenes(
    records: Sequence[Record],
    scenes: Mapping[int, Size],
    found: Format,
    class_map: ClassMap,
    rule: WindowRule,
    shares: tuple[float, float, float],
    seed: int,
) -> Assigned:
    """Divide scenes into spatial blocks and these into windows; others become training images.

    Args:
        records: The records of whole images.
        scenes: The heights and widths of those that are scenes, by their number.
        found: The format that reads them.
        class_map: The classes.
        rule: What the card says about windows.
        shares: Shares of train, val and test.
        seed: Seed of the draw.
    """
    side_px = rule.window_px(list(scenes.values()))
    made: list[Record] = []
    lost_px = 0.0
    notes = []
    divided: list[Size] = []
    for number, record in enumerate(records):
        size = scenes.get(number)
        layout = None
        if size and rule.has_room(size):
            layout = lay_out(record, size, found, class_map, rule, shares, seed)
        if not layout:
            made.append(dataclasses.replace(record, split="train"))
            notes.append(f"{record.name} is too small for blocks, and is a training image")
            continue
        divided.append(layout.size)
        lost_px += layout.lost_share * math.prod(layout.size)
        for split, areas in zip(SPLITS, layout.areas, strict=True):
            for area in areas:
                made += cut(record, area, side_px, split)
    if not divided:
        return Assigned(_by_name(made), notes)
    num_windows = sum(record.window is not None for record in made)
    lost = lost_px / sum(map(math.prod, divided))
    notes.insert(
        0,
        f"{_scenes(divided)} read as {amount(num_windows, 'window')} of about "
        f"{side_px} x {side_px}: {_counts(made)}, in spatial blocks drawn with seed {seed}, with "
        f"gaps of {amount(rule.gap, 'pixel')} ({rounded(100 * lost, 2)} % of the pixels are in no "
        "split)",
    )
    return Assigned(_by_name(made), notes)


def lay_out(
    record: Record,
    size: Size,
    found: Format,
    class_map: ClassMap,
    rule: WindowRule,
    shares: Sequence[float],
    seed: int,
) -> Layout | None:
    """Divide one scene into blocks that balance its classes.

    Returns:
        The division; ``None`` if the scene is too small for the gaps.
    """
    sums = class_sums(record, size, found, class_map)
    return divide(size, shares, rule.gap, f"{seed} {record.name}", sums)


def class_sums(record: Record, size: Size, found: Format, class_map: ClassMap) -> ClassSums | None:
    """Return where the classes of a scene are; ``None`` if its mask cannot be read."""
    step = -(-max(size) // MAP_PX)
    try:
        with collect_problems():  # what is wrong is reported when the windows are read
            mask = found.shrunk_mask(record, class_map, step)
    except PixelwiseError:
        return None
    mode = mode_of(found.label_mode)
    planes = [plane for plane in mode.planes(mask, class_map.num_classes) if plane.any()]
    return ClassSums(np.stack([*planes, ~mode.ignored(mask)]), step)


def _scenes(sizes: Sequence[Size]) -> str:
    """Describe some scenes: ``1 scene of 900 x 900 pixels is``."""
    kinds = Counter(sizes)
    told = [f"{width} x {height}" for height, width in kinds]
    verb = "is" if len(sizes) == 1 else "are"
    return f"{amount(len(sizes), 'scene')} of {listed(told, 3)} pixels {verb}"


def _counts(records: Sequence[Record]) -> str:
    counts = Counter(record.split for record in records)
    return ", ".join(f"{split} {counts[split]}" for split in SPLITS if counts[split])
