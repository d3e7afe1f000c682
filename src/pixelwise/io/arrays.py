"""Array types that all packages share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BoolArray = npt.NDArray[np.bool_]

Float32Array = npt.NDArray[np.float32]

UInt8Array = npt.NDArray[np.uint8]

Window = tuple[int, int, int, int]
"""A rectangle of an image: row and column of its first pixel, height and width."""
