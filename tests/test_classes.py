import pytest

from pixelwise.classes import ClassMap, distinct_colors, numbered_names
from pixelwise.errors import ConfigError


def test_what_is_not_given_is_filled():
    class_map = ClassMap.build(("sky", "road"))
    assert class_map.values == (0, 1)
    assert class_map.ignore == (255,)
    assert len(class_map.colors) == class_map.num_classes == 2
    assert not class_map.is_unnamed


def test_numbered_classes_are_unnamed():
    assert ClassMap.build(numbered_names(3)).is_unnamed
    assert not ClassMap.build(("class-0", "class-2")).is_unnamed


@pytest.mark.parametrize(
    ("names", "background", "ground"),
    [
        (("cell", "background"), 1, 1),
        (("_background_", "cell"), 0, 0),
        (("sky", "road"), None, None),
        (numbered_names(3), None, 0),
        (numbered_names(1), None, None),  # nothing would be left
    ],
)
def test_the_ground_is_called_background_or_the_first_of_classes_without_names(
    names, background, ground
):
    class_map = ClassMap.build(names)
    assert (class_map.background, class_map.class_without_objects) == (background, ground)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ("a", "b", "a")}, "names must be unique. Got a twice"),
        ({"names": ("a", "b"), "values": (3, 3)}, "values must be unique. Got 3 twice"),
        ({"names": ("a", "b"), "values": (0, 255)}, r"class or ignored, not both. Got \[255\]"),
        ({"names": ("a", "b"), "colors": ((0, 0, 0),)}, "Got 2, 1 and 2"),
        ({"names": ("a", "b"), "values": (1,)}, "Got 2, 2 and 1"),
        ({"names": ()}, "1 to 255 classes. Got 0"),
        ({"names": numbered_names(256), "ignore": ()}, "1 to 255 classes. Got 256"),
        ({"names": ("a",), "colors": ((0, 0, 256),)}, "less than or equal to 255"),
        ({"names": ("a",), "colors": ((-1, 0, 0),)}, "greater than or equal to 0"),
    ],
)
def test_lists_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ClassMap.build(**arguments)


def test_a_class_map_cannot_be_changed_by_accident():
    with pytest.raises(ConfigError, match="must not be changed"):
        ClassMap.build(("a",)).names = ("b",)


def test_a_class_map_survives_json():
    class_map = ClassMap.build(("sky", "ä/ö"), values=(4, 9), ignore=(0, 255))
    assert ClassMap.model_validate_json(class_map.model_dump_json()) == class_map


@pytest.mark.parametrize("count", [1, 2, 8, 24])
def test_colors_are_many_and_different(count):
    colors = distinct_colors(count)
    assert len(set(colors)) == count
    assert all(0 <= channel <= 255 for color in colors for channel in color)
    for index, first in enumerate(colors):
        for second in colors[:index]:
            assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 15
