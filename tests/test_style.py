"""The style of the source: module docstrings."""

import ast
from pathlib import Path

import pytest

import pixelwise

ROOT = Path(pixelwise.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

MAX_LENGTH = 100


@pytest.mark.parametrize("module", MODULES)
def test_every_module_docstring_begins_with_a_plain_sentence(module):
    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text("utf-8")))
    assert docstring, "must have a docstring"
    first = docstring.splitlines()[0]
    assert first.endswith("."), f"must end in a period. Got {first!r}"
    assert "?" not in first, f"must not be a question. Got {first!r}"
    assert len(first) <= MAX_LENGTH, f"must have at most {MAX_LENGTH} characters. Got {len(first)}"
