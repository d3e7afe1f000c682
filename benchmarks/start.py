"""How long a start takes: the help, the import, one prediction, beside bare Python and torch.

    python benchmarks/start.py                    two minutes on 2 cores
    python benchmarks/start.py --repeats 21

The commands take turns, each a process of its own, and the median counts; a first turn, which
fills the system's page cache and Python's bytecode cache, does not. Where other work runs on the
machine, the seconds of the processor tell more than those of the clock. The small model and the
image are made on the spot.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from measuring import make_model, print_table, versions_of, write_results

PYTHON, TORCH = "python -c pass", 'python -c "import torch"'
HELP, PREDICT = "pixelwise --help", "pixelwise predict (64 x 64, unet-elu)"
PEER = "segmentation_models_pytorch"

PIXELWISE = [sys.executable, "-c", "from pixelwise.cli import main; main()"]
"""As the installed script does it; -m would look for the package first."""

HELP_AND_PYTHON = {PYTHON: [sys.executable, "-c", "pass"], HELP: [*PIXELWISE, "--help"]}
"""The help, and what it is held against."""

HELP_AT_MOST = 4.0
"""Times a bare interpreter."""

PREDICT_AT_MOST_S = 0.5
"""Above the import of torch."""


class Taken(NamedTuple):
    """What a start took, in seconds: by the clock, and of the processor."""

    clock_s: float
    processor_s: float


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured; those that need a package are left out where it is not installed."""
    model = make_model(folder / "model.safetensors", size=(64, 64))
    image = make_image(folder / "image.png")
    found = {
        **HELP_AND_PYTHON,
        TORCH: [sys.executable, "-c", "import torch"],
        'python -c "import pixelwise"': [sys.executable, "-c", "import pixelwise"],
        "pixelwise predict --help": [*PIXELWISE, "predict", "--help"],
        PREDICT: [*PIXELWISE, "predict", str(model), str(image), "--out", str(folder / "out")],
    }
    if find_spec(PEER):
        found[f'python -c "import {PEER}"'] = [sys.executable, "-c", f"import {PEER}"]
    else:
        print(f"{PEER} is not installed: pip install {PEER.replace('_', '-')}")
    return found


def make_image(path: Path) -> Path:
    """A picture of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def in_turns(todo: dict[str, list[str]], num_turns: int) -> dict[str, list[Taken]]:
    """What each command takes, turn by turn; a first turn, which fills caches, is left out."""
    taken: dict[str, list[Taken]] = {name: [] for name in todo}
    with tempfile.TemporaryDirectory() as bytecode:
        # An installed package has its bytecode; a checkout has none where a variable forbids it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(num_turns + 1):
            for name, command in todo.items():
                started, processor_s = time.perf_counter(), _processor_s()
                subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
                if turn:
                    clock_s = time.perf_counter() - started
                    taken[name].append(Taken(clock_s, _processor_s() - processor_s))
    return taken


def _processor_s() -> float:
    """Seconds that the processes started here have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a table and write benchmarks/results/start.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        turns = in_turns(commands(Path(folder)), repeats)
    medians = {
        name: Taken(*map(statistics.median, zip(*taken, strict=True)))
        for name, taken in turns.items()
    }
    versions = versions_of("pixelwise", "torch", "typer", PEER)
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, {told}\n")
    headings = ("command", f"ms, median of {repeats}", "of bare Python", "of torch", "processor ms")
    print_table(
        headings,
        [
            (
                name,
                f"{1000 * taken.clock_s:.0f}",
                f"{taken.clock_s / medians[PYTHON].clock_s:.1f}",
                f"{taken.clock_s / medians[TORCH].clock_s:.2f}",
                f"{1000 * taken.processor_s:.0f}",
            )
            for name, taken in medians.items()
        ],
    )
    for what, place in (("clock", 0), ("processor", 1)):
        help_ratio = medians[HELP][place] / medians[PYTHON][place]
        more_s = medians[PREDICT][place] - medians[TORCH][place]
        print(
            f"by the {what}: help {help_ratio:.1f} times bare Python (at most {HELP_AT_MOST:g}), "
            f"prediction import torch + {more_s:.2f} s (at most {PREDICT_AT_MOST_S:g} s)"
        )
    content = {
        "repeats": repeats,
        "versions": versions,
        "medians": {name: taken._asdict() for name, taken in medians.items()},
    }
    write_results("start", content)


if __name__ == "__main__":
    main()
