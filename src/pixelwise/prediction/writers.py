"""Writes predictions: class ids, overlays with a legend, binary masks, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
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
``binary``: 0 and 255. ``probabilities``: one 16-bit PNG per class, 0..65535 for 0..1."""

OVERLAY_OPACITY = 0.5


def save_kind(name: str) -> SaveKind:
    """The kind of that name.

    Raises:
        UnknownNameError: There is none.
    """
    for kind in SAVE_KINDS:
        if kind == name:
            return kind
    raise UnknownNameError("--save", name, SAVE_KINDS)


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
    """Write one prediction in one of the kinds.

    Args:
        folder: Where to.
        stem: Name of the files, without suffix; may hold folders.
        kind: What to write; see :data:`SAVE_KINDS`.
        image: The image, (H, W, C).
        probabilities: float32 (K, H, W) at the image's size.
        class_map: The classes.
        label_mode: Of the model.

    Returns:
        The files written; all of them have exactly the image's size but the overlay, which has
        its legend below.

    Raises:
        OutputError: A file cannot be written.
    """
    if kind == "overlay":
        picture = class_overlay(image, probabilities, class_map, label_mode)
        entries = list(zip(class_map.names, class_map.colors, strict=True))
        return [_save(folder / f"{stem}_overlay.png", with_legend(picture, entries))]
    palette = index_palette(class_map, label_mode)
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
    """What the files of a kind hold, pixel by pixel, so that parts of an image can be drawn alone.

    Args:
        kind: Any but ``overlay``.
        probabilities: float32 (K, H, W).
        class_map: The classes.
        label_mode: Of the model.

    Returns:
        For each file the ending of its name, and (H, W), uint8 or uint16.
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


def class_numbers(probabilities: npt.NDArray[np.float32], label_mode: LabelMode) -> UInt8Array:
    """What an index picture holds: class ids, or of multilabel masks 1 + the likeliest class.

    Args:
        probabilities: float32 (K, H, W).
        label_mode: Of the model.
    """
    return mode_of(label_mode).numbers(probabilities)


def index_palette(class_map: ClassMap, label_mode: LabelMode) -> tuple[Color, ...]:
    """A color for each number of :func:`class_numbers`."""
    return mode_of(label_mode).palette(class_map)


def untinted_class(class_map: ClassMap, label_mode: LabelMode) -> int | None:
    """Which number of :func:`class_numbers` leaves an overlay as the image is, if any.

    It is the ground, and of multilabel classes the pixels of none: their colors are mostly black,
    which would only darken the image.
    """
    return mode_of(label_mode).untinted(class_map)


def viewable(image: Array, *, like: Array | None = None) -> UInt8Array:
    """Any image as uint8 (H, W, 3) to look at: other depths are stretched from 2 to 98 per cent.

    Args:
        image: (H, W, C); of two channels the first is shown, of four and more the first three.
        like: An image of the same type, whose percentiles are taken instead, so that brightness
            and contrast of the two can be compared.
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
    """The image tinted by what was predicted, without a legend.

    Args:
        image: (H, W, C).
        probabilities: float32 (K, H, W).
        class_map: The classes.
        label_mode: Of the model.
        like: Decides brightness and contrast instead of the image; see :func:`viewable`.
    """
    return overlay_picture(
        image,
        class_numbers(probabilities, label_mode),
        index_palette(class_map, label_mode),
        hide=untinted_class(class_map, label_mode),
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
    """The image with each pixel tinted in the color of its class.

    Args:
        image: (H, W, C).
        classes: Class numbers (H, W).
        palette: A color per class number.
        hide: A class number that is left untinted.
        opacity: How much of the color covers the image, 0 to 1.
        like: Decides brightness and contrast instead of the image; see :func:`viewable`.
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
    picture: Image.Image, entries: Sequence[tuple[str, Color]], *, caption: str = ""
) -> Image.Image:
    """A picture with its legend below, wrapped to the picture's width (at least 240 pixels).

    Args:
        picture: RGB.
        entries: Names and colors.
        caption: A line of text under the legend.
    """
    size = max(12, round(min(picture.size) / 40))
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
