"""Prediction on the processor, side by side: torch, pixelwise's own choice, OpenVINO, ONNX Runtime.

    python benchmarks/engines.py                      U-Net, 256 x 256, some minutes
    python benchmarks/engines.py --side 64 --rounds 3 --out /tmp/engines.json

One network with one set of random weights, one batch in memory, as many threads for each. Only the
way from a normalized batch to logits in main memory is timed. The contestants take turns, another
one first in every round; the median counts. ``pixelwise`` is the engine ``auto`` after its choice.
ONNX Runtime takes part where it can be imported: pip install onnx onnxscript onnxruntime
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from measuring import in_words, machine, print_table, versions_of, write_results
from pixelwise.models import create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.prediction.engine_choice import AutoEngine, engine_by_name
from pixelwise.prediction.engines import OpenVinoEngine, TorchEngine, is_openvino_installed
from pixelwise.prediction.parity import parity

LIBRARIES = ("pixelwise", "torch", "openvino", "onnxruntime", "onnx", "onnxscript")
NUM_CLASSES = 3
MAX_WAIT_S = 300.0
"""So long ``auto`` may take to choose."""

Contestant = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Contest:
    """What is compared.

    Attributes:
        model: The network.
        images: One batch, float32 (N, 3, H, W).
        engines: Who takes part, by name; the first is what the others are held against.
        chosen: What ``pixelwise`` has chosen, in words.
    """

    model: SegmentationModel
    images: Tensor
    engines: dict[str, Contestant]
    chosen: str


def decide(logits: Tensor) -> Any:
    """Class ids (H, W) of logits (K, H, W)."""
    return logits.argmax(0).numpy()


def choose(model: SegmentationModel, images: Tensor) -> tuple[Contestant, str]:
    """The engine ``auto`` once it has chosen for this batch, and what it says."""
    said: list[str] = []
    reference = TorchEngine(model, torch.device("cpu"), "float32")
    engine = engine_by_name("auto", reference, decide, said.append)
    assert isinstance(engine, AutoEngine)
    started = time.perf_counter()
    while not said and time.perf_counter() - started < MAX_WAIT_S:
        engine(images)
    return engine, "; ".join(said) or "engine: torch float32. Nothing else can be tried"


def onnx_engine(model: SegmentationModel, images: Tensor, folder: Path) -> Contestant | None:
    """The model in ONNX Runtime; ``None``, and a line, where that is not installed."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        importlib.import_module("onnxscript")
    except ImportError as error:
        print(f"ONNX Runtime is left out: {error}. pip install onnx onnxscript onnxruntime")
        return None
    path = folder / f"{'x'.join(map(str, images.shape))}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (images,), path, dynamo=True, verbose=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda batch: torch.from_numpy(session.run(None, {name: batch.numpy()})[0])


def prepare(name: str, shape: tuple[int, ...], folder: Path) -> Contest:
    """Set every contestant up for one batch shape."""
    torch.manual_seed(0)
    model = create_model(name, NUM_CLASSES).eval()
    images = torch.randn(shape)
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    auto, chosen = choose(channels_last, images)
    engines: dict[str, Contestant] = {
        "torch, contiguous": model,
        "torch, channels last": TorchEngine(channels_last, torch.device("cpu"), "float32"),
        "pixelwise": auto,
    }
    if is_openvino_installed():
        engines["OpenVINO"] = OpenVinoEngine(model)
    else:
        print("OpenVINO is left out: it is not installed. pip install '.[export]'")
    onnx = onnx_engine(model, images, folder)
    if onnx is not None:
        engines["ONNX Runtime"] = onnx
    return Contest(model, images, engines, chosen)


def measure(contest: Contest, num_rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each batch, by contestant; the first batch of each is not counted."""
    times: dict[str, list[float]] = {name: [] for name in contest.engines}
    names = list(contest.engines)
    for number in range(1 + num_rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            contest.engines[name](contest.images)
            if number:
                times[name].append(1000 * (time.perf_counter() - started))
    return times


def rows_of(contest: Contest, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """The lines of the table of one batch shape."""
    reference = next(iter(contest.engines.values()))(contest.images)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [
        {
            "model": contest.model.name,
            "shape": list(contest.images.shape),
            "contestant": name,
            "ms": median,
            "times_channels_last": medians["torch, channels last"] / median,
            "parity": parity(decide, contest.engines[name](contest.images), reference).share,
            "repeats_ms": times[name],
            **({"chosen": contest.chosen} if name == "pixelwise" else {}),
        }
        for name, median in medians.items()
    ]


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    print_table(
        ("network, batch", "contestant", "ms", "times torch, channels last", "matching pixels"),
        [
            (
                f"{row['model']}, {' x '.join(map(str, row['shape']))}",
                row["contestant"],
                f"{row['ms']:.1f}",
                f"{row['times_channels_last']:.2f}",
                f"{row['parity']:.3%}",
            )
            for row in rows
        ],
    )


@torch.no_grad()
def main() -> None:
    """Measure, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="unet")
    parser.add_argument("--side", type=int, default=256, help="of the images, in pixels")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="[default: benchmarks/results/engines.json]")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for batch_size in options.batches:
            shape = (batch_size, 3, options.side, options.side)
            contest = prepare(options.model, shape, Path(folder))
            print(contest.chosen, flush=True)
            rows += rows_of(contest, measure(contest, options.rounds))
    content = {
        "machine": machine(),
        "precision": "float32, but for what pixelwise has chosen",
        "versions": versions_of(*LIBRARIES),
        "rows": rows,
    }
    print(f"\n{in_words(content['machine'])}; {content['precision']}")
    print(", ".join(f"{name} {number}" for name, number in content["versions"].items()) + "\n")
    print_rows(rows)
    if options.out:
        options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    else:
        write_results("engines", content)


if __name__ == "__main__":
    main()
