"""What is to be compared, from text."""

import pytest

from pixelwise.comparison.candidates import parse_candidates
from pixelwise.config import Recipe
from pixelwise.errors import ConfigError, ModelFileError, UnknownNameError


def parsed(models, **base):
    return parse_candidates(models, Recipe(**base))


def test_names_with_and_without_arguments_are_understood():
    one, two, three = parsed(
        "unet, unet-elu(filters=8, padding=replicate),smp:unet:resnet18(decoder_channels=[8, 4])",
        training={"batch_size": 2},
    )
    assert (one.name, one.recipe.model.name, one.recipe.model.arguments) == ("unet", "unet", {})
    assert two.name == "unet-elu(filters=8,padding=replicate)"
    assert two.recipe.model.arguments == {"filters": 8, "padding": "replicate"}
    assert three.recipe.model.name == "smp:unet:resnet18"
    assert three.recipe.model.arguments == {"decoder_channels": [8, 4]}
    assert {entry.recipe.training.batch_size for entry in (one, two, three)} == {2}
    assert not one.is_own_recipe


def test_the_same_model_twice_has_two_names_and_two_folders():
    first, second = parsed(["unet(filters=8)", "unet(filters=8)"])
    assert (first.name, second.name) == ("unet(filters=8)", "unet(filters=8) #2")
    assert (first.folder_name, second.folder_name) == ("unet-filters-8", "unet-filters-8-2")


def test_a_recipe_file_is_taken_as_it_is(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {name: unet, arguments: {filters: 4}}\ntraining: {batch_size: 3}\n")
    (entry,) = parsed([path], training={"batch_size": 2})
    assert (entry.name, entry.is_own_recipe) == ("mine", True)
    assert entry.recipe.training.batch_size == 3
    assert entry.recipe.model.arguments == {"filters": 4}


def test_a_finished_run_is_only_named(tmp_path, make_model_file):
    make_model_file(tmp_path / "first" / "model.safetensors")
    for text in (tmp_path / "first", tmp_path / "first" / "model.safetensors"):
        (entry,) = parsed([text])
        assert (entry.name, entry.recipe) == ("first", None)
        assert entry.run == text


def test_a_folder_named_like_a_model_does_not_hide_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unet").mkdir()
    (entry,) = parsed("unet")
    assert entry.recipe.model.name == "unet"


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("unet-elv", UnknownNameError, "Did you mean 'unet-elu'"),
        ("unet(filters=8", ConfigError, "matching brackets"),
        ("unet)filters=8(", ConfigError, "matching brackets"),
        ("unet(8)", ConfigError, "ARGUMENT=VALUE"),
        ("unet(filters=8,filters=9)", ConfigError, "each once"),
        ("unet(filters=8)x", ConfigError, "NAME or NAME"),
        ("unet(filters=[8}])", ConfigError, "matching brackets"),
        ("unet(filters='8)", ConfigError, "YAML value"),
        (" , ", ConfigError, "at least one"),
        ("missing.yaml", ConfigError, "missing.yaml"),
        ("runs/missing", ModelFileError, "does not"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_to_write(text, error, match):
    with pytest.raises(error, match=match):
        parsed(text)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"contains none"):
        parsed([tmp_path])
