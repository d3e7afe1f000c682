"""Comparisons: one budget, the same batches, resumable, and honest about no difference."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from pixelwise import compare, load_model, open_dataset, train
from pixelwise.comparison import compare as module
from pixelwise.comparison import plan
from pixelwise.errors import ConfigError, TrainingError, UnknownNameError
from pixelwise.evaluation import evaluate
from pixelwise.scoring.measures import mean_iou
from pixelwise.training.events import EpochEnded

TINY = "unet-elu(filters=2,depth=2)"
OTHER = "unet-elu(filters=3,depth=2,dropout=0)"
SHORT = {"epochs": 2, "device": "cpu", "overrides": ["training.batch_size=2"]}


@pytest.fixture(scope="module", autouse=True)
def _no_process_for_memory():
    """Memory is measured in a process of its own, which takes seconds; it is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "peak_memory_mb", lambda *_: 12.5)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    return make_index_dataset(
        tmp_path_factory.mktemp("comparison") / "data",
        num_images=4,
        splits=("train", "val", "test"),
    )


@pytest.fixture(scope="module")
def twice(data, tmp_path_factory):
    """The same model twice and another one, with a bad one between them."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    return compare(data, [TINY, "unet-elu(filters=-1)", TINY, OTHER], out=out, **SHORT)


def by_name(comparison):
    return {model.name: model for model in comparison.models}


def recipe_of(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_the_same_model_twice_is_no_difference_in_words(data, tmp_path):
    comparison = compare(data, [TINY, TINY], out=tmp_path / "out", **SHORT)
    assert [model.ranked.is_like_best for model in comparison.models] == [True, True]
    assert comparison.models[0].ranked.value == comparison.models[1].ranked.value
    assert comparison.models[1].ranked.p_value == 1
    assert comparison.to_json()["verdict"][0].startswith("4 images are too few to compare models")


def test_a_model_that_fails_is_listed_and_the_others_go_on(twice):
    ((name, error),) = twice.failed
    assert name == "unet-elu(filters=-1)"
    assert "filters" in error
    assert len(twice.models) == 3


def test_all_runs_have_the_same_data_batches_and_budget(twice):
    recipes = [recipe_of(module.Path(run)) for model in twice.models for run in model.runs]
    assert len(recipes) == 3
    for section, keys in plan.SHARED.items():
        for key in keys:
            assert len({str(recipe[section][key]) for recipe in recipes}) == 1
    assert {recipe["training"]["batch_size"] for recipe in recipes} == {2}
    assert {recipe["training"]["epochs"] for recipe in recipes} == {2}
    assert {recipe["training"]["seed"] for recipe in recipes} == {0}


def test_scores_are_those_of_evaluate_on_validation_and_test(twice, data):
    model = by_name(twice)[OTHER]
    predictor, dataset = load_model(model.runs[0], device="cpu"), open_dataset(data)
    scores = evaluate(predictor, dataset, "val", detailed=True)
    assert model.ranked.value == pytest.approx(scores.mean_iou)
    assert model.ranked.interval == scores.intervals["mean_iou"]
    assert model.test == pytest.approx(evaluate(predictor, dataset, "test").mean_iou)
    assert model.per_class == pytest.approx({row.name: row.iou for row in scores.per_class})
    assert mean_iou(scores.detail.counts.sum(0)) == pytest.approx(scores.mean_iou)
    assert "counts" not in scores.to_json()["detail"]


def test_costs_are_those_of_the_model(twice):
    model = by_name(twice)[OTHER]
    parameters = sum(weights.numel() for weights in load_model(model.runs[0]).model.parameters())
    assert model.parameters == parameters
    assert model.epochs == 2
    assert model.ms_per_image > 0
    assert model.gmacs > 0
    assert model.memory_mb == 12.5


def test_what_is_finished_is_neither_trained_nor_scored_again(twice, data, monkeypatch):
    def never(*_, **__):
        raise AssertionError("it was done already")

    monkeypatch.setattr(plan, "train", never)
    monkeypatch.setattr(module, "evaluate", never)
    again = compare(data, [TINY, OTHER], out=twice.folder, **SHORT)
    assert by_name(again)[OTHER].ranked.value == by_name(twice)[OTHER].ranked.value


def test_an_interrupted_comparison_goes_on_where_it_was(data, tmp_path):
    out = tmp_path / "out"

    def interrupt(event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(data, [TINY, OTHER], out=out, listener=interrupt, **SHORT)
    (run,) = [path for path in out.iterdir() if (path / "last.ckpt").exists()]
    assert not (run / "scores.json").exists()
    epochs = []
    comparison = compare(
        data, [TINY, OTHER], out=out, **SHORT,
        listener=lambda event: epochs.append(event.row["epoch"])
        if isinstance(event, EpochEnded) else None,
    )  # fmt: skip
    assert epochs == [2, 1, 2]
    whole = compare(data, [TINY], out=tmp_path / "whole", **SHORT)
    assert by_name(comparison)[TINY].ranked.value == whole.models[0].ranked.value


def test_a_run_that_was_stopped_before_its_first_step_is_begun_anew(data, tmp_path):
    out = tmp_path / "out"
    first = compare(data, [TINY], out=out, **SHORT)
    (run,) = map(module.Path, first.models[0].runs)
    for path in run.iterdir():
        if path.is_file() and path.name != "recipe.yaml":
            path.unlink()
    again = compare(data, [TINY], out=out, **SHORT)
    assert again.models[0].ranked.value == first.models[0].ranked.value


def test_another_budget_in_the_same_folder_is_refused(twice, data):
    with pytest.raises(ConfigError, match=r"training.epochs 2, not 3"):
        compare(data, [TINY], out=twice.folder, epochs=3, device="cpu")


def test_seeds_are_trainings_of_their_own_and_the_score_is_their_mean(data, tmp_path):
    comparison = compare(data, [TINY], seeds=2, out=tmp_path / "out", **SHORT)
    (model,) = comparison.models
    assert len(model.runs) == 2
    assert [recipe_of(module.Path(run))["training"]["seed"] for run in model.runs] == [0, 1]
    dataset = open_dataset(data)
    scores = [
        evaluate(load_model(run, device="cpu"), dataset, "val").mean_iou for run in model.runs
    ]
    assert model.ranked.by_seed == pytest.approx(scores)
    assert model.ranked.value == pytest.approx(np.mean(scores))


def test_finished_runs_and_recipes_stand_beside_models(data, tmp_path):
    run = train(
        data, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old"
    )
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "model: {name: unet-elu, arguments: {filters: 2, depth: 2}}\n"
        "training: {learning_rate: 0.01, batch_size: 3}\n"
    )
    before = (run.folder / "scores.json").stat().st_mtime_ns
    comparison = compare(data, [recipe, TINY, run.folder], out=tmp_path / "out", **SHORT)
    models = by_name(comparison)
    assert set(models) == {"mine", TINY, "old"}
    mine = recipe_of(module.Path(models["mine"].runs[0]))
    assert mine["training"]["learning_rate"] == 0.01
    assert mine["training"]["batch_size"] == 3
    assert (
        mine["training"]["size"] == recipe_of(module.Path(models[TINY].runs[0]))["training"]["size"]
    )
    assert models["old"].ranked.value == pytest.approx(run.scores.mean_iou)
    assert any("its own budget" in remark for remark in models["old"].remarks)
    assert (run.folder / "scores.json").stat().st_mtime_ns == before


def test_a_run_that_has_seen_the_validation_images_is_marked(data, tmp_path, make_index_dataset):
    train(data, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old")
    with pytest.MonkeyPatch.context() as patch:
        honest = evaluate
        patch.setattr(
            module, "evaluate", lambda *a, **k: replace(honest(*a, **k), seen_in_training=3)
        )
        comparison = compare(data, [tmp_path / "old"], out=tmp_path / "out", device="cpu")
    assert any("too good" in remark for remark in comparison.models[0].remarks)
    assert comparison.models[0].num_seen == {"val": 3, "test": 3}


def test_a_run_of_other_classes_is_listed_with_its_error(data, twice, tmp_path, make_index_dataset):
    other = make_index_dataset(tmp_path / "other", num_classes=2, splits=("train", "val"))
    train(other, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old")
    comparison = compare(data, [TINY, tmp_path / "old"], out=twice.folder, **SHORT)
    assert [name for name, _ in comparison.failed] == ["old"]
    with pytest.raises(TrainingError, match="at least one model"):
        compare(data, [tmp_path / "old"], out=tmp_path / "out", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"models": "unet-elv", "epochs": 1}, UnknownNameError, "Did you mean"),
        ({"models": TINY}, ConfigError, "one budget"),
        ({"models": TINY, "epochs": 1, "minutes": 1}, ConfigError, "Got both"),
        ({"models": TINY, "epochs": 0}, ConfigError, "training.epochs"),
        ({"models": TINY, "epochs": 1, "seeds": 0}, ConfigError, "seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    data, tmp_path, arguments, error, match
):
    with pytest.raises(error, match=match):
        compare(data, out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_ranking_or_one_document(twice, data, run_cli):
    options = ("compare", data, "--models", f"{TINY},{OTHER}", "--epochs", 2, "--out", twice.folder,
               "--set", "training.batch_size=2", "--device", "cpu")  # fmt: skip
    code, out, _ = run_cli(*options)
    assert code == 0
    assert OTHER in out
    assert "comparison.html" in out
    code, out, _ = run_cli(*options, "--json")
    content = json.loads(out)
    assert {model["name"] for model in content["models"]} == {TINY, OTHER}
    assert content == json.loads((module.Path(twice.folder) / "comparison.json").read_text())
    assert set(content["pareto_fronts"]) == {"ms_per_image", "parameters", "memory_mb"}


@pytest.mark.parametrize(
    ("is_constant", "expected"), [(True, ["predicts class-0 everywhere"]), (False, [])]
)
def test_a_model_that_says_one_class_everywhere_is_marked(
    data, tmp_path, monkeypatch, is_constant, expected
):
    run = train(
        data, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old"
    )
    decide = module.Predictor.decide

    def decided(self, logits):
        if is_constant:
            return np.zeros(logits.shape[1:], np.uint8)
        found = decide(self, logits).copy()
        found.flat[:3] = (0, 1, 2)
        return found

    monkeypatch.setattr(module.Predictor, "decide", decided)
    comparison = compare(data, [run.folder], out=tmp_path / "out", device="cpu")
    found = [one for one in comparison.models[0].remarks if "everywhere" in one]
    assert found == expected
