"""The report's page: its figures are the metrics', its words mean what they say, nothing runs."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from pixelwise.classes import ClassMap
from pixelwise.data.sample import Sample
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.metrics.label_quality import find_suspects
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting import label_caveats
from pixelwise.reporting.charts import Line, bar_chart, line_chart
from pixelwise.reporting.report_page import (
    MISSED_COLOR,
    WRONG_COLOR,
    RunFacts,
    error_map,
    write_report,
)
from pixelwise.reporting.verdict import calibration_errors, caveats, verdict

NASTY = '<b>&"cell"'
NAMES = ("ground", NASTY, "dirt", "nowhere")
SIZE = (40, 56)


class KnowsColors(SegmentationModel):
    """Sure of the class whose red value, 0, 80, 160 or 240, a pixel has."""

    sees_px, in_channels, num_classes = 1, 3, 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def segment(self, image):
        levels = torch.tensor([0.0, 80.0, 160.0, 240.0], device=image.device).view(1, 4, 1, 1)
        return -(image[:, :1] - levels).abs() / 20 * self.weight


def predictor():
    card = ModelCard(
        architecture="knows-colors",
        in_channels=3,
        class_map=ClassMap.build(NAMES),
        label_mode="multiclass",
        preprocessing=Preprocessing(dtype="uint8", mean=(0,) * 3, std=(1,) * 3),
        training_size=(32, 32),
        metrics=None,
        data=TrainingData(fingerprint="other", images=(), split=None, split_seed=0),
        versions={"pixelwise": "0"},
    )
    return Predictor(KnowsColors(), card, device="cpu")


def scene(number, change=None):
    """Cells and dirt as the model knows them; ``change`` makes the mask say something else."""
    mask = np.zeros(SIZE, np.uint8)
    mask[4:20, 4:24] = 1
    mask[24:36, 30 + number : 44 + number] = 2
    image = np.repeat(mask[..., None] * 80, 3, axis=-1)
    if change:
        change(mask)
    return Sample(f"scene {number} <i>", image.astype(np.uint8), mask, "multiclass")


def forget_the_cell(mask):
    mask[mask == 1] = 0


SCENES = [scene(0), scene(1), scene(2), scene(3, forget_the_cell), scene(4), scene(5)]


def metrics_of(samples, model=None):
    return evaluate_samples(model or predictor(), iter(samples), len(samples), detailed=True)


class Page(HTMLParser):
    """Every tag with its attributes, the text, and the rows of cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.rows = [], "", []
        self._is_hidden = self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._is_hidden = tag in ("style", "script")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._is_cell = False
        if tag in ("style", "script"):
            self._is_hidden = False

    def handle_data(self, content):
        if self._is_hidden:
            return
        self.text += content
        if self._is_cell:
            self.rows[-1][-1] += content

    def row(self, first):
        return next(row for row in self.rows if row and row[0] == first)


def page_of(samples, path, run=None, metrics=None):
    by_name = {sample.name: sample for sample in samples}
    metrics = metrics or metrics_of(samples)
    write_report(
        path, metrics, predictor(), by_name.__getitem__, title="model <x> on data", split="val",
        run=run, command=("pixelwise", "train"),
        review_command=("pixelwise", "review", "my run", "data"),
    )  # fmt: skip
    return Page(path.read_text(encoding="utf-8")), metrics


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return page_of(SCENES, tmp_path_factory.mktemp("page") / "report.html")


def test_the_figures_of_the_page_are_those_of_the_metrics(written):
    page, metrics = written
    for value in (metrics.mean_iou, metrics.pixel_accuracy, metrics.mean_dice,
                  metrics.class_accuracy,
                  metrics.image_mean_iou, metrics.detail.boundary_iou):  # fmt: skip
        assert f"{value:.3f}" in page.text
    for row in metrics.per_class[:3]:
        cells = page.row(row.name)
        assert cells[1:6:2] == [f"{value:.3f}" for value in (row.iou, row.dice, row.recall)]
        assert cells[4] == f"{row.precision:.3f}"
        assert cells[7] == f"{row.pixels:,}"
    confusion = np.array(metrics.detail.confusion)
    shares = confusion / confusion.sum(1, keepdims=True).clip(1)
    is_met = confusion.sum(0) + confusion.sum(1) > 0
    assert is_met.tolist() == [True, True, True, False]  # of "nowhere" there is nothing to show
    matrix = [row for row in page.rows if row[0] == "ground" and len(row) == 4]
    expected = [f"{share:.0%}" if share >= 0.005 else "" for share in shares[0][is_met]]
    assert matrix[0][1:] == expected
    assert "6 images of the split" in page.text


