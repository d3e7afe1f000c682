"""The articles' systems as recipes, run beside their figures."""

import json
from importlib import resources
from pathlib import Path

import pytest
import torch
import yaml

from pixelwise.comparison import compare as comparing
from pixelwise.config import Recipe, load_recipe
from pixelwise.data.digits import write_digits
from pixelwise.errors import ConfigError, DataError, UnknownNameError
from pixelwise.lab.bibliography import as_markdown_section
from pixelwise.lab.catalog import MEASURES, entries_of, list_entries, load_entry
from pixelwise.lab.compare import compare_article
from pixelwise.lab.run import load_results, run_entry, side_by_side
from pixelwise.lab.table import as_markdown
from pixelwise.models import create_model

every_entry = pytest.mark.parametrize("name", list_entries())

SHORT = ["training.epochs=1", "training.patience=1", "training.batch_size=4"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "digits"
    write_digits(folder, num_train=12, num_val=6)
    return folder


@pytest.fixture(scope="module")
def result(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a1"
    return run_entry("a1-encoder-decoder", data=digits, out=out, overrides=SHORT)


def test_every_system_of_the_articles_has_its_name():
    named = set(list_entries())
    assert named >= {
        "a1-stacked-fcn", "a1-encoder-decoder",
        "a2-fcn-stack", "a2-encoder-decoder-alexnet", "a2-encoder-decoder-resnet", "a2-skip-sum",
        "a2-unet", "a3-unet-elu", "a4-sliding-window", "a4-fcn", "a4-segnet", "a4-dilated",
        "a5-unet-camvid", "icnet",
    }  # fmt: skip
    assert len(entries_of("A3")) == 7  # the network and its six improvements
    assert len({entry.recipe.model.arguments.get("unpool") for entry in entries_of("a4")}) == 5


@every_entry
def test_the_recipe_of_every_entry_is_valid_and_its_model_can_be_built(name):
    entry = load_entry(name)
    assert entry.name == name
    assert entry.title
    assert set(entry.figures) <= set(MEASURES)
    recipe = Recipe.model_validate(yaml.safe_load(entry.recipe.to_yaml()))
    assert recipe.training.epochs
    assert recipe.training.learning_rate
    with torch.device("meta"):
        create_model(recipe.model.name, 2, 3, **recipe.model.arguments)


def test_what_is_overridden_is_named_among_the_differences(result):
    assert any("training.epochs is 1 instead of 20" in remark for remark in result.remarks)


def test_the_entries_differ_from_the_one_they_build_on_in_what_they_name():
    plain, relu = load_entry("a3-unet-elu"), load_entry("a3-relu")
    assert relu.recipe.model.arguments == {"activation": "relu"}
    assert relu.recipe.training == plain.recipe.training
    assert relu.recipe.data == plain.recipe.data
    assert relu.figures == {}  # the article states none for it
    assert load_entry("a1-encoder-decoder").recipe.training.batch_size == 32


def test_no_entry_is_written_twice():
    folder = resources.files("pixelwise.lab") / "entries"
    contents = [
        json.dumps(load_entry(name).recipe.model_dump(mode="json"), sort_keys=True)
        for name in list_entries()
    ]
    assert len(set(contents)) == len(contents)
    assert all(path.name.endswith(".yaml") for path in folder.iterdir() if path.is_file())


def test_a_misspelled_entry_or_article_is_refused_with_the_likely_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'a3-unet-elu'"):
        load_entry("a3-unet-elv")
    with pytest.raises(UnknownNameError, match="A1, A2, A3"):
        entries_of("A9")


def test_only_the_entries_with_soft_masks_ask_for_the_figures_of_their_framework():
    asking = {name for name in list_entries() if load_entry(name).recipe.training.metrics}
    assert asking == {"a1-encoder-decoder", "a1-stacked-fcn"}
    stated = {name for name in list_entries() if "recall" in load_entry(name).figures}
    assert stated == asking


def test_an_entry_that_needs_a_folder_says_which_kind():
    with pytest.raises(DataError, match="`data` with a folder like camvid"):
        run_entry("a4-fcn")


def test_a_run_puts_both_figures_side_by_side_and_into_its_folder(result):
    rows = {title: (article, ours) for title, article, ours in side_by_side(result)}
    assert rows["recall (A1)"][0] == 0.7063
    assert 0 <= rows["recall (A1)"][1] <= 1
    assert rows["mean IoU"][0] is None
    assert rows["validation loss"][1] == pytest.approx(result.our_figures["loss"])
    assert (result.parameters, result.size) == (74_595, (60, 60))
    assert (result.epochs, result.asked_epochs) == (1, 20)
    assert result.gmacs == pytest.approx(0.10575, rel=1e-4)
    (again,) = load_results(Path(result.folder))
    assert again.our_figures == result.our_figures


def test_the_page_of_the_documentation_is_written_from_the_runs(result, tmp_path):
    text = as_markdown(Path(result.folder))
    assert "## a1-encoder-decoder" in text
    assert "Encoder-decoder on MNIST extended (A1). Data" in text
    assert text.endswith(as_markdown_section())
    assert "| recall (A1) | 0.7063 |" in text
    assert "74,595" in text
    assert "| 1 of 20 |" in text
    assert "60 x 60, 1 of 20 epochs, " in text
    with pytest.raises(ConfigError, match="Got none"):
        as_markdown(tmp_path)


def test_a_budget_is_named_as_what_differs(digits, tmp_path, ticking_clock):
    short = run_entry(
        "a1-stacked-fcn",
        data=digits,
        minutes=0.4,
        out=tmp_path / "run",
        overrides=["training.batch_size=4"],
    )
    assert "a budget of 0.4 minutes instead of 20 epochs" in short.remarks
    assert short.asked_epochs is None
    assert "training.patience is None instead of 20" in short.remarks
    assert load_recipe(tmp_path / "run" / "recipe.yaml").training.patience is None


def test_a_comparison_trains_all_and_ranks_them_on_one_page(digits, tmp_path, ticking_clock):
    results, comparison = compare_article(
        "A1",
        data=digits,
        minutes=0.4,
        out=tmp_path / "compare",
        overrides=["training.batch_size=4"],
    )
    assert [entry.name for entry in results] == ["a1-encoder-decoder", "a1-stacked-fcn"]
    assert {model.name for model in comparison.models} == {entry.name for entry in results}
    metrics = {entry.name: entry.our_figures["mean_iou"] for entry in results}
    for model in comparison.models:
        assert model.ranked.value == pytest.approx(metrics[model.name], abs=1e-6)
        # In a second a model may not learn to tell anything apart.
        assert all("everywhere" in remark for remark in model.remarks)
    assert "A1 with its own recipes, 0.4 minutes each" in Path(comparison.page).read_text("utf-8")
    with pytest.raises(ConfigError, match="new folder"):
        compare_article("A1", data=digits, out=tmp_path / "compare")


def test_a_comparison_reads_the_data_as_its_runs_did(
    tmp_path, make_index_dataset, monkeypatch, ticking_clock
):
    monkeypatch.setattr(comparing, "peak_memory_mb", lambda *_: 12.5)
    data_with_others = make_index_dataset(tmp_path / "data", num_images=4, splits=("train", "val"))
    (data_with_others / "dataset.yaml").write_text(
        "format: index-masks\nclasses: [ground, thing]\n"
    )
    _, comparison = compare_article(
        "A5",
        data=data_with_others,
        minutes=0.4,
        out=tmp_path / "compare",
        overrides=[
            "data.unexpected=ignore",
            "training.size=[16, 16]",
            "training.batch_size=2",
            "model.arguments={filters: 2, depth: 2}",
        ],
    )
    (model,) = comparison.models
    assert (model.name, set(model.per_class)) == ("a5-unet-camvid", {"ground", "thing"})
