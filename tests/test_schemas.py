"""Files of plain data are bounded in size, depth and entries, all by the same rule."""

import json

import pytest

from pixelwise.config import load_recipe
from pixelwise.data.card import find_card
from pixelwise.errors import ConfigError
from pixelwise.schemas import MAX_DEPTH, bounded, parse_json

DEEP = "[" * 60 + "1" + "]" * 60


def test_what_is_nested_too_deeply_is_refused():
    deep = json.loads("[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1))
    assert bounded(deep, 1000) is deep
    with pytest.raises(ValueError, match="more than 50 lists and mappings inside each other"):
        bounded([deep], 1000)
    with pytest.raises(ValueError, match="inside each other"):
        parse_json('{"a":' * 60 + "1" + "}" * 60, 1000)
    with pytest.raises(ValueError, match=r"."):
        parse_json("[" * 1_000_000, 1000)


def test_too_many_entries_are_refused():
    assert bounded([1] * 9, 10) == [1] * 9
    with pytest.raises(ValueError, match="more than 10 entries"):
        bounded([1] * 10, 10)
    with pytest.raises(ValueError, match="more than 10 entries"):
        bounded({"a": {str(number): number for number in range(10)}}, 10)


@pytest.mark.parametrize(
    "text", [f"path: {DEEP}", f"path: {'[' * 100_000}", "path: " + "[[1]," * 9]
)
def test_a_recipe_and_a_card_that_are_too_deep_are_refused_by_name(tmp_path, text):
    for name, read in (("recipe.yaml", load_recipe), ("dataset.yaml", find_card)):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=rf"{name} must be a readable YAML file") as refusal:
            read(tmp_path / name)
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 500
