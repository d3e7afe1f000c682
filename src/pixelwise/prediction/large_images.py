"""Predicts images larger than memory: reads, segments and writes one row of tiles at a time.

The class ids are bit-identical to those of the whole image predicted in tiles. Nodata pixels of the
file are ignored pixels in the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pixelwise.classes import IGNORE_INDEX
from pixelwise.errors import DataError
from pixelwise.files import write_text
from pixelwise.io.arrays import Array
from pixelwise.io.decoding import is_of_the_system
from pixelwise.io.image_rows import (
    ImageRows,
    Rows,
    SlidingRows,
    open_rows,
    size_in_header,
    world_file,
)
from pixelwise.io.stored_pixels import LayoutError
from pixelwise.label_modes import mode_of
from pixelwise.models.model_file import ModelCard, current_versions
from pixelwise.prediction.partial_files import TILE_PX, Layer, PartialFiles
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.writers import SaveKind, class_overlay, prediction_planes

LARGE_PIXELS = 2**25
"""Images with more pixels, about 5,800 x 5,800, are predicted in rows of tiles, into TIFF files."""

NUM_LOOKS = 16
"""Number of places where rows are sampled to set the brightness of an overlay."""

LOOK_ROWS = 8


def num_steps(path: Path) -> int | None:
    """Return the number of tile rows of a large image; ``None`` if it is predicted at once."""
    size = size_in_header(path)
    if size is None or size[0] * size[1] <= LARGE_PIXELS:
        return None
    return -(-size[0] // TILE_PX)


def predict_large(
    predictor: Predictor,
    path: Path,
    folders: Mapping[SaveKind, Path],
    stem: str,
    *,
    partial: Path,
    on_step: Callable[[int], None],
) -> list[Path]:
    """Segment an image in rows of tiles; if interrupted, the same call resumes where it stopped.

    Results are TIFF files with compressed tiles and the georeference of the image. In ``index``
    files, ignored pixels are the nodata value if the image has one. ``overlay`` files have no
    legend, so that they align with the image.

    Args:
        predictor: Model.
        path: TIFF or ``.npy`` file.
        folders: Output folder of each kind of result.
        stem: File name without suffix; may contain folders.
        partial: Folder for partial results; removed when all files are written.
        on_step: Callback that receives the number of finished rows of tiles.

    Returns:
        The files written.

    Raises:
        LayoutError: The file or the model needs the whole image at once.
        DataError: The image is damaged, or the model was trained on other types of images.
        OutputError: A result cannot be written.
    """
    step = predictor.card.preprocessing.whole_image_step
    if step is not None:
        raise LayoutError(
            f"{path} must be predicted as a whole, because the model's preprocessing includes "
            f"{step}. It does not fit into memory. Cut it into tiles, or train a model without "
            "that step"
        )
    with open_rows(path) as image:
        drawing = _Drawing(predictor, image, folders, stem)
        size = (image.height, image.width)
        files = PartialFiles(partial, _task(predictor, path, folders), drawing.layers, size)
        try:
            _predict(predictor, image, drawing, files, on_step)
        except DataError as error:
            # Keep the partial results if only the disk or the memory failed.
            cause = error.__cause__
            if not (is_of_the_system(cause) or isinstance(cause, MemoryError)):
                files.discard()
            raise
        written = files.finish(image.georeference)
        beside = None if image.georeference else world_file(path)
        if beside is not None:
            for file in written:
                write_text(file.with_suffix(beside.suffix), beside.read_text(encoding="utf-8"))
        return written


def _predict(
    predictor: Predictor,
    image: ImageRows,
    drawing: _Drawing,
    files: PartialFiles,
    on_step: Callable[[int], None],
) -> None:
    """Segment the rows that are not finished yet."""
    on_step(-(-files.num_rows // TILE_PX))
    if files.num_rows == image.height:
        return
    window = SlidingRows(image)
    waiting = _Waiting(files, drawing.layers, (image.height, image.width))
    for top, left, logits in predictor.segment_rows(
        lambda start, stop: window.move(start, stop).pixels,
        (image.height, image.width),
        first_row=files.num_rows,
        name=str(image.path),
    ):
        probabilities = predictor.to_probabilities(logits)
        rows = window.part(top, left, *logits.shape[-2:])
        if waiting.add(left, drawing.draw(probabilities, rows)):
            on_step(-(-files.num_rows // TILE_PX))


class _Drawing:
    """Draws the output files of a large image.

    Attributes:
        layers: Output files.
    """

    def __init__(
        self, predictor: Predictor, image: ImageRows, folders: Mapping[SaveKind, Path], stem: str
    ) -> None:
        self._predictor = predictor
        self._kinds = tuple(folders)
        self._like = _looks(image) if "overlay" in folders else None
        card = predictor.card
        mode = mode_of(card.label_mode)
        nothing = np.zeros((card.class_map.num_classes, 1, 1), np.float32)
        self.layers: list[Layer] = []
        for kind, folder in folders.items():
            if kind == "overlay":
                self.layers.append(Layer(folder / f"{stem}_overlay.tif", "uint8", num_samples=3))
                continue
            is_index = kind == "index"
            self.layers += [
                Layer(
                    folder / f"{stem}{ending}.tif",
                    str(plane.dtype),
                    palette=mode.palette(card.class_map) if is_index else None,
                    ignored=IGNORE_INDEX if is_index and image.has_ignored else None,
                )
                for ending, plane in _planes(kind, nothing, card)
            ]

    def draw(self, probabilities: npt.NDArray[np.float32], rows: Rows) -> list[Array]:
        """Return the pixels of each layer for a part of the image; nodata pixels are ignored, or 0.

        Args:
            probabilities: float32 (K, H, W).
            rows: The same part of the image.
        """
        card = self._predictor.card
        drawn: list[Array] = []
        for kind in self._kinds:
            if kind == "overlay":
                picture = class_overlay(
                    rows.pixels, probabilities, card.class_map, card.label_mode, like=self._like
                )
                drawn.append(np.array(picture))
            else:
                drawn += [plane for _, plane in _planes(kind, probabilities, card)]
        if rows.is_ignored is not None:
            for layer, plane in zip(self.layers, drawn, strict=True):
                plane[rows.is_ignored] = layer.ignored or 0
        return drawn


def _planes(
    kind: SaveKind, probabilities: npt.NDArray[np.float32], card: ModelCard
) -> list[tuple[str, Array]]:
    return prediction_planes(kind, probabilities, card.class_map, card.label_mode)


class _Waiting:
    """Collects finished parts until they fill a row of file tiles."""

    def __init__(self, files: PartialFiles, layers: list[Layer], size: tuple[int, int]) -> None:
        self._files = files
        self._layers = layers
        self._height, self._width = size
        self._rows = [np.zeros(self._shape(layer, 0), layer.dtype) for layer in layers]

    def _shape(self, layer: Layer, num_rows: int) -> tuple[int, ...]:
        return (num_rows, self._width, 3)[: 2 + (layer.num_samples > 1)]

    def add(self, left: int, planes: list[Array]) -> bool:
        """Add the next part; return whether rows were written."""
        num_rows, num_columns = planes[0].shape[:2]
        if left == 0:
            self._rows = [
                np.concatenate([rows, np.empty(self._shape(layer, num_rows), layer.dtype)])
                for rows, layer in zip(self._rows, self._layers, strict=True)
            ]
        for rows, plane in zip(self._rows, planes, strict=True):
            rows[-num_rows:, left : left + num_columns] = plane
        if left + num_columns < self._width:
            return False
        was = self._files.num_rows
        while (
            len(self._rows[0]) >= TILE_PX
            or 0 < len(self._rows[0]) == self._height - self._files.num_rows
        ):
            self._files.append([rows[:TILE_PX] for rows in self._rows])
            self._rows = [rows[TILE_PX:] for rows in self._rows]
        return self._files.num_rows > was


def _looks(image: ImageRows) -> Array:
    """Return sampled rows from top to bottom, which determine the brightness of the image."""
    places = np.linspace(0, max(0, image.height - LOOK_ROWS), NUM_LOOKS).astype(int)
    return np.concatenate(
        [
            image.read(start, min(start + LOOK_ROWS, image.height)).pixels
            for start in dict.fromkeys(places.tolist())
        ]
    )


def _task(predictor: Predictor, path: Path, folders: Mapping[SaveKind, Path]) -> dict[str, Any]:
    """Return everything that the results depend on, as plain data for JSON."""
    state = path.stat()
    return {
        "versions": current_versions(),
        "model": _fingerprint(predictor),
        "device": predictor.device.type,
        "precision": predictor.precision,
        "engine": predictor.engine,
        "tile": list(predictor.tile),
        "image": [str(path.resolve()), state.st_size, state.st_mtime_ns],
        "save": {kind: str(folder.resolve()) for kind, folder in folders.items()},
    }


def _fingerprint(predictor: Predictor) -> str:
    """Return a hash of the weights and the card."""
    digest = hashlib.sha256(predictor.card.model_dump_json().encode())
    for name, tensor in predictor.model.state_dict().items():
        digest.update(name.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
