"""What computes, and how it is fastest: asked of the machine, not assumed."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pixelwise.errors import ConfigError

MIN_SPEEDUP = 1.2
"""bfloat16 is taken only where it is faster than float32 by this factor."""


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


@torch.enable_grad()  # predicting asks too, where gradients are off
def measure_bfloat16_speedup(device: torch.device) -> float:
    """How many times faster a training step of a convolution is in bfloat16 than in float32.

    A processor without the instructions emulates them, at a tenth of the speed; flags that say so
    differ between systems, so it is measured. Takes under a quarter of a second.
    """
    # An accelerator needs some milliseconds of work, or only the starting of kernels is measured.
    channels, side = (32, 64) if device.type == "cpu" else (128, 256)
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    layer = layer.to(memory_format=torch.channels_last).to(device)
    image = torch.rand(4, channels, side, side, device=device)
    image = image.to(memory_format=torch.channels_last)

    def seconds(use_bfloat16: bool) -> float:
        best = float("inf")
        for _ in range(4):  # the first one builds the kernels
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
                output = layer(image)
            output.float().sum().backward()
            assert layer.weight.grad is not None
            layer.weight.grad.sum().item()
            best = min(best, time.perf_counter() - started)
        return best

    return seconds(False) / seconds(True)
