"""The layout of the package: file names, sizes of modules and shares of packages."""

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest

import pixelwise
from pixelwise.cli import VERBS

ROOT = Path(pixelwise.__file__).parent
REPOSITORY = Path(__file__).parents[1]
FILES = sorted(ROOT.rglob("*.py"))

NAMES_BY_CONTRACT = {"__init__", "__main__", "base"} | set(VERBS)
"""A verb of the command line has the name of the function that does it."""

MAX_LINES = 400
MAX_SHARE = 0.3


def num_lines(path):
    return len(path.read_text("utf-8").splitlines())


def test_no_two_modules_share_a_file_name():
    counts = Counter(path.stem for path in FILES if path.stem not in NAMES_BY_CONTRACT)
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_module_is_longer_than_400_lines():
    lines = {path.relative_to(ROOT).as_posix(): num_lines(path) for path in FILES}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_package_holds_more_than_30_percent_of_the_lines():
    lines = Counter()
    for path in FILES:
        lines[path.relative_to(ROOT).parts[0]] += num_lines(path)
    package, count = lines.most_common(1)[0]
    assert count <= MAX_SHARE * lines.total(), f"{package} holds {count} of {lines.total()} lines"


def test_every_folder_with_modules_is_a_package():
    assert [path.parent for path in FILES if not (path.parent / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    "path",
    [*REPOSITORY.glob("benchmarks/*.py"), *REPOSITORY.glob("examples/*.py")],
    ids=lambda path: path.stem,
)
def test_benchmarks_and_examples_import_what_exists(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pixelwise"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(
                    f"{node.module}.{name.name}"
                )
