"""How fast a folder of small masks opens: article A3's loop, our first opening and our second.

    pip install scikit-image               the article's loop needs it, pixelwise does not
    python benchmarks/opening.py           five minutes on 2 cores, with ../shared/data/nuclei
    python benchmarks/opening.py DATA --images 60 180 --repeats 1

The article's loop reads every image and every mask with scikit-image, resizes each to 128 x 128
and merges the masks. Ours hands over every image and merged mask at its full size, decoded by as
many threads as training uses. Each measurement is a process of its own; imports do not count, and
the files are in the system's page cache in all of them. The first opening finds an empty cache
folder, the second the folder that the first has filled. The ways take turns, and the best of the
repeats counts, as other work on the machine can only slow them; where there is such work, the
seconds of the processor, of all threads together, tell more than those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from measuring import DATA, in_a_process, peak_bytes, print_table
from pixelwise.data.cache.cache_folder import FREE_SHARE, MAX_BYTES
from pixelwise.data.cache.memory_cache import MEMORY_SHARE, MemoryCache
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import formats
from pixelwise.data.sample import Sample
from pixelwise.files import LOCATION_VARIABLE

ARTICLE_SIZE = (128, 128)

Work = Callable[[], int]
"""Opens the data and returns how many foreground pixels there are, so that no way cheats."""


def articles_loop(folder: Path) -> Work:
    """The loading loop of article A3, as it is written there."""
    try:
        from skimage.io import imread
        from skimage.transform import resize
    except ImportError:
        sys.exit("the article's loop needs scikit-image: pip install scikit-image")

    def work() -> int:
        homes = _homes(folder)
        images = np.zeros((len(homes), *ARTICLE_SIZE, 3), np.uint8)
        masks = np.zeros((len(homes), *ARTICLE_SIZE, 1), np.bool_)
        for number, home in enumerate(homes):
            image = imread(home / "images" / f"{home.name}.png")[:, :, :3]
            images[number] = resize(image, ARTICLE_SIZE, mode="constant", preserve_range=True)
            merged = np.zeros((*ARTICLE_SIZE, 1), np.bool_)
            for file in (home / "masks").iterdir():
                mask = resize(imread(file), ARTICLE_SIZE, mode="constant", preserve_range=True)
                merged = np.maximum(merged, np.expand_dims(mask, axis=-1))
            masks[number] = merged
        return int(masks.sum())

    return work


def our_opening(folder: Path, budget_bytes: float | None = None) -> Work:
    """What a training run does before anything else: open the folder and take every sample."""

    def work() -> int:
        dataset = open_dataset(folder)
        records = dataset.records
        samples = MemoryCache(
            lambda index: dataset.load(records[index]), len(records), _size, budget_bytes
        )
        return sum(int(np.count_nonzero(sample.mask)) for sample in samples.in_parallel())

    return work


def _size(sample: Sample) -> int:
    return sample.image.nbytes + sample.mask.nbytes


def not_kept(folder: Path) -> Work:
    """Our opening, but nothing stays in memory: as of a folder that does not fit."""
    return our_opening(folder, budget_bytes=0)


WAYS = {"article": articles_loop, "ours": our_opening, "passing": not_kept}


def measure(way: str, folder: Path) -> None:
    """Do one way in this process and print what it took, as JSON."""
    work = WAYS[way](folder)
    formats.names()  # which imports them
    before_bytes, before_s = peak_bytes(), time.process_time()
    started = time.perf_counter()
    foreground = work()
    result = {
        "taken_s": time.perf_counter() - started,
        "processor_s": time.process_time() - before_s,
        "more_bytes": peak_bytes() - before_bytes,
        "foreground": foreground,
    }
    print(json.dumps(result))


def _homes(folder: Path) -> list[Path]:
    """The folders of the images."""
    return sorted(path for path in folder.iterdir() if path.is_dir())


def open_once(way: str, folder: Path, cache: Path) -> dict[str, float]:
    """What one way takes, in a process of its own that keeps decoded samples in ``cache``."""
    words = [__file__, str(folder), "--measure", way]
    return in_a_process(words, {LOCATION_VARIABLE: str(cache)})


def compare(folder: Path, num_images: int, repeats: int) -> None:
    """Print a table of one number of images."""
    results: dict[str, list[dict[str, float]]] = {
        "the article's loop": [],
        "first opening": [],
        "second opening": [],
        "second, not kept in memory": [],
    }
    article, first, second, passing = results.values()
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as empty:
            data, cache = Path(empty) / "data", Path(empty) / "cache"
            data.mkdir()
            for home in _homes(folder)[:num_images]:
                (data / home.name).symlink_to(home.resolve())
            article.append(open_once("article", data, cache))
            first.append(open_once("ours", data, cache))
            second.append(open_once("ours", data, cache))
            passing.append(open_once("passing", data, cache))
            on_disk = sum(file.stat().st_size for file in cache.iterdir())
    if len({result["foreground"] for result in (*first, *second, *passing)}) > 1:
        sys.exit("the openings must give the same masks. They do not")
    slowest_s, most_s = _best(article)

    def cells(name: str) -> tuple[str, ...]:
        taken_s, processor_s = _best(results[name])
        faster, less = slowest_s / taken_s, most_s / processor_s
        return name, f"{taken_s:.2f}", f"{faster:.0f}", f"{processor_s:.2f}", f"{less:.0f}"

    title = f"{num_images} images, best of {repeats}"
    print()
    print_table((title, "s", "times as fast", "processor s", "times less"), map(cells, results))
    peaks = (max(row["more_bytes"] for row in rows) / 1e6 for rows in results.values())
    print(
        "\nmemory above the imports, in the same order: " + ", ".join(f"{p:.0f} MB" for p in peaks)
    )
    print(f"on disk: {on_disk / 1e6:.0f} MB", flush=True)


def _best(rows: list[dict[str, float]]) -> tuple[float, float]:
    """The least seconds on the clock, and the least of the processor."""
    return min(row["taken_s"] for row in rows), min(row["processor_s"] for row in rows)


def main() -> None:
    """Measure every number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=DATA / "nuclei")
    parser.add_argument("--images", type=int, nargs="+", default=[60, 180])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=WAYS, help="one way, in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.folder)
        return
    for num_images in arguments.images:
        compare(arguments.folder, num_images, arguments.repeats)
    print(
        f"\nMemory, whatever the folder's size: samples in {MEMORY_SHARE:.0%} of the free memory, "
        f"and {4 * (os.cpu_count() or 1)} more on their way. Disk: {MAX_BYTES / 1024**3:.0f} GB, "
        f"or {FREE_SHARE:.0%} of what is free where that is less."
    )


if __name__ == "__main__":
    main()
