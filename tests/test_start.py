"""What a start loads: each needless package would make every call slower, by seconds for some."""

import re
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import typer.main
from PIL import Image

from pixelwise.cli import OPTIONS, VERBS, overview, version_line
from pixelwise.cli.application import app

RUN_VERB = """
from pixelwise.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
"""

# torchvision brings torch's compiler with it, which takes longer to import than torch.
NOT_FOR_PREDICTING = {
    "cv2", "defusedxml", "imagecodecs", "jinja2", "matplotlib", "openvino", "pandas", "rasterio",
    "rich", "scipy", "segmentation_models_pytorch", "shapely", "skimage", "sklearn", "sympy",
    "tifffile", "timm", "torch._dynamo", "torch._inductor", "torchvision",
}  # fmt: skip


def loaded_by(statement, *arguments):
    """What a fresh Python has imported after a statement, and what it printed."""
    code = (
        f"import sys\ncode = 0\n{statement}\nprint(*sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split()), done.stdout


@pytest.fixture
def image(tmp_path):
    """A picture of 24 x 32, in color."""
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_importing_pixelwise_loads_nothing_but_what_loads_the_rest_later():
    loaded, output = loaded_by("import pixelwise; dir(pixelwise)")
    assert output == ""
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    bare, _ = loaded_by("pass")
    assert foreign - bare == {"pixelwise", "lazy_loader"}


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_the_help_loads_no_torch_no_numpy_and_not_even_typer(word):
    loaded, output = loaded_by(RUN_VERB, word)
    assert "pixelwise.cli" in loaded
    assert not loaded & {"torch", "numpy", "pydantic", "typer", "rich"}
    assert output == f"{overview()}\n"


def test_the_version_loads_no_torch_no_numpy_and_not_even_typer():
    loaded, output = loaded_by(RUN_VERB, "--version")
    assert "pixelwise.cli" in loaded
    assert not loaded & {"torch", "numpy", "pydantic", "typer", "rich"}
    assert output == f"pixelwise {metadata.version('pixelwise')}\n"
    assert re.fullmatch(r"pixelwise \d+\.\d+\.\d+\S*\n", output)


def test_the_version_is_the_same_where_other_options_stand_before(run_cli):
    assert run_cli("--debug", "--version") == (0, f"{version_line()}\n", "")
    assert run_cli("--version", "train") == (0, f"{version_line()}\n", "")


def test_the_help_of_a_verb_loads_no_torch_and_no_rich():
    loaded, output = loaded_by(RUN_VERB, "predict", "--help")
    assert "pixelwise.cli.predict" in loaded
    assert not loaded & {"torch", "numpy", "PIL", "rich"}
    assert "[default: index]" in output


@pytest.mark.parametrize("name", ["unet-elu", "encoder-decoder"])
def test_predicting_loads_nothing_that_it_does_not_need(make_model_file, image, tmp_path, name):
    model = make_model_file(tmp_path / "model.safetensors", name=name)
    loaded, _ = loaded_by(RUN_VERB, "predict", model, image, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "image.png").is_file()
    assert "torch" in loaded
    assert not loaded & NOT_FOR_PREDICTING


def test_listing_the_models_loads_neither_timm_nor_its_bridge():
    loaded, output = loaded_by("import pixelwise\nprint(pixelwise.list_models())")
    assert "unet-elu" in output
    assert not loaded & {"segmentation_models_pytorch", "timm", "torchvision"}


def test_the_overview_names_all_that_the_application_has():
    group = typer.main.get_command(app)
    assert set(group.commands) == set(VERBS)
    assert {option for parameter in group.params for option in parameter.opts} | {
        "-h",
        "--help",
    } == {option for options in OPTIONS for option in options.split(", ")}
    assert max(map(len, overview().splitlines())) <= 80


def test_the_overview_is_the_same_where_other_options_stand_before(run_cli):
    assert run_cli("--debug", "--help") == (0, f"{overview()}\n", "")
    code, _, err = run_cli()
    assert (code, err) == (2, f"{overview()}\n")
