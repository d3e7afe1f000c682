"""Checks splits: identical images, similar images and sequences shared between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pixelwise.data.sample import Record
from pixelwise.data.split_assignment import sequence_of
from pixelwise.data.splits.near_duplicates import groups_of_equal, near_duplicate_groups
from pixelwise.doctor.findings import Example, Finding, Tally, make_finding
from pixelwise.doctor.image_checks import ImageFacts
from pixelwise.doctor.mask_checks import MaskFacts

MAX_NAMES = 6

Looked = tuple[Record, ImageFacts, MaskFacts | None]


def look_across_splits(images: Sequence[Looked], tally: Tally) -> list[Finding]:
    """Find everything that makes metrics too high or counts an image twice.

    Args:
        images: Every image that could be decoded.
        tally: Formats the paths.
    """
    records = [record for record, _, _ in images]
    # Blank windows of a scene are no copies of each other.
    same = [
        group
        for group in groups_of_equal([facts.content for _, facts, _ in images])
        if not all(images[index][1].is_constant and records[index].window for index in group)
    ]
    found = [
        *_groups("duplicates-across-splits", _across(same, records), records, tally),
        *_groups(
            "duplicates-within-split",
            [group for group in same if _repeats(group, records)],
            records,
            tally,
        ),
        *_groups("contradictory-masks", _contradictory(same, images), records, tally),
    ]
    # All blank images have the same hash.
    textured = [i for i, (_, facts, _) in enumerate(images) if facts.look and not facts.is_constant]
    alike = [
        [textured[position] for position in group]
        for group in near_duplicate_groups([images[index][1].look for index in textured])
    ]
    known = {frozenset(group) for group in same}
    near = [group for group in _across(alike, records) if frozenset(group) not in known]
    found += _groups("near-duplicates-across-splits", near, records, tally)
    found += _sequences(records)
    return found


def _across(groups: Iterable[list[int]], records: Sequence[Record]) -> list[list[int]]:
    return [group for group in groups if len({records[index].split for index in group}) > 1]


def _repeats(group: list[int], records: Sequence[Record]) -> bool:
    """Whether one split holds two images of the group."""
    return max(Counter(records[index].split for index in group).values()) > 1


def _contradictory(groups: Iterable[list[int]], images: Sequence[Looked]) -> list[list[int]]:
    def contents(group: list[int]) -> set[bytes]:
        return {mask.content for index in group if (mask := images[index][2]) is not None}

    return [group for group in groups if len(contents(group)) > 1]


def _groups(
    kind: str, groups: Sequence[list[int]], records: Sequence[Record], tally: Tally
) -> list[Finding]:
    """Make a finding with one line per group of images, the largest first."""
    if not groups:
        return []
    groups = sorted(groups, key=lambda group: (-len(group), group[0]))
    lines = []
    for group in groups:
        names = [_said(records[index], tally) for index in group]
        splits = [records[index].split for index in group]
        told = [f"{name} ({split})" for name, split in zip(names, splits, strict=True)]
        lines.append(_listed(told))
    examples = [
        Example(
            records[index].image,
            f"group {number}: {_said(records[index], tally)}",
            window=records[index].window,
        )
        for number, group in enumerate(groups[:3], start=1)
        for index in _one_of_each(group, records)
    ]
    members = [index for group in groups for index in group]
    return [
        make_finding(
            kind,
            lines,
            [records[index].image for index in members],
            counts={"groups": len(groups), "images": len(members)},
            examples=examples,
        )
    ]


def _said(record: Record, tally: Tally) -> str:
    return tally.say(record.image, record.window)


def _one_of_each(group: list[int], records: Sequence[Record]) -> list[int]:
    """Return two images of a group, from different splits if possible."""
    first = group[0]
    others = [index for index in group[1:] if records[index].split != records[first].split]
    return [first, (others or group[1:])[0]]


def _sequences(records: Sequence[Record]) -> list[Finding]:
    # The windows of one scene are either in one split or in blocks with gaps.
    records = [record for record in records if record.window is None]
    names = [sequence_of(record.name) for record in records]
    groups = groups_of_equal(names)
    # If all names begin alike, that part was added by a tool and does not name a sequence.
    cut = _across(groups, records) if len(groups) > 1 else []
    if not cut:
        return []
    cut = sorted(cut, key=lambda group: -len(group))
    lines = []
    for group in cut:
        per_split = Counter(records[index].split or "" for index in group)
        told = ", ".join(f"{count:,} {split}" for split, count in sorted(per_split.items()))
        lines.append(f"{names[group[0]]}: {told}")
    files = [records[index].image for group in cut for index in group]
    return [make_finding("sequence-across-splits", lines, files, counts={"images": len(files)})]


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return " = ".join(names[:MAX_NAMES]) + more
