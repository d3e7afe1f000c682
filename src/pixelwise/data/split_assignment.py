"""Assigns images to the splits train, val and test, reproducibly."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pixelwise.data.pairing import IMAGE_FOLDERS, SPLIT_FOLDERS
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record
from pixelwise.errors import ConfigError, DataError, FormatError
from pixelwise.io.members import file_of

SplitName = Literal["train", "val", "test"]
"""Name of a split."""

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
"""The three splits. ``val`` selects the best epoch; ``test`` is used once, at the end."""

PARTS = (*SPLITS, "all")
"""What a user may choose of a data set."""

VAL_SHARE = 0.15
"""Share of the training images used for validation if the data has no validation images."""


def check_part(name: str | None) -> None:
    """Check the name of a split before any data is read; ``None`` leaves the choice open.

    Raises:
        ConfigError: It is not ``train``, ``val``, ``test`` or ``all``.
    """
    if name is not None and name not in PARTS:
        raise ConfigError(f"split must be {', '.join(PARTS[:-1])} or {PARTS[-1]}. Got {name!r}")


def parse_split(text: str) -> tuple[float, float, float]:
    """Parse ``70/15/15`` (train, val, test) or ``70/30`` (train, test; val is taken from train).

    Returns:
        Three shares that add up to 1.

    Raises:
        ConfigError: The text has neither form.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) == 2:
        train, test = numbers
        numbers = [train * (1 - VAL_SHARE), train * VAL_SHARE, test]
    total = sum(numbers)
    adds_up = any(abs(total - whole) < 1e-6 * whole for whole in (1, 100))
    if len(numbers) != 3 or min(numbers) < 0 or numbers[0] <= 0 or not adds_up:
        raise ConfigError(
            "split must be shares that add up to 100, TRAIN/VAL/TEST or TRAIN/TEST, such as "
            f"70/15/15 or 70/30. Got {text!r}"
        )
    train, val, test = (number / total for number in numbers)
    return train, val, test


def named_splits(
    records: Sequence[Record], splits: Mapping[SplitName, Sequence[str]], origin: str
) -> list[Record]:
    """Assign every record the split in which a card lists its name, whatever the folder says.

    Args:
        records: The records as found by the format.
        splits: The names of the records in each split.
        origin: The card with the names, for messages.

    Raises:
        DataError: An image is not listed, or a listed image does not exist; otherwise the split
            would change unnoticed.
    """
    split_of = {name: split for split, names in splits.items() for name in names}
    new = sorted({record.name for record in records} - split_of.keys())
    gone = sorted(split_of.keys() - {record.name for record in records})
    if new:
        raise DataError(
            f"{origin} must name every image under splits. Got {_listed(new)} without a split. "
            f"Name {_them(new)} under one, or draw again with: pixelwise data split"
        )
    if gone:
        raise DataError(
            f"{origin} must name images that exist under splits. Got {_listed(gone)}, not in the "
            f"folder. Restore {_them(gone)}, or remove {_them(gone)} from the card"
        )
    return [dataclasses.replace(record, split=split_of[record.name]) for record in records]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def assign_splits(
    records: Sequence[Record], split: str, seed: int, origin: str = "the folder"
) -> tuple[tuple[Record, ...], list[str]]:
    """Assign every record its split: that of the folder, or else a random one.

    The draw depends only on the names and the seed, not on the order of the files.

    Args:
        records: The records as found by the format.
        split: Shares as :func:`parse_split` reads them.
        seed: Seed of the draw.
        origin: The source of existing splits, for the notes.

    Returns:
        The records with their splits, sorted by name, and notes on what was done.

    Raises:
        FormatError: Only some records have a split; the others would not be used.
    """
    ordered = sorted(records, key=lambda record: record.name)
    shares = parse_split(split)
    given = Counter(record.split for record in ordered)
    if set(given) == {None}:
        drawn = draw_splits(ordered, shares, seed)
        notes = [f"splits drawn with seed {seed} from {split}: {_counts(drawn)}"]
        if len(ordered) > 1 and len({record.group or record.name for record in ordered}) == 1:
            notes.append(
                f"all images are {in_words(ordered)}, {ordered[0].group}, which is divided: "
                "metrics on neighboring slices come out too high"
            )
        return drawn, notes
    unsaid = [record for record in ordered if record.split is None]
    if unsaid:
        error = FormatError(
            f"{origin} must give the split of every image or of none. Got none for {len(unsaid)} "
            f"of {len(ordered)}, such as {unsaid[0].image}. Name its subset, folder or annotation "
            "file train, val or test, or move it elsewhere"
        )
        report_problem("split-not-given", error, *(record.image for record in unsaid))
    notes = [f"splits as given by {origin}: {_counts(ordered)}"]
    if given["train"] > 1 and not given["val"]:
        inside = [record for record in ordered if record.split == "train"]
        redrawn = {
            record.name: record
            for record in draw_splits(inside, (1 - VAL_SHARE, VAL_SHARE, 0.0), seed)
        }
        ordered = [redrawn.get(record.name, record) for record in ordered]
        notes.append(
            f"no validation images given: {VAL_SHARE:.0%} of train set aside with seed {seed}: "
            f"{_counts(ordered)}"
        )
    return tuple(ordered), notes


