"""Where a training step spends its time, and how near that is to what the processor can do at best.

    python benchmarks/where_time_goes.py                       two minutes on 2 cores, left alone
    python benchmarks/where_time_goes.py unet-elu --side 128

The floor is arithmetic alone: three times the multiplications of a prediction (forward, and
backward to the features and to the weights) at the speed of the best matrix product measured here.
The shares are of the operations' own processor time, as torch's profiler counts them. Data, crops
and augmentation are left out: throughput.py has them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from measuring import in_words, machine, print_table, write_results
from pixelwise.devices import MEMORY_FORMATS, keep_freed_memory, processor_for_training
from pixelwise.models import count_gmacs, create_model
from throughput import FLOPS_PER_MAC, PASSES, measure_peak

KINDS = {
    "convolution": ("conv", "mkldnn", "slow_conv"),
    "normalization": ("batch_norm",),
    "activation": ("relu", "elu", "threshold", "leaky", "silu", "dropout", "bernoulli"),
    "sampling": ("pool", "upsample", "pad", "cat", "unpool"),
    "loss": ("softmax", "nll_loss", "cross_entropy", "binary_cross"),
    "optimizer": ("adam", "foreach", "norm", "lerp"),
    "memory": ("copy", "fill", "zero", "clone", "contiguous", "empty", "resize"),
}
"""What the names of torch's operations hold, in the order in which they are asked."""

MODELS = ["stacked-fcn", "encoder-decoder", "unet-elu", "unet", "segnet-basic"]
CLASSES, STEPS = 11, 5


def kind_of(name: str) -> str:
    """The kind of an operation of torch."""
    return next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), "other")


def look_at(model_name: str, side: int, batch_size: int, memory_format: str) -> dict[str, Any]:
    """Seconds of a step, and the shares of the kinds of operations."""
    torch.manual_seed(0)
    layout = MEMORY_FORMATS[memory_format]
    model = create_model(model_name, CLASSES, 3).train().to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    image = torch.rand(batch_size, 3, side, side).contiguous(memory_format=layout)
    mask = torch.randint(0, CLASSES, (batch_size, side, side))

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(image), mask)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step()
    seconds = []
    for _ in range(STEPS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        times[kind_of(event.key.lower())] += event.self_cpu_time_total
    total = sum(times.values())
    return {
        "model": model_name,
        "side": side,
        "batch_size": batch_size,
        "memory_format": memory_format,
        "gmacs": count_gmacs(model, (side, side)),
        "seconds": statistics.median(seconds),
        "shares": {kind: times[kind] / total for kind in (*KINDS, "other")},
    }


def main() -> None:
    """Print the table and write benchmarks/results/where_time_goes.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    models = options.models or MODELS
    keep_freed_memory()
    with processor_for_training():
        peak_gflops = measure_peak()
        rows = [
            look_at(name, options.side, options.batch_size, memory_format)
            for name in models
            for memory_format in MEMORY_FORMATS
        ]
    here = machine()
    print(f"{in_words(here)}; float32, peak {peak_gflops:.0f} GFLOP/s")
    images = f"{options.batch_size} images of {options.side} x {options.side}"
    print(f"torch {torch.__version__}, {images}\n")
    lines = []
    for row in rows:
        floor = PASSES * FLOPS_PER_MAC * row["gmacs"] * options.batch_size / peak_gflops
        lines.append(
            (
                row["model"],
                row["memory_format"],
                f"{1000 * row['seconds']:.0f}",
                f"{1000 * floor:.0f}",
                f"{floor / row['seconds']:.0%}",
                *(f"{share:.0%}" for share in row["shares"].values()),
            )
        )
    headings = ("network", "memory format", "step, ms", "floor, ms", "of the peak")
    print_table((*headings, *KINDS, "other"), lines)
    if not options.models:
        write_results(
            "where_time_goes", {"machine": here, "peak_gflops": peak_gflops, "rows": rows}
        )


if __name__ == "__main__":
    main()
