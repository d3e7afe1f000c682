"""The command line: results on stdout, the rest on stderr, and exit codes that can be relied on."""

import dataclasses
import json
import os
import sys

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image

import pixelwise.evaluation.evaluate
from pixelwise.classes import ClassMap, numbered_names
from pixelwise.cli import console, main
from pixelwise.cli.application import app
from pixelwise.cli.console import parse_bands, parse_size
from pixelwise.cli.progress import _step_texts
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.models import create_model, list_models
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData, save_model_file
from pixelwise.prediction.loading import load_model
from pixelwise.training.events import StepEnded


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the command line: (exit code, stdout, stderr)."""
    monkeypatch.setenv("PIXELWISE_DEBUG", "")  # --debug sets it; so it is given back after the test
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["pixelwise", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def save_model(path, names, *, mode="multiclass"):
    torch.manual_seed(0)
    card = ModelCard(
        architecture="encoder-decoder",
        in_channels=1,
        class_map=ClassMap.build(names),
        label_mode=mode,
        preprocessing=Preprocessing(dtype="uint8", mean=(127,), std=(60,)),
        training_size=(32, 32),
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions={},
    )
    save_model_file(path, create_model("encoder-decoder", len(names), 1), card)
    return path


def save_gray(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def multiclass(tmp_path):
    """A model of three classes and 12 images with index masks."""
    rng = np.random.default_rng(0)
    for index in range(12):
        save_gray(tmp_path / "data" / "images" / f"{index:02}.png", rng.integers(0, 256, (9, 8)))
        mask = rng.choice([0, 1, 255], (9, 8))
        save_gray(tmp_path / "data" / "masks" / f"{index:02}.png", mask)
    return save_model(tmp_path / "model.safetensors", numbered_names(3)), tmp_path / "data"


@pytest.fixture
def multilabel(tmp_path):
    """A model of two classes and 3 images with a soft mask per class."""
    rng = np.random.default_rng(0)
    for index in range(3):
        save_gray(tmp_path / "data" / "images" / f"{index}.png", rng.integers(0, 256, (9, 8)))
        for name in ("cat", "dog"):
            mask = rng.choice([0, 90, 255], (9, 8))
            save_gray(tmp_path / "data" / "masks" / name / f"{index}.png", mask)
    model = save_model(tmp_path / "model.safetensors", ("cat", "dog"), mode="multilabel")
    return model, tmp_path / "data"


def verbs(command=None, path=()):
    """The words of every command, groups and all: (), ("evaluate",), ("data", "digits") ..."""
    command = command or typer.main.get_command(app)
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from verbs(inner, (*path, name))


@pytest.mark.parametrize("words", list(verbs()), ids=lambda words: " ".join(words) or "pixelwise")
def test_every_verb_explains_itself(run, words):
    code, out, err = run(*words, "--help")
    assert (code, err) == (0, "")
    assert "Usage: " + " ".join(("pixelwise", *words)) in out
    assert len(out.splitlines()) > 5


def test_the_verbs_of_the_design_are_there():
    assert {("train",), ("evaluate",), ("predict",), ("models",), ("data", "digits")} <= set(
        verbs()
    )


def test_models_prints_one_json_document(run):
    code, out, err = run("models", "--json", "--channels", 1, "--classes", 1)
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert [entry["name"] for entry in listed] == list_models()
    for entry in listed:
        assert set(entry) == {"name", "reference", "parameters", "gmacs", "label_modes"}
    assert next(entry for entry in listed if entry["name"] == "unet")["parameters"] == 31_031_685


def test_models_prints_a_table_with_every_name(run):
    code, out, _ = run("models")
    assert code == 0
    assert all(name in out for name in list_models())


def test_evaluate_prints_one_json_document_and_nothing_else(run, multiclass):
    model, data = multiclass
    code, out, err = run("evaluate", model, data, "--split", "all", "--json", "--device", "cpu")
    assert code == 0
    assert "index-masks" in err
    metrics = json.loads(out)
    assert {"images", "label_mode", "mean_iou", "pixel_accuracy", "per_class"} <= set(metrics)
    assert "extra" not in metrics
    assert metrics["images"] == 12
    assert metrics["label_mode"] == "multiclass"
    assert [entry["name"] for entry in metrics["per_class"]] == ["class-0", "class-1", "class-2"]
    for entry in metrics["per_class"]:
        assert set(entry) == {
            "name", "iou", "iou_interval", "dice", "precision", "recall", "pixels",
        }  # fmt: skip
    assert metrics["per_class"][2]["iou"] is None
    expected = evaluate(load_model(model, device="cpu"), open_dataset(data), "all")
    assert metrics["mean_iou"] == expected.mean_iou
    assert metrics["pixel_accuracy"] == expected.pixel_accuracy


@pytest.mark.parametrize("name", ["mmseg", "all"])
def test_evaluate_has_the_conventions_in_its_json_document(run, multiclass, name):
    model, data = multiclass
    words = ("evaluate", model, data, "--split", "all", "--like", name)
    code, out, _ = run(*words, "--json")
    assert code == 0
    found = json.loads(out)["like"]
    _, printed, _ = run(*words)
    shown = {line.split()[0]: line.split()[1] for line in printed.splitlines()}
    del shown["pixelwise"]
    in_words = {key: "nan" if value is None else f"{value:.4f}" for key, value in found.items()}
    assert in_words == shown
    assert (set(found) == {"mmseg"}) == (name == "mmseg")


def test_evaluate_writes_nothing_unless_a_report_is_asked_for(run, multiclass, tmp_path):
    model, data = multiclass
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = run("evaluate", model, data, "--split", "all", "--like", "all")
    assert code == 0
    assert "mmseg" in out
    assert sorted(tmp_path.rglob("*")) == before
    code, out, _ = run("evaluate", model, data, "--split", "all", "--json")
    headlines = json.loads(out)
    assert "detail" not in headlines
    assert "low" in headlines["intervals"]["mean_iou"]
    assert sorted(tmp_path.rglob("*")) == before


def test_evaluate_writes_the_report_with_the_details(run, multiclass, tmp_path):
    model, data = multiclass
    page = tmp_path / "page.html"
    arguments = ("evaluate", model, data, "--split", "all", "--json")
    headlines = json.loads(run(*arguments)[1])
    code, out, err = run(*arguments, "--report", page)
    assert code == 0
    assert f"report: {page}" in err
    detailed = json.loads(out)
    assert detailed.pop("detail")["boundary_iou"] is not None
    assert detailed == headlines
    assert f"--report {page}" in page.read_text("utf-8")


def test_evaluate_adds_the_figures_of_a_further_metric(run, multilabel):
    model, data = multilabel
    code, out, _ = run("evaluate", model, data, "--metric", "keras", "--json", "--device", "cpu")
    assert code == 0
    metrics = json.loads(out)
    assert metrics["label_mode"] == "multilabel"
    assert set(metrics["extra"]) == {"keras_binary_accuracy", "keras_recall", "keras_precision"}
    assert all(0 <= value <= 1 for value in metrics["extra"].values())
    assert [entry["name"] for entry in metrics["per_class"]] == ["cat", "dog"]
    code, out, _ = run("evaluate", model, data, "--metric", "keras", "--device", "cpu")
    assert "keras recall 0." in " ".join(out.split())


def test_evaluate_says_where_a_further_metric_is_not_defined(run, multiclass):
    model, data = multiclass
    code, out, err = run(
        "evaluate", model, data, "--split", "all", "--metric", "keras", "--json", "--device", "cpu"
    )
    assert code == 0
    assert json.loads(out)["undefined"] == ["keras"]
    assert "extra" not in json.loads(out)
    code, _, err = run("evaluate", model, data, "--metric", "kera")
    assert code == 1
    assert "Did you mean 'keras'?" in " ".join(err.split())


def test_evaluate_prints_a_table_with_the_definition(run, multilabel):
    model, data = multilabel
    code, out, _ = run("evaluate", model, data, "--device", "cpu")
    assert code == 0
    for word in ("cat", "dog", "mean IoU", "pixel accuracy", "original size"):
        assert word in " ".join(out.split())


def test_predict_writes_and_says_what_it_wrote(run, multiclass, tmp_path):
    model, data = multiclass
    code, out, _ = run("predict", model, data / "images", "--out", tmp_path / "out")
    assert code == 0
    assert "12 files written" in " ".join(out.split())
    assert len(list((tmp_path / "out").iterdir())) == 12


def test_predict_prints_one_json_document(run, multiclass, tmp_path):
    model, data = multiclass
    arguments = ("predict", model, data / "images", "--out", tmp_path / "out", "--json")
    code, out, _ = run(*arguments, "--save", "index", "--save", "probabilities")
    assert code == 0
    content = json.loads(out)
    assert content["failed"] == []
    assert len(content["written"]) == 12 + 3 * 12


def test_predict_exits_with_1_after_the_rest_is_done(run, multiclass, tmp_path):
    model, data = multiclass
    (data / "images" / "05.png").write_bytes(b"")
    code, out, err = run("predict", model, data / "images", "--out", tmp_path / "out", "--json")
    assert code == 1
    assert len(json.loads(out)["written"]) == 11
    (complaint,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "05.png" in complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-verb",),
        ("evaluate",),
        ("evaluate", "model", "data", "--no-such-option"),
        ("models", "--channels", "many"),
        ("models", "--channels", "0"),
        ("predict", "model"),
        ("train", "data", "--epochs", "0"),
        ("data", "digits"),
        ("--no-such-option",),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "nowhere.safetensors", "data"),
        ("predict", "nowhere.safetensors", "a.png", "--out", "out"),
        ("train", "nowhere"),
        ("train", "nowhere", "--size", "big"),
        ("train", "nowhere", "--set", "training"),
    ],
    ids=" ".join,
)
def test_an_error_of_pixelwise_exits_with_1_and_one_line(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_several_lines_is_made_one(run, monkeypatch, multiclass):
    def fail(*args, **kwargs):
        raise ModelFileError("first line\n  second line")

    monkeypatch.setattr(pixelwise.evaluation.evaluate, "open_for_model", fail)
    code, _, err = run("evaluate", *multiclass)
    assert (code, err) == (1, "error: first line second line\n")


def test_debug_shows_the_traceback(run, tmp_path):
    with pytest.raises(ModelFileError, match="nowhere"):
        run("--debug", "evaluate", tmp_path / "nowhere", tmp_path)
    assert os.environ["PIXELWISE_DEBUG"] == "1"


def test_an_error_of_ours_is_not_hidden(run, monkeypatch, multiclass):
    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(pixelwise.evaluation.evaluate, "evaluate", fail)
    with pytest.raises(ZeroDivisionError):
        run("evaluate", *multiclass)


def test_an_interrupt_exits_with_130_without_a_traceback(run, monkeypatch, multiclass):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pixelwise.evaluation.evaluate, "evaluate", interrupted)
    code, out, err = run("evaluate", *multiclass, "--json")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err


PHASES = [
    "train.open_as_in", "train.plan", "train._require_sanity", "train.Trainer",
]  # fmt: skip
"""What a training run does before anything of it is kept."""


@pytest.mark.parametrize("phase", PHASES)
def test_control_c_before_the_first_step_says_that_nothing_was_written(
    run, monkeypatch, multiclass, tmp_path, phase
):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"pixelwise.training.{phase}", interrupted)
    arguments = (
        "--out",
        tmp_path / "run",
        "--epochs",
        1,
        "--model",
        "stacked-fcn",
        "--sanity-check",
    )
    code, out, err = run("train", multiclass[1], *arguments)
    assert (code, out) == (130, "")
    last = err.splitlines()[-1]
    assert "nothing was trained or written" in last
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_control_c_while_torch_is_loaded_says_the_same(run, monkeypatch, multiclass):
    class Interrupting:
        def find_spec(self, name, *_):
            if name == "pixelwise.training.train":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "pixelwise.training.train")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    code, _, err = run("train", multiclass[1])
    assert code == 130
    assert "nothing was trained or written" in err.splitlines()[-1]


def test_control_c_before_the_first_step_of_a_run_that_is_kept_says_how_to_resume(
    run, monkeypatch, multiclass, tmp_path
):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    arguments = ("--out", tmp_path / "run", "--epochs", 1, "--model", "stacked-fcn")
    with monkeypatch.context() as patched:
        patched.setattr(
            "pixelwise.training.diagnostics.observer.Observer.before_training", interrupted
        )
        code, _, err = run("train", multiclass[1], *arguments)
    assert code == 130
    assert "stopped; nothing was trained yet:" in err
    assert f"--resume --out {tmp_path / 'run'}" in err
    with monkeypatch.context() as patched:
        patched.setattr("pixelwise.training.train.plan", interrupted)
        code, _, err = run("train", "--resume", "--out", tmp_path / "run")
    assert code == 130
    assert "the run is unchanged" in err.splitlines()[-1]
    assert run("train", "--resume", "--out", tmp_path / "run")[0] == 0


def test_what_is_no_number_becomes_null_in_json(capsys):
    console.print_json({"loss": float("nan"), "rows": [float("inf"), (1.5, None)], "name": "a"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"loss": None, "rows": [None, [1.5, None]], "name": "a"}


def test_progress_without_a_terminal_is_plain_lines_on_stderr(run, multiclass):
    code, out, err = run("evaluate", *multiclass, "--split", "all", "--json")
    assert code == 0
    assert "evaluating 12/12" in err.splitlines()
    assert "evaluating" not in out
    assert "\x1b" not in err + out


def test_on_a_terminal_a_bar_tells_epoch_time_left_speed_loss_and_mean_iou():
    event = StepEnded(
        step=50,
        epoch=3,
        epochs=20,
        fraction=0.125,
        loss=0.25,
        images_per_s=41.7,
        eta_s=754.2,
        mean_iou=0.5,
    )
    before, behind = _step_texts(event)
    assert before == "epoch 3/20"
    assert behind == "12:34 left · 41.7 images/s · loss 0.2500 · mean IoU 0.500"
    first = dataclasses.replace(event, epochs=None, eta_s=None, mean_iou=None)
    assert _step_texts(first) == ("epoch 3", "? left · 41.7 images/s · loss 0.2500")


def test_training_on_a_terminal_draws_its_bar_and_prints_each_epoch(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(4):
            pixels = rng.integers(0, 2, (16, 16)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    monkeypatch.setattr("pixelwise.cli.progress.is_terminal", lambda: True)
    command = ["pixelwise", "train", str(tmp_path / "data"), "--model", "stacked-fcn"]
    monkeypatch.setattr("sys.argv", [*command, "--epochs", "2", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    shown = capsys.readouterr()
    assert "epoch 2/2: loss" in shown.err
    assert "mean IoU" in shown.out


@pytest.mark.parametrize("text", ["\u00b2x\u00b2", "9" * 5000 + "x1", "0x4", "4"])
def test_a_size_or_bands_that_are_no_numbers_are_an_error_in_one_line(text):
    with pytest.raises(ConfigError, match=r"--size must be HxW") as refusal:
        parse_size(text)
    assert len(str(refusal.value)) < 200
    with pytest.raises(ConfigError, match=r"--bands must be band numbers"):
        parse_bands(text.replace("4", "0"))
