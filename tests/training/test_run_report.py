"""What a run's page is told: the model file as it is, and commands that read the same labels."""

import pytest

from pixelwise.config import Recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.models.model_file import MODEL_NAME, load_model_file, save_model_file
from pixelwise.training import run_report


@pytest.fixture
def told(make_index_dataset, make_model_file, tmp_path, monkeypatch):
    """(temperature of the model file, choices of the recipe) -> what the page is written of."""

    def write(temperature=1.0, **choices):
        folder = tmp_path / "run"
        folder.mkdir()
        model, card = load_model_file(make_model_file(tmp_path / "fresh.safetensors"))
        card = card.model_copy(update={"temperature": temperature})
        save_model_file(folder / MODEL_NAME, model, card)
        dataset = open_dataset(make_index_dataset(tmp_path / "data"))
        recipe = Recipe.model_validate({"data": {"path": "my data", **choices}})
        calls = []
        monkeypatch.setattr(run_report, "write_report", lambda *_, **words: calls.append(words))
        run_report.write_run_report(folder, None, None, dataset, recipe, None)
        (words,) = calls
        return words

    return write


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_the_temperature_is_the_one_that_the_model_file_holds(told, temperature):
    assert told(temperature)["run"].temperature == temperature


@pytest.mark.parametrize(
    ("choices", "options"),
    [
        ({}, ()),
        ({"ignore": [11, 12]}, ("--ignore", "11", "--ignore", "12")),
        (
            {"unexpected": "nearest", "format": "index-masks"},
            ("--format", "index-masks", "--unexpected", "nearest"),
        ),
    ],
)
def test_the_command_that_reviews_the_labels_reads_them_as_the_training_did(
    told, tmp_path, choices, options
):
    command = told(**choices)["review_command"]
    assert command == ("pixelwise", "review", str(tmp_path / "run"), "my data", *options)
