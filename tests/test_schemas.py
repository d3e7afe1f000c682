"""Files of plain data are bounded in size, depth and entries, all by the same rule."""

import json

import pytest

from pixelwise.config import load_recipe
from pixelwise.data.card import find_card
from pixelwise.errors import ConfigError, PixelwiseError
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


READERS = (("recipe.yaml", load_recipe), ("dataset.yaml", find_card))
BOMB = "a0: &a0 [a]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 8)
)
TAGS = ("python/object/apply:os.mkdir [{mark}]", "python/object/new:os.mkdir [{mark}]",
        "python/name:os.mkdir", "python/module:os", "python/tuple [1, 2]", "own x")  # fmt: skip


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize("key", ["names", "imports", "classes", "<<"])
@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_yaml_are_refused_and_run_nothing(tmp_path, name, read, key, tag):
    mark = tmp_path / "was-run"
    (tmp_path / name).write_text(f"path: .\n{key}: !!{tag.format(mark=mark)}\n")
    with pytest.raises(PixelwiseError, match=name.replace(".", r"\.")) as refusal:
        read(tmp_path / name)
    assert "\n" not in str(refusal.value)
    assert not mark.exists()


@pytest.mark.parametrize(("name", "read"), READERS)
def test_aliases_that_stand_for_millions_of_entries_are_refused(tmp_path, name, read):
    (tmp_path / name).write_text(f"{BOMB}names: *a7\nclasses: *a7\n")
    with pytest.raises(PixelwiseError, match=r"entries with expanded aliases"):
        read(tmp_path / name)
