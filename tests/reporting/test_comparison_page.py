"""The page of a comparison: words, fronts, and a page that needs nothing from outside."""

import dataclasses
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from parsed_page import Page

from pixelwise.metrics.intervals import Difference, Interval
from pixelwise.metrics.significance import Ranked
from pixelwise.prediction.loading import load_model
from pixelwise.reporting.charts import (
    HEIGHT,
    LEFT,
    WIDTH,
    Dot,
    pareto_front,
    scatter_chart,
    with_unit,
)
from pixelwise.reporting.comparison_page import (
    ComparedModel,
    Comparison,
    compared_with_best,
    verdict,
    write_ranking,
)


def model(name, value, *, p_value=None, behind=None, ms=10.0, parameters=1000, by_seed=None,
          test=None, memory=5.0):  # fmt: skip
    difference = None
    if behind is not None:
        difference = Difference(behind, Interval(behind - 0.01, behind + 0.01), p_value)
    ranked = Ranked(
        name, value, by_seed or (value,), Interval(value - 0.05, value + 0.05), difference, p_value
    )
    return ComparedModel(
        ranked=ranked, test=test, test_interval=None, parameters=parameters, gmacs=0.1,
        per_class={"class-0": 0.9, "class-1": None, "class-2": value},
        ms_per_image=ms, memory_mb=memory, epochs=2.0,
        seconds=3.0, images_per_s=4.0, runs=(f"out/{name}-seed0",),
    )  # fmt: skip


def comparison(*models, folder="out", failed=(), num_images=50, num_test_images=0):
    return Comparison(
        data="data/cells", budget="5 minutes each", num_seeds=1, num_images=num_images,
        num_test_images=num_test_images, device="cpu", shared=("batches of 4",),
        models=models, failed=failed, folder=str(folder), page=f"{folder}/comparison.html",
    )  # fmt: skip


def test_a_clear_winner_is_named_with_its_lead():
    words = verdict(comparison(model("good", 0.8), model("bad", 0.6, behind=0.2, p_value=0.001)))
    assert words[0].startswith(
        "good: these weights score higher on these images: mean IoU 0.800 (95 %: 0.750 to 0.850)"
    )
    assert "ahead of bad by 0.200" in words[0]
    assert any("choice of the seed" in sentence for sentence in words)


def test_with_several_seeds_a_model_is_the_best():
    words = verdict(
        comparison(
            model("good", 0.8, by_seed=(0.79, 0.81)),
            model("bad", 0.6, behind=0.2, p_value=0.001, by_seed=(0.59, 0.61)),
        )
    )
    assert words[0].startswith("good is the best: mean IoU")


def test_few_images_compare_nothing():
    models = model("good", 0.8), model("bad", 0.6, behind=0.2, p_value=0.001)
    words = verdict(comparison(*models, num_images=5))
    assert words[0].startswith("5 images are too few to compare models")


def test_a_model_that_has_seen_the_images_is_neither_crowned_nor_quoted():
    leaked = replace(model("leaked", 0.9, test=0.98), num_seen={"val": 40, "test": 4})
    words = verdict(
        comparison(leaked, model("honest", 0.8, behind=0.1, p_value=0.001), num_test_images=4)
    )
    assert words[0].startswith(
        "No model is named the best, because leaked was trained on images of this split"
    )
    assert not any("0.980" in sentence or "0.900" in sentence for sentence in words)


def test_no_difference_is_said_and_the_cheapest_of_those_alike_is_named():
    words = verdict(
        comparison(
            model("large", 0.8, ms=30, parameters=9_000_000),
            model("small", 0.79, behind=0.01, p_value=0.6, ms=3, parameters=9_000),
            model("bad", 0.5, behind=0.3, p_value=0.001, ms=1),
        )
    )
    assert (
        "No significant difference was found between the best models, large and small" in words[0]
    )
    assert (
        "the fastest is small, 3 ms per image, and the smallest as well, 9k parameters" in words[1]
    )


def test_models_that_score_the_same_share_the_rank():
    twins = comparison(model("one", 0.8, ms=3), model("two", 0.8, behind=0.0, p_value=1.0, ms=3))
    words = verdict(twins)
    assert "one and two share the highest score, mean IoU 0.800" in words[0]
    assert not any("fastest" in sentence for sentence in words)
    assert "(+0.000, p = 1)" in compared_with_best(twins.models[1].ranked)
    few = verdict(dataclasses.replace(twins, num_images=1))[0]
    assert few.startswith("1 image is too few to compare models. one and two share")


def test_the_page_names_what_weakens_a_ranking():
    unsteady = comparison(
        model("a", 0.80, by_seed=(0.7, 0.9)),
        model("b", 0.75, behind=0.05, p_value=0.01, by_seed=(0.7, 0.8)),
        failed=(("c", "too large"),),
        num_images=7,
    )
    words = " ".join(verdict(unsteady))
    assert "only 7 images" in words
    assert "less than the spread over seeds of one model (0.200)" in words
    assert "Not ranked: c" in words


def test_the_figure_of_the_test_images_is_the_one_to_quote():
    words = verdict(comparison(model("only", 0.8, test=0.75), num_test_images=9))
    assert words[0] == "only reaches mean IoU 0.800 (95 %: 0.750 to 0.850) on 50 validation images."
    assert (
        "On the 9 test images, which were not used for any choice, only reaches 0.750" in words[-1]
    )


