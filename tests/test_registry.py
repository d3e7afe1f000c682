import sys

import pytest

from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.registry import Registry


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A package of two modules, each of which registers one shape when it is imported."""
    package = tmp_path / "some_shapes"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pixelwise.registry import Registry\nshapes = Registry('shape', 'some_shapes')\n"
    )
    for name in ("square", "circle"):
        (package / f"{name}.py").write_text(
            "from some_shapes import shapes\n"
            f"@shapes.register('{name}')\n"
            f"def build(size, colour='red'):\n    return ('{name}', size, colour)\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    import some_shapes

    yield some_shapes.shapes
    for name in [name for name in sys.modules if name.startswith("some_shapes")]:
        del sys.modules[name]


def test_every_module_of_the_package_is_found_at_first_use(shapes):
    assert "some_shapes.square" not in sys.modules
    assert shapes.names() == ["circle", "square"]


def test_an_item_is_built_by_name_with_its_arguments(shapes):
    assert shapes.create("square", size=3) == ("square", 3, "red")
    assert shapes.create("circle", size=1, colour="blue") == ("circle", 1, "blue")


def test_an_unknown_name_gets_a_suggestion(shapes):
    with pytest.raises(UnknownNameError) as refused:
        shapes.create("squar", size=1)
    assert str(refused.value) == (
        "shape must be a known name. Got 'squar'. Did you mean 'square'? Known: circle, square"
    )


def test_an_unknown_argument_gets_a_suggestion(shapes):
    with pytest.raises(UnknownNameError, match=r"argument of shape 'square' .*'color'.*'colour'"):
        shapes.create("square", size=1, color="blue")


def test_a_missing_argument_is_named(shapes):
    with pytest.raises(ConfigError, match=r"shape 'square' cannot be built: .*'size'"):
        shapes.create("square")


def test_a_name_is_registered_once():
    registry = Registry("shape", "nowhere")
    registry.register("square")(dict)
    with pytest.raises(ValueError, match="shape 'square' is registered twice"):
        registry.register("square")(list)


def test_the_hint_replaces_the_list(shapes):
    shapes._hint = "List them with: shapes"
    with pytest.raises(UnknownNameError, match=r"'zzz'\. List them with: shapes$"):
        shapes.builder("zzz")
