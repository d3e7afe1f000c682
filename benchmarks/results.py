"""The table in docs/results.md: the main job on real data, and how long it takes.

    make bench                                    all five rows, about 40 minutes on 2 cores
    python benchmarks/results.py digits-fcn       one row by name

Every row is a chain of commands that anyone can type; they are printed. Seconds are those of
training and validation; the start (reading the images, trying one batch) is left out and the
table says so. Needs the data sets of PIXELWISE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measuring import DATA, print_table


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What to call it on the command line.
        what: The data and the model, for the table.
        data: The data set, or how many of MNIST extended.
        train: Arguments of ``pixelwise train`` beside data and folder.
        split: The split that is evaluated.
        figures: What is shown, and how it is taken from the metrics.
        targets: The figure to reach for each of them.
        evaluate: Arguments of ``pixelwise evaluate`` beside run, data and split.
    """

    name: str
    what: str
    data: str
    train: tuple[str, ...]
    split: str
    figures: dict[str, Callable[[dict[str, Any]], float]]
    targets: dict[str, float]
    evaluate: tuple[str, ...] = ()


def _class_iou(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda metrics: next(row["iou"] for row in metrics["per_class"] if row["name"] == name)


SOFT_MASK_FIGURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "recall (soft masks)": lambda metrics: metrics["extra"]["keras_recall"],
    "precision (soft masks)": lambda metrics: metrics["extra"]["keras_precision"],
}

ROWS = (
    Row(
        "digits-encoder-decoder",
        "digits, 1,000 + 200, encoder-decoder",
        "digits",
        ("--model", "encoder-decoder", "--minutes", "1"),
        "val",
        SOFT_MASK_FIGURES,
        {"recall (soft masks)": 0.7063, "precision (soft masks)": 0.9638},
        ("--metric", "keras"),
    ),
    Row(
        "digits-weighted",
        "the same, each class weighed twice",
        "digits",
        (
            "--model",
            "encoder-decoder",
            "--minutes",
            "1",
            "--set",
            "training.class_weights=[2, 2, 2]",
        ),
        "val",
        SOFT_MASK_FIGURES,
        {"recall (soft masks)": 0.7063, "precision (soft masks)": 0.9638},
        ("--metric", "keras"),
    ),
    Row(
        "digits-fcn",
        "digits, 1,000 + 200, stacked-fcn",
        "digits",
        ("--model", "stacked-fcn", "--minutes", "2"),
        "val",
        SOFT_MASK_FIGURES,
        {"recall (soft masks)": 0.6150, "precision (soft masks)": 0.9231},
        ("--metric", "keras"),
    ),
    Row(
        "nuclei",
        "nuclei, 70/30, all defaults",
        "nuclei",
        ("--split", "70/30"),
        "test",
        {"foreground IoU": _class_iou("foreground")},
        {"foreground IoU": 0.84},
    ),
    Row(
        "camvid",
        "camvid, its train and val, all defaults",
        "camvid",
        (),
        "val",
        {"mean IoU": lambda metrics: metrics["mean_iou"]},
        {"mean IoU": 0.45},
    ),
)


def main() -> None:
    """Run the rows that were asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[[], *(row.name for row in ROWS)])
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows]
    seconds = _seconds_of_digits(options.out)
    print(f"1,200 images of digits made and written: {seconds:.2f} s (median of 5, MNIST source)")
    results = [_measure(row, options.out) for row in chosen]
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    headings = ("data, model", "figure", "to reach", "reached", "seconds of training")
    print_table(headings, _cells(chosen, results))
    path = options.out / "results.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    known.update({row.name: result for row, result in zip(chosen, results, strict=True)})
    path.write_text(json.dumps(known, indent=2) + "\n")
    print(f"written to {path}")


def _cells(rows: list[Row], results: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line of the table for each figure."""
    for row, result in zip(rows, results, strict=True):
        for figure, value in result["figures"].items():
            verdict = "" if value >= row.targets[figure] else " (missed)"
            reached, seconds = f"{value:.4f}{verdict}", f"{result['seconds']:.0f}"
            yield row.what, figure, str(row.targets[figure]), reached, seconds


def _seconds_of_digits(out: Path) -> float:
    """How long making and writing MNIST extended takes, without the start of Python."""
    from pixelwise.data.digits import write_digits

    seconds = []
    out.mkdir(parents=True, exist_ok=True)
    # Nothing is deleted in between: for a minute after files were deleted, ext4 was measured to
    # take 0.6 ms to make a new one instead of 0.03 ms.
    with tempfile.TemporaryDirectory(dir=out) as folder:
        for repeat in range(5):
            started = time.perf_counter()
            write_digits(Path(folder) / f"digits-{repeat}", source=DATA / "mnist")
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _measure(row: Row, out: Path) -> dict[str, Any]:
    """Train and evaluate one row in a fresh folder."""
    run = out / row.name
    number = 1
    while run.exists():
        number += 1
        run = out / f"{row.name}-{number}"
    data = DATA / row.data
    if row.data == "digits":
        data = out / "digits-data"
        if not data.exists():
            _pixelwise("data", "digits", str(data), "--source", str(DATA / "mnist"))
    trained = json.loads(_pixelwise("train", str(data), *row.train, "--out", str(run), "--json"))
    metrics = json.loads(
        _pixelwise("evaluate", str(run), str(data), "--split", row.split, *row.evaluate, "--json")
    )
    figures = {name: take(metrics) for name, take in row.figures.items()}
    return {**asdict(row), "figures": figures, "seconds": trained["seconds"],
            "epochs": trained["epochs"], "best_epoch": trained["best_epoch"]}  # fmt: skip


def _pixelwise(*words: str) -> str:
    """Run a command, its progress shown; its stdout."""
    print("\n$ pixelwise " + shlex.join(words), flush=True)
    command = [sys.executable, "-m", "pixelwise", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
