"""The tests that hold the faults of the past exist under the names that the table gives."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("README.md")
ROOT = TABLE.parents[2]
ROWS = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if not row.endswith("| Held by |")]


@cache
def functions_in(path):
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_fault_names_tests_that_exist(row):
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
    assert named
    assert len(named) == row.count("`") / 2, "what is in backticks must be a test"
    assert not [(path, name) for path, name in named if name not in functions_in(path)]


def test_the_table_is_read():
    assert len(ROWS) > 70
