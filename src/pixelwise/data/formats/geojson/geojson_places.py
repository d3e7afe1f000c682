"""Finds the rasters and GeoJSON files of a folder, and pairs them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pixelwise.data.formats.annotation_files import annotation_places, files_of_kind, head_of
from pixelwise.data.formats.geojson.geojson_layers import GEOJSON_SUFFIXES
from pixelwise.data.formats.json_keys import has_entry
from pixelwise.data.pairing import (
    ANNOTATION_SUFFIXES,
    IMAGE_FOLDERS,
    by_stem,
    image_files,
    named_folder,
    split_folders,
)
from pixelwise.data.problems import report_problem
from pixelwise.errors import FormatError
from pixelwise.io.images import TIFF_SUFFIXES

FIRST_FEATURE = re.compile(rb'\[\s*\{\s*"(type|geometry|properties|id|bbox)"')
"""The beginning of the features in a FeatureCollection."""

FEATURE_LIST = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*\{\s*"type"\s*:\s*"Feature"')
"""The beginning of a file that is a bare list of features."""


def scene_places(
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


def scene_pairs(rasters: list[Path], layers: list[Path]) -> list[tuple[Path, Path]]:
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