@pytest.mark.parametrize(("chosen_by", "is_quoted"), [(0, True), (3, False), (None, False)])
def test_a_figure_of_test_images_that_may_have_chosen_the_model_is_not_quoted(chosen_by, is_quoted):
    only = replace(model("only", 0.8, test=0.75), num_selected_on={"val": 50, "test": chosen_by})
    words = verdict(comparison(only, num_test_images=9))
    assert any("which were not used for any choice" in sentence for sentence in words) is is_quoted


def test_each_place_is_put_into_words():
    assert compared_with_best(model("a", 0.8).ranked) == "highest"
    words = compared_with_best(model("b", 0.8, behind=0.0, p_value=1.0).ranked)
    assert words.startswith("no significant difference")
    words = compared_with_best(model("c", 0.7, behind=0.1, p_value=0.002).ranked)
    assert words == "behind by 0.100 (95 %: 0.090 to 0.110), p < 0.01"


def test_the_front_holds_what_nothing_beats():
    rng = np.random.default_rng(0)
    points = [tuple(pair) for pair in rng.integers(1, 12, (40, 2)).tolist()]
    front = pareto_front(points)
    for index, (cost, score) in enumerate(points):
        is_beaten = any(
            other != (cost, score) and other[0] <= cost and other[1] >= score for other in points
        )
        assert (index in front) is not is_beaten
    assert [points[index][0] for index in front] == sorted(points[index][0] for index in front)


def test_the_fronts_leave_out_what_is_not_known():
    made = comparison(
        model("a", 0.8, ms=9, memory=None), model("b", 0.7, behind=0.1, p_value=0.01, ms=1)
    )
    assert made.front("ms_per_image") == ["b", "a"]
    assert made.front("memory_mb") == ["b"]
    content = json.loads(json.dumps(made.to_json()))
    assert content["models"][0]["mean_iou"] == 0.8
    assert content["models"][1]["is_tied_with_best"] is False
    assert content["pareto_fronts"]["parameters"] == ["a"]


@pytest.mark.parametrize("num_dots", [1, 2, 9])
def test_a_scatter_chart_names_every_point_inside_its_frame(num_dots):
    dots = [
        Dot(f"model <{number}>", 10.0 ** (number % 4), 0.5, (0.4, 0.6))
        for number in range(num_dots)
    ]
    chart = scatter_chart(dots, "ms", "mean IoU")
    assert "<0>" not in chart
    assert chart.count("<circle") == num_dots
    labels = re.findall(r'<text x="([\d.-]+)" y="([\d.-]+)">model', chart)
    assert len(labels) == num_dots
    assert len(set(labels)) == num_dots
    assert all(LEFT <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in labels)
    assert "nan" not in chart


def test_a_name_too_long_for_a_chart_is_cut():
    chart = scatter_chart([Dot("unet" * 20, 1.0, 0.5)], "ms", "mean IoU")
    assert "unet" * 20 not in chart
    assert "…" in chart


def test_costs_are_written_in_few_letters():
    assert [with_unit(value) for value in (7.5, 1234, 31_000_000)] == ["7.5", "1.23k", "31M"]


def test_the_page_holds_everything_and_fetches_nothing(tmp_path, make_model_file):
    from pixelwise.data.sample import Sample

    predictor = load_model(make_model_file(tmp_path / "model.safetensors"), device="cpu")
    rng = np.random.default_rng(0)
    sample = Sample(
        name="<b>image</b>",
        image=rng.integers(0, 256, (24, 30, 3), np.uint8),
        mask=rng.integers(0, 3, (24, 30), np.uint8),
        label_mode="multiclass",
    )
    name = '<img src=x onerror="alert(1)">'
    made = comparison(
        model(name, 0.8, test=0.7),
        model("other", 0.5, behind=0.3, p_value=0.001, by_seed=(0.4, 0.6)),
        folder=tmp_path, failed=(("broken", "no room"),), num_test_images=3,
    )  # fmt: skip
    write_ranking(made, [predictor, predictor], [sample])
    page = Page((tmp_path / "comparison.html").read_text(encoding="utf-8"))
    for text in (name, "other", "broken", "no room", "<b>image</b>", "behind by 0.300", "0.700"):
        assert text in page.text
    images = [attributes for tag, attributes in page.tags if tag == "img" and "src" in attributes]
    assert len(images) == 4  # image, ground truth, and a prediction of each model
    assert all(image["src"].startswith("data:") for image in images)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object")]
    assert not re.search(r"url\(|@import", page.text)
    rows = [attributes for tag, attributes in page.tags if tag == "tr"]
    assert sum(row.get("class") == "alike" for row in rows) == 1


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("failed", "code"), [((), 0), ((("c", "give another `out`"),), 1)])
def test_a_model_that_failed_is_printed_with_its_reason_and_sets_the_exit_code(
    monkeypatch, run_cli, failed, code, as_json
):
    ranked = comparison(model("only", 0.8), failed=failed)
    monkeypatch.setattr("pixelwise.comparison.compare.compare", lambda *_, **__: ranked)
    options = ("--json",) if as_json else ()
    given, out, _ = run_cli("compare", "data", "--models", "only,c", "--epochs", 1, *options)
    assert given == code
    assert "below" not in out
    if failed and not as_json:
        lines = out.splitlines()
        place = lines.index("Not ranked: c, for these reasons.")
        assert "  c: give another --out" in lines[place:]
