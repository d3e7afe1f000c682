"""The dataset card, ``dataset.yaml``: what a person says of a data set, beside or inside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from pixelwise.classes import (
    IGNORE_INDEX,
    ClassMap,
    Color,
    LabelMode,
    StoredValue,
    Unexpected,
    numbered_names,
)
from pixelwise.config import AugmentationRecipe, Bands
from pixelwise.data.split_assignment import SplitName
from pixelwise.errors import ConfigError
from pixelwise.label_modes import mode_of
from pixelwise.schemas import read_yaml, validated

CARD_NAME = "dataset.yaml"
"""A folder that holds a file of this name is read as the card says."""


class ClassEntry(BaseModel):
    """One class of a card.

    Attributes:
        name: What it is called.
        color: (red, green, blue), 0 to 255.
        value: How it is stored in index masks; its position where not given.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    color: Color | None = None
    value: StoredValue | None = None


class DatasetCard(BaseModel):
    """What a card may say; every entry may be left out.

    Attributes:
        path: The folder of the data, relative to the card; its own folder where not given.
        format: The label format.
        classes: Names, or entries with name, color and value, in the order of their ids.
        ignore: Stored values that are ignored.
        ignore_colors: Colors of ignored pixels, for color masks.
        label_mode: ``multiclass`` or ``multilabel``, for formats that can be read as both.
        unexpected: What becomes of values that are neither a class nor ignored.
        split: Shares, where the folder gives no splits.
        splits: The names of the images of train, val and test, whatever the folder says; written by
            ``pixelwise data split``, so that a split never drifts.
        augmentation: What may be varied in these pictures; the default of every training on them.
        bands: Which bands of an image every training on them takes, counted from 1; a model takes
            the bands that it was trained on, whatever the card says later.
    """

    model_config = ConfigDict(extra="forbid")

    path: str | None = None
    format: str | None = None
    classes: list[str | ClassEntry] | None = None
    ignore: list[StoredValue] | None = None
    ignore_colors: list[Color] | None = None
    label_mode: LabelMode | None = None
    unexpected: Unexpected | None = None
    split: str | None = None
    augmentation: AugmentationRecipe | None = None
    bands: Bands | None = None
    splits: dict[SplitName, list[str]] | None = None

    @field_validator("splits", mode="before")
    @classmethod
    def _fill_empty_splits(cls, splits: Any) -> Any:
        """A split with nothing below it has no images."""
        if not isinstance(splits, dict):
            return splits
        return {name: [] if images is None else images for name, images in splits.items()}

    @model_validator(mode="after")
    def _check_splits(self) -> Self:
        names = Counter(name for split in (self.splits or {}).values() for name in split)
        repeated = next((name for name, count in names.items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"splits must name every image once; {repeated} stands repeatedly")
        return self

    def class_map(self, origin: Path) -> ClassMap | None:
        """The class map that the card describes; ``None`` where it names no classes.

        Raises:
            ConfigError: Names or values repeat, or a class is ignored at once.
        """
        if not self.classes:
            return None
        entries = [
            ClassEntry(name=entry) if isinstance(entry, str) else entry for entry in self.classes
        ]
        fallback = ClassMap.build(numbered_names(len(entries)))
        values = [
            index if entry.value is None else entry.value for index, entry in enumerate(entries)
        ]
        usual = [] if IGNORE_INDEX in values else [IGNORE_INDEX]  # 255 may be white, and a class
        return validated(
            ClassMap,
            {
                "names": [entry.name for entry in entries],
                "colors": [
                    entry.color or color
                    for entry, color in zip(entries, fallback.colors, strict=True)
                ],
                "values": values,
                "ignore": usual if self.ignore is None else self.ignore,
                "ignore_colors": self.ignore_colors or [],
            },
            str(origin),
        )

    def to_yaml(self) -> str:
        """The card as YAML, without what it does not say; :func:`find_card` reads it back."""
        content = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def card_of(class_map: ClassMap, **entries: Any) -> DatasetCard:
    """The card that gives a class map back.

    Args:
        class_map: The classes.
        entries: What else it says.
    """
    classes: list[str | ClassEntry] = [
        ClassEntry(name=name, color=color, value=value)
        for name, color, value in zip(
            class_map.names, class_map.colors, class_map.values, strict=True
        )
    ]
    label_mode: LabelMode | None = entries.get("label_mode")
    has_ignored = label_mode is None or mode_of(label_mode).holds_ids
    return DatasetCard(
        classes=classes,
        ignore=list(class_map.ignore) if has_ignored else None,
        ignore_colors=list(class_map.ignore_colors) or None,
        **entries,
    )


def find_card(path: Path) -> tuple[DatasetCard, Path | None, Path]:
    """Read the card that a path means.

    Args:
        path: A card, or a folder that may hold one.

    Returns:
        The card (empty where there is none), its file, and the folder of the data.

    Raises:
        ConfigError: The card cannot be read, or its folder does not exist.
    """
    file = path if path.is_file() else path / CARD_NAME
    if not file.is_file():
        return DatasetCard(), None, path
    card = validated(DatasetCard, read_yaml(file), str(file))
    folder = file.parent / (card.path or "")
    if not folder.is_dir():
        raise ConfigError(f"{file}: path must be a folder. Got {card.path}. Fix the card")
    return card, file, folder
