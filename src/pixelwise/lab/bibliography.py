"""The articles whose systems the lab trains, and the papers that the code cites."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from pixelwise.errors import UnknownNameError
from pixelwise.schemas import validated

FILE = resources.files("pixelwise.lab") / "bibliography.yaml"


class Work(BaseModel):
    """An article or a paper. Unknown entries are empty or ``None``.

    Attributes:
        key: ``A1`` to ``A5`` for an article, else the first author and the year.
        authors: Surnames; ``others`` stands for further authors.
        year: Year of publication.
        title: Full title.
        published: Journal, conference or publisher.
        arxiv: Identifier of the preprint, such as ``1411.4038``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    title: str
    published: str | None = None
    arxiv: str | None = None

    @property
    def cited_as(self) -> str:
        """Authors and year, as ``Long et al. 2015``; the key where the authors are not known."""
        if not self.authors:
            return self.key
        is_short = len(self.authors) < 3 and "others" not in self.authors
        who = " and ".join(self.authors) if is_short else f"{self.authors[0]} et al."
        return f"{who} {self.year}"

    @property
    def in_full(self) -> str:
        """One line of a bibliography: authors (year), title, where it was published."""
        who = f"{', '.join(self.authors)} ({self.year}). " if self.authors else ""
        preprint = f"arXiv:{self.arxiv}" if self.arxiv else None
        where = ", ".join(filter(None, (self.published, preprint)))
        return f"{who}{self.title}.{f' {where}.' if where else ''}"


@cache
def load_bibliography() -> dict[str, Work]:
    """Return every work by its key: the articles first, then the papers by author.

    Raises:
        ConfigError: The file of the package is damaged.
    """
    content = yaml.safe_load(FILE.read_text("utf-8"))
    return {
        key: validated(Work, {**fields, "key": key}, f"bibliography, {key}")
        for key, fields in content.items()
    }


def work(key: str) -> Work:
    """Return one work.

    Raises:
        UnknownNameError: The key is unknown.
    """
    known = load_bibliography()
    if key not in known:
        raise UnknownNameError("work of the bibliography", key, known)
    return known[key]


def as_markdown_section() -> str:
    """Return the bibliography as a section of the documentation."""
    works = load_bibliography().values()
    articles = [f"- **{entry.key}** {entry.in_full}" for entry in works if not entry.authors]
    papers = [f"- {entry.in_full}" for entry in works if entry.authors]
    return "\n".join(
        [
            "## Bibliography",
            "The articles; unknown details are left out:",
            "",
            *articles,
            "",
            "The papers that the lab and the code cite:",
            "",
            *papers,
            "",
        ]
    )
