"""Messages name arguments, which the command line prints as its options."""

import ast
import re
import sys
from pathlib import Path

import pytest

import pixelwise
from pixelwise.cli.wording import in_options

ROOT = Path(pixelwise.__file__).parent
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if "cli" not in path.relative_to(ROOT).parts]

OPTION = re.compile(r"--[a-z]")
PLACEHOLDER = re.compile(r"\b(DATA|MODEL|RUN|INPUTS?|OUT) (must|needs|has)|\b(or|needs|in) DATA\b")


def texts(tree):
    """Every text of a syntax tree that is not a docstring, as it is written."""
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield from [node.value] if isinstance(node.value, str) else []


def is_about_the_command_line(text):
    """Whether a text says an option outside a command that a shell runs."""
    is_word_of_a_command = re.fullmatch(r"--[a-z-]+", text)
    command = "pixelwise " in text
    return (OPTION.search(text) and not is_word_of_a_command and not command) or bool(
        PLACEHOLDER.search(text)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_message_outside_the_command_line_names_an_option(path):
    found = texts(ast.parse(path.read_text("utf-8")))
    assert [text for text in found if is_about_the_command_line(text)] == []


def test_the_search_for_options_finds_them():
    source = 'raise E(f"{x} holds a run. Choose another --out")\nf("DATA must be a folder")'
    assert sum(map(is_about_the_command_line, texts(ast.parse(source)))) >= 2
    assert not is_about_the_command_line("pixelwise train --resume --out runs/first")


@pytest.mark.parametrize(
    ("words", "message", "printed"),
    [
        ("train", "`out` must be new", "--out must be new"),
        ("train x", "`data` or `model`", "DATA or --model"),
        ("evaluate m d", "`data` or `model`", "DATA or MODEL"),
        ("train", "a smaller `batch_size`", "a smaller --batch-size"),
        ("data check x", "or `max_bad_annotations=0.1`", "or --max-bad-annotations 0.1"),
        ("evaluate m d", "with `class_property=crop`", "with --class-property crop"),
        ("train", "set `data.scale=0.5` or data.path", "set --set data.scale=0.5 or data.path"),
        ("train", "with `resume=True`", "with --resume"),
        ("evaluate", "use `split='all'`", "use --split all"),
        ("train", "use `ignore=[3]`", "use --ignore 3"),
        ("train", "`overrides` must be", "--set must be"),
        ("data digits out", "give `source`", "give --source"),
        ("models", "give `minutes`", "give minutes"),
        ("train", "a file `a b`", "a file `a b`"),
    ],
)
def test_the_command_line_prints_its_options(monkeypatch, words, message, printed):
    monkeypatch.setattr(sys, "argv", ["pixelwise", *words.split()])
    assert in_options(message) == printed


def test_an_error_speaks_of_arguments_in_python_and_of_options_in_a_shell(
    run_cli, tmp_path, make_index_dataset
):
    data = make_index_dataset(tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(pixelwise.PixelwiseError) as refused:
        pixelwise.train(data, out=tmp_path)
    assert str(refused.value).startswith("`out` must be a new folder")
    assert "`resume=True`" in str(refused.value)
    code, _, err = run_cli("train", data, "--out", tmp_path)
    assert code == 1
    assert err.startswith("error: --out must be a new folder")
    assert err.rstrip().endswith("resume that run with --resume")
