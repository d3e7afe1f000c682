"""Loggers: what they write is read back; what is missing or fails is said in one line."""

import csv
import sys
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import pixelwise
from pixelwise.errors import ConfigError, MissingExtraError, PixelwiseWarning, UnknownNameError
from pixelwise.training.events import (
    EpochEnded,
    Message,
    RunEnded,
    RunStarted,
    StepEnded,
    ignore_events,
)
from pixelwise.training.loggers.base import RunLogger, create_loggers, loggers, with_loggers

SMALL = ("model.arguments={filters: 4}", "training.size=[8, 8]", "training.batch_size=4")


def train(data, out, **options):
    given = {"epochs": 2, "device": "cpu", "overrides": SMALL, **options}
    return pixelwise.train(data, model="stacked-fcn", out=out, **given)


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    return make_index_dataset(tmp_path_factory.mktemp("data"), num_images=8)


def history(run):
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_tensorboard_holds_every_column_the_steps_the_pictures_and_the_recipe(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(data, tmp_path / "run", loggers=["tensorboard"]).folder
    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    rows = history(run)
    for column in rows[0].keys() - {"epoch"}:
        curve = found.Scalars(f"epoch/{column}")
        assert [entry.step for entry in curve] == [1, 2]
        values = [{"True": 1, "False": 0}.get(row[column], row[column]) for row in rows]
        assert [entry.value for entry in curve] == pytest.approx(list(map(float, values)))
    steps = found.Scalars("step/loss")
    assert [entry.step for entry in steps] == list(range(1, len(steps) + 1))
    assert len(steps) > 2
    assert steps[-1].value == pytest.approx(float(rows[-1]["train_loss"]), rel=1e-5)
    pictures = {path.stem for path in run.rglob("*.png")}
    assert set(found.Tags()["images"]) == pictures
    assert len(pictures) > 2
    (text,) = found.Tensors("recipe/text_summary")
    recipe = (run / "recipe.yaml").read_text()
    shown = text.tensor_proto.string_val[0].decode()
    assert [line[4:] for line in shown.splitlines()] == recipe.splitlines()
    assert "loggers:\n  - tensorboard" in recipe


def test_a_resumed_run_continues_its_curves(data, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def stop(event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
            raise KeyboardInterrupt

    statuses = []

    def ends(event):
        if isinstance(event, RunEnded):
            statuses.append(event.status)

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(data, run, loggers=["tensorboard", ends, stop])
    resumed = pixelwise.train(out=run, resume=True, loggers=["tensorboard", ends])
    assert resumed.folder == run
    assert statuses == ["interrupted", "finished"]
    found = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [entry.step for entry in found.Scalars("epoch/val_loss")] == [1, 2]


def write_package(folder, name, source):
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("import os\nCALLS = []\n" + source)


MLFLOW = """
from types import SimpleNamespace as Namespace
TELEMETRY = os.environ.get("MLFLOW_DISABLE_TELEMETRY")

class MlflowClient:
    def __init__(self, tracking_uri):
        CALLS.append(("client", tracking_uri))
    def get_experiment_by_name(self, name):
        return None
    def create_experiment(self, name, artifact_location):
        CALLS.append(("experiment", name, artifact_location))
        return "1"
    def create_run(self, experiment_id, run_name):
        CALLS.append(("run", experiment_id, run_name))
        return Namespace(info=Namespace(run_id="7"))
    def log_text(self, run_id, text, artifact_file):
        CALLS.append(("text", text, artifact_file))
    def log_batch(self, run_id, metrics):
        CALLS.append(("metrics", {metric.key: (metric.value, metric.step) for metric in metrics}))
    def log_artifact(self, run_id, local_path, artifact_path):
        CALLS.append(("artifact", local_path, artifact_path))
    def set_terminated(self, run_id, status):
        CALLS.append(("end", status))
"""
ENTITIES = """
class Metric:
    def __init__(self, key, value, timestamp, step):
        self.key, self.value, self.step = key, value, step
"""
WANDB = """
class Image:
    def __init__(self, path):
        self.path = path

class Run:
    def define_metric(self, name, step_metric):
        CALLS.append(("metric", name, step_metric))
    def log(self, values):
        CALLS.append(("log", values))
    def finish(self, exit_code):
        CALLS.append(("end", exit_code))

def init(**options):
    CALLS.append(("init", options))
    return Run()
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Packages in place of mlflow and wandb, which note how they are called."""
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    folder = tmp_path / "packages"
    folder.mkdir()
    write_package(folder, "mlflow", MLFLOW)
    (folder / "mlflow" / "entities.py").write_text(ENTITIES)
    write_package(folder, "wandb", WANDB)
    monkeypatch.syspath_prepend(str(folder))
    for name in ("mlflow", "mlflow.entities", "wandb"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in ("mlflow", "mlflow.entities", "wandb"):
        sys.modules.pop(name, None)


def of_kind(calls, kind):
    return [call[1:] for call in calls if call[0] == kind]


def test_mlflow_gets_a_local_run_with_all_of_it(data, tmp_path, fakes):
    run = train(data, tmp_path / "run", loggers=["mlflow"]).folder
    import mlflow

    assert mlflow.TELEMETRY == "true"
    assert of_kind(mlflow.CALLS, "client") == [(f"sqlite:///{run}/mlflow/mlflow.db",)]
    assert of_kind(mlflow.CALLS, "experiment") == [
        ("pixelwise", (run / "mlflow/artifacts").as_uri())
    ]
    assert of_kind(mlflow.CALLS, "text") == [((run / "recipe.yaml").read_text(), "recipe.yaml")]
    epochs = [
        values for (values,) in of_kind(mlflow.CALLS, "metrics") if "epoch/val_loss" in values
    ]
    for number, (values, row) in enumerate(zip(epochs, history(run), strict=True), start=1):
        assert values.keys() == {f"epoch/{name}" for name in row.keys() - {"epoch"}}
        assert values["epoch/val_mean_iou"] == (float(row["val_mean_iou"]), number)
    copied = {path for path, _ in of_kind(mlflow.CALLS, "artifact")}
    assert copied == {str(path) for path in run.rglob("*.png")}
    assert of_kind(mlflow.CALLS, "end") == [("FINISHED",)]


def test_mlflow_goes_to_the_server_of_the_environment(data, tmp_path, fakes, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    run = train(data, tmp_path / "run", loggers=["mlflow"], epochs=1).folder
    import mlflow

    assert of_kind(mlflow.CALLS, "client") == [("http://tracking.example",)]
    assert not (run / "mlflow").exists()


@pytest.mark.parametrize(("mode", "expected"), [(None, "offline"), ("online", "online")])
def test_wandb_is_offline_unless_the_environment_says_otherwise(
    data, tmp_path, fakes, monkeypatch, mode, expected
):
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    run = train(data, tmp_path / "run", loggers=["wandb"], epochs=1).folder
    import wandb

    ((options,),) = of_kind(wandb.CALLS, "init")
    assert (options["mode"], options["dir"], options["name"]) == (expected, str(run), "run")
    assert options["config"]["training"]["epochs"] == 1
    logged = [values for (values,) in of_kind(wandb.CALLS, "log")]
    (row,) = history(run)
    (epoch,) = [values for values in logged if "epoch/val_loss" in values]
    assert epoch["epoch"] == 1
    assert epoch["epoch/val_loss"] == float(row["val_loss"])
    assert [values["curves"].path for values in logged if "curves" in values] == [
        str(run / "curves.png")
    ]
    assert of_kind(wandb.CALLS, "end") == [(0,)]


@pytest.mark.parametrize(
    ("name", "how"),
    [("tensorboard", r"pip install '\.\[tensorboard\]'"), ("mlflow", "pip install mlflow"),
     ("wandb", "pip install wandb")],
)  # fmt: skip
def test_a_missing_package_is_said_before_anything_is_read(tmp_path, monkeypatch, name, how):
    find_spec = importlib_find_spec()
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda wanted, *rest: None if wanted == name else find_spec(wanted, *rest),
    )
    message = rf"^logger '{name}' needs the package '{name}', which is not installed.*{how}"
    with pytest.raises(MissingExtraError, match=message):
        pixelwise.train(tmp_path / "no-data", loggers=[name])


def importlib_find_spec():
    import importlib.util

    return importlib.util.find_spec


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (["tensorbord"], UnknownNameError, "Did you mean 'tensorboard'"),
        ([3], ConfigError, "`loggers` must be names, or callables.*Got int"),
    ],
)
def test_what_is_no_logger_is_refused_before_anything_is_read(tmp_path, given, kind, message):
    with pytest.raises(kind, match=message):
        pixelwise.train(tmp_path / "no-data", loggers=given)


class Noting:
    """Takes events; the class and its objects can be given."""

    seen: ClassVar = []

    def __call__(self, event):
        type(self).seen.append(event)


def test_a_callable_and_a_class_get_every_event_in_order(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Noting, "seen", [])
    heard, told = [], []
    train(data, tmp_path / "run", loggers=[heard.append, Noting], epochs=1, listener=told.append)
    assert heard == told == Noting.seen
    kinds = [type(event) for event in heard]
    assert kinds.index(RunStarted) < kinds.index(StepEnded) < kinds.index(EpochEnded)
    assert kinds[-1] is RunEnded
    assert kinds.count(RunStarted) == kinds.count(RunEnded) == 1


def test_a_registered_logger_is_known_by_its_name(data, tmp_path, monkeypatch, run_cli):
    monkeypatch.setattr(loggers, "_entries", dict(loggers._entries))
    monkeypatch.setattr(Noting, "seen", [])
    pixelwise.register_logger("noting")(Noting)
    code, _, err = run_cli(
        "train", data, "--model", "stacked-fcn", "--epochs", "1", "--size", "8x8", "--set",
        "model.arguments={filters: 4}", "--logger", "noting", "--out", tmp_path / "run",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert isinstance(Noting.seen[-1], RunEnded)
    assert pixelwise.load_recipe(tmp_path / "run" / "recipe.yaml").training.loggers == ("noting",)


def broken(event):
    return {}["x"]


def test_a_logger_that_fails_is_left_out_and_said_once():
    def full(event):
        raise OSError("no space\nleft")

    told, heard = [], []
    tell = with_loggers(told.append, [full, heard.append])
    first, second = RunEnded(Path("a"), "finished"), RunEnded(Path("b"), "finished")
    words = "a logger failed: full raised OSError: no space left. It gets no further events"
    with pytest.warns(PixelwiseWarning, match=words):
        tell(first)
    tell(second)  # a second warning would be an error
    assert heard == told == [first, second]


def test_a_logger_that_fails_is_said_by_a_training_from_python(data, tmp_path):
    with pytest.warns(PixelwiseWarning, match="broken raised KeyError: 'x'. It gets no further"):
        assert train(data, tmp_path / "run", loggers=[broken]).metrics


def test_an_interruption_passes_through_a_logger():
    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_loggers(ignore_events, [stop])(Message("a", ()))


@pytest.mark.parametrize("name", loggers.names())
def test_every_logger_is_documented_and_built_without_writing(name, fakes):
    (logger,) = create_loggers([name, name])
    assert isinstance(logger, RunLogger)
    logger(Message("before the run", ()))
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
    assert f"| `{name}` |" in text


def test_a_failed_training_ends_its_run(data, tmp_path):
    heard = []

    def fail(event):
        heard.append(event)
        if isinstance(event, StepEnded):
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        train(data, tmp_path / "run", listener=fail)
    assert heard[-1] == RunEnded(tmp_path / "run", "failed")


def test_a_dry_run_starts_no_run(data, tmp_path):
    heard = []
    train(data, tmp_path / "run", loggers=[heard.append, "tensorboard"], dry_run=True)
    assert not [event for event in heard if isinstance(event, RunStarted)]
    assert not (tmp_path / "run").exists()


def test_pictures_are_written_at_their_size(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from pixelwise.training.events import FilesWritten

    Image.fromarray(np.zeros((7, 11, 4), np.uint8)).save(tmp_path / "a.png")
    (logger,) = create_loggers(["tensorboard"])
    for event in (
        RunStarted(tmp_path, "data: {}", False),
        FilesWritten((tmp_path / "a.png", tmp_path / "report.html")),
        RunEnded(tmp_path, "finished"),
    ):
        logger(event)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (picture,) = found.Images("a")
    assert (picture.height, picture.width) == (7, 11)
    assert [field.name for field in fields(RunStarted)] == ["folder", "recipe", "is_resumed"]
