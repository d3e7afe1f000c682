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
from pixelwise.prediction.loading import load_model
from pixelwise.prediction.predictor import Predictor

NUM_ROUNDS = 5
"""Number of timed predictions per model and image, after one untimed round."""

MAX_MEASURING_S = 30.0
"""No further round is started after this time."""

MEMORY_TIMEOUT_S = 180.0

STATUS = Path("/proc/self/status")
"""File in which Linux reports the peak memory of a process."""


def latencies_ms(predictors: Sequence[Predictor], images: Sequence[Array]) -> list[float]:
    """Measure the prediction time: the median over images and rounds.

    The models alternate on every image, so that a temporary slowdown affects all of them.

    Args:
        predictors: At least one predictor.
        images: At least one image, as for :meth:`Predictor.predict`.

    Returns:
        Milliseconds per image from the stored image to class ids, one number per predictor.
    """
    times: list[list[float]] = [[] for _ in predictors]
    began = time.perf_counter()
    for number in range(1 + NUM_ROUNDS):
        for image in images:
            for index, predictor in enumerate(predictors):
                started = time.perf_counter()
                predictor.predict(image)  # returns host memory, so the device has finished
                if number:  # the first round compiles kernels for every size
                    times[index].append(time.perf_counter() - started)
        if number and time.perf_counter() - began > MAX_MEASURING_S:
            break
    return [1000 * statistics.median(values) for values in times]


def peak_memory_mb(
    model: Path, image: Array, device: torch.device, defined_in: str | None = None
) -> float | None:
    """Measure the peak memory of loading a model and predicting one image, without the libraries.

    On CUDA this is the memory that torch allocates on the device. On the CPU it is measured in a
    new process, as the growth after the libraries are imported; this works on Linux only.

    Args:
        model: Model file or run folder.
        image: Image as for :meth:`Predictor.predict`; memory grows with its size.
        device: Device for the prediction.
        defined_in: A module that the new process imports, because it makes the model known; see
            :class:`~pixelwise.models.base.SegmentationModel`.

    Returns:
        Peak memory in units of 10**6 bytes, or ``None`` if it cannot be measured.
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
        if defined_in is not None:
            first = f"import importlib, sys; sys.path[:] = {sys.path!r}"
            code = f"{first}; importlib.import_module({defined_in!r}); {code}"
        with suppress(subprocess.SubprocessError, OSError):
            subprocess.run(
                [sys.executable, "-P", "-c", code],  # -P: not from the current folder
                capture_output=True, timeout=MEMORY_TIMEOUT_S, check=True,
            )  # fmt: skip
            return int(result.read_text("utf-8")) / 1e6
    return None


def measure_own_memory(model: str, image: str, result: str) -> None:
    """Predict one image and write the memory growth of this process in bytes to a file.

    Args:
        model: Model file or run folder.
        image: Path of a ``.npy`` file.
        result: Path of the file to write.
    """
    # Run a small convolution first: the library's own buffers are not part of the model.
    torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 32, 32))
    pixels = np.load(image)
    with suppress(OSError):
        # Reset the peak, which includes temporary memory of the imports. If the system does not
        # allow this, the result may be too small but never too large.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _highest_bytes()
    load_model(model, device="cpu").predict(pixels)
    Path(result).write_text(str(_highest_bytes() - before), encoding="ascii")


def _highest_bytes() -> int:
    """Return the peak memory of this process in bytes.

    ``ru_maxrss`` is not used, because a new process inherits it from its parent.
    """
    lines = STATUS.read_text("utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
