"""Runs with models of other people's code: training, files, resuming, and the command line."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise import evaluate, load_model, report_model, train
from pixelwise.config import load_recipe
from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.models.base import models
from pixelwise.models.model_file import load_card, load_model_file
from pixelwise.prediction.costs import STATUS
from pixelwise.training import train as training

NETS = """
import torch
from torch import nn
import pixelwise

class Plain(nn.Module):
    def __init__(self, n_channels, n_classes, width=4):
        super().__init__()
        self.down = nn.Conv2d(n_channels, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.up = nn.ConvTranspose2d(width, n_classes, 2, stride=2)

    def forward(self, image):
        return {"out": self.up(self.norm(self.down(image)).relu())}

@pixelwise.register_model("my-net")
class Registered(Plain):
    pass
"""

SMALL = {
    "epochs": 1, "batch_size": 2, "device": "cpu", "size": (16, 16),
    "overrides": ["training.memory_format=channels_last", "training.precision=float32"],
}  # fmt: skip


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """A module my_nets of a folder on the path, which is forgotten after these tests."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "my_nets.py").write_text(NETS)
    models.names()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_entries", dict(models._entries))
        patch.syspath_prepend(folder)
        import my_nets

        yield my_nets
        sys.modules.pop("my_nets", None)


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    """Images of 19 x 17 pixels, which no stride divides."""
    folder = tmp_path_factory.mktemp("own") / "data"
    return make_index_dataset(folder, num_images=4, size=(19, 17), splits=("train", "val"))


@pytest.fixture(scope="module")
def runs(nets, data, tmp_path_factory):
    """A run of the registered model and one of the class that is not registered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        width = [*SMALL["overrides"], "model.arguments.width=6"]
        return (
            train(data, model="my-net", **SMALL).folder.resolve(),
            train(data, model=nets.Plain, **{**SMALL, "overrides": width}).folder.resolve(),
        )


def forget(monkeypatch):
    """As in a process that has not imported the module."""
    monkeypatch.delitem(sys.modules, "my_nets")
    monkeypatch.delitem(models._entries, "my-net")


def in_new_process(code, folder):
    environment = {**os.environ, "PIXELWISE_CACHE": "off"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_a_registered_model_is_trained_and_its_card_says_where_it_is(nets, runs):
    run, _ = runs
    assert run.name == "my-net-data"
    card = load_card(run)
    assert (card.architecture, card.defined_in, card.arguments) == ("my-net", "my_nets", {})
    assert load_recipe(run / "recipe.yaml").model.name == "my-net"
    assert isinstance(load_model(run).model.network, nets.Registered)


def test_the_card_of_a_model_of_ours_does_not_change(make_model_file, tmp_path):
    path = make_model_file(tmp_path / "model.safetensors")
    assert b"defined_in" not in path.read_bytes()


def test_a_class_is_built_for_the_data_and_named_by_its_path(runs):
    _, run = runs
    assert run.name == "Plain-data"
    card = load_card(run)
    assert (card.architecture, card.defined_in) == ("my_nets:Plain", "my_nets")
    assert card.arguments == {"width": 6}
    predictor = load_model(run)
    assert predictor.model.network.down.out_channels == 6
    assert predictor.predict(np.zeros((5, 7, 3), np.uint8)).shape == (5, 7)


def test_an_instance_is_trained_from_its_weights_and_stays_as_it_is(nets, data):
    network = nets.Plain(3, 3, width=5)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    dry = train(data, model=network, **SMALL, dry_run=True)
    for key, tensor in before.items():
        assert torch.equal(dry.plan.model.state_dict()[f"network.{key}"], tensor)
    outcome = train(data, model=network, **SMALL)
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in before)
    trained = load_model(outcome.folder, model=network).model.network
    assert not torch.equal(trained.down.weight, network.down.weight)
    assert load_card(outcome.folder).architecture == "my_nets:Plain(...)"
    with pytest.raises(ModelFileError, match=r"given as an instance, .* model=Plain"):
        load_model(outcome.folder)
    with pytest.raises(ModelFileError, match=r"do not fit: .*size mismatch"):
        load_model(outcome.folder, model=nets.Plain)
    with pytest.raises(ConfigError, match=r"'my_nets:Plain\(...\)' is not known here"):
        train(data, recipe=outcome.folder / "recipe.yaml", out="again")


def test_an_instance_that_its_class_gives_again_is_loaded_without_it(nets, data):
    outcome = train(data, model=nets.Plain(3, 3), **SMALL)
    assert load_card(outcome.folder).architecture == "my_nets:Plain"
    assert isinstance(load_model(outcome.folder).model.network, nets.Plain)


def test_a_wrong_model_is_refused_before_the_data_is_read(nets, data, monkeypatch):
    class Quarter(nets.Plain):
        def forward(self, image):
            return super().forward(image)["out"][..., ::4, ::4]

    with monkeypatch.context() as patch:
        patch.setattr(training, "open_as_in", lambda *_: pytest.fail("the data were opened"))
        with pytest.raises(ConfigError, match=r"size of the image. For 192 x 320 it returned 48"):
            train(data, model=Quarter, out="run", **SMALL)
    monkeypatch.setattr(
        "pixelwise.training.plan.read_and_measure", lambda *_: pytest.fail("images were read")
    )
    with pytest.raises(ConfigError, match=r"logits of 3 channels, one for each class. It re.* 2"):
        train(data, model=nets.Plain(3, 2), out="run", **SMALL)


def test_a_file_whose_class_is_not_imported_says_which_import_is_missing(nets, runs, monkeypatch):
    plain, registered = nets.Plain, nets.Registered
    forget(monkeypatch)
    for run, given in zip(runs, (registered, plain), strict=True):
        with pytest.raises(ModelFileError) as refusal:
            load_model(run)
        message = str(refusal.value)
        assert f"{run / 'model.safetensors'} cannot be loaded" in message
        assert "import my_nets" in message
        assert "Or give its class: model=" in message
        assert "\n" not in message
        assert "my_nets" not in sys.modules  # a file does not import
        assert isinstance(load_model(run, model=given).model.network, plain)


def test_a_class_of_a_notebook_is_loaded_elsewhere_by_giving_it(data, tmp_path):
    code = NETS + textwrap.dedent(f"""
        run = pixelwise.train({str(data)!r}, model=Plain, out="run", epochs=1, device="cpu").folder
        assert pixelwise.load_model(run).card.architecture == "__main__:Plain"
        """)
    done = in_new_process(code, tmp_path)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ModelFileError, match=r"in a script, a notebook .* class: model=Plain"):
        load_model(tmp_path / "run")
    scope = {"__name__": "elsewhere"}
    exec(NETS.replace("my-net", "my-other-net"), scope)
    models._entries.pop("my-other-net")
    assert load_model(tmp_path / "run", model=scope["Plain"]).card.class_map.num_classes == 3


def test_a_run_is_resumed_with_the_imports_of_its_recipe(nets, data, runs, monkeypatch):
    def stop(event):
        if type(event).__name__ == "StepEnded":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, model="my-net", out="run", imports=["my_nets"], **SMALL, listener=stop)
    assert load_recipe("run/recipe.yaml").imports == ("my_nets",)
    forget(monkeypatch)
    train(out="run", resume=True)
    first, second = (load_model_file(run)[0].state_dict() for run in (runs[0], "run"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_of_a_class_is_resumed_when_the_class_is_given_again(nets, data, monkeypatch):
    def stop(event):
        if type(event).__name__ == "StepEnded":
            raise KeyboardInterrupt

    network, plain = nets.Plain(3, 3, width=3), nets.Plain
    for out, model in (("of-class", plain), ("of-instance", network)):
        with pytest.raises(KeyboardInterrupt):
            train(data, model=model, out=out, **SMALL, listener=stop)
    with pytest.raises(ConfigError, match="instance with the same arguments: model=Plain"):
        train(out="of-instance", resume=True)
    with pytest.raises(ConfigError, match=r"a resumed run must keep its recipe.* Got `model` "):
        train(out="of-class", resume=True, model=nets.Registered)
    forget(monkeypatch)
    with pytest.raises(
        ConfigError, match=r"Import its module first: .* give its class: model=Plain"
    ):
        train(out="of-class", resume=True)
    assert train(out="of-instance", resume=True, model=network).epochs == 1
    # A class of a module that is not imported any more has the same path.
    assert train(out="of-class", resume=True, model=plain).epochs == 1


def test_the_verbs_take_import(nets, data, run_cli, monkeypatch, tmp_path):
    forget(monkeypatch)
    options = ["--device", "cpu", "--import", "my_nets"]
    few = ["--epochs", 1, "--batch-size", 2, "--size", "16x16"]
    code, out, err = run_cli("train", data, "--model", "my-net", "--out", "run", *few, *options)
    assert code == 0, err
    assert load_recipe("run/recipe.yaml").imports == ("my_nets",)
    for words in (
        ("evaluate", "run", data, "--split", "val"),
        ("predict", "run", data / "val/images", "--out", "predictions"),
        ("report", "run"),
        ("review", "run", data, "--split", "val"),
        ("compare", data, "--models", "run", "--out", "comparison"),
    ):
        forget(monkeypatch)
        code, out, err = run_cli(*words, "--device", "cpu")
        assert code == 1
        assert "--import my_nets" in err
        assert err.splitlines()[-1].startswith("error: ")
        code, out, err = run_cli(*words, *options)
        assert code == 0, err
    (compared,) = json.loads((tmp_path / "comparison/comparison.json").read_text())["models"]
    assert (compared["memory_mb"] is not None) == STATUS.is_file()  # measured in a new process
    written = sorted(path.stem for path in (tmp_path / "predictions").iterdir())
    assert written == sorted(path.stem for path in (data / "val/images").iterdir())
    forget(monkeypatch)
    code, out, err = run_cli("models", "--import", "my_nets", "--json")
    assert "my-net" in [row["name"] for row in json.loads(out)]
    code, out, err = run_cli("models", "--import", "no_such_nets")
    assert (code, out) == (1, "")
    assert err.startswith("error: imports must be modules that can be imported from")


def test_a_new_process_needs_the_import_and_no_more(nets, data, runs, tmp_path):
    home = Path(nets.__file__).parent
    for run in runs:
        words = ["evaluate", str(run), str(data), "--split", "val", "--device", "cpu", "--json"]
        command = [sys.executable, "-m", "pixelwise", *words, "--import", "my_nets"]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        expected = evaluate(load_model(run, device="cpu"), data, "val").mean_iou
        assert json.loads(done.stdout)["mean_iou"] == pytest.approx(expected)
    done = subprocess.run(command[:-2], cwd=home, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "--import my_nets" in done.stderr


def test_every_command_that_is_shown_names_the_module_of_the_model(nets, data, tmp_path, capsys):
    run = train(data, model=nets.Plain, out="own", **SMALL).folder
    assert "review own" in (run / "report.html").read_text()
    assert "--import my_nets" in (run / "report.html").read_text()
    report_model(run, data, out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("--import my_nets") == 2  # evaluate, review
