"""Every block of docs/extending.md runs as it stands there, in a folder with images."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAX_LINES = 15
"""Lines of the user's own code in one block, without imports, as the page promises."""

SECTIONS = {
    text.splitlines()[0]: BLOCK.findall(text) for text in PAGE.read_text("utf-8").split("\n## ")[1:]
}


def write_images(folder, suffix):
    """Bright discs on a dark ground, with masks as PNG files in a folder or as arrays beside."""
    rng = np.random.default_rng(0)
    images, masks = (folder / "images", folder / "masks") if suffix == ".png" else (folder, folder)
    images.mkdir(parents=True)
    masks.mkdir(exist_ok=True)
    rows, columns = np.mgrid[:48, :48]
    for index in range(12):
        row, column = rng.uniform(14, 34, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < 150
        gray = np.where(disc, 200, 40) + rng.integers(0, 30, disc.shape)
        Image.fromarray(np.repeat(gray[..., None], 3, -1).astype(np.uint8)).save(
            images / f"{index:02d}.png"
        )
        if suffix == ".png":
            Image.fromarray(disc.astype(np.uint8)).save(masks / f"{index:02d}.png")
        else:
            np.save(masks / f"{index:02d}.npy", disc.astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "my-images", ".png")
    write_images(tmp_path / "npy-images", ".npy")
    return tmp_path


def run(command, folder):
    """Run a command in the folder, like a user with pixelwise installed."""
    source = Path(pixelwise.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(source), "PIXELWISE_CACHE": "off"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("section", SECTIONS)
def test_the_blocks_of_a_section_run_as_they_stand(section, folder):
    (folder / "my_format.py").write_text(SECTIONS["A label format"][0][1])  # used in two sections
    assert SECTIONS[section]
    for number, (language, code) in enumerate(SECTIONS[section]):
        named = re.match(r"# (\w+\.py)\n", code)
        if named:
            (folder / named[1]).write_text(code)
        elif language == "python":
            script = folder / f"block_{number}.py"
            script.write_text(code)
            run([sys.executable, script.name], folder)
        else:
            for line in code.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "pixelwise"
                run([sys.executable, "-m", "pixelwise", *arguments], folder)


@pytest.mark.parametrize("section", SECTIONS)
def test_no_block_needs_more_than_fifteen_lines_of_own_code(section):
    for _, code in SECTIONS[section]:
        lines = [line for line in code.splitlines() if line.strip()]
        own = [line for line in lines if not re.match(r"(import|from|#) ?", line.strip())]
        assert len(own) <= MAX_LINES, code
