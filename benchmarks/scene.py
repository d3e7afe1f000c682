"""The figures of docs/data/scenes.md: one large GeoTIFF with shapes, opened and read in windows.

    python benchmarks/scene.py                 20,000 x 20,000 pixels, 20,000 shapes
    python benchmarks/scene.py --side 4000     smaller

The scene is made in a temporary folder: three bands of uint8, in tiles, compressed by deflate. Time
and memory are measured in a process of their own, which opens the folder and reads some windows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from measuring import machine, write_results

NUM_READ = 200
"""Number of windows that are timed."""

MEASURE = """
import json, resource, sys, time
import pixelwise
from pixelwise.io.counting import spread

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

import rasterio.warp, tifffile, torch
before = peak_mib()
started = time.perf_counter()
dataset = pixelwise.open_dataset(sys.argv[1], cache=False)
open_s, open_mib = time.perf_counter() - started, peak_mib()
records = spread(dataset.records, int(sys.argv[2]))
dataset.load(records[0])
started = time.perf_counter()
for record in records:
    dataset.load(record)
window_s = (time.perf_counter() - started) / len(records)
print(json.dumps({
    "note": next(note for note in dataset.notes if "windows" in note), "before_mib": before,
    "open_s": open_s, "open_mib": open_mib, "window_s": window_s, "peak_mib": peak_mib(),
}))
"""


def make_scene(folder: Path, side: int, num_shapes: int) -> None:
    """Write a scene of textured pixels, and rectangles in longitude and latitude as GeoJSON."""
    import rasterio
    from rasterio.warp import transform

    draw = np.random.default_rng(0)
    place = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139)
    texture = draw.integers(0, 64, (3, 1024, 1024)).astype(np.uint8)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", count=3, height=side, width=side, dtype="uint8",
        crs="EPSG:32616", transform=place, tiled=True, compress="deflate", zlevel=1,
    ) as raster:  # fmt: skip
        for top in range(0, side, 1024):
            for left in range(0, side, 1024):
                height, width = min(1024, side - top), min(1024, side - left)
                window = rasterio.windows.Window(left, top, width, height)
                raster.write(texture[:, :height, :width], window=window)
    corners = draw.uniform(0, side - 40, (num_shapes, 2))
    sizes = draw.uniform(8, 40, (num_shapes, 2))
    unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    rings = corners[:, None] + unit * sizes[:, None]
    x, y = place.c + place.a * rings[..., 0], place.f + place.e * rings[..., 1]
    moved = transform("EPSG:32616", "EPSG:4326", x.ravel(), y.ravel())
    rings = np.stack(moved, 1).reshape(num_shapes, 5, 2)
    features = [
        {
            "type": "Feature",
            "properties": {"class": ("building", "road", "water")[number % 3]},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for number, ring in enumerate(rings.tolist())
    ]
    (folder / "scene.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )


def main() -> None:
    """Make the scene, measure it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--shapes", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_scene(Path(scratch), options.side, options.shapes)
        size = (Path(scratch) / "scene.tif").stat().st_size
        answer = subprocess.run(
            [sys.executable, "-c", MEASURE, scratch, str(NUM_READ)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = json.loads(answer.stdout.splitlines()[-1])
    print(found["note"])
    print(f"file {size / 2**20:,.0f} MiB, decoded {3 * options.side**2 / 2**20:,.0f} MiB")
    print(f"opened in {found['open_s']:.1f} s, {found['open_mib'] - found['before_mib']:,.0f} MiB")
    print(f"{1000 * found['window_s']:.1f} ms per window")
    print(f"peak {found['peak_mib']:,.0f} MiB, {found['before_mib']:,.0f} MiB before opening")
    write_results("scene", {"machine": machine(), "side": options.side, **found})


if __name__ == "__main__":
    main()
