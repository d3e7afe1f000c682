"""Selects the device, precision and memory format from queries and measurements of the hardware."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from pixelwise.errors import ConfigError, OutputError
from pixelwise.files import users_cache, write_text

MIN_SPEEDUP = 1.2
"""Minimum measured speedup of bfloat16 over float32 for bfloat16 to be chosen."""


Precision = Literal["float32", "bfloat16"]
"""Compute precision of a network; weights are always stored in float32."""

MemoryFormat = Literal["channels_last", "contiguous"]

MEMORY_FORMATS: dict[MemoryFormat, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
"""How (N, C, H, W) lies in memory: the channels of a pixel together, or the pixels of a channel."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device with a name; ``auto`` means CUDA, else MPS, else the CPU.

    Raises:
        ConfigError: The device is unknown or not available.
    """
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    there = [kind for kind, count in counts.items() if count]
    if name == "auto":
        return torch.device(there[0])
    with suppress(RuntimeError):  # torch cannot read the name
        device = torch.device(name)
        if (device.index or 0) < counts.get(device.type, 0):
            return device
    numbered = [f"{kind}:{index}" for kind in there for index in range(1, counts[kind])]
    raise ConfigError(
        f"device must be one that this machine has: {', '.join(there + numbered)}. Got {name!r}"
    )


@contextmanager
def processor_for_training() -> Iterator[None]:
    """Flush denormal numbers to zero inside the context.

    CPUs compute denormals in slow microcode. Together with the effect of :func:`keep_freed_memory`,
    this cost a third of the time of a U-Net at 368 x 480. The previous mode of the thread is
    restored.
    """
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushes_denormals() -> bool:
    """Whether this thread flushes denormals to zero, which torch does not report."""
    tiny = torch.finfo(torch.float32).tiny
    smallest_normal = torch.tensor(tiny, dtype=torch.float32, device="cpu")
    return (smallest_normal / 2).item() == 0


def keep_freed_memory() -> None:
    """Let the allocator keep large freed blocks for the rest of the process.

    Otherwise it returns them to the system, which zeroes them again at every step; see
    :func:`processor_for_training`. Results do not change. The previous setting cannot be queried or
    restored, so call this only in a process of your own, such as the command line.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_mmap_threshold = -1, -3
        # Before 2.35, glibc rejects more than 32 MiB here. The second call disables the dynamic
        # threshold, so it must be skipped if the first one failed.
        if libc.mallopt(m_mmap_threshold, 1 << 30) or libc.mallopt(m_mmap_threshold, 1 << 25):
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass  # another C library with a different allocator


OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Parts of the messages of a ``RuntimeError`` that means out of memory: of the CPU allocator on
Linux and Windows, of MPS and CUDA, and of CUDA's libraries."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means out of memory; torch has a separate type only for some cases."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    )


