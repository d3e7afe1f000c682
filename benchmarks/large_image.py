"""An image larger than memory through ``pixelwise predict``: memory, speed, seams, a kill.

    python benchmarks/large_image.py                 20,000 x 20,000, eight minutes on 2 cores
    python benchmarks/large_image.py --side 4096     a quick look

A tiled GeoTIFF is made, and a small U-Net with random weights (what it says is of no matter here).
Every prediction runs in a process of its own. Memory is the peak of such a process less the peak of
one that predicts 512 x 512 pixels; speed is held against an image that is predicted as a whole.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from measuring import in_a_process, make_model, peak_bytes, results_file

SIDE_PX = 20_000
FITTING_PX = 2048
SEAM_PX = 4096
MEMORY_GIB = 1.5
SPEED_SHARE = 0.8
TILE_PX = 256
RESULTS = results_file("large_image")

GEOREFERENCE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 400_000.0, 5_000_000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32616), True),
]
"""Half a meter a pixel in UTM zone 16 north."""


def tiles(side: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Fields and noise, tile by tile; the part of a larger image that they would be."""
    for top in range(0, side, TILE_PX):
        for left in range(0, side, TILE_PX):
            rng = np.random.default_rng((top, left))
            rows = np.arange(top, top + TILE_PX)[:, None, None]
            columns = np.arange(left, left + TILE_PX)[:, None]
            waves = np.sin(rows / np.array([31, 47, 90])) + np.cos(columns / np.array([53, 24, 70]))
            noise = rng.integers(0, 48, (TILE_PX, TILE_PX, 3), np.uint8)
            yield (60 + 40 * (waves + 2) + noise - 24).clip(0, 255).astype(np.uint8)


def make_image(path: Path, side: int) -> None:
    """Write a tiled, compressed RGB GeoTIFF."""
    tifffile.imwrite(
        path, tiles(side), shape=(side, side, 3), dtype=np.uint8, tile=(TILE_PX, TILE_PX),
        photometric="rgb", compression="zlib", compressionargs={"level": 1}, maxworkers=1,
        extratags=GEOREFERENCE, metadata=None, bigtiff=side * side * 3 > 2**32,
    )  # fmt: skip


def predict_here(model: Path, image: Path, out: Path, device: str, large_px: int | None) -> None:
    """The child: predict one image and print seconds and peak memory."""
    from pixelwise.prediction import large_images
    from pixelwise.prediction.loading import load_model
    from pixelwise.prediction.predict import predict

    if large_px is not None:
        large_images.LARGE_PIXELS = large_px
    predictor = load_model(model, device=device)
    predictor.predict(np.zeros((512, 512, 3), np.uint8))  # libraries get ready
    started = time.perf_counter()
    # One engine throughout: auto would choose again in the minutes of a large image alone.
    done = predict(predictor, [image], out, engine="torch")
    seconds = time.perf_counter() - started
    assert not done.failed, done.failed
    found = {"seconds": seconds, "peak_bytes": peak_bytes(), "file": str(done.written[0])}
    print(json.dumps(found))


