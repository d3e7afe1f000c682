"""Reads and writes dataset cards, ``dataset.yaml``, which describe a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from pixelwise.classes import (
    IGNORE_INDEX,
    ClassMap,
    Color,
    LabelMode,
    StoredValue,
    distinct_colors,
)
from pixelwise.config import AugmentationRecipe, Bands
from pixelwise.data.sample import Record
from pixelwise.data.scene_windows import named_windows
from pixelwise.data.split_assignment import SplitName, named_splits
from pixelwise.errors import ConfigError
from pixelwise.files import as_path
from pixelwise.label_modes import mode_of
from pixelwise.label_options import LabelOptions, Located
from pixelwise.scenes.window_rule import GAP_PX, MAX_GAP_PX, MAX_SIDE_PX, MIN_SIDE_PX, WindowRule
from pixelwise.schemas import read_yaml, validated

CARD_NAME = "dataset.yaml"
"""File name of a card; a folder with such a file is read as the card specifies."""


class ClassEntry(BaseModel):
    """A class in a card.

    Attributes:
        name: Its name.
        color: (red, green, blue), 0 to 255.
        value: Its stored value in index masks; by default its position in the list.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    color: Color | None = None
    value: StoredValue | None = None


class DatasetCard(LabelOptions, Located):
    """The content of a card, all of it optional; see also :class:`LabelOptions`.

    Attributes:
        path: The folder of the data, relative to the card; by default the folder of the card.
        ignore: Stored values that are ignored; by default 255, unless it is a class.
        classes: Names, or entries with name, color and value, in the order of their ids.
        ignore_colors: Colors of ignored pixels, for color masks.
        split: Shares, for a folder without splits.
        windows: About the side of the windows in which larger images are read; ``off`` reads
            all images as a whole. By default, the number and size of the images decide.
        gap: Pixels between blocks of different splits, if one scene is divided.
        splits: The names of the images in train, val and test, which take precedence over the
            folder; written by ``pixelwise data split``, so that a split never changes.
        augmentation: Allowed augmentation; the default of every training run on this data.
        bands: Bands of the images to use in every training run on this data, counted from 1; a
            model keeps the bands that it was trained on.
    """

    classes: list[str | ClassEntry] | None = None
    ignore_colors: list[Color] | None = None
    split: str | None = None
    augmentation: AugmentationRecipe | None = None
    bands: Bands | None = None
    windows: int | Literal["off"] | None = None
    gap: int | None = None
    splits: dict[SplitName, list[str]] | None = None

    @field_validator("windows", mode="before")
    @classmethod
    def _check_windows(cls, windows: Any) -> Any:
        """Accept a number of pixels, or ``off``, which YAML reads as False."""
        if windows is False or windows == "off":
            return "off"
        is_side = type(windows) is int and MIN_SIDE_PX <= windows <= MAX_SIDE_PX
        if windows is not None and not is_side:
            raise ValueError(f"must be {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels, or off")
        return windows

    @field_validator("gap")
    @classmethod
    def _check_gap(cls, gap: int | None) -> int | None:
        if gap is not None and not 0 <= gap <= MAX_GAP_PX:
            raise ValueError(f"must be 0 to {MAX_GAP_PX} pixels")
        return gap

    @property
    def window_rule(self) -> WindowRule:
        """What the card says about windows."""
        return WindowRule(self.windows, GAP_PX if self.gap is None else self.gap)

    @field_validator("splits", mode="before")
    @classmethod
    def _fill_empty_splits(cls, splits: Any) -> Any:
        """Read an empty entry as a split without images."""
        if not isinstance(splits, dict):
            return splits
        return {name: [] if images is None else images for name, images in splits.items()}

    @model_validator(mode="after")
    def _check_splits(self) -> Self:
        names = Counter(name for split in (self.splits or {}).values() for name in split)
        repeated = next((name for name, count in names.items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"splits must name every image once; {repeated} appears repeatedly")
        return self

    def class_map(self, origin: Path) -> ClassMap | None:
        """Return the class map that the card describes; ``None`` if it names no classes.

        Raises:
            ConfigError: Names or values repeat, or a class is also ignored.
        """
        if not self.classes:
            return None
        entries = [
            ClassEntry(name=entry) if isinstance(entry, str) else entry for entry in self.classes
        ]
        fallback = distinct_colors(len(entries))
        values = [
            index if entry.value is None else entry.value for index, entry in enumerate(entries)
        ]
        usual = [] if IGNORE_INDEX in values else [IGNORE_INDEX]  # 255 may be a class, white
        return validated(
            ClassMap,
            {
                "names": [entry.name for entry in entries],
                "colors": [
                    entry.color or color for entry, color in zip(entries, fallback, strict=True)
                ],
                "values": values,
                "ignore": usual if self.ignore is None else self.ignore,
                "ignore_colors": self.ignore_colors or [],
            },
            str(origin),
        )

    def to_yaml(self) -> str:
        """Return the card as YAML without empty entries; :func:`find_card` reads it back."""
        content = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def card_of(class_map: ClassMap, **entries: Any) -> DatasetCard:
    """Make a card that describes a class map.

    Args:
        class_map: The classes.
        entries: Further entries.
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
        ignore=class_map.ignore if has_ignored else None,
        ignore_colors=list(class_map.ignore_colors) or None,
        **entries,
    )


def find_card(path: Path) -> tuple[DatasetCard, Path | None, Path]:
    """Read the card at a path.

    Args:
        path: A card, or a folder that may contain one.

    Returns:
        The card (empty if there is none), its file, and the folder of the data.

    Raises:
        ConfigError: The card cannot be read, or its folder does not exist.
    """
    file = path if path.is_file() else path / CARD_NAME
    if not file.is_file():
        return DatasetCard(), None, path
    card = validated(DatasetCard, read_yaml(file), str(file))
    try:
        folder = as_path(file.parent / (card.path or ""), "path")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    if not folder.is_dir():
        raise ConfigError(f"{file}: path must be a folder. Got {card.path}. Fix the card")
    return card, file, folder


def split_as_named(
    records: list[Record], card: DatasetCard, card_file: Path | None
) -> tuple[list[Record], str]:
    """Return the records with the splits of the card, if any, and the source of the splits."""
    if card.splits is None:
        return records, "the folder"
    records = named_windows(records, card.splits)
    return named_splits(records, card.splits, str(card_file)), "the card"
