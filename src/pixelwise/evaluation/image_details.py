"""Detailed counts of one image. Worker processes import this module, so it must not need torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.io.arrays import UInt8Array
from pixelwise.metrics.details import DetailsCounts


class Image(NamedTuple):
    """An image to count.

    Attributes:
        name: Name of its record.
        probabilities: float32 (K, H, W).
        prediction: uint8 (H, W) class ids, or bool (K, H, W) for multilabel labels.
        mask: As in a sample.
    """

    name: str
    probabilities: npt.NDArray[np.float32]
    prediction: npt.NDArray[Any]
    mask: UInt8Array

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        return self.probabilities.nbytes + self.prediction.nbytes + self.mask.nbytes


_arguments: tuple[ClassMap, LabelMode, float]
"""Arguments of :class:`DetailsCounts` in a worker; set when it starts."""


def begin_worker(arguments: tuple[ClassMap, LabelMode, float], num_threads: int) -> None:
    """Initialize a worker.

    Args:
        arguments: Arguments of :class:`DetailsCounts`.
        num_threads: Number of OpenCV threads in the parent process.
    """
    global _arguments
    _arguments = arguments
    # With one thread, OpenCV uses another library for distances, with slightly different results.
    # Two threads give the same results as more, and there are as many workers as cores.
    cv2.setNumThreads(min(2, num_threads))


def count_in_worker(image: Image) -> DetailsCounts:
    """Return the counts of one image, in an initialized worker."""
    return counted(_arguments, image)


def counted(arguments: tuple[ClassMap, LabelMode, float], image: Image) -> DetailsCounts:
    """Return the counts of one image."""
    counts = DetailsCounts(*arguments)
    counts.add(*image)
    return counts
