"""What others build on: the public names, their documentation, and who may print."""

import ast
import importlib
import inspect
import pkgutil
from importlib import metadata
from pathlib import Path

import pytest

import pixelwise

ROOT = Path(pixelwise.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(pixelwise.__path__, "pixelwise.")
    if module.name != "pixelwise.__main__"
)


@pytest.mark.parametrize("name", pixelwise.__all__)
def test_every_public_name_loads_and_is_documented(name):
    assert inspect.getdoc(getattr(pixelwise, name))


def test_the_public_names_are_those_of_the_design():
    """One function per verb, with the same word."""
    assert {"open_dataset", "train", "evaluate", "load_model", "create_model", "predict"} <= set(
        pixelwise.__all__
    )
    assert len(set(pixelwise.__all__)) == len(pixelwise.__all__)


def test_dir_lists_the_public_names():
    assert set(pixelwise.__all__) <= set(dir(pixelwise))


def test_type_checkers_see_every_public_name_where_it_is_loaded_from():
    """The imports under TYPE_CHECKING and those of lazy_loader are two copies: they must agree."""
    seen = {}
    for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pixelwise"):
            seen.update({alias.asname: node.module for alias in node.names})
    assert seen.keys() == set(pixelwise.__all__)
    for name, module in seen.items():
        assert getattr(pixelwise, name) is getattr(importlib.import_module(module), name)


PUBLIC_FUNCTIONS = [
    name for name in pixelwise.__all__ if inspect.isfunction(getattr(pixelwise, name))
]


@pytest.mark.parametrize("name", PUBLIC_FUNCTIONS)
def test_where_a_path_may_be_given_text_may_be_given(name):
    parameters = inspect.signature(getattr(pixelwise, name)).parameters.values()
    taken = {entry.name: entry.annotation for entry in parameters if "Path" in entry.annotation}
    assert {key: text for key, text in taken.items() if "str" not in text} == {}
    assert not [text for text in taken.values() if "Sequence[Path]" in text]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_recipe_may_be_given_as_text_or_path(kind, tmp_path, make_index_dataset):
    data = kind(make_index_dataset(tmp_path / "data", num_images=8))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: {name: stacked-fcn, arguments: {filters: 4}}\ntraining: {epochs: 1, size: [8, 8]}\n"
    )
    assert pixelwise.load_recipe(kind(recipe)).training.epochs == 1
    assert pixelwise.show_data(data, kind(tmp_path / "a.png"), recipe=kind(recipe)).is_file()
    run = pixelwise.train(data, recipe=kind(recipe), out=kind(tmp_path / "run")).folder
    assert (run / "model.safetensors").is_file()
    assert pixelwise.report_run(kind(run), out=kind(tmp_path / "r.html")).page.is_file()
    found = pixelwise.compare(data, kind(run), epochs=1, out=kind(tmp_path / "c"))
    assert len(found.models) == 1


@pytest.mark.parametrize("kind", [str, Path])
def test_data_and_results_may_be_given_as_text_or_path(
    kind, tmp_path, make_index_dataset, make_model_file
):
    data = kind(make_index_dataset(tmp_path / "data", num_images=4))
    model = pixelwise.load_model(kind(make_model_file(tmp_path / "model.safetensors")))
    pixelwise.convert_data(pixelwise.open_dataset(data), kind(tmp_path / "coco"), "coco")
    assert pixelwise.check_data(kind(tmp_path / "coco")).dataset.format.name == "coco"
    images = tmp_path / "data/images"
    for inputs in (kind(images), [kind(images)], (kind(images / "000.png"),)):
        assert pixelwise.predict(model, inputs, kind(tmp_path / "out")).failed == ()
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert pixelwise.evaluate(model, data, "all").mean_iou >= 0
    pixelwise.review_labels(model, data, split="all")


def test_the_version_is_that_of_the_package_and_of_the_command_line(run_cli):
    assert pixelwise.__version__ == metadata.version("pixelwise")
    assert run_cli("--version")[1] == f"pixelwise {pixelwise.__version__}\n"


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        pixelwise.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert inspect.getdoc(importlib.import_module(name))


def public_members(name):
    """(dotted name, object) of the public functions, classes and methods defined in a module."""
    module = importlib.import_module(name)
    for key, member in vars(module).items():
        is_ours = getattr(member, "__module__", None) == name
        if key.startswith("_") or not is_ours:
            continue
        if not (inspect.isclass(member) or inspect.isfunction(member)):
            continue
        yield f"{name}.{key}", member
        if not inspect.isclass(member):
            continue
        for inner, value in vars(member).items():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if not inner.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{key}.{inner}", function


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_class_and_method_is_documented(name):
    bare = []
    for path, member in public_members(name):
        text = member.__doc__ or ""
        is_generated = inspect.isclass(member) and text.startswith(f"{member.__name__}(")
        if not text.strip() or is_generated:
            bare.append(path)
    assert bare == []


def test_there_is_something_to_document():
    found = [path for name in MODULES for path, _ in public_members(name)]
    assert len(found) > 100
    assert "pixelwise.prediction.predictor.Predictor.predict" in found


def speakers(tree):
    """Whatever in a syntax tree prints, exits, or knows of the command line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = [node.func.id] if node.func.id in ("print", "input", "exit", "quit") else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"] if node.value.id == "sys" else []
        else:
            continue
        for name in names:
            if name.split(".")[0] in ("typer", "rich", "click", "print", "input", "exit", "quit"):
                yield name
            if name in ("sys.argv", "sys.exit", "sys.stdout", "sys.stderr", "argparse"):
                yield name


def test_only_the_command_line_prints_reads_arguments_or_exits():
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in sorted(ROOT.rglob("*.py"))
        if path.relative_to(ROOT).parts[0] != "cli"
        and (names := sorted(set(speakers(ast.parse(path.read_text("utf-8"))))))
    }
    assert found == {}


def test_the_search_for_printing_finds_it():
    source = "import typer\nfrom rich.table import Table\nprint(1)\nsys.exit(2)\nimport numpy\n"
    assert sorted(speakers(ast.parse(source))) == ["print", "rich.table", "sys.exit", "typer"]
