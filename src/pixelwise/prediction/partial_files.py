"""Writes results row by row: finished rows are kept on disk until they are assembled as TIFF files.

During a prediction, a hidden folder beside the results holds a journal and, for each result, one
file of compressed tiles. The first line of the journal describes the task; each further line
records that one more row of tiles is on disk. An interrupted run resumes after the last complete
line. When all rows are finished, the tiles are copied into TIFF files, which are renamed into
place.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.classes import Color
from pixelwise.files import make_folder, writing, written_aside
from pixelwise.io.arrays import Array
from pixelwise.io.image_rows import Tag
from pixelwise.io.tiff import NODATA_TAG

TILE_PX = 256
"""Side of the TIFF tiles; the journal records rows of these tiles."""

COMPRESSION_LEVEL = 6

MAX_CLASSIC_BYTES = 2**32 - 2**26
"""Larger files are BigTIFF; the margin is for tags."""

ASCII = 2
"""TIFF data type of text."""

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Layer:
    """One output file.

    Attributes:
        path: Path of the file.
        dtype: ``uint8`` or ``uint16``.
        num_samples: Samples per pixel: 1, or 3 for RGB.
        palette: One color per value; ``None`` for grayscale and RGB.
        ignored: Value written to the file as nodata; ``None`` if there is none.
    """

    path: Path
    dtype: str
    num_samples: int = 1
    palette: tuple[Color, ...] | None = None
    ignored: int | None = None


class PartialFiles:
    """Partial results of one image.

    Args:
        folder: Folder of the partial results; created here and removed by :meth:`finish`.
        task: JSON-compatible description of the task. If the folder holds another task, it is
            started over.
        layers: Output files.
        size: Height and width in pixels.

    Raises:
        OutputError: The folder cannot be written to.
    """

    def __init__(
        self, folder: Path, task: dict[str, Any], layers: Sequence[Layer], size: tuple[int, int]
    ) -> None:
        self._folder = folder
        self._layers = layers
        self._height, self._width = size
        self._parts = [folder / f"{number}.tiles" for number in range(len(layers))]
        self._journal = folder / JOURNAL
        with writing(folder):
            known = self._known_sizes(task)
            if known is None:
                self._begin(task)
            self._sizes = known or [[] for _ in layers]

    @property
    def num_rows(self) -> int:
        """Number of finished rows from the top: a multiple of the tile height, or all."""
        num_across = -(-self._width // TILE_PX)
        return min(len(self._sizes[0]) // num_across * TILE_PX, self._height)

    def append(self, rows: Sequence[Array]) -> None:
        """Append the next row of tiles; it is on disk when this method returns.

        Args:
            rows: One array per layer, (TILE_PX, W) or (TILE_PX, W, 3); the last ones may be
                shorter.

        Raises:
            OutputError: The disk is full.
        """
        line = []
        with writing(self._folder):
            for path, layer, pixels in zip(self._parts, self._layers, rows, strict=True):
                tiles = [_compressed(tile) for tile in _tiles(pixels.astype(layer.dtype))]
                _append(path, b"".join(tiles))
                line.append([len(tile) for tile in tiles])
            _append(self._journal, json.dumps(line).encode() + b"\n")
        for sizes, added in zip(self._sizes, line, strict=True):
            sizes += added

    def finish(self, georeference: Sequence[Tag]) -> list[Path]:
        """Write the output files and remove the partial results.

        Args:
            georeference: TIFF tags with the georeference of the image.

        Returns:
            The files written.

        Raises:
            OutputError: The disk is full.
        """
        for layer, part, sizes in zip(self._layers, self._parts, self._sizes, strict=True):
            self._assemble(layer, part, sizes, georeference)
        shutil.rmtree(self._folder, ignore_errors=True)
        return [layer.path for layer in self._layers]

    def discard(self) -> None:
        """Remove the partial results, so that the next run starts over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _known_sizes(self, task: dict[str, Any]) -> list[list[int]] | None:
        """Return the tile sizes on disk by layer, or ``None`` if the folder does not hold the task.

        Data that an interrupted run wrote after the last complete line is removed.
        """
        if not self._journal.is_file():
            return None
        lines = self._journal.read_bytes().split(b"\n")[:-1]  # the last one is empty or incomplete
        try:
            said, *rows = [json.loads(line) for line in lines]
        except ValueError:
            return None
        if said != task:
            return None
        sizes = [[size for row in rows for size in row[index]] for index in range(len(self._parts))]
        needed = [sum(each) for each in sizes]
        for path, num_bytes in zip(self._parts, needed, strict=True):
            if not path.is_file() or path.stat().st_size < num_bytes:
                return None
        for path, num_bytes in zip(self._parts, needed, strict=True):
            os.truncate(path, num_bytes)
        os.truncate(self._journal, sum(len(line) + 1 for line in lines))
        return sizes

    def _begin(self, task: dict[str, Any]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        make_folder(self._folder)
        for path in self._parts:
            path.touch()
        _append(self._journal, json.dumps(task).encode() + b"\n")

    def _assemble(
        self, layer: Layer, part: Path, sizes: Sequence[int], georeference: Sequence[Tag]
    ) -> None:
        import tifffile

        tags = list(georeference)
        if layer.ignored is not None:
            tags.append((NODATA_TAG, ASCII, 0, str(layer.ignored), True))
        shape: tuple[int, ...] = (self._height, self._width)
        colors: dict[str, Any] = {"photometric": "minisblack"}
        if layer.palette is not None:
            colors = {"photometric": "palette", "colormap": _color_table(layer.palette)}
        elif layer.num_samples > 1:
            colors = {"photometric": "rgb", "planarconfig": "contig"}
            shape = (*shape, layer.num_samples)
        is_big = sum(sizes) > MAX_CLASSIC_BYTES
        with (
            written_aside(layer.path) as aside,
            tifffile.TiffWriter(aside, bigtiff=is_big, byteorder="<") as writer,
        ):
            writer.write(
                _chunks(part, sizes), shape=shape, dtype=layer.dtype, tile=(TILE_PX, TILE_PX),
                compression="zlib", extratags=tags, metadata=None, software="pixelwise", **colors,
            )  # fmt: skip


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _tiles(rows: Array) -> Iterator[Array]:
    """Yield the tiles of a row; edge tiles are padded by repeating their last row and column."""
    missing = (TILE_PX - rows.shape[0], -rows.shape[1] % TILE_PX)
    if any(missing):
        rows = np.pad(rows, [(0, side) for side in (*missing, 0)[: rows.ndim]], mode="edge")
    for left in range(0, rows.shape[1], TILE_PX):
        yield rows[:, left : left + TILE_PX]


def _compressed(tile: Array) -> bytes:
    little_endian = tile.astype(tile.dtype.newbyteorder("<"), copy=False)
    return zlib.compress(little_endian.tobytes(), COMPRESSION_LEVEL)


def _chunks(path: Path, sizes: Sequence[int]) -> Iterator[bytes]:
    with path.open("rb") as file:
        for size in sizes:
            yield file.read(size)


def _color_table(palette: Sequence[Color]) -> Array:
    """Convert a palette to a TIFF color map, uint16 (3, 256); values without a color are black."""
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(palette)] = np.array(palette, np.uint16).T * 257
    return table