def test_a_class_that_no_mask_shows_is_listed_and_counts_nowhere(written):
    page, metrics = written
    assert metrics.absent_classes == ("nowhere",)
    assert page.row("nowhere")[1:] == [*["\N{EN DASH}"] * 6, "0"]
    assert "Absent from these masks, so not averaged: nowhere." in page.text


def test_names_are_text_whatever_is_in_them(written):
    page, _ = written
    assert {tag for tag, _ in page.tags} & {"b", "i"} == {"b", "i"}  # the page's own
    assert NASTY in page.text
    assert "scene 3 <i>" in page.text
    assert "model <x> on data" in page.text
    assert not [tag for tag, _ in page.tags if tag in ("x", "link", "iframe", "object")]
    pictures = [attributes for tag, attributes in page.tags if tag == "img" and "src" in attributes]
    assert all(one["src"].startswith("data:image/") for one in pictures)
    assert not re.search(r"url\(|@import", page.text)


def test_images_are_shown_worst_first_and_each_once(written):
    page, metrics = written
    shown = re.findall(r"(worst|median|best): (scene \d) <i>, mean IoU ([\d.]+)", page.text)
    assert len({name for _, name, _ in shown}) == len(shown) == 6
    assert shown[0][:2] == ("worst", "scene 3")
    by_name = {row.name.removesuffix(" <i>"): row.mean_iou for row in metrics.detail.per_image}
    assert all(figure == f"{by_name[name]:.3f}" for _, name, figure in shown)


def test_the_label_that_is_missing_is_shown_with_the_command_for_all(written):
    page, _ = written
    heading = page.text.index("Label review")
    review = page.text[heading : page.text.index("Borders and calibration")]
    assert f"1. ground → {NASTY}" in review
    assert "scene 3 <i>" in review
    assert "2. " not in review
    assert "pixelwise review 'my run' data" in review
    assert "estimated on all 6 images" in review


def test_labels_that_are_right_are_not_doubted(tmp_path):
    page, _ = page_of([scene(0), scene(1)], tmp_path / "report.html")
    assert "No likely label errors were found." in page.text


def test_a_review_finds_what_a_second_look_at_everything_finds():
    rng = np.random.default_rng(0)

    def change(mask):
        top, left = rng.integers(0, 20, 2)
        mask[top : top + 9, left : left + 9] = rng.integers(0, 3)

    samples = [scene(number, change) for number in range(8)]
    by_name = {sample.name: sample for sample in samples}
    model, metrics = predictor(), metrics_of(samples)
    found = label_caveats.review_worst(metrics, model, by_name.__getitem__, ())
    expected = find_suspects(
        lambda: ((sample, model.probabilities(sample.image)) for sample in samples),
        model.card.class_map, "multiclass", top=label_caveats.NUM_SHOWN,
    )  # fmt: skip
    assert len(expected) == label_caveats.NUM_SHOWN
    assert [(one.name, one.given, one.suggested) for one in found.entries] == [
        (one.name, one.given or "nothing", one.suggested or "nothing") for one in expected
    ]


def test_a_review_predicts_no_more_images_than_it_says(monkeypatch):
    monkeypatch.setattr(label_caveats, "NUM_LOOKED_AT", 2)
    small = [scene(number, lambda mask: mask.__setitem__((slice(5, 9), slice(5, 9)), 0))
             for number in range(6)]  # fmt: skip
    samples = [*small, scene(7, forget_the_cell)]
    by_name = {sample.name: sample for sample in samples}
    metrics, model, predicted = metrics_of(samples), predictor(), []
    honest = model.probabilities
    monkeypatch.setattr(model, "probabilities", lambda image: predicted.append(0) or honest(image))
    found = label_caveats.review_worst(metrics, model, by_name.__getitem__, ())
    assert len(predicted) == 2
    assert found.entries[0].name == "scene 7 <i>"
    assert "the 2 with the most disagreement" in found.notes[0]


