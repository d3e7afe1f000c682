"""Streams that are closed, full or know only ASCII: the work is done, the exit code is true."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

PIXELWISE = f"'{sys.executable}' -m pixelwise"
NAMES = ("straße 道路", "[/b] [red] $\\frac$ b_{", "escape \x1b[31m", "mirrored \u202e<i>&amp;")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set whose classes, files and folder have difficult names."""
    folder = tmp_path_factory.mktemp("streams") / "a $\\frac$ [b] <i>"
    rng = np.random.default_rng(0)
    for name in NAMES:
        for kind, high in (("images", 256), ("masks", 2)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, high, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{name.replace('/', '|')}.png")
    classes = ", ".join('"' + name.replace("\\", "\\\\").replace("\x1b", "\\e") + '"'
                        for name in NAMES[:2])  # fmt: skip
    (folder / "dataset.yaml").write_text(f"classes: [{classes}]\n", encoding="utf-8")
    return folder


def shell(line, data, **environment):
    return subprocess.run(
        ["bash", "-c", line.replace("pixelwise", PIXELWISE, 1)],
        env={**os.environ, "DATA": str(data), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("verb", ["--help", "data formats", 'data check "$DATA"'])
def test_a_full_stdout_is_told_in_one_line(verb, data):
    done = shell(f"pixelwise {verb} > /dev/full", data)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: cannot write the results to stdout: No space left on device"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("streams", ["2> /dev/full", "2>&-", "2>&- >&-", ">&-", "<&-"])
def test_the_work_is_done_without_a_stream(streams, data, tmp_path):
    page = tmp_path / "page.html"
    done = shell(f'pixelwise data check "$DATA" --report "{page}" {streams}', data)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert page.read_text(encoding="utf-8").endswith("</html>")


def test_an_error_without_stderr_has_its_exit_code(data):
    assert shell("pixelwise data check nowhere 2>&-", data).returncode == 1


def test_a_stream_of_ascii_gets_escapes(data):
    done = shell('pixelwise data check "$DATA"', data, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "stra\\xdfe" in done.stdout


def test_control_characters_of_names_reach_no_terminal(data):
    done = shell('pixelwise data check "$DATA"', data)
    text = done.stdout + done.stderr
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m" in text


def test_names_are_no_markup_in_pictures_pages_and_terminals(data, tmp_path):
    run = tmp_path / "run"
    line = f'pixelwise train "$DATA" --model stacked-fcn --epochs 1 --out "{run}"'
    done = shell(line, data)
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "<i>" not in page.partition("<body")[2].replace('<i style="width', "")
    assert "[red]" in page
    shown = shell(f'pixelwise data show "$DATA" --out "{tmp_path / "show.png"}"', data)
    assert shown.returncode == 0, shown.stderr
