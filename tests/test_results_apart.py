"""Results are not written into the data or the runs that they are made from."""

import pytest

import pixelwise
from pixelwise.data import dataset
from pixelwise.data.digits import write_digits
from pixelwise.errors import ConfigError
from pixelwise.files import require_outside
from pixelwise.training.events import Message

FAST = {"model": {"name": "stacked-fcn"}, "training": {"epochs": 1, "size": [8, 8]}}


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=8)


def files_in(folder):
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize(
    "write",
    [
        lambda data, out: pixelwise.train(data, recipe=FAST, out=out),
        lambda data, out: pixelwise.train(data, recipe=FAST, out=out, dry_run=True),
        lambda data, out: pixelwise.compare(data, "stacked-fcn", epochs=1, out=out),
        lambda data, out: pixelwise.convert_data(data, out, "coco"),
        lambda data, out: pixelwise.show_data(data, out / "shown.png", recipe=FAST),
    ],
    ids=["train", "plan", "compare", "convert", "show"],
)
@pytest.mark.parametrize("place", [".", "images", "runs/first", "../data/runs"])
def test_nothing_is_written_into_the_data_set(data, write, place):
    before = files_in(data)
    with pytest.raises(ConfigError, match="`out` must be outside the data set"):
        write(data, data / place)
    assert files_in(data) == before


def test_the_default_run_folder_is_not_in_the_data_either(data, monkeypatch):
    monkeypatch.chdir(data)
    with pytest.raises(ConfigError, match="`out` must be outside the data set"):
        pixelwise.train(".", recipe=FAST)
    assert not (data / "runs").exists()


def test_a_review_is_not_written_into_the_data_set(data, tmp_path, make_model_file, run_cli):
    model = make_model_file(tmp_path / "model.safetensors")
    code, _, err = run_cli("review", model, data, "--split", "all", "--out", data / "found")
    assert code == 1
    assert "error: --out must be outside the data set" in err
    assert not (data / "found").exists()


def test_a_comparison_is_not_written_into_one_of_its_runs(data, tmp_path):
    runs = [pixelwise.train(data, recipe=FAST, out=tmp_path / name).folder for name in "ab"]
    before = files_in(runs[0])
    for out in (runs[0], runs[0] / "page"):
        with pytest.raises(ConfigError, match="`out` must be outside the compared runs"):
            pixelwise.report_runs(runs, out=out)
        with pytest.raises(ConfigError, match="`out` must be outside the compared runs"):
            pixelwise.compare(data, runs, epochs=1, out=out)
    assert files_in(runs[0]) == before


def test_a_folder_beside_one_with_a_longer_name_is_outside(tmp_path):
    require_outside(tmp_path / "data-runs", tmp_path / "data", "the data set")


def test_a_plan_for_the_digits_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dataset, "write_digits", few_digits)
    told = []
    outcome = pixelwise.train("digits", dry_run=True, listener=told.append)
    assert list(tmp_path.iterdir()) == []
    notes = [line for event in told if isinstance(event, Message) for line in event.lines]
    assert "digits/ will be made from a few" in notes
    assert "dataset card digits/dataset.yaml" in notes
    assert outcome.plan.recipe.data.path == "digits"


def few_digits(folder):
    write_digits(folder, num_train=4, num_val=2)
    return "a few"
