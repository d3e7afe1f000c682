"""The tables of losses and optimizers in docs/results.md: alternatives to a default.

    python benchmarks/alternatives.py losses              on nuclei and CamVid, about 40 minutes
    python benchmarks/alternatives.py optimizers nuclei   on one data set

Epochs and working scale are fixed, so that a busy machine trains none less than the others. On two
cores with AMX, ``--minutes 2`` trained 15 epochs of nuclei and 5 of CamVid at these scales. All
else keeps its default. The default itself is trained with two more seeds, which shows how much of a
difference chance alone makes. Trainings that are finished in the folder ``--out`` are only
evaluated. Needs the data sets of PIXELWISE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import DATA, in_words, machine, print_table, results_file, write_results

LOSSES = ("ce", "bce", "dice", "focal", "tversky", "lovasz", "ce + dice")
LEARNING_RATES = (0.005, 0.02, 0.05, 0.2)
"""Learning rates of SGD, among them its default: ten times the 0.005 of Adam and ``unet-fast``."""

TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "losses": {loss: ("--loss", loss) for loss in LOSSES},
    "optimizers": {
        "adam": (),
        "adamw": ("--set", "training.optimizer=adamw"),
        **{
            f"sgd, learning rate {value:g}": (
                "--set", "training.optimizer=sgd", "--set", f"training.learning_rate={value:g}"
            )
            for value in LEARNING_RATES
        },
    },
}  # fmt: skip
"""By table and row, the arguments of ``pixelwise train``; the first row is the default."""

DATA_SETS: dict[str, tuple[tuple[str, ...], str]] = {
    "nuclei": (("--split", "70/30", "--epochs", "15", "--set", "data.scale=0.75"), "test"),
    "camvid": (("--epochs", "8", "--set", "data.scale=0.5"), "val"),
}
"""Arguments of ``pixelwise train``, and the split that is evaluated."""

MORE_SEEDS = (1, 2)
"""Seeds with which the default is trained beside 0."""

HEADINGS = ("data", "alternative", "seed", "mean IoU", "boundary IoU", "calibration error")


def main() -> None:
    """Train and evaluate every alternative, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("data", nargs="*", help="of " + ", ".join(DATA_SETS))
    parser.add_argument("--only", action="append", help="an alternative; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("runs/alternatives"))
    options = parser.parse_args()
    table = TABLES[options.table]
    default = next(iter(table))
    trials = [(name, 0) for name in table] + [(default, seed) for seed in MORE_SEEDS]
    for data in options.data or DATA_SETS:
        for number, (name, seed) in enumerate(trials):
            if options.only and name not in options.only:
                continue
            run = options.out / f"{options.table}-{data}-{number}"
            row = {"data": data, "alternative": name, "seed": seed}
            words = (*table[name], "--seed", str(seed))
            _keep(options.table, row | _measure(data, words, run))
    print("\n" + in_words(machine()))
    print_table(HEADINGS, _cells(_kept(options.table)))


def _kept(table: str) -> list[dict[str, Any]]:
    """Return the rows of a table that were measured so far."""
    file = results_file(table)
    return json.loads(file.read_text("utf-8")) if file.is_file() else []


def _keep(table: str, row: dict[str, Any]) -> None:
    """Write a row into its table, in place of an earlier one of the same training."""
    key = ("data", "alternative", "seed")
    others = [one for one in _kept(table) if any(one[name] != row[name] for name in key)]
    write_results(table, [*others, row])


def _measure(data: str, words: tuple[str, ...], run: Path) -> dict[str, Any]:
    """Train with some arguments, unless that was done before, and evaluate."""
    arguments, split = DATA_SETS[data]
    folder = str(DATA / data)
    if not (run / "metrics.json").is_file():
        _pixelwise("train", folder, *arguments, *words, "--out", str(run))
    report = str(run.with_suffix(".html"))  # asked for the sake of borders and calibration
    metrics = _pixelwise("evaluate", str(run), folder, "--split", split, "--report", report)
    return {
        "split": split,
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
            row["alternative"],
            str(row["seed"]),
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
