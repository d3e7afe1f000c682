"""Checks samples while training reads them, without reading any file again."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.doctor.finding_kinds import CATALOG
from pixelwise.doctor.image_checks import EVERY
from pixelwise.label_modes import mode_of
from pixelwise.text import listed

MAX_NAMES = 3


class QuickCheck:
    """Checks samples as they are read, at a few per cent of the reading time.

    Args:
        class_map: The classes of the samples.
    """

    def __init__(self, class_map: ClassMap) -> None:
        self._class_map = class_map
        self._names: defaultdict[str, list[str]] = defaultdict(list)
        self._shown: defaultdict[str, set[int]] = defaultdict(set)
        self._splits: dict[int, tuple[str, str]] = {}

    def look(self, sample: Sample, split: str) -> None:
        """Check one sample.

        Args:
            sample: The decoded sample.
            split: Its split.
        """
        self._look_at_image(sample, split)
        self._look_at_mask(sample, split)

    def _look_at_image(self, sample: Sample, split: str) -> None:
        image = sample.image
        coarse = np.ascontiguousarray(image[::EVERY, ::EVERY])
        if (coarse == coarse[:1, :1]).all() and (image == image[:1, :1]).all():
            self._names["constant-images"].append(sample.name)
            return
        key = hash((image.shape, image.tobytes()))
        other = self._splits.setdefault(key, (split, sample.name))
        if other[0] != split:
            names = f"{other[1]} ({other[0]}) = {sample.name} ({split})"
            self._names["duplicates-across-splits"].append(names)

    def _look_at_mask(self, sample: Sample, split: str) -> None:
        mode = mode_of(sample.label_mode)
        is_shown = mode.classes_shown(sample.mask, self._class_map.num_classes)
        present = set(np.flatnonzero(is_shown).tolist())
        if not present and mode.ignored(sample.mask).all():
            self._names["all-ignored"].append(sample.name)
            return
        self._shown[split] |= present
        if present <= {mode.class_without_objects(self._class_map)}:
            self._names["empty-masks"].append(sample.name)

    def lines(self) -> tuple[str, ...]:
        """Return one line per finding, the most harmful first."""
        names = self._class_map.names
        shown = set().union(*self._shown.values())
        missing = shown - self._shown["train"]
        lacking = self._shown["train"] - self._shown["val"]
        found = {
            **self._names,
            "class-never-present": [n for i, n in enumerate(names) if i not in shown],
            "class-missing-in-train": [names[index] for index in sorted(missing)],
            "class-missing-in-validation": [names[index] for index in sorted(lacking)],
        }
        return tuple(_line(kind, found[kind]) for kind in CATALOG if found.get(kind))


def _line(kind: str, names: list[str]) -> str:
    severity, title, _ = CATALOG[kind]
    return f"{severity}: {title}: {len(names):,} ({listed(names, MAX_NAMES)})"
