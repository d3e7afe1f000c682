"""The dataset card, ``dataset.yaml``: what a person says of a data set, beside or inside it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pixelwise.classes import IGNORE_INDEX, ClassMap, Colour, numbered_names
from pixelwise.config import AugmentationRecipe, read_yaml, validated
from pixelwise.errors import ConfigError

CARD_NAME = "dataset.yaml"
"""A folder that holds a file of this name is read as the card says."""


class ClassEntry(BaseModel):
    """One class of a card.

    Attributes:
        name: What it is called.
        colour: (red, green, blue), 0 to 255.
        value: How it is stored in index masks; its position where not given.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    colour: Colour | None = None
    value: int | None = None


class DatasetCard(BaseModel):
    """What a card may say; every entry may be left out.

    Attributes:
        path: The folder of the data, relative to the card; its own folder where not given.
        format: The label format.
        classes: Names, or entries with name, colour and value, in the order of their ids.
        ignore: Stored values that mean void.
        split: Shares, where the folder gives no splits.
        augmentation: What may be varied in these pictures; the default of every training on them.
    """

    model_config = ConfigDict(extra="forbid")

    path: str | None = None
    format: str | None = None
    classes: list[str | ClassEntry] | None = None
    ignore: list[int] | None = None
    split: str | None = None
    augmentation: AugmentationRecipe | None = None

    def class_map(self, origin: Path) -> ClassMap | None:
        """The class map that the card describes; ``None`` where it names no classes.

        Raises:
            ConfigError: Names or values repeat, or a class is void at once.
        """
        if not self.classes:
            return None
        entries = [
            ClassEntry(name=entry) if isinstance(entry, str) else entry for entry in self.classes
        ]
        fallback = ClassMap.build(numbered_names(len(entries)))
        return validated(
            ClassMap,
            {
                "names": [entry.name for entry in entries],
                "colours": [
                    entry.colour or colour
                    for entry, colour in zip(entries, fallback.colours, strict=True)
                ],
                "values": [
                    index if entry.value is None else entry.value
                    for index, entry in enumerate(entries)
                ],
                "ignore": [IGNORE_INDEX] if self.ignore is None else self.ignore,
            },
            str(origin),
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
        raise ConfigError(f"{file}: path must be a folder. Got {card.path}. Mend the card")
    return card, file, folder
