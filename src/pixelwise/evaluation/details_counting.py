"""Computes the detailed metrics of a report in worker processes while the model predicts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.evaluation.image_details import Image, begin_worker, count_in_worker, counted
from pixelwise.evaluation.worker_processes import (
    WorkerPool,
    may_start_processes,
    worker_processes,
)
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.parallel import num_cores
from pixelwise.metrics.details import DetailsCounts

SECONDS_PER_VALUE = 1e-7
"""Approximate counting time per pixel and class: 0.17 s were measured for 360 x 480 of 11."""

MIN_SECONDS = 5.0
"""Minimum work for starting a worker. Starting one takes about a second of processor time, and
sending an image to it costs a third of counting it."""

MAX_WORKERS = 16
"""With more, this process cannot prepare images fast enough, and each takes memory and a start."""

MAX_WAITING_BYTES = 2**29
"""Memory limit for images that are queued or being counted; a single image may exceed it."""


class DetailsCounting:
    """Counts images in worker processes or in this process and adds the counts in image order.

    Each image is counted separately, so the sums are bit-identical in both cases. Use it as
    a context manager; the workers end with it.

    Args:
        class_map: The classes.
        label_mode: Label mode of the masks.
        temperature: Temperature by which the model divides its logits.
        num_images: Expected number of images, which determines the number of workers.
        on_done: Called with the number of counted images.
    """

    def __init__(
        self,
        class_map: ClassMap,
        label_mode: LabelMode,
        temperature: float,
        *,
        num_images: int,
        on_done: Callable[[int], None],
    ) -> None:
        self._arguments = class_map, label_mode, temperature
        self._counts = DetailsCounts(*self._arguments)
        self._num_images = num_images
        self._on_done = on_done
        self._num_done = 0
        self._num_workers: int | None = None
        self._pool: WorkerPool | None = None
        self._waiting: deque[tuple[Image, Future[DetailsCounts]]] = deque()
        self._stack = ExitStack()

    def __enter__(self) -> DetailsCounting:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def draw_logits(self, name: str, logits: Tensor, mask: UInt8Array) -> None:
        """Draw logits for the temperature; see :meth:`DetailsCounts.draw_logits`.

        Args:
            name: Name of the record.
            logits: float32 (K, H, W); from an accelerator, only the sampled logits are copied.
            mask: As in a sample.
        """

        def take(places: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[np.float32]:
            indices = [torch.from_numpy(place).to(logits.device) for place in places]
            planes: tuple[Any, ...] = (slice(None),) * (logits.ndim - len(indices))
            return np.asarray(logits[(*planes, *indices)].cpu().numpy())

        self._counts.draw_logits(name, take, mask)

    def add(self, image: Image) -> None:
        """Count one image, now or before :meth:`finished` returns."""
        if self._num_workers is None:
            self._num_workers = num_workers(self._num_images, image)
            self._start()
        while self._waiting and (self._pool is None or not self._has_room_for(image)):
            self._take()
        if self._pool is not None:
            try:
                self._waiting.append((image, self._pool.submit(count_in_worker, image)))
            except _NO_WORKERS:
                self._pool = None
                while self._waiting:
                    self._take()
        if self._pool is None:
            self._merge(counted(self._arguments, image))
        while self._waiting and self._waiting[0][1].done():
            self._take()

    def finished(self) -> DetailsCounts:
        """Return the counts of all images."""
        while self._waiting:
            self._take()
        return self._counts

    def _start(self) -> None:
        if self._num_workers:
            try:
                arguments = self._arguments, cv2.getNumThreads()
                workers = worker_processes(self._num_workers, begin_worker, arguments)
                self._pool = self._stack.enter_context(workers)
            except _NO_WORKERS:
                self._pool = None

    def _has_room_for(self, image: Image) -> bool:
        num_bytes = image.num_bytes + sum(waiting.num_bytes for waiting, _ in self._waiting)
        # Two per worker, so that no worker waits while the model computes.
        return len(self._waiting) < 2 * (self._num_workers or 1) and num_bytes <= MAX_WAITING_BYTES

    def _take(self) -> None:
        """Add the counts of the image that was queued first."""
        image, future = self._waiting.popleft()
        try:
            counts = future.result()
        except _NO_WORKERS:  # one was killed, perhaps because memory ran out: count here instead
            self._pool = None
            counts = counted(self._arguments, image)
        self._merge(counts)

    def _merge(self, counts: DetailsCounts) -> None:
        self._counts.merge(counts)
        self._num_done += 1
        self._on_done(self._num_done)


def num_workers(num_images: int, first: Image) -> int:
    """Return the useful number of workers; 0 if this process is as fast.

    Args:
        num_images: Number of images.
        first: One of the images.
    """
    seconds = SECONDS_PER_VALUE * first.probabilities.size * num_images
    count = min(MAX_WORKERS, num_cores(), num_images, int(seconds / MIN_SECONDS))
    return count if count > 1 and may_start_processes() else 0


_NO_WORKERS = (BrokenProcessPool, OSError, NotImplementedError)
"""Errors raised if the system cannot start a process or has killed one."""