def release_memory(device: torch.device) -> None:
    """Return the unused memory that torch keeps on an accelerator; the CPU keeps none."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def bfloat16_support(device: torch.device) -> bool | None:
    """Whether the device computes matrix products in bfloat16 faster than in float32.

    The hardware is queried first, because measurements on a busy machine are unreliable.
    ``ONEDNN_MAX_CPU_ISA`` is respected: it limits the instructions of oneDNN, and thus of torch.

    Returns:
        ``True``: matrix units for it (AMX, CUDA from compute capability 8.0 on). ``False``: it
        would be emulated. ``None``: there are instructions, but whether they are faster depends on
        the processor (AVX-512 BF16, Arm, MPS).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return None
    has: dict[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older versions of torch lack this function
    if has.get("architecture") != "x86_64":
        return None
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    limit = limit.upper()
    if has.get("amx_bf16") and (limit in ("ALL", "DEFAULT") or "AMX" in limit or "AVX10" in limit):
        return True
    may_use = limit in ("ALL", "DEFAULT") or any(name in limit for name in ("BF16", "FP16", "AMX"))
    return None if has.get("avx512_bf16") and may_use else False


CLEAR_SPEEDUPS = (0.8, 1.8)
"""Range of speedups that need more rounds of measurement."""


@torch.enable_grad()  # prediction calls this with gradients disabled
def measure_bfloat16_speedup(
    device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measure the speedup of bfloat16 over float32 in a training step of a convolution.

    Both precisions take turns, and the fastest time of each is used, so that other load affects
    both. Takes less than a quarter of a second, or up to a second if the result is close.

    Args:
        device: The device.
        clock: A monotonic clock in seconds.
    """
    # An accelerator needs some milliseconds of work; otherwise only kernel launches are measured.
    channels, side = (32, 64) if device.type == "cpu" else (128, 256)
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    layer = layer.to(memory_format=torch.channels_last).to(device)
    image = torch.rand(4, channels, side, side, device=device)
    image = image.to(memory_format=torch.channels_last)

    def seconds(use_bfloat16: bool) -> float:
        started = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
            output = layer(image)
        output.float().sum().backward()
        assert layer.weight.grad is not None
        layer.weight.grad.sum().item()
        return clock() - started

    fastest = {True: math.inf, False: math.inf}
    for round_ in range(16):  # the first one builds the kernels
        for use_bfloat16 in fastest:
            fastest[use_bfloat16] = min(fastest[use_bfloat16], seconds(use_bfloat16))
        speedup = fastest[False] / fastest[True]
        if round_ >= 3 and not CLEAR_SPEEDUPS[0] < speedup < CLEAR_SPEEDUPS[1]:
            break
    return speedup


def measure_gflops(device: torch.device, precision: Precision) -> float:
    """Measure the throughput of a matrix product in 10 ** 9 operations per second.

    Convolutions reach only a part of it, so times derived from it are lower bounds.
    """
    side = 1024 if device.type == "cpu" else 4096
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.rand(side, side, device=device, dtype=dtype)
    fastest = math.inf
    for _ in range(8):
        started = time.perf_counter()
        (matrix @ matrix).sum().item()
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * side**3 / fastest / 1e9


MEASUREMENTS_NAME = "measurements"
"""Folder in the cache folder with the measurements of all machines, one file for each, so that
processes that measure at the same time do not lose what the others have written."""


@dataclass(frozen=True)
class Machine:
    """A device with its stored measurements.

    Measurements are stored in the cache folder, so that a later training run on a busy machine
    makes the same choices as one on an idle machine.

    Attributes:
        device: The device.
        has_bfloat16: Result of :func:`bfloat16_support`.
        name: Key of the measurements: device, threads, version of torch and instruction limits.
        path: Folder of the measurements; ``None`` keeps them in memory only.
        clock: A monotonic clock in seconds.
    """

    device: torch.device
    has_bfloat16: bool | None
    name: str
    path: Path | None = None
    clock: Callable[[], float] = time.perf_counter
    _known: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def here(cls, device: str = "auto") -> Self:
        """Return this machine, with the named device.

        Raises:
            ConfigError: The machine does not have the device.
        """
        chosen = choose_device(device)
        folder = users_cache()
        path = folder / MEASUREMENTS_NAME if folder else None
        clock = time.perf_counter  # looked up now, so that a test can replace it
        return cls(chosen, bfloat16_support(chosen), _machine_name(chosen), path, clock)

    def remembered(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return the stored measurement of a key; measure and store it if it is missing.

        Args:
            key: Name of the measurement, with everything that it depends on besides the machine.
            measure: Returns a number or nested lists of numbers.
        """
        if self._stored(key) is None:
            self.keep(key, measure())
        return self._known[key]

    def recalled(self, key: str, default: float) -> float:
        """Return the stored value of a key, or a default."""
        value = self._stored(key)
        return float(value) if isinstance(value, int | float) else default

    def keep(self, key: str, value: Any) -> None:
        """Store a measurement for later processes, or only for this one if the file fails."""
        self._known[key] = value
        if self.path is None:
            return
        content = {"machine": self.name, "key": key, "value": value}
        with suppress(OutputError):
            write_text(self._file(self.path, key), json.dumps(content, indent=1) + "\n")

    def _stored(self, key: str) -> Any:
        """Return the stored value of a key; ``None`` if it is missing or its file is damaged."""
        if key not in self._known and self.path is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                content = json.loads(self._file(self.path, key).read_text("utf-8"))
                if (content["machine"], content["key"]) == (self.name, key):
                    self._known[key] = content["value"]
        return self._known.get(key)

    def _file(self, folder: Path, key: str) -> Path:
        """Return the file of a measurement, whose name is a hash of the machine and the key."""
        named = hashlib.sha256(f"{self.name}\n{key}".encode()).hexdigest()[:24]
        return folder / f"{named}.json"

    def gflops(self, precision: Precision) -> float:
        """Like :func:`measure_gflops`; the highest value measured on this machine so far."""
        key = f"gflops {precision}"
        measured = measure_gflops(self.device, precision)
        if measured > self.recalled(key, 0.0):
            self.keep(key, round(measured))
        return self.recalled(key, measured)

    def fastest(self, key: str, seconds: float) -> float:
        """Return the shortest duration that was ever measured for a key, this one included."""
        if seconds < self.recalled(key, math.inf):
            self.keep(key, seconds)
        return self.recalled(key, seconds)

    def bfloat16_speedup(self) -> float:
        """Like :func:`measure_bfloat16_speedup`, but measured only once."""
        measured = self.remembered(
            "bfloat16 speedup", lambda: measure_bfloat16_speedup(self.device, self.clock)
        )
        return float(measured)


def _machine_name(device: torch.device) -> str:
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else has.get("cpu_name")
    features = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if has.get(name)]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "all"
    threads = f"{torch.get_num_threads()} threads"
    return ", ".join(
        [device.type, str(kind), *features, f"limit {limit}", threads, f"torch {torch.__version__}"]
    )