class Runs:
    """Predictions, each in a process of its own."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self.device = device

    def command(self, name: str, image: Path, large_px: int | None) -> list[str]:
        """How a child is started; its results lie in the folder ``name``."""
        words = ["--child", str(self.folder / "model.safetensors"), str(image)]
        words += [str(self.folder / name), self.device, str(large_px)]
        return [sys.executable, __file__, *words]

    def predict(self, name: str, image: Path, large_px: int | None = None) -> dict[str, Any]:
        """Predict to the end."""
        command = self.command(name, image, large_px)
        found = in_a_process(command[1:])
        print(f"{name}: {found['seconds']:.1f} s, peak {found['peak_bytes'] / 2**30:.2f} GiB")
        return found

    def kill_half_way(self, name: str, image: Path, num_steps: int) -> None:
        """Start, and send SIGKILL once half of the rows of tiles are on the disk."""
        journal = self.folder / name / f".{image.stem}.partial" / "journal.jsonl"
        child = subprocess.Popen(self.command(name, image, 0), stdout=subprocess.DEVNULL)
        while child.poll() is None:
            if journal.is_file() and journal.read_bytes().count(b"\n") > num_steps // 2:
                child.send_signal(signal.SIGKILL)
            time.sleep(0.02)
        print(f"{name}: killed ({child.returncode}) after {num_steps // 2} of {num_steps} rows")


def measure(folder: Path, side: int, device: str) -> dict[str, Any]:
    """All figures."""
    runs = Runs(folder, device)
    sides = {"one tile": 512, "fits": FITTING_PX, "seams": min(side, SEAM_PX), "large": side}
    images = {name: folder / f"{name.replace(' ', '-')}.tif" for name in sides}
    for name, path in images.items():
        make_image(path, sides[name])
    make_model(folder / "model.safetensors", size=(256, 256), num_classes=3, filters=4)
    base = runs.predict("one-tile", images["one tile"])
    fits = [runs.predict(f"fits-{turn}", images["fits"]) for turn in range(3)]
    whole = runs.predict("whole", images["seams"], 10**12)
    rows = runs.predict("rows", images["seams"], 0)
    large = runs.predict("large", images["large"], 0)
    num_steps = -(-side // TILE_PX)
    runs.kill_half_way("killed", images["large"], num_steps)
    resumed = runs.predict("killed", images["large"], 0)
    speed = side**2 / large["seconds"]
    speed_fitting = FITTING_PX**2 / min(run["seconds"] for run in fits)
    return {
        "side_px": side,
        "bytes_decoded": side**2 * 3,
        "seconds": large["seconds"],
        "pixels_per_s": speed,
        "pixels_per_s_of_an_image_that_fits": speed_fitting,
        "share_of_its_speed": speed / speed_fitting,
        "peak_above_the_model_gib": (large["peak_bytes"] - base["peak_bytes"]) / 2**30,
        "peak_of_the_process_gib": large["peak_bytes"] / 2**30,
        "whole_equals_rows": is_same_ids(whole["file"], rows["file"]),
        "whole_peak_above_the_model_gib": (whole["peak_bytes"] - base["peak_bytes"]) / 2**30,
        "killed_and_resumed_equals_uninterrupted": is_same_file(large["file"], resumed["file"]),
        "seconds_after_the_kill": resumed["seconds"],
        "georeference_kept": has_georeference(large["file"]),
        "bytes_of_the_result": Path(large["file"]).stat().st_size,
    }


def is_same_ids(first: str, second: str) -> bool:
    """Two index pictures, PNG or TIFF, hold the same class ids."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(first) as one, Image.open(second) as other:
        return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def is_same_file(first: str, second: str) -> bool:
    """Two files hold the same bytes."""
    return Path(first).read_bytes() == Path(second).read_bytes()


def has_georeference(path: str) -> bool:
    """The tags that were written are in the result."""
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].aspage().tags
        return all(tags.valueof(code) == value for code, _, _, value, _ in GEOREFERENCE)


def main() -> None:
    """Measure, print, and write benchmarks/results/large_image.json."""
    if sys.argv[1:2] == ["--child"]:
        model, image, out, device, large_px = sys.argv[2:]
        limit = None if large_px == "None" else int(large_px)
        return predict_here(Path(model), Path(image), Path(out), device, limit)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=SIDE_PX, help="pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="where to put 2 GB for a while")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = measure(Path(folder), options.side, options.device)
    figures |= {
        "device": options.device,
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    for name, value in figures.items():
        print(f"{name:42} {value:,.3f}" if isinstance(value, float) else f"{name:42} {value}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    kept = (
        figures["peak_above_the_model_gib"] <= MEMORY_GIB
        and figures["share_of_its_speed"] >= SPEED_SHARE
        and figures["whole_equals_rows"]
        and figures["killed_and_resumed_equals_uninterrupted"]
        and figures["georeference_kept"]
    )
    print("all claims hold" if kept else "A CLAIM DOES NOT HOLD")
    return sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
