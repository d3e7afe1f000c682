"""Cuts few scenes into windows for a split plan: spatial blocks for splits or for folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Record
from pixelwise.data.scene_assignment import divide_scenes
from pixelwise.data.scene_windows import cut, named_windows, whole_records
from pixelwise.errors import ConfigError
from pixelwise.io.arrays import Window
from pixelwise.io.image_windows import image_size
from pixelwise.scenes.window_rule import Size
from pixelwise.text import amount

BLOCKS_PER_FOLD = 4
"""Number of blocks of each fold, if the scene has room for them: several represent it better."""

MIN_BLOCK_GAPS = 3
"""A block of a fold has at least this many gaps a side, of which the gaps around it take one."""


class BlockPlan(NamedTuple):
    """Windows to distribute.

    Attributes:
        records: The windows, with their splits, unless they are for folds; and test images that
            are kept.
        groups: Their numbers, by block, for folds.
        notes: What was done, as text for the user.
    """

    records: tuple[Record, ...]
    groups: list[list[int]]
    notes: list[str]


def plan_blocks(
    dataset: Dataset,
    shares: tuple[float, float, float],
    folds: int | None,
    seed: int,
    *,
    redraw: bool,
) -> BlockPlan | None:
    """Divide the scenes of a data set, if they are fewer than the parts to make of them.

    Args:
        dataset: The data set.
        shares: Shares of train, val and test.
        folds: Number of folds; ``None`` makes splits.
        seed: Seed of the draw.
        redraw: Divide the folder's own test images as well.

    Returns:
        The windows; ``None`` if there are no scenes, or enough to split them as wholes.

    Raises:
        ConfigError: The scenes have no room for the folds, or hold test images that are kept.
    """
    keeps_test = dataset.drawn_split is None and not redraw
    free = [record for record in dataset.records if not keeps_test or record.split != "test"]
    kept = [record for record in dataset.records if keeps_test and record.split == "test"]
    num_parts = folds or sum(share > 0 for share in shares)
    cut_images = {record.image for record in free if record.window}
    images = whole_records(free)
    if not cut_images or len(images) >= num_parts:
        return None
    if cut_images & {record.image for record in kept}:
        raise ConfigError(
            f"{dataset.path} must be divided as a whole, because its test images are windows of "
            "the same scene. Draw them again too (`redraw=True`)"
        )
    scenes = [record for record in images if record.image in cut_images]
    others = [record for record in images if record.image not in cut_images]
    sizes = [image_size(record.image) for record in scenes]
    if folds is None:
        divided = divide_scenes(
            [*scenes, *others], dict(enumerate(sizes)), dataset.format, dataset.class_map,
            dataset.window_rule, shares, seed,
        )  # fmt: skip
        return BlockPlan((*divided.records, *kept), [], divided.notes)
    gap = dataset.window_rule.gap
    side_px = dataset.window_rule.window_px(sizes)
    blocks = [
        cut(record, cell, side_px, None)
        for record, size in zip(scenes, sizes, strict=True)
        for cell in fold_cells(size, folds, gap)
    ]
    blocks += [[record] for record in others]
    records = [*(window for block in blocks for window in block), *kept]
    numbers = {record.name: number for number, record in enumerate(records)}
    groups = [[numbers[window.name] for window in block] for block in blocks]
    note = (
        f"{amount(len(blocks), 'block')} for {folds} folds, of {amount(len(scenes), 'scene')} in "
        f"{amount(len(records), 'window')}, with gaps of {amount(gap, 'pixel')}"
    )
    return BlockPlan(tuple(records), groups, [note])


def fold_cells(size: Size, folds: int, gap: int) -> list[Window]:
    """Cut a scene into a grid of blocks with gaps between all of them.

    Args:
        size: Height and width of the scene.
        folds: There are at least as many blocks.
        gap: Pixels between neighboring blocks.

    Raises:
        ConfigError: There is no room for the blocks.
    """
    least_px = max(1, MIN_BLOCK_GAPS * gap)
    room = [max(1, side // least_px) for side in size]
    if math.prod(room) < folds:
        raise ConfigError(
            f"a scene must have room for {folds} blocks with gaps of {amount(gap, 'pixel')} to "
            f"make {folds} folds of it. {size[1]} x {size[0]} pixels have room for "
            f"{math.prod(room)}. Ask for fewer folds, or set a smaller gap in dataset.yaml"
        )
    wanted = BLOCKS_PER_FOLD * folds
    across = min(room[1], max(1, round(math.sqrt(wanted * size[1] / size[0]))))
    down = min(room[0], max(1, math.ceil(wanted / across)))
    while across * down < folds:
        across, down = (across + 1, down) if across < room[1] else (across, down + 1)
    return [
        (top, left, bottom - top, right - left)
        for top, bottom in _with_gaps(size[0], down, gap)
        for left, right in _with_gaps(size[1], across, gap)
    ]


def _with_gaps(side: int, count: int, gap: int) -> list[tuple[int, int]]:
    """Return the first pixel of each of some parts of a side, and the one after its last."""
    length = side - gap * (count - 1)
    edges = [length * number // count for number in range(count + 1)]
    return [
        (edges[number] + gap * number, edges[number + 1] + gap * number) for number in range(count)
    ]


def windows_named(dataset: Dataset, names: Sequence[str]) -> list[Record]:
    """Return the records of a data set, cut into windows of these names."""
    by_name = {record.name: record for record in dataset.records}
    if all(name in by_name for name in names):
        return list(dataset.records)
    return named_windows(whole_records(dataset.records), {"train": names})
