"""The README and the docs: their links, their length, and the layers that they print."""

import dataclasses
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from pixelwise.metrics.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

MAX_README_LINES = 120


def relative_links(page):
    text = CODE.sub("", FENCED.sub("", page.read_text("utf-8")))
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page):
    missing = []
    for link in relative_links(page):
        name, _, anchor = unquote(link).partition("#")
        target = page.parent / name if name else page
        is_there = target.exists() and (not anchor or anchor in anchors(target))
        missing += [] if is_there else [link]
    assert missing == []


def test_the_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES


def test_the_readme_shows_a_picture_and_links_every_page_of_the_docs():
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"!\[[^\]]+\]\(docs/images/", text)
    linked = {link.partition("#")[0] for link in relative_links(ROOT / "README.md")}
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - linked == set()


def test_the_architecture_page_has_the_layers_of_import_linter():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (layers,) = (entry["layers"] for entry in contracts["contracts"] if entry["type"] == "layers")
    block = "\n".join(layer.replace("pixelwise.", "") for layer in layers)
    assert f"```text\n{block}\n```" in (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_the_python_page_lists_every_field_of_metrics():
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    rows = "".join(line for line in text.splitlines() if line.startswith("| `"))
    names = [field.name for field in dataclasses.fields(Metrics)]
    assert [name for name in names if f"`{name}`" not in rows] == []
