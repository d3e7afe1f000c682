"""The short part of kills and failing system calls, and that what is half written is seen."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

if sys.platform != "linux" or not (shutil.which("cc") or shutil.which("gcc")):
    pytest.skip("the harness needs Linux and a C compiler", allow_module_level=True)

import judging

SCRIPT = Path(judging.__file__).with_name("run_faults.py")


@pytest.mark.parametrize("what", [("kills", "--moments", "3"), ("calls", "--each", "2")])
def test_a_split_is_written_completely_or_not_at_all(tmp_path, what):
    done = subprocess.run(
        [sys.executable, SCRIPT, *what, "--verb", "split", "--folder", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "lost: 0" in done.stdout
    assert int(done.stdout.partition("tried")[2].split()[0]) >= 3


def test_files_that_are_half_written_are_seen(tmp_path):
    Image.new("RGB", (32, 32), (9, 8, 7)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps({"a": list(range(9))}))
    (tmp_path / "a.html").write_text("<html><body></body></html>\n")
    (tmp_path / "a.csv").write_text("name\n")
    for path in sorted(tmp_path.iterdir()):
        assert judging.unreadable(path) is None, path
        whole = path.read_bytes()
        path.write_bytes(b"" if path.suffix == ".csv" else whole[: len(whole) // 2])
        assert judging.unreadable(path), path
