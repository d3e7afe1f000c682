"""The table of losses in docs/results.md: each loss trained equally long on real data.

    python benchmarks/losses.py                   every loss on nuclei and CamVid, about 40 minutes
    python benchmarks/losses.py nuclei --losses ce dice

Epochs and working scale are those that ``--minutes 2`` chooses for the default loss on two cores
with AMX; they are fixed here, so that a busy machine trains no loss less than the others.
Everything else but the loss keeps its default. The default loss is trained with two more seeds,
which shows how much of a difference chance alone makes. Needs the data sets of
PIXELWISE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import DATA, in_words, machine, print_table, write_results

LOSSES = ("ce", "bce", "dice", "focal", "tversky", "lovasz", "ce + dice")
DEFAULT = LOSSES[0]

DATA_SETS: dict[str, tuple[tuple[str, ...], str]] = {
    "nuclei": (("--split", "70/30", "--epochs", "15", "--set", "data.scale=0.75"), "test"),
    "camvid": (("--epochs", "12", "--set", "data.scale=0.5"), "val"),
}
"""Arguments of ``pixelwise train``, and the split that is evaluated."""

MORE_SEEDS = (1, 2)
"""Seeds with which the default loss is trained beside 0."""

HEADINGS = ("data", "loss", "seed", "epochs", "mean IoU", "boundary IoU", "calibration error")


def main() -> None:
    """Train with every loss, evaluate, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", help="of " + ", ".join(DATA_SETS))
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="LOSS")
    options = parser.parse_args()
    trials = [(loss, 0) for loss in options.losses] + [(DEFAULT, seed) for seed in MORE_SEEDS]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for data in options.data or DATA_SETS:
            for number, (loss, seed) in enumerate(trials):
                run = Path(folder) / f"{data}-{number}"
                rows.append(_measure(data, loss, seed, run))
    print("\n" + in_words(machine()))
    print_table(HEADINGS, _cells(rows))
    write_results("losses", rows)


def _measure(data: str, loss: str, seed: int, run: Path) -> dict[str, Any]:
    """Train with one loss and evaluate."""
    arguments, split = DATA_SETS[data]
    folder = str(DATA / data)
    trained = _pixelwise(
        "train", folder, *arguments, "--loss", loss, "--seed", str(seed), "--out", str(run)
    )
    report = str(run.with_suffix(".html"))  # asked for the sake of borders and calibration
    metrics = _pixelwise("evaluate", str(run), folder, "--split", split, "--report", report)
    return {
        "data": data,
        "split": split,
        "loss": loss,
        "seed": seed,
        "epochs": trained["epochs"],
        "mean_iou": metrics["mean_iou"],
        "interval": metrics["intervals"]["mean_iou"],
        "boundary_iou": metrics["detail"]["boundary_iou"],
        "calibration_error": metrics["detail"]["calibration_error"],
    }


def _cells(rows: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        low, high = row["interval"]["low"], row["interval"]["high"]
        yield (
            f"{row['data']}, {row['split']}",
            row["loss"],
            str(row["seed"]),
            str(row["epochs"]),
            f"{row['mean_iou']:.3f} ({low:.3f} to {high:.3f})",
            f"{row['boundary_iou']:.3f}",
            f"{row['calibration_error']:.4f}",
        )


def _pixelwise(*words: str) -> dict[str, Any]:
    """Run a command, its progress shown; the JSON document that it prints."""
    print("\n$ pixelwise " + shlex.join(words), flush=True)
    command = [sys.executable, "-m", "pixelwise", *words, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


if __name__ == "__main__":
    main()
