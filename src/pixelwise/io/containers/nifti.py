"""NIfTI volumes, read slice by slice across their axis of lowest resolution."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import Container, Layout, index_in, sections
from pixelwise.io.containers.kept import kept_array
from pixelwise.io.limits import MAX_DECODED_BYTES, require_decodable

SAME_SPACING = 0.01
"""Voxels whose sides differ by less than this share have the same resolution along all axes."""

AXES = "xyz"
"""Letters of the array's axes in the names of slices."""


class Nifti(Container):
    """``.nii`` and ``.nii.gz``: (I, J, K) voxels, or (I, J, K, C) with C bands.

    A slice keeps the order of the stored array: the slice ``z012`` is ``data[:, :, 12]``.
    """

    endings: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    def layout(self, file: Path, array: str) -> Layout | None:
        """Return the slices across the axis along which voxels are longest; of equal ones the last.

        Args:
            file: The file.
            array: Is empty.

        Raises:
            DataError: The file does not hold a volume.
        """
        del array
        volume = _nibabel().load(file)
        shape = _shape(file, volume)
        if len(shape) == 2:
            return Layout(shape)
        axis = _axis(shape, volume.header.get_zooms()[:3])
        size = tuple(length for at, length in enumerate(shape) if at != axis)
        codes = "".join(code or "?" for code in _nibabel().aff2axcodes(volume.affine))
        return Layout(size, sections(AXES[axis], shape[axis]), orientation=codes, volume=shape)

    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read a slice, with the scale and the offset of the header applied."""
        del as_stored
        volume = _nibabel().load(file)
        shape = _shape(file, volume)
        place: list[Any] = [slice(None)] * len(volume.shape)
        if member:
            axis = AXES.find(member[0])
            if axis < 0 or len(shape) < 3:
                raise ValueError(f"there is no slice {member!r}")
            place[axis] = index_in(member, AXES[axis], shape[axis])
        elif len(shape) > 2:
            raise DataError(
                f"{file} must be read slice by slice. Got a volume of {' x '.join(map(str, shape))}"
            )
        itemsize = max(8, volume.get_data_dtype().itemsize)  # scaled numbers are float64
        num_bytes = int(np.prod(volume.shape, dtype=np.int64)) * itemsize
        if file.name.lower().endswith(".gz") and num_bytes <= MAX_DECODED_BYTES:
            voxels = kept_array(file, "", lambda: np.asanyarray(volume.dataobj))
        else:
            voxels = volume.dataobj
        lengths = [
            length for length, at in zip(volume.shape, place, strict=True) if at == slice(None)
        ]
        require_decodable(file, lengths, itemsize)
        pixels = np.asarray(voxels[tuple(place)])
        bands = [length for length in pixels.shape[2:] if length != 1]
        return pixels.reshape(*pixels.shape[:2], *bands)


def _nibabel() -> Any:
    try:
        return importlib.import_module("nibabel")
    except ImportError as error:
        raise MissingExtraError("nibabel", "medical", "reading NIfTI") from error


def _shape(file: Path, volume: Any) -> tuple[int, ...]:
    """Return the shape without axes of length 1 at the end, (I, J), (I, J, K) or (I, J, K, C).

    Raises:
        DataError: The file holds something else.
    """
    shape = tuple(map(int, volume.shape))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3, 4) or 0 in shape or volume.get_data_dtype().kind not in "biuf":
        raise DataError(
            f"{file} must hold a volume of numbers with at most four axes. Got "
            f"{volume.get_data_dtype()} of the shape {volume.shape}. Save it as (I, J, K)"
        )
    return shape


def _axis(shape: tuple[int, ...], spacing: tuple[float, ...]) -> int:
    """Return the axis across which a volume is sliced."""
    single = [axis for axis in range(3) if shape[axis] == 1]
    if single:
        return single[-1]
    sides = [abs(float(side)) for side in spacing]
    longest = max(sides)
    return max(axis for axis in range(3) if sides[axis] >= longest * (1 - SAME_SPACING))
