"""What one image more costs: time per image and peak memory, from 100 images to 100,000.

    python benchmarks/growth.py                            20 minutes on 2 cores
    python benchmarks/growth.py --sizes 100,1000           two minutes

Small images of 48 x 48 with masks are made by code: 10,000 different ones, of which further ones
are hard links, so that 100,000 take no more of the disk. Every measurement is a process of its own.
Before the clock runs, it does the same work on a few images: imports and what happens once do not
count, neither in time nor in memory. Where other work runs on the machine, the seconds of the
processor tell more than those of the clock.

Cost that does not grow with the folder is a flat line; memory may grow by what has to be known of
each image, but not by its pixels, unless those are kept on purpose.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from measuring import (
    HERE,
    forget_peak,
    in_a_process,
    machine,
    make_model,
    peak_bytes,
    print_table,
    versions_of,
    write_results,
)

SIZES = (100, 1_000, 10_000, 100_000)
SIDE_PX, NUM_CLASSES = 48, 3
NUM_DIFFERENT, NUM_MASKS = 10_000, 64
"""Images and masks that are made; further ones are links to them."""

NUM_WARM_UP = 16
FEW = 10_000
"""The longest that is done of what writes a file for each image, or looks at each for a while."""

RECIPE = {
    "training": {"size": (SIDE_PX, SIDE_PX), "batch_size": 32},
    "augmentation": {
        "orientation": "mirrored",
        "scale": (0.75, 1.33),
        "brightness": 0.2,
        "contrast": 0.2,
    },
}
"""What pixelwise chooses for photographs."""

PICTURE = HERE.parent / "docs" / "images" / "growth.png"

Work = Callable[[Path], object]


def make_folder(folder: Path, num_images: int) -> Path:
    """A folder of images and of masks of ``NUM_CLASSES`` classes."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    rng = np.random.default_rng(0)
    size = (SIDE_PX, SIDE_PX)
    for number in range(num_images):
        name = f"{number:06d}.png"
        if number < NUM_DIFFERENT:
            coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
            picture = Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)
            picture.save(images / name, compress_level=1)
        else:
            (images / name).hardlink_to(images / f"{number % NUM_DIFFERENT:06d}.png")
        if number < NUM_MASKS:
            blocks = rng.integers(0, NUM_CLASSES, (6, 6), np.uint8)
            picture = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
            picture.save(masks / name)
        else:
            (masks / name).hardlink_to(masks / f"{number % NUM_MASKS:06d}.png")
    return folder


def opening(scratch: Path) -> Work:  # noqa: ARG001
    """``open_dataset``: the format, the pairs, the classes, the splits."""
    from pixelwise.data.dataset import open_dataset

    return open_dataset


def reading(scratch: Path) -> Work:  # noqa: ARG001
    """A training run without computing: decode all, measure, check, one epoch of batches."""
    from pixelwise.config import Recipe
    from pixelwise.data.dataset import open_dataset
    from pixelwise.doctor.quick_check import QuickCheck
    from pixelwise.training.inputs import (
        batches_of,
        check_validation,
        measure_training,
        read_split,
    )
    from pixelwise.transforms.enhancement import Enhancement

    def read(folder: Path) -> None:
        dataset = open_dataset(folder)
        look = QuickCheck(dataset.class_map)
        training, validation = (
            read_split(dataset, split, Enhancement(), lambda _: None, look)
            for split in ("train", "val")
        )
        recipe = Recipe.model_validate(RECIPE)
        statistics = measure_training(training, dataset.class_map, recipe)
        check_validation(validation, statistics)
        batches = batches_of(training, statistics, recipe, dataset.label_mode)
        assert sum(len(batch.image) for batch in batches.epoch(0)) == len(training)

    return read


def reading_unkept(scratch: Path) -> Work:
    """The same where no image fits into the memory for decoded ones: each is decoded four times."""
    from pixelwise.data.cache import memory_cache

    memory_cache.MEMORY_SHARE = 0.0
    return reading(scratch)


def evaluating(scratch: Path) -> Work:
    """``evaluate``: open, decode, predict with two filters, count."""
    from pixelwise import evaluate, load_model

    predictor = load_model(scratch / "model.safetensors", device="cpu")
    return lambda folder: evaluate(predictor, folder, "all")


