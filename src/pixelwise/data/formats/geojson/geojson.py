"""``geojson``: GeoTIFF scenes with shapes in GeoJSON files, matched by their coordinates."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.classes import BACKGROUND_NAMES, ClassMap
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import (
    IGNORE_LABEL,
    NUM_EXAMPLES,
    annotation_places,
    class_label,
    files_of_kind,
    head_of,
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
    feature_collection,
    place_layer,
    placement_remarks,
    read_layer,
)
from pixelwise.data.formats.json_keys import has_entry
from pixelwise.data.formats.shapes import paint_shapes
from pixelwise.data.pairing import (
    ANNOTATION_SUFFIXES,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    by_stem,
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

FIRST_FEATURE = re.compile(rb'\[\s*\{\s*"(type|geometry|properties|id|bbox)"')
"""The beginning of the features in a FeatureCollection."""

IGNORED_IN_QUPATH = "Ignore*"
"""QuPath's own class of regions that are ignored."""

FEATURE_LIST = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*\{\s*"type"\s*:\s*"Feature"')
"""The beginning of a file that is a bare list of features."""


@formats.register("geojson")
class GeoJson(Format):
    """One GeoJSON for each GeoTIFF, by stem, or one GeoJSON for all GeoTIFFs of a folder.

    Shapes are transformed from the reference system of the GeoJSON (by default longitude and
    latitude, as in the standard) to that of the raster, and then to pixels. A raster without a
    reference system uses its own coordinates, or pixels if it has no georeference. A pixel belongs
    to the shape that contains its center; later shapes cover earlier ones. The class of a shape is
    given by a property, see :mod:`pixelwise.data.formats.class_properties`; without any, it is
    foreground, or the only class besides background in a dataset card.

    Pixels without data are ignored. Instead of GeoTIFFs, images of any other kind may have GeoJSON
    files of their names with shapes in pixels, as QuPath exports them.
    """

    name: ClassVar[str] = "geojson"
    label_modes = ("multiclass", "multilabel")
    has_properties: ClassVar[bool] = True
    is_seen_from_above: ClassVar[bool] = True
    reads_windows: ClassVar[bool] = True
    ignores_nodata: ClassVar[bool] = True
    layout: ClassVar[str] = (
        "NAME.tif + NAME.geojson, images/NAME.tif + labels/NAME.geojson, or *.tif + one GeoJSON"
    )

    _is_guess = False
    """Whether ``class_property`` was found and not given."""

    def detect(self, folder: Path) -> Confidence:
        """Certain if GeoTIFF and GeoJSON files match, unless there are masks as well."""
        for _, rasters, layers in _places(folder, NUM_EXAMPLES):
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
        places = _places(folder)
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
            for raster, layer in _pairs(rasters, layers):
                try:
                    if _is_tiff(raster):
                        grid = read_grid(raster)
                        if len(layers) == 1:
                            place_layer(layer, raster, grid)  # cached for all windows
                except DataError as error:
                    report_problem("corrupt-image", error, raster)
                    continue
                name = raster.relative_to(folder).with_suffix("").as_posix()
                records.append(Record(name, raster, (layer,), split))
        shapes = _shapes(records)
        if records and not shapes and any(map(_num_without_area, _layers_of(records))):
            raise FormatError(
                f"{folder} must contain shapes with an area. Got only points and lines. Buffer "
                "them to areas"
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
        said = chosen_property(self.class_property, _shapes(records), labels, FOREGROUND)
        count = sum(map(_num_without_area, _layers_of(records)))
        lost = f"points and lines are left out, which have no area: {count:,}" if count else None
        places = [
            (record.image, path, _grid(record)) for record in records for path in record.masks
        ]
        return [*(line for line in (said, lost) if line), *placement_remarks(places)]

    def _labels(self, records: Sequence[Record]) -> set[str | None]:
        """Return the classes of all shapes; ``None`` for shapes without one."""
        return {
            self._label(shape) for path in _layers_of(records) for shape in read_layer(path).shapes
        }

    def _label(self, shape: FeatureOf) -> str | None:
        """Return the class of a shape; ``None`` for a shape without one."""
        label = class_of(shape.properties, self.class_property, shape.where)
        return IGNORE_LABEL if label == IGNORED_IN_QUPATH else label

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the window and paint the shapes that touch it."""
        (path,) = record.masks
        image, has_data, grid = _read(record)
        layer = place_layer(path, record.image, grid)
        window = record.window or (0, 0, *image.shape[:2])
        shapes = layer.shapes_in(window, self._namer(class_map))
        mask = paint_shapes(shapes, window[2:], class_map, self.label_mode, path)
        mode_of(self.label_mode).ignore(mask, ~has_data)
        return Sample(record.name, image, mask, self.label_mode)

    def shrunk_mask(self, record: Record, class_map: ClassMap, step: int) -> UInt8Array:
        """Paint the shapes at a smaller size; missing data is looked for at some pixels only."""
        (path,) = record.masks
        grid = _grid(record)
        layer = place_layer(path, record.image, grid)
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


def _layers_of(records: Sequence[Record]) -> list[Path]:
    """Return the GeoJSON files of some records, each once."""
    return sorted({path for record in records for path in record.masks})


def _num_without_area(layer: Path) -> int:
    return read_layer(layer).num_without_area


def _shapes(records: Sequence[Record]) -> list[Properties]:
    """Return the properties of all shapes of some records."""
    layers = map(read_layer, _layers_of(records))
    return [shape.properties for layer in layers for shape in layer.shapes]


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


def _places(
    folder: Path, most: int | None = None
) -> list[tuple[str | None, list[Path], list[Path]]]:
    """Return split, rasters and GeoJSON files of each place with a GeoJSON.

    A GeoJSON beside the split folders applies to all of them. The same folders are searched as in
    :func:`annotation_places`.
    """
    found = []
    for place in annotation_places(folder, _is_geojson, most):
        # Masks may lie beside the GeoJSON, so the image folder comes first.
        homes = [home for home in place.images if home != place.annotations]
        layers = _layers(place.annotations)
        found.append((place.split, _rasters((*homes, place.annotations), layers), layers))
    shared = [] if found else _layers(folder)
    if shared:
        images = named_folder(folder, IMAGE_FOLDERS) or folder
        for split, root in split_folders(images).items():
            rasters_there = image_files(named_folder(root, IMAGE_FOLDERS) or root, TIFF_SUFFIXES)
            found.append((split, rasters_there, shared))
    return found


def _rasters(homes: Sequence[Path], layers: Sequence[Path]) -> list[Path]:
    """Return the GeoTIFFs of the first folder with any, else other images named as the layers."""
    found = next(filter(None, (image_files(home, TIFF_SUFFIXES) for home in homes)), [])
    stems = {layer.stem for layer in layers}
    for home in () if found else homes:
        images = image_files(home)
        if stems & {path.stem for path in images}:
            return images
    return found


def _layers(folder: Path) -> list[Path]:
    return [path for path in files_of_kind(folder, GEOJSON_SUFFIXES) if _is_geojson(path)]


def _is_geojson(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix == GEOJSON_SUFFIXES[0]:
        return True
    if suffix not in GEOJSON_SUFFIXES or not path.is_file():
        return False
    return has_entry(path, _is_mark) or FEATURE_LIST.match(head_of(path)) is not None


def _is_mark(key: str, value: bytes) -> bool:
    """Whether the entry is the type of features, or their list if keys are sorted."""
    if key == "type":
        return value.startswith((b'"FeatureCollection"', b'"Feature"'))
    return key == "features" and FIRST_FEATURE.match(value) is not None


def _pairs(rasters: list[Path], layers: list[Path]) -> list[tuple[Path, Path]]:
    """Pair each raster with its GeoJSON: that of the same stem, or the only one.

    A single GeoJSON named after one of several rasters is not used for the others.
    """
    images = by_stem(rasters, "raster")
    for stem, raster in list(images.items()):
        whole = next((images[base] for base in map(stem.removesuffix, ANNOTATION_SUFFIXES)
                      if base != stem and base in images), None)  # fmt: skip
        if whole is not None:
            error = FormatError(
                f"{raster} must be a scene. By its name, it is a mask of {whole.name}, whose "
                "shapes are in the GeoJSON. Move it elsewhere"
            )
            report_problem("paired-twice", error, raster)
            del images[stem]
    if len(layers) == 1 and (len(images) == 1 or layers[0].stem not in images):
        return [(raster, layers[0]) for raster in images.values()]
    shapes = by_stem(layers, "GeoJSON")
    for stem in sorted(images.keys() - shapes.keys()):
        error = FormatError(
            f"{images[stem]} must have a GeoJSON {layers[0].with_name(stem)}{layers[0].suffix}. "
            "There is none. Add it (without features if there is nothing), put all shapes into "
            "one GeoJSON, or move the raster elsewhere"
        )
        report_problem("image-without-mask", error, images[stem])
    for stem in sorted(shapes.keys() - images.keys()):
        error = FormatError(
            f"{shapes[stem]} must have a raster {stem}.tif. There is none. Name it as its raster, "
            "add the raster, or move the GeoJSON elsewhere"
        )
        report_problem("mask-without-image", error, shapes[stem])
    return [(images[stem], shapes[stem]) for stem in sorted(images.keys() & shapes.keys())]


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
