"""What the commands print last, and that nothing of it is cut, however wide the terminal is."""

import json
import re
import shlex
import sys
from io import StringIO

import pytest

from pixelwise.cli import console

NAME = "a-name-of-a-class-" * 8


@pytest.mark.parametrize(("splits", "split"), [((), "test"), (("train", "val"), "val")])
def test_a_training_says_split_and_temperature_and_proposes_to_evaluate(
    splits, split, tmp_path, make_index_dataset, run_cli
):
    data = make_index_dataset(tmp_path / "my data", splits=splits, num_images=8)
    run = tmp_path / "run"
    given = ("train", data, "--model", "stacked-fcn", "--epochs", 1, "--size", "8x8", "--out", run)
    code, out, _ = run_cli(*given)
    assert code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    lines = out.splitlines()
    noun = "image" if metrics["images"] == 1 else "images"
    assert lines[0] == f"metrics on the {metrics['images']} validation {noun} (split val):"
    temperature = metrics["detail"]["temperature"]
    assert f"stored with it: temperature {temperature:.3g} for its probabilities" in lines
    assert lines[-2] == f"next: pixelwise evaluate {run} '{data}' --split {split}"
    assert lines[-1].startswith(f"then: pixelwise predict {run} IMAGES --out predictions")


def test_tables_and_sentences_in_a_pipe_are_whole(
    tmp_path, make_index_dataset, make_model_file, run_cli, monkeypatch
):
    from pixelwise.classes import ClassMap

    monkeypatch.setenv("COLUMNS", "40")
    data = make_index_dataset(tmp_path / "data", num_images=4)
    (data / "dataset.yaml").write_text(f"classes: [{NAME}0, {NAME}1, {NAME}2]\n")
    names = ClassMap.build([f"{NAME}{index}" for index in range(3)])
    model = make_model_file(tmp_path / "model.safetensors", class_map=names)
    out = run_cli("evaluate", model, data, "--split", "all")[1]
    rows = [line for line in out.splitlines() if line.startswith(NAME)]
    assert [row.split()[0] for row in rows] == list(names.names)
    assert any(
        row.startswith("mean per image") and "weighted IoU" in row for row in out.split("\n")
    )
    for given in (("data", "check", data), ("review", model, data, "--split", "all", "--out", "r")):
        monkeypatch.chdir(tmp_path)
        code, out, _ = run_cli(*given)
        assert code == 0
        assert "…" not in out.partition("[")[0]
        assert f"{NAME}1" in out


def commands_in(text):
    """The words of each command to copy, as a shell takes them."""
    lines = re.findall(r"(?:next|then|continue with): (pixelwise .*)", text)
    lines += re.findall(r"^ +(pixelwise [^#\n]*)", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_commands_to_copy_quote_every_name(tmp_path, make_index_dataset, run_cli, monkeypatch):
    odd = tmp_path / 'it\'s {a} $(b); "c"'
    data = make_index_dataset(odd / "my data", num_images=8)
    card, run = odd / "my card.yaml", odd / "my run"
    code, out, _ = run_cli("data", "split", data, "--out", card)
    assert code == 0
    assert commands_in(out) == [["pixelwise", "train", str(card)]]
    training = ("train", card, "--model", "stacked-fcn", "--epochs", 1, "--out", run)
    with monkeypatch.context() as patch:
        begin = "pixelwise.training.diagnostics.observer.Observer.before_training"
        patch.setattr(begin, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, err = run_cli(*training)
    assert code == 130
    assert commands_in(err) == [["pixelwise", "train", "--resume", "--out", str(run)]]
    code, out, _ = run_cli(*commands_in(err)[0][1:])
    assert code == 0
    shown = commands_in(out)
    assert shown[0] == ["pixelwise", "evaluate", str(run), str(card), "--split", "test"]
    assert shown[1][:3] == ["pixelwise", "predict", str(run)]


def test_a_question_about_odd_folders_has_commands_that_open_them(
    tmp_path, make_index_dataset, run_cli
):
    odd = make_index_dataset(tmp_path / 'it\'s {a} $(b); "c"', num_images=4)
    (odd / "masks").rename(odd / "it's mine; $(x)")
    for path in [*(odd / "it's mine; $(x)").iterdir()]:
        path.rename(path.with_name(f"{path.stem}_b.png"))
        copy = odd / "and 'theirs'" / f"{path.stem}_c.png"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.with_name(f"{path.stem}_b.png").read_bytes())
    code, out, _ = run_cli("data", "check", odd)
    assert code == 1
    commands = commands_in(out)
    assert len(commands) >= 2
    for words in commands:
        assert words[:4] == ["pixelwise", "data", "check", str(odd)]
        assert run_cli(*words[1:])[0] == 0


class Terminal(StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [1, 20, 45, 70, 300])
def test_a_table_on_a_terminal_of_any_width_shows_all_of_its_text(monkeypatch, width):
    from rich.table import Table

    words = ["A heading", "figures", "0.123 to 0.456", "leftImg8bit/SPLIT/CITY/NAME.png", "é道" * 9]
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(words):
        table.add_column(heading, justify="right", no_wrap=number % 2 == 1)
    for number in range(len(words)):
        table.add_row(*words[number:], *words[:number])
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    console.print_table(table)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "…" not in shown
    letters = [letter for letter in shown if not letter.isspace()]
    assert sorted(letters) == sorted("".join(words * 6).replace(" ", ""))


def test_every_table_is_printed_by_the_same_function(request):
    folder = request.config.rootpath / "src/pixelwise/cli"
    texts = {path.name: path.read_text("utf-8") for path in folder.glob("*.py")}
    makes_one = {name for name, text in texts.items() if "Table(" in text}
    assert makes_one >= {"console.py", "compare.py", "review.py", "models.py"}
    assert all("print_table(table)" in texts[name] for name in makes_one)
    assert [name for name, text in texts.items() if ".print(table)" in text] == ["console.py"]