def test_a_weak_model_is_not_to_be_trusted_against_the_labels():
    wrong = [dataclasses.replace(one, mask=(one.mask + 1) % 3) for one in SCENES]
    notes = label_caveats.review_worst(
        dataclasses.replace(metrics_of(wrong), seen_in_training=2), predictor(),
        {one.name: one for one in wrong}.__getitem__, (),
    ).notes  # fmt: skip
    assert "The model is weak" in notes[1]
    assert "trained on 2 of the images" in notes[2]


def test_what_went_wrong_in_training_stands_at_the_top_and_the_curves_below(tmp_path):
    history = [
        {"epoch": 1, "train_loss": 1.0, "val_loss": 0.9, "val_mean_iou": 0.3},
        {"epoch": 2, "train_loss": 0.5, "val_loss": 1.8, "val_mean_iou": 0.2},
    ]
    run = RunFacts(history, 1, 12.3, "model: {name: <u>}", ["a <note>"], ["it overfits & more"])
    page, _ = page_of(SCENES, tmp_path / "report.html", run)
    assert page.text.index("it overfits & more") < page.text.index("Classes")
    for words in ("model: {name: <u>}", "a <note>", "2 epochs in 12 s", "kept epoch"):
        assert words in page.text
    charts = [attributes for tag, attributes in page.tags if tag == "polyline"]
    assert sum(len(one["points"].split()) == 2 for one in charts) >= 3


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_loss_that_is_no_finite_number_does_not_cost_the_report(value, tmp_path):
    history = [
        {"epoch": epoch, "train_loss": 1.0 / epoch, "val_loss": loss, "val_mean_iou": 0.3}
        for epoch, loss in ((1, 0.9), (2, value), (3, 0.8))
    ]
    page, _ = page_of(SCENES, tmp_path / "report.html", RunFacts(history, 1))
    charts = [attributes["points"] for tag, attributes in page.tags if tag == "polyline"]
    assert not [points for points in charts if "nan" in points or "inf" in points]
    assert [len(points.split()) for points in charts].count(2) >= 1


def words_of(samples, **changes):
    return verdict(dataclasses.replace(metrics_of(samples), **changes))


def test_a_good_result_is_called_so_with_its_numbers():
    words = words_of([scene(0), scene(1)])
    assert words[0].startswith("The result is very good: mean IoU 1.000")
    assert "2 images, pixel accuracy 100.0%" in words[0]
    assert "only 2 images" in words[1]
    assert "All classes have IoU 1.000." in words


def test_a_bad_result_names_the_worst_class_and_what_it_is_taken_for():
    def dirt_is_cell(mask):
        mask[mask == 2] = 1

    def cell_is_dirt(mask):
        mask[mask == 1] = 2

    samples = [scene(number, cell_is_dirt) for number in range(5)]
    (found,) = [one for one in words_of(samples) if one.startswith("dirt is segmented poorly")]
    assert f"of it is missed, mostly taken for {NASTY}" in found
    samples = [scene(number, dirt_is_cell) for number in range(5)]
    assert any(
        one.startswith(f"{NASTY} is segmented") or "weakest" in one for one in words_of(samples)
    )


def test_the_watchdog_reports_a_rare_class_that_is_never_predicted():
    def add_a_speck(mask):
        mask[0, :4] = 3

    (found,) = [one for one in words_of([scene(0, add_a_speck), scene(1)])
                if one.startswith("nowhere is segmented poorly")]  # fmt: skip
    assert "it is rare, 0.09% of the labeled pixels" in found
    assert "it is never predicted, mostly taken for ground" in found


def test_a_class_that_is_seen_where_it_is_not_is_told_by_what_is_there_instead():
    def most_dirt_is_ground(mask):
        rows, columns = (mask == 2).nonzero()
        share = len(rows) * 2 // 3
        mask[rows[:share], columns[:share]] = 0

    (found,) = [one for one in words_of([scene(number, most_dirt_is_ground) for number in range(5)])
                if one.startswith("dirt is segmented poorly")]  # fmt: skip
    assert "of its predictions are wrong, mostly labeled ground" in found
    assert "missed" not in found


@pytest.mark.parametrize(
    ("overconfidence", "left", "expected"),
    [
        (0.1, 0.02, "overconfident: its expected calibration error is 20.0%. "),
        (0.1, 0.02, "A temperature of 1.70 instead of the model's 1.10 reduces this to 2.0%."),
        (-0.1, 0.02, "underconfident"),
        (0.1, 0.15, "Temperature scaling does not fix this."),
    ],
)  # fmt: skip
def test_a_model_whose_probabilities_are_off_is_told_what_a_temperature_would_do(
    overconfidence, left, expected
):
    metrics = metrics_of(SCENES)
    detail = dataclasses.replace(
        metrics.detail,
        calibration_error=0.2,
        overconfidence=overconfidence,
        model_temperature=1.1,
        temperature=1.7,
        calibration_error_left=left,
    )
    (found,) = [one for one in verdict(dataclasses.replace(metrics, detail=detail))
                if one.startswith("The model is")]  # fmt: skip
    assert expected in found


