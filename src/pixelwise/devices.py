"""What computes, and how it is fastest: asked of the machine, not assumed."""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pixelwise.errors import ConfigError

MIN_SPEEDUP = 1.2
"""Where it is measured, bfloat16 is taken only if it is faster than float32 by this factor."""


MEMORY_FORMATS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
"""How (N, C, H, W) lies in memory: the channels of a pixel together, or the pixels of a channel."""


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: The machine does not have it, or there is no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_there in available.items() if is_there))
    if not available.get(name.partition(":")[0], False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ConfigError(f"device must be one that this machine has: {there}. Got {name!r}")
    return torch.device(name)


@contextmanager
def processor_for_training() -> Iterator[None]:
    """Have numbers close to zero computed as zero while the context lasts.

    Otherwise they are computed in microcode, which was measured to cost, together with what
    :func:`keep_freed_memory` ends, a third of the time of a U-Net at 368 x 480. What the thread did
    before is what it does afterwards.
    """
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushes_denormals() -> bool:
    """Whether this thread computes numbers close to zero as zero; torch itself does not say."""
    tiny = torch.finfo(torch.float32).tiny
    smallest_normal = torch.tensor(tiny, dtype=torch.float32, device="cpu")
    return (smallest_normal / 2).item() == 0


def keep_freed_memory() -> None:
    """Have the allocator keep large blocks that were freed, for as long as the process lives.

    Otherwise it gives them back to the system and has them zeroed again at every step; see
    :func:`processor_for_training`. No result changes. The allocator cannot be asked what it did
    before, so this is for a process that nobody else uses, as that of the command line.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_mmap_threshold = -1, -3
        # Before 2.35 glibc refuses more than 32 MiB here. The second call ends its own raising of
        # the threshold, so it must not be made where the first was refused.
        if libc.mallopt(m_mmap_threshold, 1 << 30) or libc.mallopt(m_mmap_threshold, 1 << 25):
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass  # not glibc: its allocator goes its own ways


def is_out_of_memory(error: BaseException) -> bool:
    """The error says that memory is full; for the processor torch has no type of its own."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def bfloat16_support(device: torch.device) -> bool | None:
    """Whether the device computes matrix products in bfloat16 faster than in float32.

    The hardware is asked first, because a measurement on a busy machine may say anything.
    ``ONEDNN_MAX_CPU_ISA`` is heeded: it keeps oneDNN, and with it torch, from newer instructions.

    Returns:
        ``True``: matrix units for it (AMX, CUDA from compute capability 8.0 on). ``False``: it
        would be emulated. ``None``: there are instructions, but whether they are faster depends on
        the processor (AVX-512 BF16, Arm, MPS).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return None
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has none
    if has.get("architecture") != "x86_64":
        return None
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    limit = limit.upper()
    if has.get("amx_bf16") and (limit in ("ALL", "DEFAULT") or "AMX" in limit or "AVX10" in limit):
        return True
    may_use = limit in ("ALL", "DEFAULT") or any(name in limit for name in ("BF16", "FP16", "AMX"))
    return None if has.get("avx512_bf16") and may_use else False


def bfloat16_speedup(device: torch.device) -> float | None:
    """How many times faster a training step is in bfloat16: measured where there is a doubt.

    Returns:
        The factor as measured, or ``None`` where the hardware leaves no doubt; see
        :func:`bfloat16_support`.
    """
    return measure_bfloat16_speedup(device) if bfloat16_support(device) is None else None


CLEAR_SPEEDUPS = (0.8, 1.8)
"""Outside of these, a few rounds of a measurement leave no doubt."""


@torch.enable_grad()  # predicting asks too, where gradients are off
def measure_bfloat16_speedup(
    device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """How many times faster a training step of a convolution is in bfloat16 than in float32.

    Both precisions take turns, and the fastest of each counts, so that other work on the machine
    slows both. Takes under a quarter of a second, and up to a second where the result is close.

    Args:
        device: Where to compute.
        clock: Seconds that only grow.
    """
    # An accelerator needs some milliseconds of work, or only the starting of kernels is measured.
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
