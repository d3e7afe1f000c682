"""Checks files: missing pairs, files that cannot be decoded and sizes that differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.problems import FileProblem
from pixelwise.data.sample import Record
from pixelwise.doctor.findings import Observation
from pixelwise.doctor.unexpected_values import stored_values
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.io.arrays import Array
from pixelwise.io.decoding import decoding
from pixelwise.io.image_windows import image_size
from pixelwise.io.images import MASK_SUFFIXES, TIFF_SUFFIXES, is_exact, is_rotated, read_image
from pixelwise.io.limits import PILLOW_FORMATS, require_decodable_picture
from pixelwise.text import amount

MAX_SHOWN = 5


def left_out(problems: Iterable[FileProblem]) -> list[Observation]:
    """List what was left out when the folder was opened, one entry per file or pair of files."""
    found = []
    for entry in problems:
        reason = _shortened(str(entry.error), entry.files)
        if entry.kind in ("paired-twice", "listed-twice"):
            last = entry.files[-1]
            found.append(Observation(entry.kind, last, reason, image=last))
            continue
        found += [
            Observation(
                entry.kind,
                path,
                reason,
                image=None if entry.kind == "listed-file-missing" else path,
            )
            for path in entry.files
        ]
    return found


def _shortened(message: str, files: tuple[Path, ...]) -> str:
    """Remove from a message the folders that its line begins with anyway."""
    for path in files:
        message = message.removeprefix(f"{path} ").replace(f"{path.parent}/", "")
    return message


def diagnose(
    record: Record, error: PixelwiseError, image: Array | None, *, in_color: bool = False
) -> list[Observation]:
    """Find out why a record could not be loaded by checking each of its files.

    Args:
        record: A record that could not be loaded for a reason other than unexpected values.
        error: The error that loading it raised.
        image: Its image, if that can be read.
        in_color: Whether the format stores colors, so that colors in a mask are no reason.
    """
    if image is None:
        return [Observation("corrupt-image", record.image, _shortened(str(error), (record.image,)))]
    found = []
    for path in record.masks:
        if is_exact(path):
            found += _wrong_mask(record, path, image, in_color=in_color)
    shown = record.masks[0] if record.masks else record.image
    detail = _shortened(str(error), (shown,))
    return found or [Observation("label-refused", shown, detail, image=record.image)]


def _wrong_mask(record: Record, path: Path, image: Array, *, in_color: bool) -> list[Observation]:
    try:
        pixels = read_image(path)
    except DataError as error:
        detail = _shortened(str(error), (path,))
        return [Observation("corrupt-mask", path, detail, image=record.image)]
    height, width = image.shape[:2] if record.window is None else image_size(record.image)
    mask_height, mask_width = pixels.shape[:2]
    if (height, width) != (mask_height, mask_width):
        is_turned = (height, width) == (mask_width, mask_height)
        detail = f"{mask_width} x {mask_height}, its image {width} x {height}"
        if is_turned and is_rotated(record.image):
            detail += ", which carries an EXIF rotation"
        kind = "orientation-mismatch" if is_turned else "size-mismatch"
        return [Observation(kind, path, detail, image=record.image)]
    return [] if in_color else colors_in_mask(path)


def colors_in_mask(path: Path, *, in_color: bool = False) -> list[Observation]:
    """List the colors of a mask, the most frequent first.

    Args:
        path: A mask that should hold class numbers, or one of colors that are too many.
        in_color: Whether the format stores colors.
    """
    stored = stored_values(path, _shape_of(path))
    if stored is None or stored.ndim == 2:
        return []
    colors, counts = np.unique(stored.reshape(-1, stored.shape[-1]), axis=0, return_counts=True)
    worst = np.argsort(-counts, kind="stable")[:MAX_SHOWN].tolist()
    shown = ", ".join(f"{tuple(colors[i].tolist())} {amount(counts[i], 'pixel')}" for i in worst)
    more = f", and {len(colors) - len(worst):,} more" if len(colors) > len(worst) else ""
    detail = f"{len(colors):,} colors: {shown}{more}"
    kind = "color-levels" if in_color else "colors-in-index-masks"
    return [Observation(kind, path, detail, image=path)]


def _shape_of(path: Path) -> tuple[int, ...]:
    try:
        return read_image(path).shape[:2]
    except DataError:
        return ()


def alpha_in_mask(record: Record) -> list[Observation]:
    """Report alpha channels of masks, which are not read."""
    found = []
    for path in record.masks:
        if path.suffix.lower() in MASK_SUFFIXES - TIFF_SUFFIXES - {".npy"}:
            try:
                found += _alpha(record, path)
            except DataError:  # reported separately as a corrupt file
                continue
    # For one mask per object, one line is enough.
    return found[:1]


def _alpha(record: Record, path: Path) -> list[Observation]:
    with decoding(path), Image.open(path, formats=PILLOW_FORMATS) as picture:
        if picture.mode not in ("LA", "RGBA", "PA"):
            return []
        require_decodable_picture(path, picture, is_deep=False)
        alpha = np.asarray(picture.getchannel("A"))
        levels = np.asarray(picture.convert("RGB"))
    is_drawn = bool((alpha != alpha.flat[0]).any())
    if is_drawn and bool((levels == levels[:1, :1]).all()):
        detail = f"alpha goes from {alpha.min()} to {alpha.max()}"
        return [Observation("mask-in-alpha", path, detail, image=record.image)]
    clear = int((alpha < 255).sum())
    detail = f"{clear:,} pixels are not opaque" if clear else "all pixels are opaque"
    return [Observation("alpha-in-masks", path, detail, max(clear, 1), record.image)]
