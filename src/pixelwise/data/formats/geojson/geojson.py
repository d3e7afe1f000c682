"""``geojson``: GeoTIFF scenes with shapes in GeoJSON files, matched by their coordinates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.classes import BACKGROUND_NAMES, ClassMap, LabelMode, Unexpected
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import (
    IGNORE_LABEL,
    NUM_EXAMPLES,
    class_label,
    labeled_class_map,
    written_regions,
)
from pixelwise.data.formats.class_properties import (
    Properties,
    chosen_property,
    class_of,
    find_class_property,
)
from pixelwise.data.formats.geojson.geojson_layers import (
    FOREGROUND,
    GEOJSON_SUFFIXES,
    FeatureOf,
    Layer,
    feature_collection,
    place_layer,
    placement_remarks,
    read_layer,
)
from pixelwise.data.formats.geojson.geojson_places import scene_pairs, scene_places
from pixelwise.data.formats.shapes import paint_shapes
from pixelwise.data.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    image_files,
    named_folder,
    require_masks,
    split_folders,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample
from pixelwise.data.writing import stem_of
from pixelwise.errors import DataError, FormatError
from pixelwise.files import write_text
from pixelwise.io.arrays import Array, BoolArray, UInt8Array
from pixelwise.io.geotiff import Grid, read_grid, read_window, shrunk_has_data, write_raster
from pixelwise.io.image_windows import image_size, in_window
from pixelwise.io.images import TIFF_SUFFIXES, read_image
from pixelwise.label_modes import mode_of
from pixelwise.text import listed

IGNORED_IN_QUPATH = "Ignore*"
"""QuPath's own class of regions that are ignored."""


