"""Chooses the number of pixels per batch; on CUDA, from measured memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

MAX_ACCELERATOR_PIXELS = 2**22
"""Larger batches are not faster; most accelerators so compute the same batches."""

MEMORY_SHARE = 0.5
"""Of the free memory that a batch may take: logits at the images' own size need some too."""


class DeviceMemory(Protocol):
    """Memory queries of a device, in bytes."""

    def begin(self) -> int:
        """Let the peak begin again; what is allocated now."""
        ...

    def peak(self) -> int:
        """The most that was allocated since :meth:`begin`."""
        ...

    def free(self) -> int:
        """What can still be allocated."""
        ...


class CudaMemory:
    """The memory of a CUDA device, as torch allocates it.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> int:
        """Let the peak begin again; what is allocated now."""
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """The most that was allocated since :meth:`begin`."""
        return torch.cuda.max_memory_allocated(self._device)

    def free(self) -> int:
        """What the device has left, and what torch keeps and does not use."""
        left, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return left + kept


class BatchPixels:
    """The size of batches on a device; safe to share between threads.

    Args:
        memory: Of the device; ``None`` for a processor, whose batches are not enlarged.
    """

    def __init__(self, memory: DeviceMemory | None) -> None:
        self._memory = memory
        self._bytes_per_pixel: float | None = None
        self._lock = threading.Lock()

    @classmethod
    def on(cls, device: torch.device) -> BatchPixels:
        """For a device; only CUDA tells what a batch takes."""
        return cls(CudaMemory(device) if device.type == "cuda" else None)

    def limit(self, smallest: int) -> int:
        """Pixels of a batch: a power of two, so that a little less free memory changes nothing.

        Args:
            smallest: What is allowed before anything is measured, and always.
        """
        if self._memory is None or self._bytes_per_pixel is None:
            return smallest
        fitting = int(MEMORY_SHARE * self._memory.free() / self._bytes_per_pixel)
        return max(smallest, min(MAX_ACCELERATOR_PIXELS, 1 << max(0, fitting.bit_length() - 1)))

    def has_room_for(self, num_bytes: int) -> bool:
        """Whether the device holds that much beside a batch; a processor always does."""
        return self._memory is None or num_bytes <= MEMORY_SHARE * self._memory.free()

    @contextmanager
    def measured(self, pixels: int) -> Iterator[None]:
        """Measure, the first time, what a batch takes that is computed in this context.

        Args:
            pixels: Of the batch.
        """
        if self._memory is None or self._bytes_per_pixel is not None:
            yield
            return
        with self._lock:  # a second thread waits, and so measures no sum of two batches
            before = self._memory.begin()
            yield
            taken = max(1, self._memory.peak() - before)
            self._bytes_per_pixel = taken / max(1, pixels)
