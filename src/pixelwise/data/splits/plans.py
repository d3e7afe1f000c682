"""Plans splits and folds that keep related images together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from pixelwise.config import DEFAULT_SPLIT
from pixelwise.data.cache.memory_cache import MemoryCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Record
from pixelwise.data.split_assignment import (
    SPLITS,
    SplitName,
    draw_splits,
    group_keys,
    in_words,
    joined_groups,
    parse_split,
    scene_groups,
)
from pixelwise.data.splits.fold_blocks import BlockPlan, plan_blocks, windows_named
from pixelwise.data.splits.near_duplicates import (
    groups_of_equal,
    near_duplicate_groups,
    perceptual_hash,
)
from pixelwise.data.splits.stratification import deal
from pixelwise.errors import ConfigError
from pixelwise.io.arrays import BoolArray
from pixelwise.label_modes import mode_of
from pixelwise.text import amount


@dataclass(frozen=True)
class Part:
    """One split of a division.

    Attributes:
        names: The names of its records, sorted.
        num_groups: Number of groups of related images.
        num_showing: Number of images that show each class.
    """

    names: tuple[str, ...]
    num_groups: int
    num_showing: tuple[int, ...]


@dataclass(frozen=True)
class SplitPlan:
    """The division of a data set into splits, with notes.

    Attributes:
        divisions: One division, or one per fold: the non-empty parts by split.
        notes: What was kept together, and the requested and actual shares, as text.
    """

    divisions: tuple[Mapping[SplitName, Part], ...]
    notes: tuple[str, ...]

    def applied_to(self, dataset: Dataset) -> Dataset:
        """Return the data set with the records that are divided: windows of other blocks."""
        names = [name for part in self.divisions[0].values() for name in part.names]
        return dataclasses.replace(dataset, records=tuple(windows_named(dataset, names)))


def plan_split(
    dataset: Dataset,
    *,
    shares: str | None = None,
    folds: int | None = None,
    group_by: str | None = None,
    stratify: bool = False,
    keep_duplicates: bool = True,
    redraw: bool = False,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> SplitPlan:
    """Divide a data set; every image is decoded once.

    Test images of the folder stay test images, together with related images; all others are drawn
    again. The windows of one scene are related, and so are the slices of one volume. If there are
    fewer scenes than parts, they are divided into spatial blocks with gaps, see
    :meth:`SplitPlan.applied_to`. If no other images
    are related and ``stratify`` is off, the draw is the same as the default of training.

    Args:
        dataset: The data set to divide.
        shares: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST``; ``None`` uses those of the card, else
            70/15/15.
        folds: Make this many divisions, each with another fold for validation and only the
            folder's test images; ``shares`` is then not used.
        group_by: Which images are related, see
            :func:`~pixelwise.data.split_assignment.group_keys`.
        stratify: Balance the images that show each class between the splits.
        keep_duplicates: Treat near-duplicates as related.
        redraw: Draw the folder's test images again as well.
        seed: Seed of the draw.
        on_progress: Called with the number of decoded images and the total number.

    Raises:
        ConfigError: There are fewer groups than parts, or an argument is invalid.
        DataError: A file cannot be read.
    """
    wanted = _checked(shares or dataset.drawn_split or DEFAULT_SPLIT, folds)
    if (blocks := plan_blocks(dataset, wanted, folds, seed, redraw=redraw)) is not None:
        if group_by is not None:
            raise ConfigError(
                f"group_by must be left out for {dataset.path}, whose scenes are divided into "
                f"spatial blocks. Got {group_by!r}"
            )
        return _plan_of_blocks(dataset, blocks, folds, stratify, seed, on_progress)
    records = dataset.records
    linked, notes = _grouped_by(records, group_by)
    scenes = scene_groups(records)
    if scenes:
        what = in_words([records[index] for index in scenes[0]])
        kinds = "rasters" if "raster" in what else "groups"
        notes.append(f"the {what} kept together: {len(scenes)} {kinds}")
    hashes, presence = _look_at(dataset, on_progress)
    if keep_duplicates:
        duplicates = near_duplicate_groups(hashes)
        linked += duplicates
        notes.append(_duplicate_note(duplicates, records))
    groups = joined_groups(len(records), [*scenes, *linked])
    is_as_training = len(groups) == len(joined_groups(len(records), scenes))
    is_given = dataset.drawn_split is None
    free, kept = _without_test(groups, records) if is_given and not redraw else (groups, [])
    if is_given:
        notes.append("existing splits are drawn again")
    if kept:
        notes.append(_kept_note(kept, records))
        wanted = _without_test_share(wanted)
    aim = (1 / folds,) * folds if folds else wanted
    _require_enough(free, sum(share > 0 for share in aim), group_by)
    if folds or stratify or not is_as_training:
        parts = deal(free, aim, seed, presence if stratify else None)
    else:
        parts = _as_in_training(free, records, wanted, seed)
    if not folds:
        notes.append(_reached_note(free, parts, wanted, kept, len(records)))
    kept_as_test: list[tuple[list[int], SplitName]] = [(group, "test") for group in kept]
    named = [_of_fold(parts, fold) for fold in range(folds)] if folds else [_by_split(parts)]
    divisions = [
        _parts([*zip(free, names, strict=True), *kept_as_test], records, presence)
        for names in named
    ]
    notes += _absence_notes(divisions, dataset.class_map.names, presence)
    return SplitPlan(tuple(divisions), tuple(notes))


def _plan_of_blocks(
    dataset: Dataset,
    blocks: BlockPlan,
    folds: int | None,
    stratify: bool,
    seed: int,
    on_progress: Callable[[int, int], None] | None,
) -> SplitPlan:
    """Divide few scenes by their blocks; similar windows of one scene are no duplicates."""
    dataset = dataclasses.replace(dataset, records=blocks.records)
    _, presence = _look_at(dataset, on_progress)
    if folds is None:
        by_split: dict[SplitName, list[int]] = {}
        for index, record in enumerate(blocks.records):
            by_split.setdefault(cast("SplitName", record.split), []).append(index)
        labeled = [[(group, split) for split, group in by_split.items()]]
    else:
        parts = deal(blocks.groups, (1 / folds,) * folds, seed, presence if stratify else None)
        labeled = [
            list(zip(blocks.groups, _of_fold(parts, fold), strict=True)) for fold in range(folds)
        ]
        tests = [index for index, record in enumerate(blocks.records) if record.split == "test"]
        labeled = [[*groups, (tests, "test")] for groups in labeled]
    divisions = [_parts(groups, blocks.records, presence) for groups in labeled]
    notes = [*blocks.notes, *_absence_notes(divisions, dataset.class_map.names, presence)]
    return SplitPlan(tuple(divisions), tuple(notes))


def _checked(shares: str, folds: int | None) -> tuple[float, float, float]:
    """Parse the shares, and check that they leave images for validation."""
    if folds is not None and folds < 2:
        raise ConfigError(f"folds must be 2 or more. Got {folds}")
    wanted = parse_split(shares)
    if not wanted[1]:
        # Training would otherwise set images aside and might separate related ones.
        raise ConfigError(f"shares must leave some images for validation. Got {shares!r}")
    return wanted


def _by_split(parts: Sequence[int]) -> list[SplitName]:
    return [SPLITS[part] for part in parts]


def _of_fold(parts: Sequence[int], fold: int) -> list[SplitName]:
    """Use one fold for validation and the others for training."""
    return ["val" if part == fold else "train" for part in parts]


def _grouped_by(
    records: Sequence[Record], group_by: str | None
) -> tuple[list[list[int]], list[str]]:
    """Return the groups of at least two images that the user asked for, and a note."""
    if group_by is None:
        return [], []
    keys = group_keys(records, group_by)
    groups = groups_of_equal(keys)
    largest = f"the largest {_described(groups, records)}" if groups else "each of one image"
    return groups, [f"grouped by {group_by}: {amount(len(set(keys)), 'group')}, {largest}"]


def _look_at(
    dataset: Dataset, on_progress: Callable[[int, int], None] | None
) -> tuple[list[int], BoolArray]:
    """Return the hash of every image, and the classes it shows, bool (num_images, num_classes)."""

    def look(index: int) -> tuple[int, BoolArray]:
        sample = dataset.load(dataset.records[index])
        shown = mode_of(sample.label_mode).classes_shown(sample.mask, dataset.class_map.num_classes)
        return perceptual_hash(sample.image), shown

    seen = MemoryCache(look, len(dataset.records), size_of=lambda _: 0).in_parallel(on_progress)
    hashes, presence = zip(*seen, strict=True)
    return list(hashes), np.stack(presence)


def _without_test(
    groups: list[list[int]], records: Sequence[Record]
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the groups to distribute, and those with one of the folder's test images."""
    is_kept = [any(records[index].split == "test" for index in group) for group in groups]
    free, kept = (
        [group for group, is_test in zip(groups, is_kept, strict=True) if is_test == wanted]
        for wanted in (False, True)
    )
    return free, kept


