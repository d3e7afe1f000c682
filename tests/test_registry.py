import importlib
import sys
from importlib import metadata

import pytest

from pixelwise.data.formats import formats
from pixelwise.errors import ConfigError, PixelwiseWarning, UnknownNameError
from pixelwise.models.base import models


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
            f"def build(size, color='red'):\n    return ('{name}', size, color)\n"
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
    assert shapes.create("circle", size=1, color="blue") == ("circle", 1, "blue")


def test_an_unknown_name_gets_a_suggestion(shapes):
    with pytest.raises(UnknownNameError) as refused:
        shapes.create("squar", size=1)
    assert str(refused.value) == (
        "shape must be a known name. Got 'squar'. Did you mean 'square'? Known: circle, square"
    )


def test_an_unknown_argument_gets_a_suggestion(shapes):
    with pytest.raises(UnknownNameError, match=r"argument of shape 'square' .*'colr'.*'color'"):
        shapes.create("square", size=1, colr="blue")


def test_a_missing_argument_is_named(shapes):
    with pytest.raises(ConfigError, match=r"shape 'square' cannot be built: .*'size'"):
        shapes.create("square")


def own_builder(size):
    return ("own", size)


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_builder_from_outside_replaces_a_built_in_whenever_it_comes(shapes, is_loaded):
    if is_loaded:
        shapes.names()
    for _ in range(2):  # a cell of a notebook may run again
        shapes.register("square")(own_builder)
    assert shapes.names() == ["circle", "square"]
    assert shapes.create("square", size=3) == ("own", 3)
    assert shapes.create("circle", size=3) == ("circle", 3, "red")
    with pytest.raises(UnknownNameError, match="Did you mean 'square'"):
        shapes.builder("squar")
    with pytest.raises(UnknownNameError, match=r"argument of shape 'square' .*'size'"):
        shapes.create("square", siz=3)


def test_the_builder_that_was_registered_last_counts(shapes):
    shapes.register("oval")(own_builder)
    shapes.register("oval")(lambda size: ("new", size))
    assert shapes.create("oval", size=1) == ("new", 1)
    assert shapes.names() == ["circle", "oval", "square"]


def test_two_modules_of_the_package_cannot_share_a_name(shapes, tmp_path):
    module = (tmp_path / "some_shapes/square.py").read_text()
    (tmp_path / "some_shapes/square_again.py").write_text(module)
    with pytest.raises(ValueError, match="shape 'square' is registered twice"):
        shapes.names()


def test_a_module_of_the_package_can_be_loaded_again(shapes):
    shapes.names()
    importlib.reload(sys.modules["some_shapes.square"])
    assert shapes.names() == ["circle", "square"]


def test_a_name_of_its_own_goes_before_the_family_that_it_looks_like(shapes):
    shapes.register_family("many:", "many:SIZE")(lambda name, size: (name, size))
    shapes.register("many:one")(own_builder)
    assert shapes.create("many:one", size=2) == ("own", 2)
    assert shapes.create("many:two", size=2) == ("many:two", 2)


def test_the_hint_replaces_the_list(shapes):
    shapes._hint = "List them with: shapes"
    with pytest.raises(UnknownNameError, match=r"'zzz'\. List them with: shapes$"):
        shapes.builder("zzz")


GROUP = "some.shapes"


@pytest.fixture
def installed(shapes, tmp_path, monkeypatch):
    """Install a package with entry points into the group of the shapes: (name, value, code)."""
    shapes._group = GROUP
    entries = []
    folder = tmp_path / "acme_shapes-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-shapes\nVersion: 1.0\n")

    def install(name, value, code):
        (tmp_path / f"{value.partition(':')[0]}.py").write_text(code)
        entries.append(f"{name} = {value}\n")
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n" + "".join(entries))
        distribution = metadata.Distribution.at(folder)
        monkeypatch.setattr(
            metadata, "entry_points", lambda group: distribution.entry_points.select(group=group)
        )

    yield install
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def test_an_entry_point_registers_its_builder_under_its_name(shapes, installed):
    installed("oval", "acme_ovals:build", "def build(size):\n    return ('oval', size)\n")
    assert shapes.names() == ["circle", "oval", "square"]
    assert shapes.create("oval", size=2) == ("oval", 2)


def test_an_entry_point_may_be_a_module_that_registers_when_imported(shapes, installed):
    code = "from some_shapes import shapes\nshapes.register('star')(lambda: 'a star')\n"
    installed("anything", "acme_stars", code)
    assert shapes.names() == ["circle", "square", "star"]
    assert shapes.create("star") == "a star"


def test_entry_points_are_loaded_at_first_use_only(shapes, installed):
    installed("oval", "acme_ovals:build", "build = tuple\n")
    assert "acme_ovals" not in sys.modules
    shapes.names()
    assert "acme_ovals" in sys.modules


def test_a_broken_entry_point_is_named_and_the_others_work(shapes, installed):
    installed("oval", "acme_ovals:build", "import no_such_package\n")
    installed("star", "acme_stars:build", "def build():\n    return 'a star'\n")
    with pytest.warns(PixelwiseWarning) as warned:
        assert shapes.names() == ["circle", "square", "star"]
    (line,) = [str(warning.message) for warning in warned]
    assert "\n" not in line
    assert "'oval' (some.shapes) of the package 'acme-shapes'" in line
    assert "ModuleNotFoundError: No module named 'no_such_package'" in line
    with pytest.raises(ConfigError, match=r"entry point 'oval' .* of the package 'acme-shapes'"):
        shapes.create("oval")


@pytest.mark.parametrize("name", ["square", "oval"])
def test_an_entry_point_does_not_replace_what_is_registered(shapes, installed, name):
    if name == "oval":
        shapes.register("oval")(own_builder)
    installed(name, "acme_ovals:build", "def build(size):\n    return ('theirs', size)\n")
    assert shapes.create(name, size=1)[0] != "theirs"


def test_models_and_formats_have_their_documented_groups():
    assert models._group == "pixelwise.models"
    assert formats._group == "pixelwise.formats"


def test_annotations_that_only_a_type_checker_knows_are_not_checked(shapes):
    def build(size: "NoSuchType", color: object = None):  # noqa: F821
        return size

    shapes.register("oval")(build)
    assert shapes.create("oval", size="large") == "large"
