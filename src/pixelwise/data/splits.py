"""Which image is for training, for validation, for the test: stated, seeded, never by chance."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence

from pixelwise.data.sample import Record
from pixelwise.errors import ConfigError

SPLITS = ("train", "val", "test")
"""The three splits. ``val`` chooses the best epoch; ``test`` is looked at once, at the end."""

VAL_SHARE = 0.15
"""Share of the training images that is set aside for validation where none is given."""


def parse_split(text: str) -> tuple[float, float, float]:
    """Read ``70/15/15`` (train, val, test) or ``70/30`` (train, test; val comes out of train).

    Returns:
        Three shares that add up to 1.

    Raises:
        ConfigError: It is neither.
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


def assign_splits(
    records: Sequence[Record], split: str, seed: int
) -> tuple[tuple[Record, ...], list[str]]:
    """Give every record its split: the folder's where it has one, else drawn by the seed.

    The draw depends on the names and the seed alone, not on the order of the file system.

    Args:
        records: The records as the format found them.
        split: Shares as :func:`parse_split` reads them.
        seed: Seed of the draw.

    Returns:
        The records with their splits, sorted by name, and what was done, in words.
    """
    ordered = sorted(records, key=lambda record: record.name)
    shares = parse_split(split)
    given = Counter(record.split for record in ordered)
    if set(given) == {None}:
        drawn = _draw(ordered, shares, seed)
        return drawn, [f"splits drawn with seed {seed} from {split}: {_counts(drawn)}"]
    notes = [f"splits as the folder gives them: {_counts(ordered)}"]
    if given["train"] > 1 and not given["val"]:
        inside = [record for record in ordered if record.split == "train"]
        redrawn = {
            record.name: record for record in _draw(inside, (1 - VAL_SHARE, VAL_SHARE, 0.0), seed)
        }
        ordered = [redrawn.get(record.name, record) for record in ordered]
        notes.append(
            f"no validation images given: {VAL_SHARE:.0%} of train set aside with seed {seed}: "
            f"{_counts(ordered)}"
        )
    return tuple(ordered), notes


def _draw(
    records: Sequence[Record], shares: tuple[float, float, float], seed: int
) -> tuple[Record, ...]:
    """Draw a split for each record; every wanted split gets one image where there are enough."""
    shuffled = list(records)
    random.Random(seed).shuffle(shuffled)
    count = len(shuffled)
    wanted = [share > 0 for share in shares]
    num_val, num_test = (
        max(round(count * share), 1) if share > 0 and count >= sum(wanted) else 0
        for share in shares[1:]
    )
    while num_val + num_test >= count > 1:  # rounding up must not take the last training image
        num_val, num_test = (
            (num_val - 1, num_test) if num_val > num_test else (num_val, num_test - 1)
        )
    num_train = count - num_val - num_test
    names = ["train"] * num_train + ["val"] * num_val + ["test"] * num_test
    drawn = [
        dataclasses.replace(record, split=name)
        for record, name in zip(shuffled, names, strict=True)
    ]
    return tuple(sorted(drawn, key=lambda record: record.name))


def _counts(records: Sequence[Record]) -> str:
    counts = Counter(record.split for record in records)
    return ", ".join(f"{counts[name]} {name}" for name in SPLITS if counts[name])
