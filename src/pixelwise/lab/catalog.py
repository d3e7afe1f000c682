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
"""Figures that an article may state, and their names in tables."""


class Entry(BaseModel):
    """A system of an article.

    Attributes:
        name: Its name on the command line.
        article: ``A1`` to ``A5``, or ``beyond`` for systems that the articles only mention.
        title: Short description.
        papers: Bibliography keys of its papers.
        data: The kind of data: ``digits``, ``nuclei`` or ``camvid``.
        figures: The figures stated in the article, by the keys of :data:`MEASURES`.
        remarks: Differences from the article and unknown details.
        recipe: The article's settings; open entries get the usual defaults of a training run.
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
        """The article and the papers that describe it.

        Raises:
            UnknownNameError: One of them is not in the bibliography.
        """
        article = [] if self.article == "beyond" else [self.article]
        return [work(key) for key in (*article, *self.papers)]


def list_entries() -> list[str]:
    """Return the names of all entries, in the order of the articles."""
    names = (path.name.removesuffix(".yaml") for path in FOLDER.iterdir())
    return sorted(name for name in names if not name.startswith(("_", ".")))


def load_entry(name: str) -> Entry:
    """Return one entry.

    Raises:
        UnknownNameError: The name is unknown.
    """
    known = list_entries()
    if name not in known:
        hint = "List them with: pixelwise lab list"
        raise UnknownNameError("lab entry", name, known, hint=hint)
    return validated(Entry, {**_content(name), "name": name}, f"lab entry {name}")


def entries_of(article: str) -> list[Entry]:
    """Return the entries of one article.

    Raises:
        UnknownNameError: The article has no entries.
    """
    entries = [load_entry(name) for name in list_entries()]
    chosen = [entry for entry in entries if entry.article.lower() == article.lower()]
    if not chosen:
        raise UnknownNameError("article", article, sorted({entry.article for entry in entries}))
    return chosen


def _content(name: str) -> dict[str, Any]:
    """Return the content of a file, merged over that of its base entry."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    base = content.pop("base", None)
    return _merged(_content(base), content) if base else content


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge nested mappings, except figures, which belong to one system only."""
    merged = dict(below)
    for key, value in above.items():
        nests = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "figures"
        merged[key] = _merged(merged[key], value) if nests else value
    return merged
