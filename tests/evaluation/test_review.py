"""Labels to look at again: planted errors come first, whoever looks and in which order."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise.training.out_of_fold as review_folds_module
from pixelwise import review_labels
from pixelwise.classes import ClassMap
from pixelwise.config import load_recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.data.digits import DigitOptions, write_digits
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.review import records_to_review
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData, load_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.training.out_of_fold import Fold

NAMES = ("background", "cell", "dirt")
SIZE = (48, 64)
PLANTED = {"001": "missing", "004": "extra", "006": "wrong"}


class KnowsColors(SegmentationModel):
    """Sure of the class whose red value, 0, 100 or 200, a pixel has."""

    def segment(self, image):
        levels = torch.tensor([0.0, 100.0, 200.0]).view(1, 3, 1, 1)
        return -(image[:, :1] - levels).abs() / 25


def predictor_of(*, mode="multiclass", data=None):
    names = NAMES if mode == "multiclass" else NAMES[1:]
    card = ModelCard(
        architecture="encoder-decoder",
        in_channels=3,
        class_map=ClassMap.build(names),
        label_mode=mode,
        preprocessing=Preprocessing(dtype="uint8", mean=(0,) * 3, std=(1,) * 3),
        training_size=(32, 32),
        metrics=None,
        data=data or TrainingData(fingerprint="other", images=(), split=None, split_seed=0),
        versions={},
    )
    return Predictor(KnowsColors(), card, device="cpu")


def place_of(number):
    """Where an image's second cell lies."""
    return slice(30, 42), slice(8 + 3 * number, 20 + 3 * number)


