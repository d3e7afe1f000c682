"""Training throughput, side by side: pixelwise, two PyTorch loops and Keras on the same networks.

    python benchmarks/throughput.py                          half an hour on 2 cores, left alone
    python benchmarks/throughput.py --cases unet --repeats 1
    python benchmarks/throughput.py --smoke                  that it runs, in minutes

float32 on the processor, all cores. Every measurement is a process of its own; the contestants
take turns, in another order at every repeat; the median counts. Augmentation is included, and for
the peers decoding, which pixelwise does once before its first step; ``plain, decoded`` does so too.
Validation and the first epoch are left out. What each contestant does is described in
throughput_loops.py and throughput_keras.py. Needs the data sets of PIXELWISE_TEST_DATA (default
../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import DATA, HERE, print_table, versions_of, write_results
from pixelwise.files import LOCATION_VARIABLE

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "pixelwise-benchmarks"
"""Where Keras gets an environment of its own, which is kept for the next time."""

FLOPS_PER_MAC = 2
PASSES = 3
"""A training step computes about three times what a prediction does: forward, and backward to the
features and to the weights."""

PEAK_SIDES = (2048, 4096)
"""Square matrices whose product tells what the processor can do at best."""


@dataclass(frozen=True)
class Case:
    """A network and what it is trained on.

    Attributes:
        model: The registered name.
        size: Height and width of the crops, and of the images.
        batch_size: Images per step.
        num_images: Of an epoch.
        data: ``digits``, made at that size, or a folder of the shared data.
        contestants: Who takes part.
    """

    model: str
    size: tuple[int, int]
    batch_size: int
    num_images: int
    data: str = "digits"
    contestants: tuple[str, ...] = ("pixelwise", "plain", "plain, decoded", "torchvision")


WITH_KERAS = ("pixelwise", "plain", "plain, decoded", "torchvision", "keras")
CASES = {
    case.model: case
    for case in (
        Case("stacked-fcn", (60, 60), 32, 320, contestants=WITH_KERAS),
        Case("encoder-decoder", (60, 60), 32, 640, contestants=WITH_KERAS),
        Case("unet", (256, 256), 4, 8),
        Case("smp:unet:resnet34", (360, 480), 4, 16, data="camvid"),
    )
}


def make_data(case: Case, num_images: int, folder: Path) -> Path:
    """The data set of a case, with one batch to validate with."""
    if case.data == "digits":
        from pixelwise.data.digits import DigitOptions, write_digits

        height, width = case.size
        num_digits = 3 * height * width // 60**2  # as dense as at 60 x 60
        options = DigitOptions(
            height=height, width=width, min_digits=min(2, num_digits), max_digits=num_digits
        )
        source = DATA / "mnist"
        write_digits(
            folder,
            num_train=num_images,
            num_val=case.batch_size,
            source=source if source.is_dir() else None,
            options=options,
        )
        return folder
    for split, count in (("train", num_images), ("val", case.batch_size)):
        for name in (split, f"{split}annot"):
            (folder / name).mkdir(parents=True)
            for file in sorted((DATA / case.data / name).iterdir())[:count]:
                (folder / name / file.name).symlink_to(file.resolve())
    return folder


def measure_peak() -> float:
    """GFLOP/s of the best product of two square float32 matrices, in a process of its own."""
    code = (
        "import time, torch\n"
        "def gflops(side):\n"
        "    left, right = torch.rand(side, side), torch.rand(side, side)\n"
        "    best = float('inf')\n"
        "    for _ in range(5):\n"
        "        started = time.perf_counter()\n"
        "        left @ right\n"
        "        best = min(best, time.perf_counter() - started)\n"
        "    return 2 * side**3 / best / 1e9\n"
        f"print(max(gflops(side) for side in {PEAK_SIDES}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def keras_python() -> Path | None:
    """The Python of an environment with Keras on TensorFlow, which is made where there is none."""
    home = CACHE / "keras"
    python = home / "bin" / "python"
    if python.is_file() and _can_import_keras(python):
        return python
    print(f"installing tensorflow and keras into {home}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "tensorflow", "keras", "pillow"]
    done = subprocess.run(install, check=False, stdout=subprocess.DEVNULL)
    if done.returncode or not _can_import_keras(python):
        print("keras is left out: tensorflow and keras cannot be installed here")
        return None
    return python


def _can_import_keras(python: Path) -> bool:
    statement = [str(python), "-c", "import tensorflow, keras, PIL"]
    return not subprocess.run(statement, check=False, capture_output=True).returncode


def measure(
    contestant: str, case: Case, data: Path, epochs: int, python: Path | None
) -> dict[str, Any] | None:
    """What one contestant reaches: ``images_per_s`` and ``versions``; ``None`` where it cannot."""
    task = {
        "contestant": contestant,
        "model": case.model,
        "size": case.size,
        "batch_size": case.batch_size,
        "data": str(data),
        "epochs": epochs,
    }
    if contestant == "keras" and python is None:
        return None
    script = "throughput_keras.py" if contestant == "keras" else "throughput_loops.py"
    runner = str(python) if contestant == "keras" else sys.executable
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [runner, str(HERE / script), json.dumps(task)],
            env={**os.environ, LOCATION_VARIABLE: cache, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            check=False,
            text=True,
        )
    if done.returncode:
        sys.exit(f"{contestant} must train {case.model}. It does not:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_case(
    case: Case, options: argparse.Namespace, python: Path | None
) -> tuple[dict[str, list[float]], list[float], dict[str, str]]:
    """Images per second of every contestant, the peaks beside them, and the versions."""
    speeds: dict[str, list[float]] = {name: [] for name in case.contestants}
    peaks, versions = [], {}
    num_images = case.batch_size if options.smoke else case.num_images
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(case, num_images, Path(folder) / "data")
        for repeat in range(options.repeats):
            peaks.append(measure_peak())
            for contestant in case.contestants[:: -1 if repeat % 2 else 1]:
                started = time.perf_counter()
                found = measure(contestant, case, data, options.epochs, python)
                if found is None:
                    continue
                speeds[contestant].append(found["images_per_s"])
                versions.update(found["versions"])
                taken_s = time.perf_counter() - started
                print(
                    f"{case.model}, {contestant}: {found['images_per_s']:.3g} images/s "
                    f"({taken_s:.0f} s)",
                    flush=True,
                )
    return {name: found for name, found in speeds.items() if found}, peaks, versions


def gmacs_of(case: Case) -> float:
    """Multiplications and additions of one image, in 10 ** 9."""
    from pixelwise.models import count_gmacs, create_model

    num_classes, in_channels = (3, 1) if case.data == "digits" else (11, 3)
    return count_gmacs(create_model(case.model, num_classes, in_channels), case.size)


def rows_of(case: Case, speeds: dict[str, list[float]], peak_gflops: float) -> list[dict[str, Any]]:
    """The lines of the table of one case."""
    gmacs = gmacs_of(case)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return [
        {
            "model": case.model,
            "size": case.size,
            "batch_size": case.batch_size,
            "contestant": name,
            "images_per_s": median,
            "of_pixelwise": median / medians["pixelwise"] if "pixelwise" in medians else None,
            "gmacs": gmacs,
            "share_of_peak": median * gmacs * PASSES * FLOPS_PER_MAC / peak_gflops,
            "repeats": speeds[name],
        }
        for name, median in medians.items()
    ]


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    headings = ("network, crop, batch", "contestant", "images/s", "times pixelwise")
    lines = []
    for row in rows:
        height, width = row["size"]
        lines.append(
            (
                f"{row['model']}, {height} x {width}, {row['batch_size']}",
                row["contestant"],
                f"{row['images_per_s']:.3g}",
                "-" if row["of_pixelwise"] is None else f"{row['of_pixelwise']:.2f}",
                f"{row['share_of_peak']:.0%}",
            )
        )
    print_table((*headings, "share of peak"), lines)


def main() -> None:
    """Measure, print the table and write benchmarks/results/throughput.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="the first one does not count")
    parser.add_argument("--smoke", action="store_true", help="epochs of a batch; writes nothing")
    options = parser.parse_args()
    if options.smoke:
        options.repeats, options.epochs = 1, 2
    has_keras = any("keras" in CASES[name].contestants for name in options.cases)
    python = keras_python() if has_keras else None
    rows, peaks, versions = [], [], versions_of("pixelwise")
    measured = []
    for name in options.cases:
        speeds, case_peaks, found = run_case(CASES[name], options, python)
        measured.append((CASES[name], speeds))
        peaks += case_peaks
        versions.update(found)
    peak_gflops = statistics.median(peaks)
    for case, speeds in measured:
        rows += rows_of(case, speeds, peak_gflops)
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, float32, peak {peak_gflops:.0f} GFLOP/s"
    )
    print(", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + "\n")
    print_rows(rows)
    if options.smoke:
        return
    content = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "precision": "float32",
        "peak_gflops": peak_gflops,
        "versions": versions,
        "rows": rows,
    }
    write_results("throughput", content)


if __name__ == "__main__":
    main()
