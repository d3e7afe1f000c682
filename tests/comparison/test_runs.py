"""Reports without a training run: a run's page is made again, and runs are put side by side."""

import dataclasses
import json
import re
import shutil

import pytest

from pixelwise import report_run, report_runs, train
from pixelwise.comparison import compare as comparison
from pixelwise.comparison.schedule import differences
from pixelwise.config import load_recipe
from pixelwise.errors import ConfigError, DataError, ModelFileError
from pixelwise.training import train as train_module
from pixelwise.training.events import EpochEnded, WarningRaised
from pixelwise.training.run_folder import Notes, load_notes, read_history, save_notes

SHORT = {"model": "unet-elu", "epochs": 2, "batch_size": 2, "device": "cpu"}
TINY = "model.arguments={filters: 2, depth: 2}"


@pytest.fixture(scope="module", autouse=True)
def _no_process_for_memory():
    """Memory is measured in a process of its own, which takes seconds; it is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "peak_memory_mb", lambda *_: 12.5)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("runs") / "data"
    return make_index_dataset(folder, num_images=4, splits=("train", "val"))


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs of one data set, the second with another learning rate and more epochs."""
    home = tmp_path_factory.mktemp("runs")
    train(data, out=home / "first", overrides=[TINY], **SHORT)
    train(data, out=home / "second", overrides=[TINY, "training.learning_rate=0.02"],
          **{**SHORT, "epochs": 3})  # fmt: skip
    return home / "first", home / "second"


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the first run, to be changed."""
    return shutil.copytree(runs[0], tmp_path / "run")


def words_of(page):
    """A page without its pictures, and without what opening the data said."""
    text = re.sub(r"data:image/[^\"]*", "", page.read_text(encoding="utf-8"))
    return re.sub(r"<h2>Data</h2>.*?</dl>", "", text, flags=re.DOTALL)


def test_a_rewritten_report_repeats_the_warnings_of_the_training(run, runs):
    expected = words_of(run / "report.html").replace(str(runs[0]), str(run))
    (run / "report.html").write_text("lost")
    written = report_run(run, device="cpu")
    assert written.page == run / "report.html"
    found = words_of(written.page)
    # What is new: how many of the images were trained on is looked up.
    found = re.sub(r"<dt>seen in training</dt><dd>0 of these images</dd>", "", found)
    assert found == expected


def test_the_metrics_are_those_of_the_run(run):
    kept = json.loads((run / "metrics.json").read_text())
    metrics = json.loads(json.dumps(report_run(run, device="cpu").metrics.to_json()))
    assert metrics.pop("seen_in_training") == 0
    assert {"split": "val", "seen_in_training": None, **metrics} == kept


def test_nothing_of_the_run_but_its_page_is_touched(run, monkeypatch):
    monkeypatch.setattr(train_module, "Trainer", None)
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    report_run(run, out=run.parent / "elsewhere" / "page.html", device="cpu")
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    assert (run.parent / "elsewhere" / "page.html").is_file()


def test_what_the_watchdog_said_and_why_choices_were_made_stand_in_the_new_report(run):
    notes = load_notes(run)
    assert any("learning rate" in reason for reason in notes.reasons)
    problems = (WarningRaised(0, "leak", "a <leak>"), WarningRaised(2, "overfitting", "memorized"))
    save_notes(run, dataclasses.replace(notes, problems=problems))
    text = report_run(run, device="cpu").page.read_text(encoding="utf-8")
    assert "a &lt;leak&gt;" in text
    assert "memorized (after epoch 2)" in text
    assert all(reason.split(":")[0] in text for reason in notes.reasons)


def test_a_run_without_notes_or_history_has_a_report_too(run):
    for name in ("notes.json", "history.csv", "metrics.json", "last.ckpt"):
        (run / name).unlink(missing_ok=True)
    assert load_notes(run) == Notes()
    assert read_history(run) == []
    assert report_run(run, device="cpu").page.is_file()
    (run / "notes.json").write_text("{")
    assert load_notes(run) == Notes()


def test_a_training_that_was_stopped_has_a_report(data, tmp_path):
    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, out=tmp_path / "run", overrides=[TINY], listener=stop, **SHORT)
    assert not (tmp_path / "run" / "report.html").exists()
    text = report_run(tmp_path / "run", device="cpu").page.read_text(encoding="utf-8")
    assert "1 epoch in" in text


def test_history_is_read_as_it_was_written(run):
    rows = read_history(run)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(isinstance(row["is_best"], bool) for row in rows)
    assert any(row["is_best"] for row in rows)
    (run / "history.csv").write_text("epoch,is_best\none,True\n")
    with pytest.raises(ModelFileError, match=r"history.csv must be the history"):
        read_history(run)


def test_data_that_have_moved_are_named_on_the_spot(run, data, tmp_path):
    recipe = load_recipe(run / "recipe.yaml")
    recipe.data.path = "gone"
    (run / "recipe.yaml").write_text(recipe.to_yaml())
    with pytest.raises(DataError, match="gone does not exist"):
        report_run(run, device="cpu")
    assert report_run(run, data=data, device="cpu").metrics.images == 4


def test_the_report_notes_that_the_data_have_changed(run, data, tmp_path):
    other = shutil.copytree(data, tmp_path / "data")
    (other / "val" / "masks" / "000.png").write_bytes(
        (other / "val" / "masks" / "001.png").read_bytes() + b"\0"
    )
    written = report_run(run, data=other, device="cpu")
    assert any("has changed since the training" in note for note in written.notes)
    assert "has changed since the training" in written.page.read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["model.safetensors", "recipe.yaml"])
def test_a_folder_that_is_no_run_is_refused_in_one_line(run, missing, run_cli):
    (run / missing).unlink()
    with pytest.raises(ModelFileError, match=f"contains no {missing}"):
        report_run(run)
    code, out, err = run_cli("report", run)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1


def test_runs_side_by_side_are_ranked_with_their_curves_and_differences(runs, tmp_path):
    found = report_runs(runs, out=tmp_path / "page", device="cpu")
    assert {model.name for model in found.models} == {"first", "second"}
    assert found.budget == "finished runs, each with its own budget"
    assert found.differences["training.epochs"] == {"first": 2, "second": 3}
    assert found.differences["training.learning_rate"]["second"] == 0.02
    assert set(found.to_json()["differences"]) == set(found.differences)
    assert "data.path" not in found.differences
    for model, run in zip(sorted(found.models, key=lambda one: one.name), runs, strict=True):
        kept = json.loads((run / "metrics.json").read_text())
        assert model.ranked.value == pytest.approx(kept["mean_iou"])
    text = (tmp_path / "page" / "comparison.html").read_text(encoding="utf-8")
    lines = re.findall(r'<polyline class="run-(\d)" points="([^"]*)"', text)
    places = {model.name: str(place) for place, model in enumerate(found.models)}
    for name, num_epochs in (("first", 2), ("second", 3)):
        drawn = [points for place, points in lines if place == places[name]]
        assert [len(points.split()) for points in drawn] == [num_epochs] * 4
    assert "training.learning_rate" in text


def test_runs_of_one_name_stand_side_by_side(runs, tmp_path):
    twin = shutil.copytree(runs[0], tmp_path / "other" / "first")
    found = report_runs([runs[0], twin], out=tmp_path / "page", device="cpu")
    assert {model.name for model in found.models} == {"first", "first #2"}
    assert found.budget == "2 epochs each"
    assert found.differences == {}


def test_runs_of_other_data_splits_or_classes_are_refused_in_one_line(
    runs, tmp_path, make_index_dataset, run_cli
):
    other = make_index_dataset(tmp_path / "data", num_images=8)
    train(other, out=tmp_path / "a", overrides=[TINY], **SHORT)
    with pytest.raises(
        DataError, match=r"The images and masks of .*a differ from those of .*first"
    ):
        report_runs([runs[0], tmp_path / "a"], device="cpu")
    train(other, out=tmp_path / "b", overrides=[TINY, "data.split_seed=3"], **SHORT)
    with pytest.raises(DataError, match="The training images of"):
        report_runs([tmp_path / "a", tmp_path / "b"], device="cpu")
    train(other, out=tmp_path / "c", overrides=[TINY], ignore=[2], **SHORT)
    with pytest.raises(DataError, match="The classes of"):
        report_runs([tmp_path / "a", tmp_path / "c"], device="cpu")
    code, out, err = run_cli("report", runs[0], tmp_path / "a")
    assert (code, out) == (1, "")
    assert err.startswith("error: runs that are compared must have the same data")
    assert err.count("\n") == 1


def test_a_run_is_not_compared_with_itself(runs):
    with pytest.raises(ConfigError, match="at least two different runs"):
        report_runs([runs[0], runs[0]])
    with pytest.raises(ConfigError, match="Got none"):
        report_runs([])


def test_differences_name_what_is_unknown_as_such(runs):
    first, second = (load_recipe(run / "recipe.yaml") for run in runs)
    found = differences({"a": first, "b": None, "c": second})
    assert found["training.epochs"] == {"a": 2, "b": None, "c": 3}
    assert differences({"a": first, "b": first}) == {}
    assert differences({"a": None}) == {}


def test_the_command_prints_metrics_or_one_document(run, runs, tmp_path, run_cli):
    code, out, _ = run_cli("report", run, "--device", "cpu")
    assert code == 0
    assert "mean IoU" in out
    assert f"page: {run / 'report.html'}" in out
    code, out, _ = run_cli("report", run, "--json", "--out", tmp_path / "page.html")
    content = json.loads(out)
    assert content["page"] == str(tmp_path / "page.html")
    assert content["mean_iou"] == json.loads((run / "metrics.json").read_text())["mean_iou"]
    code, out, _ = run_cli("report", *runs, "--out", tmp_path / "both", "--json")
    assert {model["name"] for model in json.loads(out)["models"]} == {"first", "second"}
    assert (tmp_path / "both" / "comparison.html").is_file()
