"""Writes predictions: class ids, overlays with a legend, binary masks, probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pixelwise.classes import ClassMap, Color, LabelMode
from pixelwise.data.writing import index_picture
from pixelwise.errors import UnknownNameError
from pixelwise.files import file_names, written_aside
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.label_modes import mode_of

SaveKind = Literal["index", "overlay", "binary", "probabilities"]
SAVE_KINDS: tuple[SaveKind, ...] = get_args(SaveKind)
"""``index``: palette PNG of class ids. ``overlay``: the image tinted by class, with a legend.
``binary``: masks of 0 and 255. ``probabilities``: one 16-bit PNG per class, 0..65535 for 0..1."""

OVERLAY_OPACITY = 0.5


def save_kind(name: str) -> SaveKind:
    """Return the name as a :data:`SaveKind`.

    Raises:
        UnknownNameError: No kind has this name.
    """
    for kind in SAVE_KINDS:
        if kind == name:
            return kind
    raise UnknownNameError("`save`", name, SAVE_KINDS)


def longest_ending(kinds: Iterable[SaveKind], class_map: ClassMap) -> int:
    """Return how many bytes longer than the stem the name of a result can be."""
    part = max(len(os.fsencode(f"_{part}")) for part in file_names(class_map.names))
    lengths = {"index": 0, "overlay": len("_overlay"), "binary": part, "probabilities": part}
    # The folder of the partial results of a large image is called .STEM.partial.
    return max(len("..partial"), *(lengths[kind] + len(".png") for kind in kinds))


def write_prediction(
    folder: Path,
    stem: str,
    kind: SaveKind,
    *,
    image: Array,
    probabilities: npt.NDArray[np.float32],
    class_map: ClassMap,
    label_mode: LabelMode,
) -> list[Path]:
    """Write one kind of result of a prediction.

    Args:
        folder: Output folder.
        stem: File name without suffix; may contain folders.
        kind: Kind of result; see :data:`SAVE_KINDS`.
        image: Image (H, W, C).
        probabilities: float32 (K, H, W) at the image's size.
        class_map: Classes.
        label_mode: Label mode of the model.

    Returns:
        The files written. All have the size of the image, except the overlay, which has a legend
        below the image.

    Raises:
        OutputError: A file cannot be written.
    """
    if kind == "overlay":
        picture = class_overlay(image, probabilities, class_map, label_mode)
        entries = list(zip(class_map.names, class_map.colors, strict=True))
        return [_save(folder / f"{stem}_overlay.png", with_legend(picture, entries))]
    palette = mode_of(label_mode).palette(class_map)
    return [
        _save(
            folder / f"{stem}{ending}.png",
            index_picture(plane, palette) if kind == "index" else Image.fromarray(plane),
        )
        for ending, plane in prediction_planes(kind, probabilities, class_map, label_mode)
    ]


def prediction_planes(
    kind: SaveKind,
    probabilities: npt.NDArray[np.float32],
    class_map: ClassMap,
    label_mode: LabelMode,
) -> list[tuple[str, Array]]:
    """Return the pixels of each file of one kind; parts of an image can be drawn separately.

    Args:
        kind: Any kind except ``overlay``.
        probabilities: float32 (K, H, W).
        class_map: Classes.
        label_mode: Label mode of the model.

    Returns:
        File name ending and pixels (H, W), uint8 or uint16, of each file.
    """
    mode = mode_of(label_mode)
    parts = [f"_{part}" for part in file_names(class_map.names)]
    if kind == "probabilities":
        levels = np.round(probabilities * 65535).astype(np.uint16)
        return list(zip(parts, levels, strict=True))
    if kind == "index":
        return [("", mode.numbers(probabilities))]
    if mode.needs_background and class_map.num_classes == 2:
        return [("", mode.numbers(probabilities) * np.uint8(255))]
    planes = mode.decided_planes(probabilities)
    return [
        (part, np.where(plane, 255, 0).astype(np.uint8))
        for part, plane in zip(parts, planes, strict=True)
    ]


def viewable(image: Array, *, like: Array | None = None) -> UInt8Array:
    """Convert any image to uint8 (H, W, 3) for display.

    Images of other dtypes are stretched from the 2nd to the 98th percentile.

    Args:
        image: Image (H, W, C); of two channels the first is shown, of more than three the first
            three.
        like: Image of the same dtype whose percentiles are used instead, so that brightness and
            contrast are comparable.
    """
    like = image if like is None else like
    image, like = (
        each[..., :3] if each.shape[-1] >= 3 else each[..., :1] for each in (image, like)
    )
    if image.dtype != np.uint8:
        low, high = np.percentile(like, (2, 98))
        image = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6) * 255, 0, 255)
    elif like.max() <= 1:
        image = image * 255
    return np.broadcast_to(image.astype(np.uint8), (*image.shape[:2], 3))


def class_overlay(
    image: Array,
    probabilities: npt.NDArray[np.float32],
    class_map: ClassMap,
    label_mode: LabelMode,
    *,
    like: Array | None = None,
) -> Image.Image:
    """Draw the image tinted by the predicted classes, without a legend.

    Args:
        image: Image (H, W, C).
        probabilities: float32 (K, H, W).
        class_map: Classes.
        label_mode: Label mode of the model.
        like: Image that determines brightness and contrast; see :func:`viewable`.
    """
    return overlay_picture(
        image,
        mode_of(label_mode).numbers(probabilities),
        mode_of(label_mode).palette(class_map),
        hide=mode_of(label_mode).untinted(class_map),
        like=like,
    )


def overlay_picture(
    image: Array,
    classes: UInt8Array,
    palette: Sequence[Color],
    *,
    hide: int | None = None,
    opacity: float = OVERLAY_OPACITY,
    like: Array | None = None,
) -> Image.Image:
    """Draw the image with each pixel tinted in the color of its class.

    Args:
        image: Image (H, W, C).
        classes: Class numbers, uint8 (H, W).
        palette: One color per class number.
        hide: Class number that is left untinted.
        opacity: Opacity of the colors, 0 to 1.
        like: Image that determines brightness and contrast; see :func:`viewable`.
    """
    base = viewable(image, like=like).astype(np.float32)
    table = np.zeros((256, 3), np.float32)
    table[: len(palette)] = palette
    cover = np.full(classes.shape, opacity, np.float32)
    if hide is not None:
        cover[classes == hide] = 0
    blended = base + (table[classes] - base) * cover[..., None]
    return Image.fromarray(blended.round().astype(np.uint8))


def with_legend(
    picture: Image.Image,
    entries: Sequence[tuple[str, Color]],
    *,
    caption: str = "",
    text_px: int | None = None,
) -> Image.Image:
    """Add a legend below a picture, wrapped to the picture's width (at least 240 pixels).

    Args:
        picture: RGB picture.
        entries: Names and colors.
        caption: Line of text below the legend.
        text_px: Height of the text; ``None`` adapts it to the picture.
    """
    size = text_px or max(12, round(min(picture.size) / 40))
    font = ImageFont.load_default(size)
    width = max(picture.width, 240)
    swatch, gap, line = size, size // 2, round(size * 1.6)
    places, left, top = [], gap, gap
    for name, _ in entries:
        needed = swatch + gap + round(font.getlength(name)) + 2 * gap
        if left > gap and left + needed > width:
            left, top = gap, top + line
        places.append((left, top))
        left += needed
    bottom = top + line
    height = bottom + (line if caption else 0) + gap
    sheet = Image.new("RGB", (width, picture.height + height), "white")
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        y += picture.height
        draw.rectangle((x, y, x + swatch, y + swatch), fill=tuple(color), outline=(90, 90, 90))
        draw.text((x + swatch + gap, y + swatch / 2), name, "black", font, anchor="lm")
    if caption:
        draw.text((gap, picture.height + bottom), caption, (70, 70, 70), font)
    return sheet


def _save(path: Path, picture: Image.Image) -> Path:
    with written_aside(path) as aside:
        picture.save(aside)
    return path
