"""The options of the label reading are one list, wherever they are given."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest
from typer.main import get_command

import pixelwise
from pixelwise.cli.application import app
from pixelwise.cli.reading_options import OPTIONS
from pixelwise.config import DataRecipe
from pixelwise.data.card import DatasetCard
from pixelwise.errors import ConfigError
from pixelwise.label_options import LabelArguments, LabelOptions, label_options

NAMES = list(LabelOptions.model_fields)

COMMANDS = ("train", "evaluate", "compare", "review",
            "data check", "data show", "data split", "data convert")  # fmt: skip


def test_keyword_arguments_and_commands_have_the_same_names() -> None:
    assert list(LabelArguments.__annotations__) == NAMES
    assert list(OPTIONS) == NAMES


@pytest.mark.parametrize("section", [DataRecipe, DatasetCard])
def test_cards_and_recipes_take_every_option(section: type) -> None:
    assert set(NAMES) <= set(section.model_fields)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_that_opens_a_data_set_takes_every_option(words: str) -> None:
    command = get_command(app)
    for word in words.split():
        command = command.commands[word]
    options = {entry.name: entry.opts for entry in command.params}
    for name in NAMES:
        assert options[name] == [f"--{name.replace('_', '-')}"]


@pytest.mark.parametrize(
    "function",
    [pixelwise.open_dataset, pixelwise.train, pixelwise.evaluate, pixelwise.compare],
)
def test_every_function_that_opens_a_data_set_takes_every_option(function: object) -> None:
    assert inspect.signature(function).parameters["labels"].kind is inspect.Parameter.VAR_KEYWORD
    assert get_type_hints(function)["labels"].__args__ == (LabelArguments,)


def test_words_are_the_options_that_give_the_same_reading() -> None:
    options = label_options(ignore=(3, 7), images="a/{name}.*", max_bad_annotations=0.2)
    assert options.words() == (
        "--ignore", "3", "--ignore", "7", "--images", "a/{name}.*", "--max-bad-annotations", "0.2"
    )  # fmt: skip


def test_given_options_take_precedence_and_ignored_values_add_up() -> None:
    card = DatasetCard(format="voc", ignore=(9,), unexpected="nearest", path="elsewhere")
    given = label_options(ignore=[4], format="cityscapes")
    both = given.completed_by(card)
    assert type(both) is LabelOptions
    assert (both.format, both.ignore, both.unexpected) == ("cityscapes", (9, 4), "nearest")


def test_a_single_ignored_value_may_stand_alone() -> None:
    assert label_options(ignore=3).ignore == (3,)  # type: ignore[arg-type]


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"fromat must be a known key\. Did you mean 'format'"):
        label_options(fromat="voc")  # type: ignore[call-arg]
