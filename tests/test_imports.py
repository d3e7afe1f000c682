"""Modules that are imported on request: --import, and imports in a recipe."""

import sys

import pytest

from pixelwise.errors import ConfigError
from pixelwise.imports import import_modules


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which is not on sys.path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_module_of_the_current_folder_is_imported_once(folder):
    (folder / "my_nets_a.py").write_text("runs = []\nruns.append(1)\n")
    import_modules(["my_nets_a", "my_nets_a"])
    import_modules(["my_nets_a"])
    assert sys.modules["my_nets_a"].runs == [1]
    assert sys.path.count(str(folder)) == 1


def test_nothing_to_import_leaves_the_path_alone(folder):
    before = list(sys.path)
    import_modules(())
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("my_nets_b", None, "No module named 'my_nets_b'. Check the name, or change to the folder"),
        ("my_nets_b", "import no_such", "No module named 'no_such'. Correct my_nets_b"),
        ("my_nets_b", "1 / 0", "ZeroDivisionError: division by zero. Correct my_nets_b"),
        ("my_nets_b", "def f(:", "SyntaxError: "),
        ("my_nets_b", "raise SystemExit('no\\nway')", "SystemExit: no way"),
        ("my_nets_b.py", "", "not of its file: my_nets_b"),
        (
            "my_nets_b,nets",
            "",
            "Name each module by itself: `imports=['my_nets_b']` `imports=['nets']`",
        ),
        ("nets/my_nets_b.py", None, "not of its file: nets.my_nets_b"),
    ],
)
def test_an_import_that_fails_is_one_line_with_the_reason(folder, name, code, words):
    if code is not None:
        (folder / "my_nets_b.py").write_text(code)
    with pytest.raises(ConfigError) as refused:
        import_modules([name])
    message = str(refused.value)
    assert words in message
    assert f"Importing {name!r} raised" in message
    assert str(folder) in message
    assert "\n" not in message
