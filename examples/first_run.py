"""The main job on built-in data, start to end: what ``make run`` shows.

Digits are made, an encoder-decoder is trained on them for a minute and evaluated, and pictures are
written. The same verbs work on any folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUNS = Path("runs")
MINUTES = "1"


def main() -> None:
    """Make digits, train, evaluate, predict."""
    data, run = _new(RUNS / "digits-data"), _new(RUNS / "first-run")
    mnist = Path(os.environ.get("PIXELWISE_TEST_DATA", "../shared/data")) / "mnist"
    source = ["--source", str(mnist)] if mnist.is_dir() else []
    _pixelwise("data", "digits", data, *source)
    _pixelwise("train", data, "--model", "encoder-decoder", "--minutes", MINUTES, "--out", run)
    _pixelwise("evaluate", run, data, "--split", "val")
    _pixelwise(
        "predict", run, data / "val" / "images", "--out", run / "predictions", "--save", "overlay"
    )
    print(f"\nlook at: {run}/pictures, {run}/curves.png, {run}/predictions")
    print("the published figures of this network beside ours: pixelwise lab run a1-encoder-decoder")


def _pixelwise(*arguments: object) -> None:
    """Run the command line as a user would, and show the command."""
    words = [str(argument) for argument in arguments]
    print("\n$ pixelwise " + " ".join(words), flush=True)
    done = subprocess.run([sys.executable, "-m", "pixelwise", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _new(folder: Path) -> Path:
    """The folder, or the first numbered one that does not exist yet."""
    number, candidate = 1, folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


if __name__ == "__main__":
    main()
