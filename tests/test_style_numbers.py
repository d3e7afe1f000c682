"""Numbers in messages: one is singular, and large ones have no exponent."""

import re
from pathlib import Path

import pytest

import pixelwise

ROOT = Path(pixelwise.__file__).parent

EXPONENT = re.compile(r":\.[1-5]g\}")
WITH_EXPONENT = {  # learning rates, losses, temperatures and p values may be tiny
    "training/loop.py", "training/diagnostics/watchdog.py", "reporting/comparison_page.py",
    "reporting/charts.py", "training/plan.py", "cli/train.py", "lab/table.py",
}  # fmt: skip
COUNTED = re.compile(r"\{(len\([^{}]*\)|[\w.]*num_images|metrics\.images)(:,)?\} images")


def found(pattern):
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for line in path.read_text("utf-8").splitlines():
            if pattern.search(line):
                yield name, line.strip()


def test_no_message_writes_a_measurement_with_an_exponent():
    assert [entry for entry in found(EXPONENT) if entry[0] not in WITH_EXPONENT] == []


def test_no_message_counts_images_without_the_helper():
    assert list(found(COUNTED)) == []


@pytest.mark.parametrize("num_images", [1, 2])
def test_one_image_is_singular_on_the_command_line(
    num_images, tmp_path, make_index_dataset, make_model_file, run_cli
):
    data = make_index_dataset(tmp_path / "data", num_images=num_images)
    model = make_model_file(tmp_path / "model.safetensors")
    for given in (
        ("evaluate", model, data, "--split", "all", "--report", tmp_path / "page.html"),
        ("review", model, data, "--split", "all", "--out", tmp_path / "review"),
        ("data", "check", data),
        ("data", "convert", data, tmp_path / "coco", "--to", "coco"),
        ("predict", model, data / "images", "--out", tmp_path / "out"),
    ):
        code, out, err = run_cli(*given)
        assert code in (0, 1)
        text = f"{out} {err} {(tmp_path / 'page.html').read_text('utf-8')}"
        assert not re.search(r"(?<![\d.,/])1 (images|files|masks|regions|epochs|pixels)\b", text)
