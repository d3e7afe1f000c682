"""Finds the images of a folder to predict; of a data set, its images without its masks."""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.card import find_card
from pixelwise.data.formats import detect_format
from pixelwise.data.pairing import image_files
from pixelwise.data.problems import collect_problems
from pixelwise.errors import PixelwiseError
from pixelwise.prediction.parity import Note
from pixelwise.text import amount


def images_to_predict(folder: Path, out: Path, note: Note | None) -> list[Path]:
    """Return the image files of a folder, also in the folders inside it.

    The masks of a data set are images too, but nobody wants them segmented: of a folder that opens
    as a data set, only the folders of its images are searched, and its masks are left out.

    Args:
        folder: The folder.
        out: The folder of the results, which is left out.
        note: Called with a message if masks are left out.
    """
    found = _images_below(folder, out)
    images, masks, format_name = _of_data_set(folder)
    places = {image.resolve().parent for image in images}
    kept = [
        path for path in found if path.resolve().parent in places and path.resolve() not in masks
    ]
    if not kept or len(kept) == len(found):
        return found
    if note:
        note(
            f"{folder} is a data set ({format_name}): its {amount(len(kept), 'image')} are "
            f"predicted, and {amount(len(found) - len(kept), 'other picture')}, such as masks, not"
        )
    return kept


def _of_data_set(folder: Path) -> tuple[list[Path], set[Path], str]:
    """Return the labeled images and the masks of a data set, and its format; empty if it is none.

    Files that cannot be read or paired do not matter here.
    """
    try:
        with collect_problems():
            card, _, root = find_card(folder)
            data, _ = detect_format(
                root, card.format, label_mode=card.label_mode, unexpected=card.unexpected
            )
            records = data.records(root)
    except (PixelwiseError, OSError):
        return [], set(), ""
    masks = {mask.resolve() for record in records for mask in record.masks}
    return [record.image for record in records], masks, data.name


def _images_below(folder: Path, out: Path) -> list[Path]:
    """Find images recursively, except in the output folder and in hidden folders."""
    found = image_files(folder)
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not inner.name.startswith(".") and inner.resolve() != out.resolve():
            found += _images_below(inner, out)
    return found