@pytest.mark.parametrize(
    ("kept", "left", "is_said"),
    [
        (1.7, 0.02, True),
        (1.7 + 1e-4, 0.02, True),  # found again, on another device
        (1.0, 0.02, False),  # the training was stopped before it wrote one
        (1.5, 0.02, False),
        (None, 0.02, False),
        (1.7, 0.15, False),
    ],
)
def test_a_temperature_is_said_to_be_in_the_model_file_only_where_it_is(
    kept, left, is_said, tmp_path
):
    metrics = metrics_of(SCENES)
    detail = dataclasses.replace(
        metrics.detail,
        calibration_error=0.2,
        model_temperature=1.0,
        temperature=1.7,
        calibration_error_left=left,
    )
    metrics = dataclasses.replace(metrics, detail=detail, selected_on=len(SCENES))
    assert any("model file now contains it" in one for one in verdict(metrics, kept)) is is_said
    page, _ = page_of(SCENES, tmp_path / "report.html", RunFacts(temperature=kept), metrics)
    assert ("model file now contains it" in page.text) is is_said


@pytest.mark.parametrize(
    ("model_temperature", "temperature", "expected"),
    [
        (1.0, 1.7, {"calibration error": 0.2,
                    "calibration error, at the fitted temperature 1.70": 0.02}),
        (1.0, 1.0, {"calibration error": 0.2}),
        (1.3, 1.7, {"calibration error, at the model's temperature 1.30": 0.2}),
    ],
)  # fmt: skip
def test_every_calibration_error_says_its_temperature(
    model_temperature, temperature, expected, tmp_path
):
    metrics = metrics_of(SCENES)
    detail = dataclasses.replace(
        metrics.detail,
        calibration_error=0.2,
        model_temperature=model_temperature,
        temperature=temperature,
        calibration_error_left=0.02,
    )
    assert dict(calibration_errors(detail)) == expected
    metrics = dataclasses.replace(metrics, detail=detail)
    page, _ = page_of(SCENES, tmp_path / "report.html", RunFacts(), metrics)
    assert all(name in page.text for name in expected)


def test_details_of_fewer_images_are_told_first(tmp_path):
    metrics = metrics_of(SCENES)
    fewer = dataclasses.replace(metrics.detail, per_image=metrics.detail.per_image[:1])
    told = "measured on 1 of these images, because the budget was used up"
    for detail, is_said in ((fewer, True), (metrics.detail, False)):
        changed = dataclasses.replace(metrics, detail=detail)
        assert any(told in sentence for sentence in caveats(changed)) is is_said
        assert any(told in sentence for sentence in verdict(changed)) is is_said


def test_the_verdict_names_every_class_with_the_lowest_iou():
    metrics = metrics_of([scene(0), scene(1)])
    first, second, *rest = metrics.per_class
    rest = [dataclasses.replace(row, iou=None) for row in rest]
    for iou, words in ((0.9, "The weakest class is"), (0.99, None)):
        rows = (dataclasses.replace(first, iou=iou), dataclasses.replace(second, iou=0.99), *rest)
        found = verdict(dataclasses.replace(metrics, per_class=rows))
        assert any(one.startswith(words or "All classes have IoU 0.990.") for one in found)
    third = dataclasses.replace(rest[0], iou=1.0)
    rows = (*rows[:2], third, *rest[1:])
    found = verdict(dataclasses.replace(metrics, per_class=rows))
    names = f"{first.name}, {second.name}"
    assert f"The weakest classes are {names}, each with IoU 0.990." in found


def test_the_verdict_names_no_weakest_class_for_masks_of_one_class():
    blank = scene(0)
    mask = np.zeros(SIZE, np.uint8)
    words = words_of([dataclasses.replace(blank, image=blank.image * 0, mask=mask)])
    assert not any("weakest" in one or "poorly" in one for one in words)
    assert any(one.endswith(f"not averaged: {NASTY}, dirt, nowhere.") for one in words)


