"""Measures the time and memory of predictions."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from pixelwise.io.arrays import Array
from pixelwise.prediction.predictor import Predictor, load_model

NUM_ROUNDS = 5
"""Every model predicts every image so often, beside a first round that is not counted."""

MAX_MEASURING_S = 30.0
"""No further round is begun after this time."""

MEMORY_TIMEOUT_S = 180.0

STATUS = Path("/proc/self/status")
"""Where Linux says how much memory a process has had at most."""


def latencies_ms(predictors: Sequence[Predictor], images: Sequence[Array]) -> list[float]:
    """Measure the prediction time: the median over images and rounds.

    The models take turns at every image, so that a machine that slows down slows all of them.

    Args:
        predictors: At least one.
        images: At least one, as :meth:`Predictor.predict` takes them.

    Returns:
        Milliseconds per image from the stored image to class ids, one number per predictor.
    """
    times: list[list[float]] = [[] for _ in predictors]
    began = time.perf_counter()
    for number in range(1 + NUM_ROUNDS):
        for image in images:
            for index, predictor in enumerate(predictors):
                started = time.perf_counter()
                predictor.predict(image)  # its result is in main memory: the device has ended
                if number:  # the first round builds the kernels of every size
                    times[index].append(time.perf_counter() - started)
        if number and time.perf_counter() - began > MAX_MEASURING_S:
            break
    return [1000 * statistics.median(values) for values in times]


def peak_memory_mb(model: Path, image: Array, device: torch.device) -> float | None:
    """Measure the memory of a model: its weights and one prediction, without the library itself.

    On CUDA it is what torch has allocated on the device. On a processor a process is started for
    it, and it is how much that grows beyond what importing the library took; where the system does
    not tell (only Linux does), it is not known.

    Args:
        model: A model file or a run folder.
        image: As :meth:`Predictor.predict` takes it; the larger it is, the more it takes.
        device: Where to predict.

    Returns:
        10 ** 6 bytes, or ``None``.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        load_model(model, device=str(device)).predict(image)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if device.type != "cpu" or not STATUS.is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        stored, result = Path(folder) / "image.npy", Path(folder) / "bytes"
        np.save(stored, image)
        words = [str(path) for path in (model, stored, result)]
        code = f"from pixelwise.prediction.costs import measure_own_memory as m; m(*{words!r})"
        with suppress(subprocess.SubprocessError, OSError):
            subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True, timeout=MEMORY_TIMEOUT_S, check=True,
            )  # fmt: skip
            return int(result.read_text("utf-8")) / 1e6
    return None


def measure_own_memory(model: str, image: str, result: str) -> None:
    """Predict one image, and write how many bytes this process has grown by.

    Args:
        model: A model file or a run folder.
        image: An array file of numpy.
        result: The file to write.
    """
    # One small convolution: the library's own working memory is no model's.
    torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 32, 32))
    pixels = np.load(image)
    with suppress(OSError):
        # The highest mark starts again: what importing took for a moment is no part of it. A
        # system that forbids it gives too small a number, never one that is too large.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _highest_bytes()
    load_model(model, device="cpu").predict(pixels)
    Path(result).write_text(str(_highest_bytes() - before), encoding="ascii")


def _highest_bytes() -> int:
    """Memory that this process has had at most.

    Not ``ru_maxrss``: that a new process takes over from the one that started it.
    """
    lines = STATUS.read_text("utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