def draw_splits(
    records: Sequence[Record], shares: tuple[float, float, float], seed: int
) -> tuple[Record, ...]:
    """Draw a split for each record; every requested split gets an image if there are enough.

    Args:
        records: Sorted by name; those of a scene or volume stay together, see :func:`scene_groups`.
        shares: Shares of train, val and test.
        seed: Seed of the draw.

    Returns:
        The records with their splits, in the same order.
    """
    groups = joined_groups(len(records), scene_groups(records))
    random.Random(seed).shuffle(groups)
    count = len(groups)
    wanted = [share > 0 for share in shares]
    num_val, num_test = (
        max(round(count * share), 1) if share > 0 and count >= sum(wanted) else 0
        for share in shares[1:]
    )
    if count == 2 < len(records) and shares[1] > 0:  # two volumes: one of them for validation
        num_val, num_test = 1, 0
    while num_val + num_test >= count > 1:  # keep at least one training image
        num_val, num_test = (
            (num_val - 1, num_test) if num_val > num_test else (num_val, num_test - 1)
        )
    num_train = count - num_val - num_test
    names = ["train"] * num_train + ["val"] * num_val + ["test"] * num_test
    split_of = {index: name for group, name in zip(groups, names, strict=True) for index in group}
    return tuple(
        dataclasses.replace(record, split=split_of[index]) for index, record in enumerate(records)
    )


def scene_groups(records: Sequence[Record]) -> list[list[int]]:
    """Return the indices of the windows of each raster, and of the slices of each volume.

    Splitting neighbors inflates metrics. A single raster or volume has to be split, so it is not a
    group.
    """
    parts: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if record.window or record.group:
            parts[record.group or str(record.image)].append(index)
    return list(parts.values()) if len(parts) > 1 else []


def in_words(records: Sequence[Record]) -> str:
    """Return what :func:`scene_groups` keeps together: ``windows of one raster``."""
    return "slices of one volume or subject" if records[0].group else "windows of one raster"


GROUPINGS = ("parent", "scene")
"""Properties by which images can be grouped, besides a regular expression on their names."""


def group_keys(records: Sequence[Record], group_by: str) -> list[str]:
    """Return the group of each record; images of one group belong in the same split.

    Args:
        records: The images.
        group_by: ``parent``: the folder of the image. ``scene``: the image file, which is the same
            for all windows of one large image and all slices of one volume. Otherwise a regular
            expression that is searched for in the name; its first group, or the whole match, is
            the key.

    Raises:
        ConfigError: The regular expression is invalid or does not match a name.
    """
    if group_by == "parent":
        return [file_of(record.image).parent.as_posix() for record in records]
    if group_by == "scene":
        return [record.group or record.image.as_posix() for record in records]
    try:
        pattern = re.compile(group_by)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"group_by must be {', '.join(GROUPINGS)} or a regular expression. Got {group_by!r}: "
            f"{error}"
        ) from error
    keys = []
    for record in records:
        match = pattern.search(record.name)
        key = match and match.group(1 if pattern.groups else 0)
        if key is None:
            raise ConfigError(
                f"group_by must match the name of every image. {group_by!r} finds nothing in "
                f"{record.name}. Fix the expression, or make that part of it optional"
            )
        keys.append(key)
    return keys


def joined_groups(count: int, linked: Iterable[Sequence[int]]) -> list[list[int]]:
    """Group the numbers below ``count`` so that linked numbers are in the same group.

    Returns:
        Groups of all numbers, each in ascending order; the groups are ordered by first number.
    """
    leader = list(range(count))

    def leader_of(item: int) -> int:
        while leader[item] != item:
            leader[item] = leader[leader[item]]
            item = leader[item]
        return item

    for first, *others in linked:
        for other in others:
            low, high = sorted((leader_of(first), leader_of(other)))
            leader[high] = low
    groups: dict[int, list[int]] = {}
    for item in range(count):
        groups.setdefault(leader_of(item), []).append(item)
    return list(groups.values())


_GRID = re.compile(
    r"(?:^|[-_. ]+)(?:(?:r|row|y)[-_]?\d+[-_. ]*(?:c|col|x)[-_]?\d+(?:_h\d+_w\d+)?"
    r"|(?:c|col|x)[-_]?\d+[-_. ]*(?:r|row|y)[-_]?\d+)$",
    re.IGNORECASE,
)
_COUNTER = re.compile(
    r"(?:^|[-_. ]+)(?:frame|fr|f|image|img|tile|patch|slice|page|z|t|no)?\d+$", re.IGNORECASE
)
_LAYOUT_FOLDERS = frozenset(map(str.lower, (*SPLIT_FOLDERS, *IMAGE_FOLDERS)))


def sequence_of(name: str) -> str:
    """Return the video, scene or scan in an image's name, without the number of its frame.

    ``0001TP_006690`` belongs to ``0001TP``, and ``scene/r00000_c01024`` to ``scene``. Only one
    number is removed: ``img_12_3`` belongs to ``img_12``, because 12 may be the scene and 3 its
    tile. Folder names such as "train" or "images" are removed.

    Args:
        name: The name of a record.

    Returns:
        The sequence; the name itself if it contains none, as in ``0001``.
    """
    *folders, stem = name.split("/")
    folders = [part for part in folders if part.lower() not in _LAYOUT_FOLDERS]
    bare = _GRID.sub("", stem)
    if bare == stem:
        bare = _COUNTER.sub("", stem)
    if bare == stem and stem.isalnum() and not any(map(str.isdigit, stem.rstrip("0123456789"))):
        bare = stem.rstrip("0123456789")
    return "/".join([*folders, bare] if bare else folders) or name


def _counts(records: Sequence[Record]) -> str:
    counts = Counter(record.split for record in records)
    return ", ".join(f"{counts[name]} {name}" for name in SPLITS if counts[name])


def require_different_names(folder: Path, records: Sequence[Record]) -> None:
    """Refuse duplicate names: such an image could be in two splits at once."""
    for name, count in Counter(record.name for record in records).items():
        if count > 1:
            error = FormatError(
                f"{folder} must contain every image once. Got {name} {count} times. "
                "Remove it from all lists but one"
            )
            report_problem("listed-twice", error, *(r.image for r in records if r.name == name))
