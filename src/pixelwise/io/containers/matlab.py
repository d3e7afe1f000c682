"""The variables of MATLAB files, version 5 to 7.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import Layout, index_in, sections
from pixelwise.io.containers.hdf5 import MATLAB_CLASS, data_sets, opened, read_part
from pixelwise.io.containers.kept import kept_array
from pixelwise.io.containers.named import NamedArrays, Shapes, known
from pixelwise.io.limits import require_decodable

TYPES = {"double": "float64", "single": "float32", "logical": "bool"} | {
    name: name for sign in ("int", "uint") for name in (f"{sign}{bits}" for bits in (8, 16, 32, 64))
}
"""Types of numpy for MATLAB's classes of numbers."""

HDF5_START = b"\x89HDF"
HDF5_AT = 512
"""Version 7.3 begins with 512 bytes of text; then follows HDF5."""


class Matlab(NamedArrays):
    """The variables of a ``.mat`` file; MATLAB stacks pictures along the last axis."""

    endings: ClassVar[tuple[str, ...]] = (".mat",)

    def shapes(self, file: Path) -> Shapes:
        """Return shape and type of each variable; what is no array of numbers has the type O."""
        if _is_hdf5(file):
            with opened(file) as content:
                return {
                    name: (data.shape[::-1], data.dtype)
                    for name, data in data_sets(content)
                    if _class_of(data) in (*TYPES, "")
                }
        return {
            name: (tuple(map(int, shape)), np.dtype(TYPES.get(kind, "O")))
            for name, shape, kind in _variables(file)
        }

    def refusal(self, file: Path) -> str:
        """Return what a file holds instead: cells, structures or text."""
        if _is_hdf5(file):
            return "it holds no variable that is an array of numbers"
        found = _variables(file)
        said = ", ".join(
            f"{name}, a {kind} of {' x '.join(map(str, shape))}" for name, shape, kind in found[:3]
        )
        is_cell = any(kind in ("cell", "struct") for _, _, kind in found)
        advice = ", as of several annotators or of objects" if is_cell else ""
        return f"it holds no variable that is an array of pixels, but {said or 'nothing'}{advice}"

    def layout_of(self, shape: tuple[int, ...]) -> Layout | None:
        """Return how an array holds pictures: (H, W), (H, W, C), (H, W, N) or (H, W, C, N)."""
        if len(shape) not in (2, 3, 4) or 0 in shape:
            return None
        if len(shape) == 2:
            return Layout(shape)
        stack = Layout(shape[:-1], sections("n", shape[-1]))
        return stack if len(shape) == 4 else Layout(shape, as_stack=stack)

    def picture(self, file: Path, name: str, section: str) -> Array:
        """Read a variable, or one picture of it."""
        pixels = self._variable(file, name, section)
        return np.asarray(pixels)

    def _variable(self, file: Path, name: str, section: str) -> Array:
        if _is_hdf5(file):  # stored by column, so that h5py shows the axes in reverse
            with opened(file) as content:
                data = content[name]
                index = index_in(section, "n", len(data)) if section else None
                return read_part(file, data, index).T
        shape, dtype = known(self, file)[name]
        require_decodable(file, shape, dtype.itemsize)
        values = kept_array(file, name, lambda: _load(file, name))
        return values[..., index_in(section, "n", shape[-1])] if section else values


def _load(file: Path, name: str) -> Array:
    from scipy.io import loadmat

    return np.asarray(loadmat(file, variable_names=[name])[name])


def _variables(file: Path) -> list[tuple[str, tuple[int, ...], str]]:
    from scipy.io import whosmat

    found: list[tuple[str, tuple[int, ...], str]] = whosmat(file)
    return found


def _is_hdf5(file: Path) -> bool:
    with file.open("rb") as content:
        content.seek(HDF5_AT)
        return content.read(len(HDF5_START)) == HDF5_START


def _class_of(data: Any) -> str:
    kind = data.attrs.get(MATLAB_CLASS, b"")
    return kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
