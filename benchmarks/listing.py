"""How fast a folder of many files is listed and paired, by names and by a look at a few pictures.

    python benchmarks/listing.py               a minute, 100,000 files in a temporary folder
    python benchmarks/listing.py --files 20000

Each layout holds small pictures under names that no known layout has: affixes in one folder, two
folders, a folder per subject, and a list. The files are links to a few pictures, so that the disk
has nothing to write; the names are what is measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from measuring import print_table
from pixelwise.data.pairing.opening import find_pairing

Layout = Callable[[int], Iterator[tuple[str, str]]]
NUM_PICTURES = 20


def in_one_folder(count: int) -> Iterator[tuple[str, str]]:
    """Images and masks beside each other."""
    return ((f"data/{n:06}_sat.jpg", f"data/{n:06}_mask.png") for n in range(count))


def in_two_folders(count: int) -> Iterator[tuple[str, str]]:
    """A folder of images and one of masks, with an affix."""
    return ((f"JPEG/tile_{n}.jpg", f"GT/tile_{n}--av.png") for n in range(count))


def by_subject(count: int) -> Iterator[tuple[str, str]]:
    """A folder per subject, 20 pairs in each."""
    return ((f"s{n // 20}/scans/{n}.jpg", f"s{n // 20}/contours_gt/{n}.png") for n in range(count))


LAYOUTS: dict[str, Layout] = {
    "one folder": in_one_folder,
    "two folders": in_two_folders,
    "a folder per subject": by_subject,
}


def main() -> None:
    """Write each layout, pair it, and print the seconds."""
    parser = argparse.ArgumentParser(description="See the module.")
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files // 2
    print_table(["layout", "files", "seconds", "pairs"], _rows(count))


def _rows(count: int) -> Iterator[list[str]]:
    for name, layout in LAYOUTS.items():
        for has_list in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder, "data")
                _write(root, Path(folder, "pictures"), list(layout(count)), has_list=has_list)
                started = time.perf_counter()
                found = find_pairing(root)
                seconds = time.perf_counter() - started
            what = f"{name}, listed in a CSV" if has_list else name
            yield [what, f"{2 * count:,}", f"{seconds:.1f}", f"{len(found.masks):,}"]


def _write(root: Path, pictures: Path, pairs: list[tuple[str, str]], *, has_list: bool) -> None:
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(NUM_PICTURES):
        noise = random.integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.jpg")
        box = np.zeros((64, 64), np.uint8)
        box[number : number + 20, 10:40] = 255
        Image.fromarray(box).save(pictures / f"{number}.png")
    for number, pair in enumerate(pairs):
        for path in pair:
            target = root / path
            if number < NUM_PICTURES or not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
            os.link(pictures / f"{number % NUM_PICTURES}{target.suffix}", target)
    if has_list:
        lines = "".join(f"{image},{mask}\n" for image, mask in pairs)
        (root / "pairs.csv").write_text(f"image,mask\n{lines}", encoding="utf-8")


if __name__ == "__main__":
    main()
