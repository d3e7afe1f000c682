"""The entries of the lab: one YAML file for each system of an article."""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.config import Recipe
from pixelwise.errors import UnknownNameError
from pixelwise.lab.bibliography import Work, work
from pixelwise.schemas import validated

FOLDER = resources.files("pixelwise.lab") / "entries"

MEASURES = {
    "loss": "validation loss",
    "mean_iou": "mean IoU",
    "some_iou": "IoU, averaging not stated",
    "pixel_accuracy": "pixel accuracy",
    "binary_accuracy": "binary accuracy (A1)",
    "recall": "recall (A1)",
    "precision": "precision (A1)",
}
"""What an article may state, and how it is called in tables."""


class Entry(BaseModel):
    """A system of an article.

    Attributes:
        name: What it is called on the command line.
        article: ``A1`` to ``A5``, or ``beyond`` for what they only mention.
        title: What it is, in words.
        papers: Keys of the papers that it is from, in the bibliography.
        data: The kind of data that it runs on: ``digits``, ``nuclei`` or ``camvid``.
        figures: What the article states, by the keys of :data:`MEASURES`.
        remarks: What differs from the article, or is not known of it.
        recipe: The article's settings; what it leaves open is chosen as for any training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    article: Literal["A1", "A2", "A3", "A4", "A5", "beyond"]
    title: str
    papers: tuple[str, ...] = ()
    data: Literal["digits", "nuclei", "camvid"]
    figures: dict[str, float] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    recipe: Recipe

    @property
    def works(self) -> list[Work]:
        """The article and the papers that it is from.

        Raises:
            UnknownNameError: One of them is not in the bibliography.
        """
        article = [] if self.article == "beyond" else [self.article]
        return [work(key) for key in (*article, *self.papers)]


def list_entries() -> list[str]:
    """The names of all entries, in the order of the articles."""
    names = (path.name.removesuffix(".yaml") for path in FOLDER.iterdir())
    return sorted(name for name in names if not name.startswith(("_", ".")))


def load_entry(name: str) -> Entry:
    """One entry.

    Raises:
        UnknownNameError: There is none of that name.
    """
    known = list_entries()
    if name not in known:
        hint = "List them with: pixelwise lab list"
        raise UnknownNameError("lab entry", name, known, hint=hint)
    return validated(Entry, {**_content(name), "name": name}, f"lab entry {name}")


def entries_of(article: str) -> list[Entry]:
    """The entries of one article.

    Raises:
        UnknownNameError: There is none.
    """
    entries = [load_entry(name) for name in list_entries()]
    chosen = [entry for entry in entries if entry.article.lower() == article.lower()]
    if not chosen:
        raise UnknownNameError("article", article, sorted({entry.article for entry in entries}))
    return chosen


def _content(name: str) -> dict[str, Any]:
    """A file's content over that of the entry it builds on."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    base = content.pop("base", None)
    return _merged(_content(base), content) if base else content


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings are merged, but for figures: those of another system say nothing."""
    merged = dict(below)
    for key, value in above.items():
        nests = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "figures"
        merged[key] = _merged(merged[key], value) if nests else value
    return merged
