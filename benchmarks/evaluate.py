"""Evaluating a model against the plain forward passes of the same images, on this machine.

    python benchmarks/evaluate.py [--images N] [--repeats N]        some minutes; fewer with N

``pixelwise.evaluate`` reads the files, computes, restores the size, and gives every headline metric
with its intervals. The plain forward passes are the network alone on the same batches, read and
prepared before. Both take turns; the median of the turns' ratios counts, by the clock and, on a
processor, by the time that all threads computed, which a busy machine changes less. An untrained
unet-fast on the images of CamVid's validation and on the nuclei, none of them cut into tiles.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from measuring import DATA, in_words, machine, make_model, print_table, write_results
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.prediction.loading import load_model
from pixelwise.prediction.predictor import MAX_BATCH_PIXELS, Predictor
from pixelwise.transforms.preprocessing import normalize

MODEL, LIMIT = "unet-fast", 1.5
DATA_SETS = {"camvid": "val", "nuclei": "all"}


def predictor_for(dataset: Dataset, folder: Path) -> Predictor:
    """An untrained model of the classes of a data set."""
    names = dataset.class_map
    path = make_model(
        folder / "model.safetensors",
        size=(2048, 2048),  # no image is cut into tiles, whose overlap is computed twice
        num_classes=names.num_classes,
        architecture=MODEL,
    )
    model = load_model(path)
    card = model.card.model_copy(update={"class_map": names, "label_mode": dataset.label_mode})
    return Predictor(model.model, card, device=model.device)


def batches_of(predictor: Predictor, dataset: Dataset, split: str) -> list[torch.Tensor]:
    """The prepared images, those of one size together as far as a predictor puts them together."""
    images = [predictor.prepare(dataset.load(record).image) for record in dataset.split(split)]
    batches = []
    for shape, group in groupby(images, key=lambda image: image.shape):
        many = list(group)
        at_once = max(1, MAX_BATCH_PIXELS // (shape[-2] * shape[-1]))
        batches += [
            torch.stack(many[start : start + at_once]) for start in range(0, len(many), at_once)
        ]
    return batches


@torch.no_grad()
def forward(predictor: Predictor, batches: list[torch.Tensor]) -> None:
    """The network on all batches, and nothing else."""
    for batch in batches:
        images = normalize(batch.to(predictor.device), predictor.card.preprocessing)
        predictor.model(images.contiguous(memory_format=torch.channels_last))
    if predictor.device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """How long it takes, by the clock and in time of the processor's cores."""
    started, computed = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - computed


def measure(name: str, split: str, num_images: int | None, repeats: int) -> dict[str, Any]:
    """Both in turns on one data set."""
    dataset = open_dataset(DATA / name)
    if num_images is not None:
        dataset = dataclasses.replace(dataset, records=dataset.split(split)[:num_images])
    with tempfile.TemporaryDirectory() as folder:
        predictor = predictor_for(dataset, Path(folder))
        batches = batches_of(predictor, dataset, split)
        forward(predictor, batches[:1])
        turns = []
        for _ in range(repeats):
            plain = seconds(lambda: forward(predictor, batches))
            whole = seconds(lambda: evaluate(predictor, dataset, split))
            turns.append((*plain, *whole))
    forward_s, forward_cpu_s, evaluate_s, evaluate_cpu_s = map(
        statistics.median, zip(*turns, strict=True)
    )
    ratios = [whole / plain for plain, _, whole, _ in turns]
    return {
        "images": len(dataset.split(split)),
        "forward_s": forward_s,
        "evaluate_s": evaluate_s,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "forward_cpu_s": forward_cpu_s,
        "evaluate_cpu_s": evaluate_cpu_s,
        "cpu_ratio": statistics.median(whole / plain for _, plain, _, whole in turns),
    }


def main() -> None:
    """Print a table and write benchmarks/results/evaluate.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, help="of each data set; all where it is not given")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    here = machine()
    print(in_words(here))
    found = {
        name: measure(name, split, options.images, options.repeats)
        for name, split in DATA_SETS.items()
    }
    print_table(
        (
            "data",
            "images",
            "forward passes, s",
            "evaluate, s",
            "ratio",
            "of processor time",
            f"at most {LIMIT}",
        ),
        [
            (
                name,
                str(row["images"]),
                f"{row['forward_s']:.2f}",
                f"{row['evaluate_s']:.2f}",
                f"{row['ratio']:.2f}",
                f"{row['cpu_ratio']:.2f}",
                "yes" if row["ratio"] <= LIMIT else "no",
            )
            for name, row in found.items()
        ],
    )
    write_results("evaluate", {"machine": here, "model": MODEL, "data": found})


if __name__ == "__main__":
    main()
