"""What is given to the Python functions in another type works, or is refused in one sentence."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import pixelwise
from pixelwise.config import TrainingRecipe
from pixelwise.errors import ConfigError, PixelwiseError
from pixelwise.metrics.extra import extra_metrics

SMALL = {"model": {"name": "stacked-fcn"}, "training": {"epochs": 1, "size": [8, 8]}}


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=8)


@pytest.fixture
def model(tmp_path, make_model_file):
    return make_model_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pixelwise.Recipe(training={"epochs": -1}), "Recipe: training.epochs must be"),
        (lambda: pixelwise.Recipe(trainign={}), "trainign must be a known key. Did you mean"),
        (lambda: TrainingRecipe(seed="x"), "TrainingRecipe: seed must be a whole number. Got 'x'"),
        (lambda: setattr(TrainingRecipe(), "epochs", 0), "epochs must be greater than or equal"),
        (lambda: setattr(TrainingRecipe(), "epoch", 1), "epoch must be a known key. Did you mean"),
        (lambda: pixelwise.ClassMap.build(["a", "a"]), "names must be unique. Got a twice"),
        (lambda: pixelwise.ClassMap(names=["a"]), "colors must be given. Got none"),
    ],
)
def test_a_recipe_or_class_map_that_does_not_hold_is_a_pixelwise_error(make, message):
    with pytest.raises(ConfigError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_recipe_can_be_given_as_a_mapping_and_as_an_object(data, tmp_path):
    for recipe in (SMALL, pixelwise.load_recipe(SMALL)):
        outcome = pixelwise.train(data, recipe=recipe, overrides="training.seed=3", dry_run=True)
        assert outcome.plan.recipe.model.name == "stacked-fcn"
        assert outcome.plan.recipe.training.seed == 3
    assert SMALL["training"] == {"epochs": 1, "size": [8, 8]}
    assert pixelwise.show_data(data, tmp_path / "shown.png", recipe=SMALL).is_file()


class Area:
    """A metric without a value."""

    def add(self, *arrays):
        pass

    def figures(self):
        return {}


def test_a_single_name_or_value_needs_no_list(data, model, tmp_path, monkeypatch):
    monkeypatch.setitem(extra_metrics._entries, "area", Area)
    plan = pixelwise.train(
        data, recipe=SMALL, dry_run=True, ignore=9, imports="json", metrics="area"
    ).plan
    assert plan.recipe.data.ignore == (9,)
    assert plan.recipe.imports == ("json",)
    assert plan.recipe.training.metrics == ("area",)
    image = data / "images" / "000.png"
    assert pixelwise.predict(model, image, tmp_path / "out", save="overlay").failed == ()


def test_paths_are_taken_wherever_opened_objects_are(data, model, tmp_path):
    pixelwise.convert_data(str(data), str(tmp_path / "coco"), "coco")
    assert pixelwise.open_dataset(tmp_path / "coco").format.name == "coco"
    given = pixelwise.review_labels(str(model), str(data), split="all")
    opened = pixelwise.review_labels(
        pixelwise.load_model(model), pixelwise.open_dataset(data), split="all"
    )
    assert given == opened


@pytest.mark.parametrize("make", [str, Path, Image.open, lambda path: [path]])
def test_a_predictor_names_the_function_that_takes_files(data, model, make):
    image = make(data / "images" / "000.png")
    predictor = pixelwise.load_model(model)
    for function in (predictor.predict, predictor.probabilities, predictor.logits):
        with pytest.raises(ConfigError, match=r"array of numpy.*use pixelwise\.predict\("):
            function(image)
    assert pixelwise.predict(predictor, image)


WRONG = {
    "a data set where a path is needed": lambda it: pixelwise.train(
        pixelwise.open_dataset(it.data)
    ),
    "data": lambda _: pixelwise.train(5),
    "data to open": lambda _: pixelwise.open_dataset(5),
    "data to check": lambda _: pixelwise.check_data(5),
    "data to compare on": lambda _: pixelwise.compare(5, "unet", epochs=1),
    "data to convert": lambda it: pixelwise.convert_data(5, it.out, "coco"),
    "a format": lambda it: pixelwise.convert_data(it.data, it.out, 5),
    "a recipe": lambda it: pixelwise.train(it.data, recipe=5),
    "a folder as recipe": lambda it: pixelwise.train(it.data, recipe=it.data),
    "a run folder": lambda it: pixelwise.train(it.data, out=5),
    "a run": lambda _: pixelwise.report_run(5),
    "a model": lambda _: pixelwise.load_model(5),
    "data to evaluate on": lambda it: pixelwise.evaluate(it.model, 5),
    "a number as image": lambda it: pixelwise.predict(it.model, 5),
    "numbers as images": lambda it: pixelwise.predict(it.model, [5]),
    "a mapping of images": lambda it: pixelwise.predict(it.model, {"a": it.data}),
    "numbers as files": lambda it: pixelwise.predict(it.model, [5], it.out),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_refused_in_one_sentence(data, model, name):
    with pytest.raises(PixelwiseError, match=r" must .*(Got|It is a folder)") as refused:
        WRONG[name](SimpleNamespace(data=data, model=model, out=data / "out"))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_folder_as_recipe_names_the_recipe_inside(tmp_path):
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"It is a folder. Give a file, such as .*/recipe.yaml"):
        pixelwise.load_recipe(tmp_path)