def _without_test_share(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    train, val, _ = shares
    return train / (train + val), val / (train + val), 0.0


def _require_enough(groups: list[list[int]], num_parts: int, group_by: str | None) -> None:
    if len(groups) < num_parts:
        by = f" (grouped by {group_by})" if group_by else ""
        raise ConfigError(
            f"{num_parts} parts must have at least {num_parts} groups of related images. "
            f"Got {len(groups)}{by}. Use smaller groups, or ask for fewer parts"
        )


def _as_in_training(
    groups: list[list[int]],
    records: Sequence[Record],
    shares: tuple[float, float, float],
    seed: int,
) -> list[int]:
    """Assign images, or scenes, to parts with the same draw as training."""
    chosen = sorted(index for group in groups for index in group)
    drawn = draw_splits([records[index] for index in chosen], shares, seed)
    split_of = {index: record.split for index, record in zip(chosen, drawn, strict=True)}
    return [SPLITS.index(split_of[group[0]]) for group in groups]


def _parts(
    labeled: list[tuple[list[int], SplitName]], records: Sequence[Record], presence: BoolArray
) -> dict[SplitName, Part]:
    parts: dict[SplitName, Part] = {}
    for split in SPLITS:
        groups = [group for group, label in labeled if label == split]
        inside = sorted(index for group in groups for index in group)
        if inside:
            showing = presence[inside].sum(0).tolist()
            names = tuple(records[index].name for index in inside)
            parts[split] = Part(names, len(groups), tuple(showing))
    return parts


def _duplicate_note(groups: list[list[int]], records: Sequence[Record]) -> str:
    if not groups:
        return "no near-duplicates found"
    return (
        f"near-duplicates kept together: {sum(map(len, groups))} images in "
        f"{amount(len(groups), 'group')}, the largest {_described(groups, records)}"
    )


def _described(groups: list[list[int]], records: Sequence[Record]) -> str:
    """Describe the largest group by its size and first members."""
    largest = max(groups, key=len)
    names = ", ".join(records[index].name for index in largest[:2])
    return f"of {amount(len(largest), 'image')} ({names}{', ...' if len(largest) > 2 else ''})"


def _kept_note(kept: list[list[int]], records: Sequence[Record]) -> str:
    inside = [records[index] for group in kept for index in group]
    num_given = sum(record.split == "test" for record in inside)
    joined = len(inside) - num_given
    more = f", with {amount(joined, 'related image')}" if joined else ""
    return (
        f"the folder's own {num_given} test images remain test images{more}; "
        "`redraw=True` draws them too"
    )


def _reached_note(
    groups: list[list[int]],
    parts: list[int],
    wanted: tuple[float, float, float],
    kept: list[list[int]],
    num_images: int,
) -> str:
    """Describe the requested and the actual share of the images in each split."""
    sizes = [0, 0, sum(map(len, kept))]
    for group, part in zip(groups, parts, strict=True):
        sizes[part] += len(group)
    num_free = num_images - sum(map(len, kept))
    aims = [share * num_free for share in wanted]
    aims[2] += sum(map(len, kept))
    asked, reached = (
        "/".join(f"{100 * value / num_images:.1f}" for value in values) for values in (aims, sizes)
    )
    return f"shares requested {asked}, reached {reached}"


def _absence_notes(
    divisions: Sequence[Mapping[SplitName, Part]], class_names: Sequence[str], presence: BoolArray
) -> list[str]:
    """Report classes missing from a split, where they can be neither learned nor measured."""
    notes = []
    is_there: list[bool] = np.any(presence, axis=0).tolist()
    for number, division in enumerate(divisions, start=1):
        where = f"fold {number}: " if len(divisions) > 1 else ""
        for split, part in division.items():
            absent = [
                name
                for name, shown, exists in zip(class_names, part.num_showing, is_there, strict=True)
                if exists and not shown
            ]
            if absent:
                notes.append(f"{where}no image of {split} shows {', '.join(absent)}")
    return notes
