"""Chooses the number of pixels per batch; on CUDA, from measured memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

MAX_ACCELERATOR_PIXELS = 2**22
"""Upper limit: larger batches are not faster, and with it most accelerators use the same
batches."""

MEMORY_SHARE = 0.5
"""Share of the free memory that a batch may use; full-size logits need memory as well."""


class DeviceMemory(Protocol):
    """Memory queries of a device, in bytes."""

    def begin(self) -> int:
        """Reset the peak and return the memory allocated now."""
        ...

    def peak(self) -> int:
        """Return the peak memory allocated since :meth:`begin`."""
        ...

    def free(self) -> int:
        """Return the memory that can still be allocated."""
        ...


class CudaMemory:
    """Memory of a CUDA device, as allocated by torch.

    Args:
        device: CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> int:
        """Reset the peak and return the memory allocated now."""
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """Return the peak memory allocated since :meth:`begin`."""
        return torch.cuda.max_memory_allocated(self._device)

    def free(self) -> int:
        """Return the free memory of the device plus the unused memory reserved by torch."""
        left, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return left + kept


class BatchPixels:
    """Batch size for a device, in pixels; thread-safe.

    Args:
        memory: Memory of the device; ``None`` for a device whose memory is not measured.
    """

    def __init__(self, memory: DeviceMemory | None) -> None:
        self._memory = memory
        self._fitting: int | None = None
        self._lock = threading.Lock()

    @classmethod
    def on(cls, device: torch.device) -> BatchPixels:
        """Create it for a device; memory is measured on CUDA only."""
        return cls(CudaMemory(device) if device.type == "cuda" else None)

    def limit(self, smallest: int) -> int:
        """Return the maximum number of pixels of a batch, which stays the same once measured.

        Measured limits are powers of two, so that small changes in free memory do not matter.

        Args:
            smallest: Minimum, which is also used until memory has been measured.
        """
        if self._fitting is None:
            return smallest
        power = 1 << max(0, self._fitting.bit_length() - 1)
        return max(smallest, min(MAX_ACCELERATOR_PIXELS, power))

    @property
    def is_open(self) -> bool:
        """Whether the memory of a batch is still to be measured."""
        return self._memory is not None and self._fitting is None

    def has_room_for(self, num_bytes: int) -> bool:
        """Return whether this many bytes fit beside a batch; True if memory is not measured."""
        return self._memory is None or num_bytes <= MEMORY_SHARE * self._memory.free()

    @contextmanager
    def measured(self, pixels: int) -> Iterator[None]:
        """Measure the memory of the batch computed in this context, the first time only.

        Args:
            pixels: Number of pixels of the batch.
        """
        if self._memory is None or self._fitting is not None:
            yield
            return
        with self._lock:  # two threads at once would measure the sum of their batches
            before = self._memory.begin()
            try:
                yield
            except Exception:
                self._fitting = 0  # only the smallest batches are left
                raise
            taken = max(1, self._memory.peak() - before)
            self._fitting = int(MEMORY_SHARE * self._memory.free() * max(1, pixels) / taken)
