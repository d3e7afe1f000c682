"""Further metrics: names, registration, and what their figures are called."""

import csv
import json
import sys
from pathlib import Path

import pytest

from pixelwise import evaluate, open_dataset, register_metric, report_run, train
from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.metrics.conventions import KerasCounts
from pixelwise.metrics.extra import (
    create_metrics,
    extra_metrics,
    figures_of,
    registered_names,
)


class Fixed:
    """Gives the figures that it was made with."""

    def __init__(self, name, **figures):
        self.name = name
        self._figures = figures

    def add(self, *arrays):
        """Counts nothing."""

    def figures(self):
        return self._figures


def test_a_figure_is_called_by_its_metric_unless_it_has_the_same_name():
    metrics = [Fixed("distance", distance=3, worst=9), Fixed("area", worst=2)]
    assert figures_of(metrics) == {"distance": 3.0, "distance_worst": 9.0, "area_worst": 2.0}
    assert figures_of([]) == {}


def test_two_figures_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="'area_mean' twice"):
        figures_of([Fixed("area", mean=1), Fixed("area", mean=2)])


def test_registered_metrics_are_made_for_each_evaluation():
    (first,), (second,) = create_metrics(["keras", "keras"]), create_metrics(["keras"])
    assert isinstance(first, KerasCounts)
    assert first is not second


def test_an_unknown_metric_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'keras'"):
        create_metrics(["kera"])


def test_a_metric_of_the_user_is_known_by_its_registered_name(monkeypatch):
    monkeypatch.setattr(extra_metrics, "_entries", dict(extra_metrics._entries))
    extra_metrics.register("own")(lambda: Fixed("own", own=1))
    assert figures_of(create_metrics(["own"])) == {"own": 1.0}


class Doubles:
    """A metric of the user: the number of images, and twice that."""

    def __init__(self):
        self.count = 0

    def add(self, *arrays):
        assert len(arrays) == 3
        self.count += 1

    def figures(self):
        return {"images": self.count, "twice": 2 * self.count}


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(extra_metrics, "_entries", dict(extra_metrics._entries))


def test_a_name_a_class_a_function_and_an_object_make_metrics(own_registry):
    register_metric("counted")(Doubles)
    given = Doubles()
    made = create_metrics(["counted", Doubles, lambda: Fixed("fixed", value=1), given, "counted"])
    assert [metric.name for metric in made] == ["counted", "Doubles", "fixed", "Doubles"]
    assert made[3] is given
    assert made[0] is not made[1]


@pytest.mark.parametrize("wrong", [3, int, object(), print])
def test_what_is_no_metric_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"metrics must be names, or have the methods add\("):
        create_metrics([wrong])


def test_a_training_makes_new_metrics_each_time(own_registry):
    used = Doubles()
    used.count = 5
    names = registered_names([used, lambda: Fixed("fixed", value=1), "keras", "keras"])
    assert names == ("Doubles", "fixed", "keras")
    for _ in range(2):
        copy, fixed, _ = create_metrics(names)
        copy.add(None, None, None)
        assert (copy.count, used.count) == (6, 5)
        assert figures_of([fixed]) == {"fixed_value": 1}


def test_the_module_of_a_metric_is_imported_before_its_name_is_looked_up(
    own_registry, tmp_path, make_index_dataset, run_cli, monkeypatch
):
    (tmp_path / "late_metric.py").write_text(
        "import pixelwise\nfrom test_extra import Doubles\n"
        "pixelwise.register_metric('late')(Doubles)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_extra", sys.modules[__name__])
    data = make_index_dataset(tmp_path / "data", num_images=10)
    words = ("train", data, "--dry-run", "--model", "stacked-fcn", "--epochs", 1, "--metric")
    assert run_cli(*words, "late", "--import", "late_metric")[0] == 0
    assert "metric must be a known name" in run_cli(*words, "kera")[2]


def test_own_metrics_are_in_history_metrics_and_report_of_a_training(
    own_registry, tmp_path, make_index_dataset
):
    data = make_index_dataset(tmp_path / "data", num_images=10)
    run = train(
        data, model="stacked-fcn", epochs=2, out=tmp_path / "run", device="cpu", metrics=[Doubles],
        overrides=("model.arguments={filters: 4}", "training.size=[8, 8]"),
    )  # fmt: skip
    num_val = len(open_dataset(data).val)
    with (run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["Doubles_images"]) for row in rows] == [num_val, num_val]
    expected = {"Doubles_images": num_val, "Doubles_twice": 2 * num_val}
    assert json.loads((run.folder / "metrics.json").read_text())["extra"] == expected
    assert run.metrics.extra == expected
    page = (run.folder / "report.html").read_text("utf-8")
    assert f"<td>Doubles twice</td><td>{2 * num_val}</td>" in page
    again = evaluate(run.folder, data, "val", metrics=["Doubles"], device="cpu")
    assert again.extra == expected
    page = report_run(run.folder, out=tmp_path / "again.html").page.read_text("utf-8")
    assert "<td>Doubles twice</td>" in page


def test_a_resumed_run_takes_its_own_metrics_again_and_no_others(
    own_registry, tmp_path, make_index_dataset
):
    data = make_index_dataset(tmp_path / "data", num_images=10)
    train(
        data, model="stacked-fcn", epochs=1, out=tmp_path / "run", device="cpu", metrics=[Doubles],
        overrides=("model.arguments={filters: 4}", "training.size=[8, 8]"),
    )  # fmt: skip
    del extra_metrics._entries["Doubles"]  # as in a new process
    with pytest.raises(UnknownNameError, match=r"metric must be a known name\. Got 'Doubles'"):
        train(out=tmp_path / "run", resume=True)
    train(out=tmp_path / "run", resume=True, metrics=[Doubles])
    with pytest.raises(ConfigError, match=r"must keep its recipe.*Got `metrics`"):
        train(out=tmp_path / "run", resume=True, metrics=["keras"])


class Nothing(Doubles):
    """A metric of the user that has no value for these masks."""

    def figures(self):
        return {}


def test_a_metric_without_a_value_is_named_and_others_keep_theirs(
    own_registry, tmp_path, make_index_dataset, make_model_file, run_cli
):
    data = make_index_dataset(tmp_path / "data", num_images=2)
    model = make_model_file(tmp_path / "model.safetensors")
    register_metric("nothing")(Nothing)
    register_metric("counted")(Doubles)
    found = evaluate(model, data, "all", metrics=["nothing", "counted"])
    assert found.undefined == ("nothing",)
    assert found.to_json()["undefined"] == ("nothing",)
    given = ("evaluate", model, data, "--metric", "nothing", "--metric", "counted")
    for more in ((), ("--like", "monai")):
        code, out, _ = run_cli(*given, *more)
        assert code == 0
        assert "no value of nothing: not defined for multiclass masks like these" in out
        assert "counted images 2.0000" in out
    assert json.loads(run_cli(*given, "--json")[1])["undefined"] == ["nothing"]
    assert "undefined" not in evaluate(model, data, "all").to_json()


def test_every_additional_metric_of_pixelwise_is_documented():
    known = extra_metrics.names()
    names = [name for name in known if extra_metrics.is_own(extra_metrics.builder(name))]
    text = (Path(__file__).parents[2] / "docs" / "lab.md").read_text("utf-8")
    assert names == ["keras"]
    assert "--metric keras" in text