def make_data(folder, num_images=8):
    """Index masks with a fringe everywhere, and three planted errors."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(num_images):
        stem = f"{number:03d}"
        target = np.zeros(SIZE, np.uint8)
        target[4:24, 4:30] = 1
        target[4:16, 40:60] = 2
        target[place_of(number)] = 0 if PLANTED.get(stem) == "extra" else 1
        image = np.repeat(target[..., None] * 100, 3, axis=-1) + rng.integers(0, 9, (*SIZE, 3))
        mask = target.copy()
        mask[4:26, 4:31] = 1  # a fringe of one and two pixels
        if stem in PLANTED:
            mask[place_of(number)] = {"missing": 0, "extra": 1, "wrong": 2}[PLANTED[stem]]
        mask[-2:] = 255
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{stem}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
    (folder / "dataset.yaml").write_text(f"classes: [{', '.join(NAMES)}]\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    return make_data(tmp_path / "data")


@pytest.fixture
def predictor():
    return predictor_of()


def test_planted_errors_come_first_and_where_they_are(folder, predictor):
    found = review_labels(predictor, folder, split="all")
    assert {one.name.rsplit("/", 1)[-1] for one in found[:3]} == set(PLANTED)
    for one in found[:3]:
        stem = one.name.rsplit("/", 1)[-1]
        assert one.place == place_of(int(stem))
        assert one.region.all()
        assert one.change == {
            "missing": "background -> cell",
            "extra": "cell -> background",
            "wrong": "dirt -> cell",
        }.get(PLANTED[stem])
    fringes = found[3:]
    assert len(fringes) == 8
    assert fringes[0].score < 0.5 * found[2].score


def test_the_order_of_the_images_does_not_matter_and_a_second_look_says_the_same(folder, predictor):
    dataset = open_dataset(folder)
    found = review_labels(predictor, dataset, split="all", top=5)
    assert len(found) == 5
    turned = dataclasses.replace(dataset, records=dataset.records[::-1])
    assert review_labels(predictor, turned, split="all", top=5) == found
    assert review_labels(predictor, dataset, split="all", top=5) == found


def test_progress_counts_both_looks_at_every_image(folder, predictor):
    seen = []
    review_labels(predictor, folder, split="all", on_progress=lambda *done: seen.append(done))
    assert seen == [(done, 16) for done in range(1, 17)]


def test_images_that_were_trained_on_are_left_out_unless_they_are_asked_for(folder):
    dataset = open_dataset(folder)
    seen = [record for record in dataset.records if record.split == "train"]
    data = TrainingData(
        fingerprint=dataset.fingerprint,
        images=tuple(record.key for record in seen),
        split="70/15/15",
        split_seed=0,
    )
    predictor = predictor_of(data=data)
    chosen = records_to_review(predictor, dataset, None)
    assert {record.name for record in chosen} == {
        record.name for record in dataset.records if record.split != "train"
    }
    found = review_labels(predictor, folder)
    assert {one.name for one in found} <= {record.name for record in chosen}
    assert len(records_to_review(predictor, dataset, "all")) == len(dataset.records)
    everything = data.model_copy(update={"images": tuple(r.key for r in dataset.records)})
    with pytest.raises(DataError, match="`folds`"):
        review_labels(predictor_of(data=everything), folder)


def test_no_regions_at_all_cannot_be_asked_for(folder, predictor):
    with pytest.raises(ConfigError, match="top must be 1 or more"):
        review_labels(predictor, folder, top=0)


@pytest.fixture
def run(run_cli, monkeypatch):
    """The command line, with a model that is known."""

    def with_model(*arguments, **options):
        monkeypatch.setattr(
            "pixelwise.prediction.loading.load_model", lambda *_, **__: predictor_of(**options)
        )
        return run_cli(*arguments)

    return with_model


def test_review_prints_one_json_document_and_writes_page_and_table(folder, run, tmp_path):
    out = tmp_path / "out"
    code, text, err = run("review", "m", folder, "--split", "all", "--out", out, "--json")
    assert code == 0, err
    content = json.loads(text)
    assert content["written"] == [str(out / "review.html"), str(out / "review.csv")]
    assert len(content["suspects"]) == 11
    with (out / "review.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == list(range(1, 12))
    for row, one in zip(rows, content["suspects"], strict=True):
        assert [int(row[key]) for key in ("row", "column", "height", "width")] == one["box"]
        assert (row["given"], row["suggested"]) == (one["given"], one["suggested"])
        assert row["image"].endswith(".png")


def test_review_says_what_was_trained_on(folder, run, tmp_path):
    dataset = open_dataset(folder)
    data = TrainingData(
        fingerprint="other",
        images=tuple(record.key for record in dataset.records[:3]),
        split=None,
        split_seed=0,
    )
    out = tmp_path / "out"
    code, text, err = run("review", "m", folder, "--split", "all", "--out", out, data=data)
    assert code == 0, err
    assert "the model was trained on 3 of these images" in " ".join(err.split())
    assert "cell" in text
    code, _, err = run("review", "m", folder, "--out", out, data=data)
    assert code == 0, err
    assert "the model was trained on the other 3" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--save", "labelmee"), "labelme"),
        (("--minutes", "1"), "--folds"),
        (("--folds", "3"), "recipe.yaml"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, run, tmp_path, arguments, message):
    code, _, err = run("review", tmp_path / "m", folder, "--out", tmp_path / "out", *arguments)
    assert code == 1
    assert err.splitlines()[-1].startswith("error: ")
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_folds_review_each_image_with_a_model_not_trained_on_it(tmp_path, run_cli, make_model_file):
    data, run, out = tmp_path / "digits", tmp_path / "run", tmp_path / "out"
    write_digits(data, num_train=6, num_val=2, options=DigitOptions(num_classes=2))
    dataset = open_dataset(data)
    make_model_file(
        run / "model.safetensors",
        class_map=dataset.class_map,
        label_mode="multilabel",
        in_channels=1,
    )
    recipe = load_recipe(None, ["model.name=stacked-fcn", "training.epochs=1"])
    (run / "recipe.yaml").write_text(recipe.to_yaml())
    arguments = ("review", run, data, "--folds", 2, "--out", out, "--device", "cpu")
    code, text, err = run_cli(*arguments, "--json")
    assert code == 0, err
    assert json.loads(text)["written"]
    names = {record.key: record.name for record in dataset.records}
    trained = [
        {names[key] for key in load_model_file(out / f"folds/fold{number}")[1].data.images}
        for number in (1, 2)
    ]
    assert trained[0] | trained[1] == set(names.values())
    assert not trained[0] & trained[1]
    code, _, err = run_cli(*arguments)
    assert code == 1
    assert "split-fold1.yaml must be new" in err


def test_every_fold_is_looked_at_by_its_own_model(folder, monkeypatch):
    """The second model is blind: what is found is of the first one's images."""
    dataset = open_dataset(folder)
    names = [record.name for record in dataset.records]
    folds = [Fold(Path("sees"), tuple(names[::2])), Fold(Path("blind"), tuple(names[1::2]))]

    def load(run, **_):
        predictor = predictor_of()
        if run == Path("blind"):
            predictor.model.forward = lambda image: torch.zeros(len(image), 3, *image.shape[2:])
        return predictor

    monkeypatch.setattr(review_folds_module, "load_model", load)
    seen = []
    found = review_folds_module.review_folds(
        dataset, folds, on_progress=lambda *done: seen.append(done)
    )
    assert {one.name for one in found} == set(names[::2])
    assert seen[-1] == (16, 16)
    trained = {record.name for record in dataset.split("train")}
    assert 0 < len(trained & set(names[::2])) < 4
    within = review_folds_module.review_folds(dataset, folds, split="train")
    assert {one.name for one in within} == trained & set(names[::2])


def test_a_class_that_the_model_has_not_learned_is_said_to_be_unreviewed(
    folder, predictor, monkeypatch, run_cli, tmp_path
):
    for path in (folder / "images").iterdir():  # so that the model takes dirt for background
        pixels = np.asarray(Image.open(path)).copy()
        pixels[pixels[..., 0] >= 200] = 0
        Image.fromarray(pixels).save(path)
    told = []
    found = review_labels(predictor, folder, split="all", note=told.append)
    assert not any("dirt" in one.answers for one in found)
    words = "The model is not confident enough about dirt to question their labels."
    assert told == [words]
    monkeypatch.setattr("pixelwise.prediction.loading.load_model", lambda *_, **__: predictor)
    code, out, _ = run_cli("review", "m", folder, "--split", "all", "--out", tmp_path / "found")
    assert code == 0
    assert words in out
    assert words in (tmp_path / "found" / "review.html").read_text("utf-8")
