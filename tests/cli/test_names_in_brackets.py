"""Names of users are printed as they are, although rich reads square brackets as markup."""

import io
import re
from types import SimpleNamespace

import pytest

from pixelwise.classes import ClassMap
from pixelwise.cli import console, progress
from pixelwise.cli.data_check import print_examination
from pixelwise.doctor import check_data
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.prediction.loading import load_model
from pixelwise.training.events import Decoded

NAMES = ("car [occluded]", "x [/y]", "a :dog: [red]b")


@pytest.fixture
def labeled(tmp_path, make_index_dataset):
    """A data set whose classes have such names."""
    data = make_index_dataset(tmp_path / "data", num_images=3)
    entries = "".join(f"  - {{name: '{name}', value: {i}}}\n" for i, name in enumerate(NAMES))
    (data / "dataset.yaml").write_text(f"classes:\n{entries}")
    return data


def test_a_table_of_metrics_shows_every_name_as_it_is(
    tmp_path, labeled, make_model_file, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    path = make_model_file(tmp_path / "model.safetensors", class_map=ClassMap.build(NAMES))
    console.print_metrics(evaluate(load_model(path), labeled, "all"))
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)


def test_the_data_check_shows_every_name_as_it_is(labeled, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_examination(check_data(labeled))
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)


def test_a_split_shows_every_name_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    part = SimpleNamespace(names=("a",), num_groups=1, num_showing=(1, 1, 1))
    plan = SimpleNamespace(divisions=({"train": part},))
    console.print_split(plan, NAMES)
    out = capsys.readouterr().out
    assert all(f"with {name}" in out for name in NAMES)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("what", ["x [/y]", "{scene} [red]"])
def test_a_progress_bar_shows_its_name_as_it_is(monkeypatch, what):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress_bar(what) as on_progress:
        on_progress(1, 2)
    assert what in terminal.getvalue()


def test_the_bar_of_a_training_shows_the_split_as_it_is(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.listening() as listener:
        listener(Decoded("[/y]", 1, 2))
    assert "reading [/y]" in terminal.getvalue()


def test_every_verb_prints_to_the_plain_console(request):
    folder = request.config.rootpath / "src/pixelwise/cli"
    makes_one = re.compile(r"\bConsole\(|\(Console\)").search
    own = [path.name for path in folder.glob("*.py") if makes_one(path.read_text("utf-8"))]
    assert own == ["console.py"]
