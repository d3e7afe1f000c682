"""How long it takes to be as good: training time to a stated quality, pixelwise beside a peer.

    python benchmarks/time_to_quality.py digits            twenty minutes on 2 cores, left alone
    python benchmarks/time_to_quality.py camvid            three quarters of an hour
    python benchmarks/time_to_quality.py digits --seeds 1 --only pixelwise,peer

digits: article A1's figures for its encoder-decoder (1,000 images to train on, 200 to validate
with): loss at most 0.0225, recall at least 0.70, precision at least 0.9638, all three at the end of
one epoch. The peer is the article's own recipe, in Keras on TensorFlow.

camvid: a mean IoU of 0.50 and of 0.60 on the validation split, from scratch, with all defaults in
the time given. No peer: SMP's Unet-resnet34 in a plain loop takes hours on two cores; throughput.py
has its images per second.

The clock starts before the first step and stops at the end of the epoch, validation included; what
comes before (importing, decoding) is left out for all. Every training run is a process of its own,
and contestants take turns. The spread is over seeds; no mean is given if a run never reaches the
target. Settings other than the defaults are in the JSON file and below, in RACES.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from measuring import DATA, HERE, in_words, machine, print_table, versions_of, write_results
from pixelwise.data.digits import write_digits
from throughput import keras_python

Row = dict[str, float]
"""An epoch: ``seconds`` since the start, and the figures of the validation split."""


@dataclass(frozen=True)
class Contestant:
    """One way to train.

    Attributes:
        name: In the table.
        model: The registered name; ``None`` leaves it open.
        epochs: Of its schedule; ``None`` leaves the length open too.
        settings: ``section.key=value`` of pixelwise's recipe; none for what is there by default.
    """

    name: str
    model: str | None = None
    epochs: int | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Race:
    """A data set, what is good enough on it, and who runs.

    Attributes:
        targets: Names of figures, and what each must reach; at most for ``loss``, else at least.
        contestants: Those of pixelwise.
        peer: What it is called, where there is one; a script of its own trains it.
    """

    targets: tuple[dict[str, float], ...]
    contestants: tuple[Contestant, ...]
    peer: str | None = None


CLASS_WEIGHTS = "training.class_weights=[1.3,1.3,1.3]"
"""Ink is a tenth of the pixels. So counted, recall stays below 0.71 however well it is learned.
The loss that is compared is without weights for all."""

SOFT_MASKS = "training.metrics=[keras]"
"""Brings the columns of recall and precision into the history."""

RACES = {
    "digits": Race(
        ({"loss": 0.0225, "recall": 0.70, "precision": 0.9638},),
        (
            Contestant(
                "the article's network (tuned)",
                "encoder-decoder",
                2,
                ("training.batch_size=4", "training.learning_rate=7e-3", CLASS_WEIGHTS, SOFT_MASKS),
            ),
            Contestant(
                "unet-fast (tuned)",
                "unet-fast",
                2,
                ("model.arguments={filters: 12, depth: 3}", "training.batch_size=4",
                 "training.learning_rate=1e-2", CLASS_WEIGHTS, SOFT_MASKS),
            ),
        ),
        "keras (the article's recipe)",
    ),
    "camvid": Race(
        ({"mean_iou": 0.50}, {"mean_iou": 0.60}),
        (Contestant("all defaults"),),
    ),
}  # fmt: skip

PEER_EPOCHS = 20
"""What the article trains for."""


def reached(rows: list[Row], targets: dict[str, float]) -> float | None:
    """Seconds until the end of the first epoch that meets all targets; ``None`` where none does."""
    for row in rows:
        if all(
            row[name] <= value if name == "loss" else row[name] >= value
            for name, value in targets.items()
        ):
            return row["seconds"]
    return None


def train_pixelwise(contestant: Contestant, data: Path, seed: int, out: Path) -> list[Row]:
    """Train in a process of its own, through the command line."""
    words = ["train", str(data), "--out", str(out)]
    if contestant.model:
        words += ["--model", contestant.model]
    if contestant.epochs:
        words += ["--epochs", str(contestant.epochs)]
    for setting in (*contestant.settings, f"training.seed={seed}"):
        words += ["--set", setting]
    done = subprocess.run(
        [sys.executable, "-m", "pixelwise", *words], capture_output=True, check=False, text=True
    )
    if done.returncode:
        sys.exit(f"{contestant.name} must be trained. It is not:\n{done.stderr}")
    figures = {
        "elapsed_s": "seconds",
        "val_loss": "loss",
        "val_mean_iou": "mean_iou",
        "keras_recall": "recall",
        "keras_precision": "precision",
    }
    with (out / "history.csv").open(encoding="utf-8") as lines:
        return [
            {name: float(row[key]) for key, name in figures.items() if key in row}
            for row in csv.DictReader(lines)
        ]


def train_peer(data: Path, seed: int, python: Path) -> tuple[list[Row], dict[str, str]]:
    """Train the peer in a process of its own."""
    task = {"data": str(data), "model": "encoder-decoder", "epochs": PEER_EPOCHS, "seed": seed}
    done = subprocess.run(
        [str(python), str(HERE / "time_to_quality_keras.py"), json.dumps(task)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        sys.exit(f"the peer must be trained. It is not:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["epochs"], found["versions"]


def summary(name: str, runs: list[list[Row]], targets: dict[str, float]) -> dict[str, Any]:
    """One line of the table: mean time to the target, and where the runs ended."""
    times = [reached(rows, targets) for rows in runs]
    there = [seconds for seconds in times if seconds is not None]
    return {
        "contestant": name,
        "target": targets,
        "num_runs": len(runs),
        "num_reached": len(there),
        "seconds_to_target": statistics.fmean(there) if len(there) == len(times) else None,
        "seconds_of_run": statistics.fmean(rows[-1]["seconds"] for rows in runs),
        "last": {key: statistics.fmean(rows[-1][key] for rows in runs) for key in targets},
        "runs": runs,
    }


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    lines = []
    for row in rows:
        to_it = row["seconds_to_target"]
        target, last = (
            ", ".join(f"{name} {value:.4g}" for name, value in row[key].items())
            for key in ("target", "last")
        )
        lines.append(
            (
                row["contestant"],
                target,
                f"{row['num_reached']} of {row['num_runs']}",
                "-" if to_it is None else f"{to_it:.1f}",
                f"{row['seconds_of_run']:.1f}",
                last,
            )
        )
    headings = ("contestant", "to reach", "runs that do", "seconds to it", "of the run")
    print_table((*headings, "at its end"), lines)


def main() -> None:
    """Run the race, print the table and write benchmarks/results/time_to_quality_*.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("race", choices=RACES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="some contestants, with commas between them")
    parser.add_argument("--minutes", type=float, default=45, help="of each run on camvid")
    options = parser.parse_args()
    race = RACES[options.race]
    names = [one.name for one in race.contestants] + ([race.peer] if race.peer else [])
    chosen = [name for name in names if not options.only or name in options.only.split(",")]
    python = keras_python() if race.peer in chosen else None
    runs: dict[str, list[list[Row]]] = {name: [] for name in chosen}
    versions = versions_of("pixelwise", "torch")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = DATA / options.race
        if options.race == "digits":
            data = folder / "digits"
            if not (DATA / "mnist").is_dir():
                sys.exit(
                    f"the article's figures are of MNIST's digits. {DATA / 'mnist'} does not "
                    "exist. Set PIXELWISE_TEST_DATA"
                )
            write_digits(data, source=DATA / "mnist")
        for seed in range(options.seeds):
            for number, name in enumerate(chosen):
                if name == race.peer:
                    if python is None:
                        continue
                    rows, found = train_peer(data, seed, python)
                    versions.update(found)
                else:
                    contestant = next(one for one in race.contestants if one.name == name)
                    if contestant.epochs is None:
                        length = f"training.minutes={options.minutes}"
                        settings = (*contestant.settings, length)
                        contestant = replace(contestant, settings=settings)
                    rows = train_pixelwise(contestant, data, seed, folder / f"{number}-{seed}")
                runs[name].append(rows)
                print(f"{name}, seed {seed}: {rows[-1]}", flush=True)
    found_rows = [
        summary(name, done, targets)
        for targets in race.targets
        for name, done in runs.items()
        if done
    ]
    here = machine()
    print(f"\n{in_words(here)}")
    print(", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + "\n")
    print_rows(found_rows)
    if not options.only:
        contestants = [asdict(one) for one in race.contestants]
        content = {"machine": here, "versions": versions, "contestants": contestants}
        length = "" if options.race == "digits" else f"_{options.minutes:g}_min"
        write_results(f"time_to_quality_{options.race}{length}", {**content, "rows": found_rows})


if __name__ == "__main__":
    main()
