"""Finds the images of a folder to predict; of a data set, its images without its masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pixelwise.data.card import find_card
from pixelwise.data.dataset import records_in
from pixelwise.data.pairing import image_files
from pixelwise.data.problems import collect_problems
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.files import readable
from pixelwise.io.containers import pictures_in
from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.io.members import VOLUME_ENDINGS, file_of
from pixelwise.prediction.parity import Note
from pixelwise.text import amount


def images_to_predict(folder: Path, out: Path, note: Note | None) -> list[Path]:
    """Return the pictures of a folder, also in the folders inside it.

    Of a file that holds several, such as a volume, these are the paths of its pictures.

    The masks of a data set are images too, but nobody wants them segmented: of a folder that opens
    as a data set, only the folders of its images are searched, and its masks are left out.

    Args:
        folder: The folder.
        out: The folder of the results, which is left out.
        note: Called with a message if masks are left out.

    Raises:
        DataError: The system does not let this process read the folder.
    """
    with readable(folder, DataError):
        found, num_again = _images_below(folder, out)
    if note and num_again:
        links = amount(num_again, "link")
        note(f"{links} in {folder} to images that are predicted anyway: left out")
    images, masks, format_name = _of_data_set(folder)
    inside: dict[Path, list[Path]] = defaultdict(list)
    for image in images:
        if image != file_of(image):
            inside[file_of(image).resolve()].append(image)
    places = {file_of(image).resolve().parent for image in images}
    kept = [
        path for path in found if path.resolve().parent in places and path.resolve() not in masks
    ]
    if not found:
        return [image for pictures in inside.values() for image in pictures]
    if not kept or len(kept) == len(found):
        return _pictures(found, inside)
    if note:
        note(
            f"{folder} is a data set ({format_name}): its {amount(len(kept), 'image')} are "
            f"predicted, and {amount(len(found) - len(kept), 'other picture')}, such as masks, not"
        )
    return _pictures(kept, inside)


def _pictures(files: Sequence[Path], inside: Mapping[Path, Sequence[Path]]) -> list[Path]:
    """Return the pictures of some files: those of the data set, or else all that they hold."""
    return [
        picture for file in files for picture in inside.get(file.resolve()) or pictures_of(file)
    ]


def pictures_of(file: Path) -> list[Path]:
    """Return the pictures of a file; the file itself if it cannot be read, which is told later."""
    try:
        return pictures_in(file)
    except DataError:
        return [file]


def _of_data_set(folder: Path) -> tuple[list[Path], set[Path], str]:
    """Return the labeled images and the masks of a data set, and its format; empty if it is none.

    Files that cannot be read or paired do not matter here.
    """
    try:
        with collect_problems():
            card, _, root = find_card(folder)
            data, _, records = records_in(root, card)
    except (PixelwiseError, OSError):
        return [], set(), ""
    masks = {file_of(path).resolve() for record in records for path in record.files[1:]}
    return [record.image for record in records], masks, data.name


def _images_below(folder: Path, out: Path) -> tuple[list[Path], int]:
    """Find images recursively, except in the output folder and in hidden folders.

    A folder or file that links lead to repeatedly is searched and found once, under its own name if
    that is inside the folder.

    Returns:
        The images, sorted, and the number of further links to them.
    """
    endings = IMAGE_SUFFIXES.union(VOLUME_ENDINGS)
    found: dict[Path, Path] = {}
    num_again = 0
    seen = {out.resolve()} - {folder.resolve()}
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        place = waiting.pop() if waiting else linked.pop(0)  # links last
        true_place = place.resolve()
        if true_place in seen:
            continue
        seen.add(true_place)
        for path in sorted(image_files(place, endings), key=Path.is_symlink):
            num_again += path.resolve() in found
            found.setdefault(path.resolve(), path)
        for inner in sorted(path for path in place.iterdir() if path.is_dir()):
            if not inner.name.startswith("."):
                (linked if inner.is_symlink() else waiting).append(inner)
    return sorted(found.values()), num_again
