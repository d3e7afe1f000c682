"""The details of one image. A worker process imports this and no torch, which would take long."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.io.arrays import UInt8Array
from pixelwise.metrics.details import DetailsCounts


class Image(NamedTuple):
    """What is counted of an image.

    Attributes:
        name: Of its record.
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
        """In memory."""
        return self.probabilities.nbytes + self.prediction.nbytes + self.mask.nbytes


_arguments: tuple[ClassMap, LabelMode, float]
"""What a worker counts with; set where it begins."""


def begin_worker(arguments: tuple[ClassMap, LabelMode, float], num_threads: int) -> None:
    """The first that a worker does.

    Args:
        arguments: Of :class:`DetailsCounts`.
        num_threads: With which OpenCV counts in the process that started it.
    """
    global _arguments
    _arguments = arguments
    # With one thread, OpenCV computes distances by another library, whose last digits are others.
    # With two or more they are the same; two are enough, for there are as many workers as cores.
    cv2.setNumThreads(min(2, num_threads))


def count_in_worker(image: Image) -> DetailsCounts:
    """The counts of one image, in a worker that has begun."""
    return counted(_arguments, image)


def counted(arguments: tuple[ClassMap, LabelMode, float], image: Image) -> DetailsCounts:
    """The counts of one image."""
    counts = DetailsCounts(*arguments)
    counts.add(*image)
    return counts
