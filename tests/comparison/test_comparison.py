"""Comparisons: one budget, the same batches, resumable, and honest about no difference."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from pixelwise import compare, load_model, open_dataset, train
from pixelwise.comparison import compare as module
from pixelwise.comparison import counts, schedule
from pixelwise.errors import ConfigError, TrainingError, UnknownNameError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.metrics.formulas import mean_iou
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
def two_seeds(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "out"
    return compare(data, [TINY], seeds=2, out=out, **SHORT)


@pytest.fixture(scope="module")
def run_of_five(tmp_path_factory, make_index_dataset):
    """A finished run called ``five``, on masks of five classes that nobody named."""
    home = tmp_path_factory.mktemp("comparison")
    other = make_index_dataset(home / "data", num_classes=5, splits=("train", "val"))
    return train(
        other, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=home / "five"
    ).folder


@pytest.fixture(scope="module")
def twice(data, tmp_path_factory):
    """The same model twice and another one, with a bad one between them."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    return compare(data, [TINY, "unet-elu(filters=-1)", TINY, OTHER], out=out, **SHORT)


def by_name(comparison):
    return {model.name: model for model in comparison.models}


def verdict_of(comparison):
    return " ".join(comparison.to_json()["verdict"])


def recipe_of(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_the_same_model_twice_is_no_difference_in_words(data, tmp_path):
    comparison = compare(data, [TINY, TINY], out=tmp_path / "out", **SHORT)
    assert [model.ranked.is_tied_with_best for model in comparison.models] == [True, True]
    assert comparison.models[0].ranked.value == comparison.models[1].ranked.value
    assert comparison.models[1].ranked.p_value == 1
    assert comparison.to_json()["verdict"][0].startswith("4 images are too few to compare models")


def test_a_model_that_fails_is_listed_and_the_others_continue(twice):
    ((name, error),) = twice.failed
    assert name == "unet-elu(filters=-1)"
    assert "filters" in error
    assert len(twice.models) == 3


def test_all_runs_have_the_same_data_batches_and_budget(twice):
    recipes = [recipe_of(module.Path(run)) for model in twice.models for run in model.runs]
    assert len(recipes) == 3
    for section, keys in schedule.SHARED.items():
        for key in keys:
            assert len({str(recipe[section][key]) for recipe in recipes}) == 1
    assert {recipe["training"]["batch_size"] for recipe in recipes} == {2}
    assert {recipe["training"]["epochs"] for recipe in recipes} == {2}
    assert {recipe["training"]["seed"] for recipe in recipes} == {0}


def test_metrics_are_those_of_evaluate_on_validation_and_test(twice, data):
    model = by_name(twice)[OTHER]
    predictor, dataset = load_model(model.runs[0], device="cpu"), open_dataset(data)
    metrics = evaluate(predictor, dataset, "val", detailed=True)
    assert model.ranked.value == pytest.approx(metrics.mean_iou)
    assert model.ranked.interval == metrics.intervals["mean_iou"]
    assert model.test == pytest.approx(evaluate(predictor, dataset, "test").mean_iou)
    assert model.per_class == pytest.approx({row.name: row.iou for row in metrics.per_class})
    assert mean_iou(metrics.detail.counts.sum(0)) == pytest.approx(metrics.mean_iou)
    assert "counts" not in metrics.to_json()["detail"]


def test_costs_are_those_of_the_model(twice):
    model = by_name(twice)[OTHER]
    parameters = sum(weights.numel() for weights in load_model(model.runs[0]).model.parameters())
    assert model.parameters == parameters
    assert model.epochs == 2
    assert model.ms_per_image > 0
    assert model.gmacs > 0
    assert model.memory_mb == 12.5


def test_what_is_finished_is_neither_trained_nor_evaluated_again(twice, data, monkeypatch):
    def never(*_, **__):
        raise AssertionError("it was done already")

    monkeypatch.setattr(schedule, "train", never)
    monkeypatch.setattr(counts, "evaluate", never)
    again = compare(data, [TINY, OTHER], out=twice.folder, **SHORT)
    assert by_name(again)[OTHER].ranked.value == by_name(twice)[OTHER].ranked.value


def test_an_interrupted_comparison_continues_where_it_was(data, tmp_path):
    out = tmp_path / "out"

    def interrupt(event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(data, [TINY, OTHER], out=out, listener=interrupt, **SHORT)
    (run,) = [path for path in out.iterdir() if (path / "last.ckpt").exists()]
    assert not (run / "metrics.json").exists()
    epochs = []
    comparison = compare(
        data, [TINY, OTHER], out=out, **SHORT,
        listener=lambda event: epochs.append(event.row["epoch"])
        if isinstance(event, EpochEnded) else None,
    )  # fmt: skip
    assert epochs == [2, 1, 2]
    whole = compare(data, [TINY], out=tmp_path / "whole", **SHORT)
    assert by_name(comparison)[TINY].ranked.value == whole.models[0].ranked.value


def test_a_run_that_was_stopped_before_its_first_step_is_begun_again(data, tmp_path):
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


def test_seeds_are_trainings_of_their_own_and_the_metric_is_their_mean(data, two_seeds):
    (model,) = two_seeds.models
    assert len(model.runs) == 2
    assert [recipe_of(module.Path(run))["training"]["seed"] for run in model.runs] == [0, 1]
    dataset = open_dataset(data)
    metrics = [
        evaluate(load_model(run, device="cpu"), dataset, "val").mean_iou for run in model.runs
    ]
    assert model.ranked.by_seed == pytest.approx(metrics)
    assert model.ranked.value == pytest.approx(np.mean(metrics))


def test_finished_runs_and_recipes_stand_beside_models(data, tmp_path):
    run = train(
        data, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old"
    )
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "model: {name: unet-elu, arguments: {filters: 2, depth: 2}}\n"
        "training: {learning_rate: 0.01, batch_size: 3}\n"
    )
    before = (run.folder / "metrics.json").stat().st_mtime_ns
    comparison = compare(data, [recipe, TINY, run.folder], out=tmp_path / "out", **SHORT)
    models = by_name(comparison)
    assert set(models) == {"mine", TINY, "old"}
    mine = recipe_of(module.Path(models["mine"].runs[0]))
    assert mine["training"]["learning_rate"] == 0.01
    assert mine["training"]["batch_size"] == 3
    assert (
        mine["training"]["size"] == recipe_of(module.Path(models[TINY].runs[0]))["training"]["size"]
    )
    assert models["old"].ranked.value == pytest.approx(run.metrics.mean_iou)
    assert any("its own budget" in remark for remark in models["old"].remarks)
    assert (run.folder / "metrics.json").stat().st_mtime_ns == before


def test_a_run_that_has_seen_the_validation_images_is_marked(data, tmp_path):
    train(data, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old")
    with pytest.MonkeyPatch.context() as patch:
        honest = evaluate
        patch.setattr(
            counts, "evaluate", lambda *a, **k: replace(honest(*a, **k), seen_in_training=3)
        )
        comparison = compare(data, [tmp_path / "old"], out=tmp_path / "out", device="cpu")
    assert any("optimistic" in remark for remark in comparison.models[0].remarks)
    assert comparison.models[0].num_seen == {"val": 3, "test": 3}


def test_a_test_figure_is_to_quote_where_no_test_image_chose_anything(twice):
    for model in twice.models:
        assert model.num_selected_on == {"val": 4, "test": 0}
        assert not any("test" in remark for remark in model.remarks)
    assert "quote this score" in verdict_of(twice)


def test_a_run_that_was_chosen_by_the_test_images_has_no_figure_to_quote(data, tmp_path):
    swapped = shutil.copytree(data, tmp_path / "swapped")
    for old, new in (("val", "spare"), ("test", "val"), ("spare", "test")):
        (swapped / old).rename(swapped / new)
    run = train(
        swapped, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old"
    )
    comparison = compare(data, [run.folder], out=tmp_path / "out", device="cpu")
    (model,) = comparison.models
    assert model.num_selected_on == {"val": 0, "test": 4}
    assert any("selected on 4 of the test images" in remark for remark in model.remarks)
    assert "quote this score" not in verdict_of(comparison)


def test_a_run_whose_file_does_not_say_what_chose_it_has_no_figure_to_quote(
    data, twice, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        counts, "evaluate", lambda *a, **k: replace(evaluate(*a, **k), selected_on=None)
    )
    run = by_name(twice)[TINY].runs[0]
    comparison = compare(data, [run], out=tmp_path / "out", device="cpu")
    (model,) = comparison.models
    assert model.num_selected_on == {"val": None, "test": None}
    assert any("are unknown" in remark for remark in model.remarks)
    assert "quote this score" not in verdict_of(comparison)


def test_kept_counts_that_do_not_say_what_chose_the_model_are_made_again(data, twice):
    run = module.Path(by_name(twice)[TINY].runs[0])
    kept = module.Path(twice.folder) / "metrics" / f"{run.name}.json"
    content = json.loads(kept.read_text())
    del content["num_selected_on"]
    kept.write_text(json.dumps(content))
    again = compare(data, [TINY], out=twice.folder, **SHORT)
    assert by_name(again)[TINY].num_selected_on == {"val": 4, "test": 0}


def test_choices_of_the_data_among_the_overrides_hold_for_the_trainings_too(
    tmp_path, make_index_dataset
):
    whole = make_index_dataset(tmp_path / "data", num_images=8)
    overrides = ["data.split=50/25/25", "training.device=cpu", "training.batch_size=2"]
    comparison = compare(whole, [TINY], epochs=1, out=tmp_path / "out", overrides=overrides)
    assert (comparison.num_images, comparison.num_test_images) == (2, 2)
    recipe = recipe_of(module.Path(comparison.models[0].runs[0]))
    assert recipe["data"]["split"] == "50/25/25"
    assert recipe["training"]["device"] == "cpu"


def test_unexpected_values_among_the_overrides_are_ignored_for_the_trainings_too(
    tmp_path, make_index_dataset
):
    data_with_others = make_index_dataset(tmp_path / "data", num_images=4, splits=("train", "val"))
    (data_with_others / "dataset.yaml").write_text(
        "format: index-masks\nclasses: [ground, thing]\n"
    )
    overrides = ["data.unexpected=ignore", "training.batch_size=2"]
    comparison = compare(
        data_with_others, [TINY], epochs=1, device="cpu", out=tmp_path / "out", overrides=overrides
    )
    (model,) = comparison.models
    assert set(model.per_class) == {"ground", "thing"}
    assert recipe_of(module.Path(model.runs[0]))["data"]["unexpected"] == "ignore"


def test_a_run_of_more_classes_is_listed_with_its_error(data, twice, run_of_five):
    comparison = compare(data, [run_of_five, TINY], out=twice.folder, **SHORT)
    assert list(by_name(comparison)) == [TINY]
    ((name, error),) = comparison.failed
    assert name == "five"
    assert "must have the 3 classes that are compared, class-0, class-1, class-2. Got 5" in error


@pytest.mark.parametrize("is_five_first", [True, False])
def test_of_finished_runs_alone_the_first_says_which_classes_are_compared(
    data, twice, run_of_five, tmp_path, is_five_first
):
    run_of_three = module.Path(by_name(twice)[TINY].runs[0])
    runs = [run_of_five, run_of_three] if is_five_first else [run_of_three, run_of_five]
    comparison = compare(data, runs, out=tmp_path / "out", device="cpu")
    assert list(by_name(comparison)) == [runs[0].name]
    assert [name for name, _ in comparison.failed] == [runs[1].name]
    assert len(comparison.models[0].per_class) == (5 if is_five_first else 3)


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
        ({"models": TINY}, ConfigError, "a budget"),
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


def test_the_command_leaves_the_device_to_the_overrides_where_it_is_not_given(
    twice, monkeypatch, run_cli
):
    asked = {}
    monkeypatch.setattr(module, "compare", lambda *_, **options: asked.update(options) or twice)
    run_cli("compare", "data", "--models", TINY, "--set", "training.device=cpu")
    assert asked["device"] is None


@pytest.mark.parametrize(
    ("is_constant", "expected"), [(True, ["predicts class-0 everywhere"]), (False, [])]
)
def test_a_model_that_says_one_class_everywhere_is_marked(
    data, tmp_path, monkeypatch, run_cli, is_constant, expected
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
    _, out, _ = run_cli(
        "compare", data, "--models", run.folder, "--out", tmp_path / "out", "--device", "cpu"
    )
    line = "; ".join(["old: a run that was finished before, with its own budget", *expected])
    assert line in out.splitlines()


def test_a_model_that_says_nothing_of_multilabel_classes_is_marked(
    tmp_path, make_class_dataset, monkeypatch
):
    soft = make_class_dataset(tmp_path / "data", num_images=2, splits=("train", "val"))
    run = train(
        soft, model="stacked-fcn", epochs=1, batch_size=2, device="cpu", out=tmp_path / "old"
    )
    monkeypatch.setattr(
        module.Predictor, "decide", lambda _, logits: np.zeros(logits.shape, np.bool_)
    )
    comparison = compare(soft, [run.folder], out=tmp_path / "out", device="cpu")
    assert "predicts nothing everywhere" in comparison.models[0].remarks


def rewritten(kept, *, is_constant):
    """Counts (N, 4, K) as if the model had said the first class everywhere, or been right."""
    hits, extra, missed, rest = np.moveaxis(np.array(kept), 1, 0)
    shown, others = hits + missed, extra + rest
    if not is_constant:
        return np.stack([shown, 0 * shown, 0 * shown, others], axis=1).tolist()
    first = np.arange(shown.shape[1]) == 0
    rows = [shown * first, others * first, shown * ~first, others * ~first]
    return np.stack(rows, axis=1).tolist()


def test_one_of_several_seeds_that_tells_nothing_apart_is_marked(data, two_seeds, tmp_path):
    out = shutil.copytree(two_seeds.folder, tmp_path / "out")
    for path, is_constant in zip(sorted((out / "metrics").iterdir()), (False, True), strict=True):
        content = json.loads(path.read_text())
        content["counts"]["val"] = rewritten(content["counts"]["val"], is_constant=is_constant)
        path.write_text(json.dumps(content))
    (model,) = compare(data, [TINY], seeds=2, out=out, **SHORT).models
    assert model.ranked.by_seed[0] == 1
    assert model.remarks == ("1 of 2 seeds predicts class-0 everywhere",)
