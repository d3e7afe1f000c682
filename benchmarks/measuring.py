"""What the benchmarks share: the machine in words, medians, peaks, children, tables, results.

Needs nothing but Python until a model is made, so that a child's memory holds only what it needs.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

DATA = Path(os.environ.get("PIXELWISE_TEST_DATA", HERE.parents[1] / "shared/data"))
"""The data sets that are not in the repository."""

INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
"""Flags of a processor, as Linux calls them, that decide which kernels of torch run."""


def num_threads() -> int:
    """Threads that torch computes with: one for each core, unless the environment says fewer."""
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def machine() -> dict[str, Any]:
    """What kind of machine this is: its architecture, cores, threads and instruction sets."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": num_threads(),
        "instructions": instruction_sets(),
    }


def in_words(machine: Mapping[str, Any]) -> str:
    """What :func:`machine` found, in a line."""
    sets = " ".join(machine["instructions"]) or "no known instruction set"
    return f"{machine['machine']}, {machine['cores']} cores, {machine['threads']} threads, {sets}"


def instruction_sets() -> list[str]:
    """Those of ``INSTRUCTION_SETS`` that the processor has; none where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [name for name in INSTRUCTION_SETS if name in flags]


def versions_of(*packages: str) -> dict[str, str]:
    """Of Python and of packages, as far as those are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def median_and_noise(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the median of the distances from it, in the unit of the values.

    Args:
        values: One of each round, at least one.
    """
    middle = statistics.median(values)
    return middle, statistics.median(abs(value - middle) for value in values)


def peak_bytes() -> int:
    """The most memory that this process has held since it began, or since :func:`forget_peak`."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        # Linux's other figure, ru_maxrss, begins with what the parent held.
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> int:
    """Let the peak begin again, where the system can; the peak from now on, in bytes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_bytes()


def in_a_process(
    words: Sequence[str], environment: Mapping[str, str] | None = None, python: Path | None = None
) -> dict[str, Any]:
    """Run a script in a process of its own; exits as it does where it fails.

    Args:
        words: The script and its arguments.
        environment: Variables beside those of this process.
        python: Another interpreter.

    Returns:
        The JSON of the last line that it prints.
    """
    done = subprocess.run(
        [str(python or sys.executable), *words],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        sys.exit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown, each row as soon as it is there."""
    print("| " + " | ".join(headings) + " |")
    print("|" + "---|" * len(headings), flush=True)
    for cells in rows:
        print("| " + " | ".join(cells) + " |", flush=True)


def results_file(name: str) -> Path:
    """Where the figures of a benchmark are kept."""
    return HERE / "results" / f"{name}.json"


def write_results(name: str, content: Any) -> Path:
    """Keep the figures of a benchmark, and say where."""
    target = results_file(name)
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return target


def make_model(
    path: Path,
    *,
    size: tuple[int, int],
    num_classes: int = 2,
    architecture: str = "unet-elu",
    **arguments: Any,
) -> Path:
    """Write a model with random weights for RGB images; what it says is of no matter here.

    Args:
        path: The model file.
        size: Height and width of the crops that it would have been trained on.
        num_classes: How many, multiclass.
        architecture: A registered name.
        arguments: Of the architecture.
    """
    import torch

    from pixelwise.classes import ClassMap, numbered_names
    from pixelwise.models import create_model
    from pixelwise.models.model_file import (
        ModelCard,
        TrainingData,
        current_versions,
        save_model_file,
    )
    from pixelwise.transforms.preprocessing import Preprocessing

    torch.manual_seed(0)
    card = ModelCard(
        architecture=architecture,
        arguments=arguments,
        in_channels=3,
        class_map=ClassMap.build(numbered_names(num_classes)),
        label_mode="multiclass",
        preprocessing=Preprocessing(dtype="uint8", mean=(127.0,) * 3, std=(60.0,) * 3),
        training_size=size,
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions=current_versions(),
    )
    save_model_file(path, create_model(architecture, num_classes, 3, **arguments), card)
    return path
