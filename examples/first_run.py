"""The main job on built-in data, start to end: what ``make run`` shows.

Digits are made, the encoder-decoder of article A1 is trained on them for a minute, its metrics are
printed beside the article's, and pictures are written. The same three verbs work on any folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ARTICLE = {"loss": 0.0225, "binary_accuracy": 0.9605, "recall": 0.7063, "precision": 0.9638}
"""A1's encoder-decoder after 20 epochs on MNIST, on its 200 validation pictures."""

RUNS = Path("runs")
MINUTES = "1"


def main() -> None:
    """Make digits, train, evaluate, compare."""
    data, run = _new(RUNS / "digits-data"), _new(RUNS / "first-run")
    mnist = Path(os.environ.get("PIXELWISE_TEST_DATA", "../shared/data")) / "mnist"
    source = ["--source", str(mnist)] if mnist.is_dir() else []
    _pixelwise("data", "digits", data, *source)
    _pixelwise("train", data, "--model", "encoder-decoder", "--minutes", MINUTES, "--out", run)
    _compare(run, on_mnist=bool(source))
    _pixelwise(
        "predict", run, data / "val" / "images", "--out", run / "predictions", "--save", "overlay"
    )
    print(f"\nlook at: {run}/pictures, {run}/curves.png, {run}/predictions")


def _compare(run: Path, *, on_mnist: bool) -> None:
    """Print our figures beside the article's."""
    ours = json.loads((run / "metrics.json").read_text())["keras"]
    print("\nvalidation, as article A1 counts   article (20 epochs)   here (1 minute)")
    for name, theirs in ARTICLE.items():
        print(f"  {name.replace('_', ' '):32} {theirs:>19.4f} {ours[name]:>17.4f}")
    if not on_mnist:
        print("  (the article drew its digits from MNIST; here they are scikit-learn's)")


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