def predicting(scratch: Path) -> Work:
    """``predict``: find, decode, predict with two filters, write a PNG for each image."""
    from pixelwise import load_model
    from pixelwise.prediction.predict import predict

    predictor = load_model(scratch / "model.safetensors", device="cpu")

    def work(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=scratch) as out:
            # One engine throughout: auto would begin to choose in the largest folder alone.
            done = predict(predictor, [folder / "images"], out, engine="torch")
            assert not done.failed, done.failed[0]

    return work


def examining(scratch: Path) -> Work:  # noqa: ARG001
    """``check_data``: the doctor reads all and compares every image with every other."""
    from pixelwise.doctor import check_data

    return check_data


STEPS: dict[str, tuple[Callable[[Path], Work], int | None]] = {
    "open": (opening, None),
    "read for an epoch": (reading, None),
    "the same, none kept": (reading_unkept, FEW),
    "evaluate": (evaluating, None),
    "predict": (predicting, FEW),
    "data check": (examining, FEW),
}
"""Each with the largest number of images that it is done on; ``None`` for any."""


def measure(step: str, scratch: Path, folder: Path) -> None:
    """Do one step in this process and print what it took, as JSON."""
    work = STEPS[step][0](scratch)
    work(scratch / "few")
    before_bytes, before_s = forget_peak(), time.process_time()
    started = time.perf_counter()
    work(folder)
    result = {
        "seconds": time.perf_counter() - started,
        "processor_s": time.process_time() - before_s,
        "peak_bytes": peak_bytes() - before_bytes,
    }
    print(json.dumps(result))


def measure_all(sizes: list[int], steps: list[str], repeats: int) -> list[dict[str, Any]]:
    """A row for each step and size; of the repeats the fastest, other work only slows them."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        make_model(
            scratch / "model.safetensors",
            size=(SIDE_PX, SIDE_PX),
            num_classes=NUM_CLASSES,
            filters=2,
        )
        make_folder(scratch / "few", NUM_WARM_UP)
        for size in sizes:
            folder = make_folder(scratch / str(size), size)
            for step in steps:
                most = STEPS[step][1]
                if most is not None and size > most:
                    continue
                # What is slow to decode is kept on disk, and by chance where the machine is busy.
                words = [__file__, "--measure", step, str(scratch), str(folder)]
                found = [in_a_process(words, {"PIXELWISE_CACHE": "off"}) for _ in range(repeats)]
                best = min(found, key=lambda row: row["seconds"])
                rows.append({"step": step, "images": size, **best})
                print(f"{step}, {size:,}: {best['seconds']:.2f} s", file=sys.stderr, flush=True)
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a line for each step and size."""
    headings = ("step", "images", "us an image", "processor us", "peak MB", "bytes an image")
    print_table(
        headings,
        [
            (
                row["step"],
                f"{row['images']:,}",
                f"{1e6 * row['seconds'] / row['images']:.0f}",
                f"{1e6 * row['processor_s'] / row['images']:.0f}",
                f"{row['peak_bytes'] / 1e6:.1f}",
                f"{row['peak_bytes'] / row['images']:.0f}",
            )
            for row in rows
        ],
    )


def draw(rows: list[dict[str, Any]], target: Path) -> None:
    """Draw time per image and peak memory over the number of images."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, (times, peaks) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for step in dict.fromkeys(row["step"] for row in rows):
        own = [row for row in rows if row["step"] == step]
        sizes = [row["images"] for row in own]
        times.plot(
            sizes, [1e3 * row["processor_s"] / row["images"] for row in own], "o-", label=step
        )
        peaks.plot(sizes, [max(row["peak_bytes"] / 1e6, 0.1) for row in own], "o-", label=step)
    for axes, label in (
        (times, "processor ms an image"),
        (peaks, "peak memory above the imports, MB"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="images in the folder", ylabel=label)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    times.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    times.set_title("Time: flat is best")
    peaks.set_title("Memory")
    figure.legend(*times.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(target, dpi=90, facecolor="white")


def main() -> None:
    """Measure, print the table, write benchmarks/results/growth.json and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=_sizes, default=list(SIZES), help="such as 100,1000")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--measure", nargs=3, metavar=("STEP", "SCRATCH", "FOLDER"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    if options.measure:
        step, scratch, folder = options.measure
        measure(step, Path(scratch), Path(folder))
        return
    rows = measure_all(options.sizes, options.steps, options.repeats)
    print_rows(rows)
    content = {**machine(), "versions": versions_of("pixelwise", "torch", "pillow"), "rows": rows}
    write_results("growth", content)
    draw(rows, options.picture)


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
