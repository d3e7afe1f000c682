"""The README and the docs: their links, their length, and the layers that they print."""

import dataclasses
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.main import get_command

from pixelwise import train
from pixelwise.cli import OPTIONS, VERBS
from pixelwise.cli.application import app
from pixelwise.config import Recipe
from pixelwise.metrics.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

MAX_README_LINES = 120
MAX_PICTURE_BYTES = 60_000


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


def tool(name):
    """A module of the folder ``tools``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_the_page_of_recipe_keys_is_up_to_date():
    recipe_keys = tool("recipe_keys")
    page = recipe_keys.page()
    assert page == recipe_keys.PAGE.read_text("utf-8"), "run: python tools/recipe_keys.py"
    for name, section in Recipe().sections().items():
        for key in section:
            assert f"| `{name}.{key}` |" in page


def test_the_section_of_the_layouts_is_up_to_date():
    layout_pictures = tool("layout_pictures")
    page = layout_pictures.page()
    assert layout_pictures.BEGIN in page
    assert page == layout_pictures.PAGE.read_text("utf-8"), "run: make docs-pictures"


def test_every_layout_has_a_small_picture_and_every_picture_a_layout():
    layout_pictures = tool("layout_pictures")
    sizes = {path.stem: path.stat().st_size for path in layout_pictures.PICTURES.iterdir()}
    assert sizes.keys() == {layout.name for layout in layout_pictures.LAYOUTS}
    assert max(sizes.values()) < MAX_PICTURE_BYTES


def test_the_lines_of_each_layout_are_printed_by_data_check(tmp_path, monkeypatch, run_cli):
    layout_pictures = tool("layout_pictures")
    monkeypatch.chdir(tmp_path)
    for layout in layout_pictures.LAYOUTS:
        layout_pictures.make_folder(layout, Path(layout.folder))
        _, printed, errors = run_cli("data", "check", layout.folder)
        lines = layout_pictures.opened(layout).lines
        assert lines
        told = {line.strip() for line in (errors + printed).splitlines()}
        assert [line for line in lines if line.strip() not in told] == []


def commands(page):
    """The words of each pixelwise command on a page, in code blocks and in code between words."""
    text = page.read_text("utf-8")
    blocks = "\n".join(FENCED.findall(text)).replace("\\\n", " ")
    inline = "\n".join(code.strip("`") for code in CODE.findall(FENCED.sub("", text)))
    for line in f"{blocks}\n{inline}".splitlines():
        words = line.partition("  #")[0].split()
        if words[:1] == ["pixelwise"] and len(words) > 1:
            yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_and_option_on_a_page_exists(page):
    if "decisions" in page.parts or page.name == "CHANGELOG.md":
        pytest.skip("tells what was, with the words of its day")
    unknown = []
    for words in commands(page):
        command = get_command(app)
        for word in words:
            command = getattr(command, "commands", {}).get(word.rstrip(",.;:"), command)
        known = {option for entry in command.params for option in getattr(entry, "opts", ())}
        known |= {"--help", "-h", "--no-cache", *OPTIONS}
        options = [re.match(r"--[a-z-]+", word) for word in words]
        unknown += [(words, found[0]) for found in options if found and found[0] not in known]
        if command.name is None or hasattr(command, "commands"):
            is_general = words[0].startswith("-") or words[0] in VERBS or words[0].isupper()
            unknown += [] if is_general else [(words, words[0])]
    assert unknown == []


def test_the_plan_in_the_docs_has_every_line_of_a_plan(tmp_path, make_index_dataset):
    """The sample on the page was printed by the command above it; only its figures may age."""
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    printed = (
        text.partition("--dry-run` prints, on")[2].partition("```text\n")[2].partition("```")[0]
    )
    data = make_index_dataset(tmp_path / "data", num_images=20)
    recipe = {"model": {"name": "unet-elu"}, "training": {"epochs": 20}}
    lines = train(data, recipe=recipe, dry_run=True).plan.lines()
    begins = [line.split(":")[0].split(" ")[0] for line in lines if not line[0].isdigit()]
    assert [begin for begin in begins if f"\n  {begin}" not in printed] == []


def test_the_python_page_lists_every_field_of_metrics():
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    rows = "".join(line for line in text.splitlines() if line.startswith("| `"))
    names = [field.name for field in dataclasses.fields(Metrics)]
    assert [name for name in names if f"`{name}`" not in rows] == []


def test_every_module_that_the_architecture_page_lists_exists():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = page.partition("```text\n")[2].partition("```")[0]
    listed = set(re.findall(r"\b(\w+\.py)\b", tree))
    there = {path.name for path in (ROOT / "src").rglob("*.py")}
    assert len(listed) > 100
    assert listed - there == set()
