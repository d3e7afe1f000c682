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
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

PYTHON, TORCH = "python -c pass", 'python -c "import torch"'
HELP, PREDICT = "pixelwise --help", "pixelwise predict (64 x 64, unet-elu)"
PEER = "segmentation_models_pytorch"

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
    python = sys.executable
    # As the installed script does it; -m would look for the package first.
    pixelwise = [python, "-c", "from pixelwise.cli import main; main()"]
    model, image = make_model(folder / "model.safetensors"), make_image(folder / "image.png")
    found = {
        PYTHON: [python, "-c", "pass"],
        TORCH: [python, "-c", "import torch"],
        'python -c "import pixelwise"': [python, "-c", "import pixelwise"],
        HELP: [*pixelwise, "--help"],
        "pixelwise predict --help": [*pixelwise, "predict", "--help"],
        PREDICT: [*pixelwise, "predict", str(model), str(image), "--out", str(folder / "out")],
    }
    if find_spec(PEER):
        found[f'python -c "import {PEER}"'] = [python, "-c", f"import {PEER}"]
    else:
        print(f"{PEER} is not installed: pip install {PEER.replace('_', '-')}")
    return found


def make_model(path: Path) -> Path:
    """A small model with random weights."""
    from pixelwise.classes import ClassMap
    from pixelwise.data.preprocessing import Preprocessing
    from pixelwise.modelfile import ModelCard, TrainingData, current_versions, save_model_file
    from pixelwise.models import create_model

    names = ("background", "thing")
    card = ModelCard(
        architecture="unet-elu",
        in_channels=3,
        class_map=ClassMap.build(names),
        label_mode="exclusive",
        preprocessing=Preprocessing(dtype="uint8", mean=(127,) * 3, std=(60,) * 3),
        training_size=(64, 64),
        scores=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions=current_versions(),
    )
    save_model_file(path, create_model("unet-elu", len(names), 3), card)
    return path


def make_image(path: Path) -> Path:
    """A picture of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def measure(todo: dict[str, list[str]], repeats: int, bytecode: Path) -> dict[str, Taken]:
    """Medians of each command."""
    # An installed package has its bytecode; a checkout has none where a variable forbids it.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    taken: dict[str, list[Taken]] = {name: [] for name in todo}
    for turn in range(repeats + 1):
        for name, command in todo.items():
            started, processor_s = time.perf_counter(), _processor_s()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            if turn:
                clock_s = time.perf_counter() - started
                taken[name].append(Taken(clock_s, _processor_s() - processor_s))
    return {name: Taken(*map(statistics.median, zip(*all_of, strict=True)))
            for name, all_of in taken.items()}  # fmt: skip


def _processor_s() -> float:
    """Seconds that the processes started here have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def versions() -> dict[str, str]:
    """Of what was measured."""
    found = {"python": platform.python_version()}
    for name in ("pixelwise", "torch", "typer", PEER):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Print a table and write benchmarks/results/start.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        medians = measure(commands(Path(folder)), repeats, Path(folder) / "bytecode")
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, " + ", ".join(
        f"{name} {number}" for name, number in versions().items()
    ))  # fmt: skip
    print(f"\n| command | ms, median of {repeats} | of bare Python | of torch | processor ms |")
    print("|---|---|---|---|---|")
    for name, taken in medians.items():
        of_python, of_torch = (taken.clock_s / medians[base].clock_s for base in (PYTHON, TORCH))
        clock_ms, processor_ms = (1000 * seconds for seconds in taken)
        print(
            f"| {name} | {clock_ms:.0f} | {of_python:.1f} | {of_torch:.2f} | {processor_ms:.0f} |"
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
        "versions": versions(),
        "medians": {name: taken._asdict() for name, taken in medians.items()},
    }
    target = Path(__file__).parent / "results" / "start.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