class SaysGround(KnowsColors):
    """Predicts the first class everywhere."""

    def segment(self, image):
        levels = torch.tensor([1.0, 0.0, 0.0, 0.0], device=image.device).view(1, 4, 1, 1)
        return levels.expand(len(image), 4, *image.shape[-2:]) * self.weight


def test_a_model_that_says_one_class_everywhere_is_called_by_it_and_by_nothing_else():
    model = Predictor(SaysGround(), predictor().card, device="cpu")
    words = verdict(metrics_of(SCENES, model))
    assert words[0] == "Every pixel is predicted as ground: the model does not distinguish classes."
    assert not [one for one in words if "segmented poorly" in one or "Borders" in one]
    blank = dataclasses.replace(SCENES[0], mask=np.zeros(SIZE, np.uint8))
    assert metrics_of([blank], model).constant_prediction is None  # it is right


def test_the_verdict_names_images_that_selected_the_epoch():
    said = [any(f"selected on {number} of these images" in one
                for one in words_of(SCENES, selected_on=number))
            for number in (4, 0, None)]  # fmt: skip
    assert said == [True, False, False]


def test_the_verdict_names_images_seen_in_training():
    assert any("trained on 3 of these images" in one
               for one in words_of(SCENES, seen_in_training=3))  # fmt: skip


def test_the_verdict_reports_lower_accuracy_at_borders():
    def grow(mask):
        mask[3:22, 3:27] = 1

    metrics = metrics_of([scene(number, grow) for number in range(3)])
    weak = dataclasses.replace(metrics.detail, boundary_iou=0.2)
    words = verdict(dataclasses.replace(metrics, detail=weak))
    (found,) = [one for one in words if one.startswith("Accuracy is lower at borders")]
    near, inside = metrics.detail.accuracy_by_distance[0], metrics.detail.accuracy_by_distance[-1]
    assert "boundary IoU 0.200" in found
    assert f"{near[1]:.0%} of the pixels at a border" in found
    assert f"{inside[1]:.0%} of those" in found


def points_of(chart, style):
    (text,) = re.findall(rf'<polyline class="{style}" points="([^"]*)"', chart)
    return np.array([[float(value) for value in pair.split(",")] for pair in text.split()])


def test_a_line_chart_draws_every_value_at_its_place():
    values = [(1.0, 0.5), (2.0, 0.9), (4.0, 0.1)]
    chart = line_chart([Line("a <b>", values), Line("", [(1.0, 0.1)], "two")], "epoch", "loss")
    drawn = points_of(chart, "one")
    for axis in (0, 1):
        slope, offset = np.polyfit([value[axis] for value in values], drawn[:, axis], 1)
        assert drawn[:, axis] == pytest.approx(
            [slope * value[axis] + offset for value in values], abs=0.06
        )
        assert bool(slope > 0) is (axis == 0)  # SVG counts downwards
    assert "a &lt;b&gt;" in chart
    assert chart.count("<circle") == 1  # a line of one point is a point


def test_a_bar_chart_draws_bars_as_high_as_their_values():
    chart = bar_chart([("0+", 0.25), ("4+", 0.5), ("<16", 1.0)], "distance", "accuracy")
    heights = [float(value) for value in re.findall(r'<rect[^>]* height="([\d.]+)"', chart)]
    assert np.array(heights) / heights[2] == pytest.approx([0.25, 0.5, 1.0], abs=0.01)
    assert all(f">{value}<" in chart for value in ("0.25", "0.50", "1.00", "&lt;16"))


def test_an_error_map_shows_what_is_wrong_and_blackens_ignored_pixels():
    sample = scene(0, forget_the_cell)
    sample.mask[-3:] = 255
    picture = error_map(sample, predictor().probabilities(sample.image))
    assert (picture[4:20, 4:24] == WRONG_COLOR).all()
    assert (picture[-3:] == 0).all()
    assert (picture[:3, :, 0] == picture[:3, :, 1]).all()
    planes = np.zeros((2, 4, 4), np.uint8)
    planes[0, 0], guess = 255, np.zeros((2, 4, 4), np.float32)
    guess[1, 3] = 0.9
    multilabel = Sample("a", np.full((4, 4, 3), 90, np.uint8), planes, "multilabel")
    picture = error_map(multilabel, guess)
    assert (picture[0] == MISSED_COLOR).all()
    assert (picture[3] == WRONG_COLOR).all()