@formats.register("geojson")
class GeoJson(Format):
    """One GeoJSON for each GeoTIFF, by stem, or one GeoJSON for all GeoTIFFs of a folder.

    Shapes are transformed from the reference system of the GeoJSON (by default longitude and
    latitude, as in the standard) to that of the raster, and then to pixels. A raster without a
    reference system uses its own coordinates, or pixels if it has no georeference. A pixel belongs
    to the shape that contains its center; later shapes cover earlier ones. The class of a shape is
    given by a property, see :mod:`pixelwise.data.formats.class_properties`; without any, it is
    foreground, or the only class besides background in a dataset card. Points and lines are left
    out and counted, or painted with a half width.

    Pixels without data are ignored. Instead of GeoTIFFs, images of any other kind may have GeoJSON
    files of their names with shapes in pixels, as QuPath exports them.
    """

    name: ClassVar[str] = "geojson"
    label_modes = ("multiclass", "multilabel")
    has_properties: ClassVar[bool] = True
    is_seen_from_above: ClassVar[bool] = True
    reads_windows: ClassVar[bool] = True
    ignores_nodata: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = frozenset({"buffer"})
    layout: ClassVar[str] = (
        "NAME.tif + NAME.geojson, images/NAME.tif + labels/NAME.geojson, or *.tif + one GeoJSON"
    )

    _is_guess = False
    """Whether ``class_property`` was found and not given."""

    def __init__(
        self,
        label_mode: LabelMode | None = None,
        unexpected: Unexpected | None = None,
        class_property: str | None = None,
        *,
        buffer: float | None = None,
    ) -> None:
        """Make the format.

        Args:
            label_mode: See :class:`Format`.
            unexpected: See :class:`Format`.
            class_property: See :class:`Format`.
            buffer: Half width with which points and lines are painted, in units of the reference
                system of the raster, or pixels without one; ``None`` leaves them out.
        """
        super().__init__(label_mode, unexpected, class_property)
        self.buffer = buffer

    def card_entries(self) -> dict[str, Any]:
        """Return the entries of every format, and the half width of points and lines."""
        said = {} if self.buffer is None else {"buffer": self.buffer}
        return {**super().card_entries(), **said}

    def detect(self, folder: Path) -> Confidence:
        """Certain if GeoTIFF and GeoJSON files match, unless there are masks as well."""
        for _, rasters, layers in scene_places(folder, NUM_EXAMPLES):
            if rasters and layers:
                home, kind = layers[0].parent, layers[0].suffix
                masks = named_folder(home, MASK_FOLDERS)
                return Confidence(
                    0.5 if masks and image_files(masks) else 0.9,
                    f"GeoTIFF, and shapes in {(home / '*').relative_to(folder)}{kind}",
                )
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Return one record per raster."""
        places = scene_places(folder)
        labeled = {split for split, _, _ in places}
        require_masks(
            {
                split: named_folder(root, IMAGE_FOLDERS) or root
                for split, root in split_folders(folder).items()
                if split and split not in labeled
            }
        )
        records = []
        for split, rasters, layers in places:
            for raster, layer in scene_pairs(rasters, layers):
                try:
                    if _is_tiff(raster):
                        grid = read_grid(raster)
                        if len(layers) == 1:
                            place_layer(layer, raster, grid, self.buffer)  # cached for all windows
                except DataError as error:
                    report_problem("corrupt-image", error, raster)
                    continue
                name = raster.relative_to(folder).with_suffix("").as_posix()
                records.append(Record(name, raster, (layer,), split))
        shapes = self._shapes(records)
        if records and not shapes and self._num_thin(records):
            raise FormatError(
                f"{folder} must contain shapes with an area. Got only points and lines. Choose "
                "their half width with `buffer`"
            )
        if self.class_property is None:
            self.class_property = find_class_property(shapes, folder)
            self._is_guess = self.class_property is not None
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002
    ) -> ClassMap:
        """Return background for multiclass labels, then the classes of the shapes by name."""
        labels = {label or FOREGROUND for label in self._labels(records)}
        if not labels - {IGNORE_LABEL, *BACKGROUND_NAMES}:
            labels.add(FOREGROUND)
        return labeled_class_map(sorted(labels), self.label_mode, folder)

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Say which property gives the classes, what has no area, and where the shapes lie."""
        labels = sorted({label or FOREGROUND for label in self._labels(records)})
        said = chosen_property(self.class_property, self._shapes(records), labels, FOREGROUND)
        places = [
            (record.image, path, _grid(record)) for record in records for path in record.masks
        ]
        thin = self._said_of_thin(records)
        lines = [line for line in (said, thin) if line]
        return lines + placement_remarks(places, self.buffer)

    def _said_of_thin(self, records: Sequence[Record]) -> str | None:
        """Say what becomes of points and lines, if there are any."""
        count = self._num_thin(records)
        if not count:
            return None
        if self.buffer is None:
            return (
                f"points and lines are left out, which have no area: {count:,}; `buffer` paints "
                "them with a half width"
            )
        units = listed(sorted({_grid(record).units for record in records}), 3)
        return f"points and lines are painted {self.buffer:g} {units} to each side: {count:,}"

    def _layers(self, records: Sequence[Record]) -> list[Layer]:
        """Return the GeoJSON files of some records, each once."""
        paths = sorted({path for record in records for path in record.masks})
        return [read_layer(path, self.buffer is not None) for path in paths]

    def _num_thin(self, records: Sequence[Record]) -> int:
        """Return the number of points and lines."""
        return sum(layer.num_without_area for layer in self._layers(records))

    def _shapes(self, records: Sequence[Record]) -> list[Properties]:
        """Return the properties of all shapes of some records."""
        return [shape.properties for layer in self._layers(records) for shape in layer.shapes]

    def _labels(self, records: Sequence[Record]) -> set[str | None]:
        """Return the classes of all shapes; ``None`` for shapes without one."""
        return {self._label(shape) for layer in self._layers(records) for shape in layer.shapes}

    def _label(self, shape: FeatureOf) -> str | None:
        """Return the class of a shape; ``None`` for a shape without one."""
        label = class_of(shape.properties, self.class_property, shape.where)
        return IGNORE_LABEL if label == IGNORED_IN_QUPATH else label

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the window and paint the shapes that touch it."""
        (path,) = record.masks
        image, has_data, grid = _read(record)
        layer = place_layer(path, record.image, grid, self.buffer)
        window = record.window or (0, 0, *image.shape[:2])
        shapes = layer.shapes_in(window, self._namer(class_map))
        mask = paint_shapes(shapes, window[2:], class_map, self.label_mode, path)
        mode_of(self.label_mode).ignore(mask, ~has_data)
        return Sample(record.name, image, mask, self.label_mode)

    def shrunk_mask(self, record: Record, class_map: ClassMap, step: int) -> UInt8Array:
        """Paint the shapes at a smaller size; missing data is looked for at some pixels only."""
        (path,) = record.masks
        grid = _grid(record)
        layer = place_layer(path, record.image, grid, self.buffer)
        shapes = layer.shrunk_shapes(grid, step, self._namer(class_map))
        size = -(-grid.height // step), -(-grid.width // step)
        mask = paint_shapes(shapes, size, class_map, self.label_mode, path)
        if _is_tiff(record.image):
            mode_of(self.label_mode).ignore(mask, ~shrunk_has_data(record.image, grid, step))
        return mask

    def _namer(self, class_map: ClassMap) -> Callable[[FeatureOf], str | None]:
        """Return a function that names the class of a feature; ``None`` means ignored."""
        unnamed = _class_of_unnamed(class_map)

        def class_name(shape: FeatureOf) -> str | None:
            label = self._label(shape) or unnamed
            # A card of a single class takes precedence over a property that nobody asked for.
            is_known = label in (*class_map.names, IGNORE_LABEL) or not self._is_guess
            return class_label(label if is_known else unnamed, class_map)

        return class_name

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse soft masks, and class names that are special labels."""
        for name in content.class_map.names:
            if name in ("", IGNORE_LABEL) or name != name.strip():
                return f"a class cannot be called {name!r}"
        if content.is_soft:
            return "its shapes have no soft edges"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write ``SPLIT/images/NAME.tif`` and ``SPLIT/labels/NAME.geojson``.

        There is one feature per connected part. A GeoTIFF keeps its georeference. For other images,
        shapes are in pixels, x to the right and y down, and the GeoJSON contains ``"crs": null``.
        """
        for record, sample in samples:
            home, stem = folder / (record.split or ""), stem_of(record)
            regions = written_regions(sample.mask, class_map, sample.label_mode)
            grid = _grid_of(record, sample)
            images = home / IMAGE_FOLDERS[0]
            images.mkdir(parents=True, exist_ok=True)
            write_raster(images / f"{stem}.tif", sample.image, grid)
            content = feature_collection(regions, grid, record.image)
            write_text(home / "labels" / f"{stem}{GEOJSON_SUFFIXES[0]}", json.dumps(content))


def _is_tiff(image: Path) -> bool:
    return image.suffix.lower() in TIFF_SUFFIXES


def _read(record: Record) -> tuple[Array, BoolArray, Grid]:
    """Return the image of a record, where it has data, and the grid of the whole file."""
    if _is_tiff(record.image):
        return *read_window(record.image, record.window), _grid(record)
    image = read_image(record.image, in_window(record.window))
    return image, np.ones(image.shape[:2], np.bool_), _grid(record)


def _grid(record: Record) -> Grid:
    """Return the grid of the image of a record; pictures of other kinds have pixels only."""
    if _is_tiff(record.image):
        return read_grid(record.image)
    return Grid(*image_size(record.image), None, (1, 0, 0, 0, 1, 0))


def _class_of_unnamed(class_map: ClassMap) -> str:
    """Return the class of shapes without a class property."""
    names = [name for name in class_map.names if name not in BACKGROUND_NAMES]
    return names[0] if len(names) == 1 else FOREGROUND


def _grid_of(record: Record, sample: Sample) -> Grid | None:
    """Return the georeference of the image to write, if its file has one."""
    if record.image.suffix.lower() not in TIFF_SUFFIXES:
        return None
    try:
        grid = read_grid(record.image).part(record.window)
    except DataError:
        return None
    is_placed = grid.crs is not None or grid.to_world != (1, 0, 0, 0, 1, 0)
    same_size = (grid.height, grid.width) == sample.image.shape[:2]
    return grid if is_placed and same_size else None
