"""Finds and pairs image and mask files in folders; shared by the label formats."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record
from pixelwise.errors import DataError, FormatError
from pixelwise.files import open_regular, text_lines
from pixelwise.io.images import IMAGE_SUFFIXES, MASK_SUFFIXES, is_exact
from pixelwise.io.members import ending_of, is_container
from pixelwise.pairing.split_names import MAX_DEPTH, SPLIT_FOLDERS
from pixelwise.pairing.templates import strippings

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages")
"""Names of image folders, the most likely first."""

MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annot", "SegmentationClass")
"""Names of mask folders, the most likely first."""

ANNOTATION_SUFFIXES = ("annot", "_annot", "_labels", "_label", "_masks", "_mask")
"""Suffixes of mask folders beside an image folder, such as ``trainannot`` beside ``train``."""

MAX_PAIR_BYTES = 16 * 1024
"""Longest first line of a list of pairs: two paths of the longest kind, and more."""

NUM_COMPARED = 20
"""Messages suggest the mask with the most similar name for at most this many images."""


def image_files(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the image files directly inside a folder, sorted by name."""
    return [folder / name for name in sorted(_image_names(folder, suffixes))]


def _image_names(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> Iterator[str]:
    """Yield the names of the image files directly inside a folder, in arbitrary order."""
    if not folder.is_dir():
        return
    endings = tuple(suffixes)
    # The listing includes the file type; checking thousands of paths takes three times as long.
    with os.scandir(folder) as entries:
        for entry in entries:
            is_image = entry.name.lower().endswith(endings) and not entry.name.startswith(".")
            if is_image and entry.is_file():
                yield entry.name


def stems(folder: Path) -> set[str]:
    """Return the stems of the image files directly inside a folder."""
    return {name.rpartition(".")[0] for name in _image_names(folder)}


def mask_files(folder: Path, *, takes_lossy: bool = False) -> list[Path]:
    """Return the mask files directly inside a folder, sorted by name.

    Args:
        folder: The folder.
        takes_lossy: Include lossy formats, for callers that can handle altered values.

    Raises:
        DataError: A mask has a lossy format.
    """
    return [path for path in image_files(folder) if takes_lossy or is_lossless(path)]


def is_lossless(mask: Path) -> bool:
    """Whether a mask has a lossless format; if not, that is reported.

    Raises:
        DataError: It has a lossy format, outside a data check.
    """
    if is_exact(mask):
        return True
    error = DataError(
        f"{mask} must be a lossless mask ({', '.join(sorted(MASK_SUFFIXES))}). "
        f"Got {ending_of(mask)}, which alters values. Export the masks as PNG"
    )
    report_problem("lossy-mask-file", error, mask)
    return False


def subfolders(folder: Path) -> list[Path]:
    """Return the folders directly inside a folder, sorted by name, without hidden ones."""
    # Called often on folders of 100,000 images, so no path objects or file checks here.
    with os.scandir(folder) as entries:
        names = [
            entry.name for entry in entries if entry.name[0] != "." and _leads_to_folder(entry)
        ]
    return sorted(folder / name for name in names)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder or a valid link to one."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry).is_dir())


def split_folders(folder: Path) -> dict[str | None, Path]:
    """Return the split folders inside a folder by split, or ``{None: folder}`` without any.

    Raises:
        FormatError: Two folders indicate the same split.
    """
    found: dict[str | None, Path] = {}
    for path in subfolders(folder):
        split = SPLIT_FOLDERS.get(path.name.lower())
        if split is None:
            continue
        if split in found:
            raise FormatError(
                f"{folder} must contain one folder per split. Got {found[split].name} and "
                f"{path.name}, both {split}. Rename or remove one"
            )
        found[split] = path
    return found or {None: folder}


def named_folder(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of the named folders that exists inside a folder."""
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    return None


def unused_folders(folder: Path, used: Iterable[Path]) -> list[str]:
    """Return the names of folders of pictures beside those that are used.

    Args:
        folder: The data set.
        used: Folders in it, at any depth.
    """
    known = {path.relative_to(folder).parts[0] for path in used if path != folder}
    return [
        path.name
        for path in subfolders(folder)
        if path.name not in known and next(_image_names(path), None) is not None
    ]


def require_masks(unmasked: Mapping[str, Path]) -> None:
    """Refuse image folders without masks, except for test images, which may be unlabeled.

    Args:
        unmasked: The image folders that have no masks, by split.

    Raises:
        FormatError: There is such a folder for training or validation.
    """
    for split, images in sorted(unmasked.items()):
        if split != "test":
            files = image_files(images)
            error = FormatError(
                f"{files[0] if files else images} must have a mask. There is no mask folder "
                f"for {images}. Add the masks, or move the images elsewhere"
            )
            report_problem("image-without-mask", error, *files)


def by_stem(files: Sequence[Path], what: str) -> dict[str, Path]:
    """Index files by their exact stem.

    Raises:
        FormatError: Two files have the same stem.
    """
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            error = FormatError(
                f"{path.parent} must contain one {what} per name. Got {found[path.stem].name} and "
                f"{path.name}. Remove one"
            )
            report_problem("paired-twice", error, found[path.stem], path)
        found[path.stem] = path
    return found


def without_affix(masks: Mapping[str, Path], stems: Collection[str]) -> Mapping[str, Path]:
    """Return masks by their stems without an affix that all of them have, if images lack it.

    Args:
        masks: The masks of a folder, by stem, such as ``IDRiD_01_MA``.
        stems: The stems of the images, such as ``IDRiD_01``.
    """
    least = len(masks) / 2
    if not masks or sum(stem in stems for stem in masks) >= least:
        return masks
    for start, _, end in strippings(next(iter(masks))):
        named = {
            stem[len(start) : len(stem) - len(end)]: path
            for stem, path in masks.items()
            if stem.startswith(start) and stem.endswith(end)
        }
        if len(named) == len(masks) and sum(stem in stems for stem in named) >= least:
            return named
    return masks


def pair_by_stem(
    image_folder: Path, mask_folder: Path, *, mask_ending: str = "", takes_lossy: bool = False
) -> list[tuple[Path, Path]]:
    """Pair the images of one folder with the masks of another by exact stem.

    Args:
        image_folder: The images.
        mask_folder: Their masks.
        mask_ending: Suffix of a mask's stem after the image's stem, such as ``_L``.
        takes_lossy: See :func:`mask_files`.

    Raises:
        FormatError: An image has no mask, a mask has no image, or a name is not unique.
        DataError: A mask has a lossy format.
    """
    images = by_stem(image_files(image_folder), "image")
    files = by_stem(mask_files(mask_folder, takes_lossy=takes_lossy), "mask")
    masks = {stem.removesuffix(mask_ending): path for stem, path in files.items()}
    if not images and not masks:
        raise FormatError(f"{image_folder} must contain images. It contains none. Check the path")
    lonely = [(stem, path) for stem, path in images.items() if stem not in masks]
    for number, (stem, path) in enumerate(lonely):
        # Comparing all names takes minutes if thousands of images have no mask.
        near = ""
        if masks and number < NUM_COMPARED:
            near = f" (the nearest is {_nearest(stem, masks)})"
        error = FormatError(
            f"{path} must have a mask {mask_folder / stem}{mask_ending}.png. "
            f"There is none{near}. Add the mask, or move the image elsewhere"
        )
        report_problem("image-without-mask", error, path)
    for stem, path in masks.items():
        if stem not in images:
            error = FormatError(
                f"{path} must have an image of the same name in {image_folder}. There is none. "
                "Add the image, or move the mask elsewhere"
            )
            report_problem("mask-without-image", error, path)
    return [(images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())]


def _nearest(stem: str, masks: dict[str, Path]) -> str:
    import difflib

    close = difflib.get_close_matches(stem, list(masks), n=1, cutoff=0.0)
    return masks[close[0]].name


def folder_pairs(folder: Path) -> list[tuple[Path, Path, str | None]]:
    """Return (image folder, mask folder, split) for each pair of folders, in any known layout.

    Folders of volumes or of arrays are left out: they are paired as those of any other name.
    """
    pairs = _named_pairs(folder)
    return [pair for pair in pairs if not any(map(_holds_containers, pair[:2]))]


def _holds_containers(folder: Path) -> bool:
    """Whether files of a folder hold several pictures each, and none is a plain picture."""
    return not any(_image_names(folder)) and any(
        is_container(entry.name) for entry in folder.iterdir()
    )


def _named_pairs(folder: Path) -> list[tuple[Path, Path, str | None]]:
    pairs = [
        (candidate, annotations, SPLIT_FOLDERS.get(candidate.name.lower()))
        for candidate in subfolders(folder)
        for suffix in ANNOTATION_SUFFIXES
        if (annotations := folder / f"{candidate.name}{suffix}").is_dir()
    ]
    if pairs:
        return pairs
    image_root, mask_root = named_folder(folder, IMAGE_FOLDERS), named_folder(folder, MASK_FOLDERS)
    if image_root and mask_root:  # images/train + masks/train, or plain images + masks
        splits = {name: path for name, path in split_folders(image_root).items() if name}
        if splits:
            masked = {split: path for split, path in split_folders(mask_root).items() if split}
            require_masks({split: splits[split] for split in splits.keys() - masked.keys()})
            return [
                (path, masked[split], split) for split, path in splits.items() if split in masked
            ]
        return [(image_root, mask_root, None)] if _is_flat(mask_root) else []
    unmasked: dict[str, Path] = {}
    for split, path in split_folders(folder).items():  # train/images + train/masks
        if split is None:
            continue
        images, masks = named_folder(path, IMAGE_FOLDERS), named_folder(path, MASK_FOLDERS)
        if images and masks and _is_flat(masks):
            pairs.append((images, masks, split))
        elif images and not masks:
            unmasked[split] = images
    if pairs:
        require_masks(unmasked)
    return pairs


def _is_flat(mask_folder: Path) -> bool:
    """Whether masks lie directly in the folder; subfolders per class are another format."""
    return any(_image_names(mask_folder)) or not subfolders(mask_folder)


def list_files(folder: Path) -> list[Path]:
    """Return text files named after a split that list an image and a mask per line."""
    return [
        path
        for path in sorted(folder.glob("*.txt"))
        if path.stem.lower() in SPLIT_FOLDERS and path.is_file() and _first_pair(path)
    ]


def _first_pair(path: Path) -> bool:
    with open_regular(path) as file:
        return len(file.readline(MAX_PAIR_BYTES).decode("utf-8-sig", errors="replace").split()) == 2


def listed_entries(list_file: Path) -> list[tuple[str, str]]:
    """Return the image and the mask of each line of a list file, as written there."""
    lines = text_lines(list_file)
    entries = [line.split() for line in lines]
    return [(entry[0], entry[1]) for entry in entries if len(entry) == 2]


def listed_records(folder: Path, list_file: Path, *, takes_lossy: bool = False) -> list[Record]:
    """Return the records of a list file; path prefixes of other machines are dropped."""
    records = []
    lines = text_lines(list_file)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line.split()) != 2:
            raise FormatError(
                f"{list_file} line {number} must contain an image and a mask. Got {line.strip()!r}"
            )
        try:
            image, mask = (_resolve(folder, entry, list_file, number) for entry in line.split())
        except FormatError as error:
            report_problem("listed-file-missing", error, list_file, name=f"line {number}")
            continue
        if not takes_lossy and not is_lossless(mask):
            continue
        name = image.relative_to(folder).with_suffix("").as_posix()
        records.append(Record(name, image, (mask,), SPLIT_FOLDERS[list_file.stem.lower()]))
    return sorted(records, key=lambda record: record.name)


def _resolve(folder: Path, entry: str, list_file: Path, number: int) -> Path:
    """Return the file of an entry: the longest trailing part of the path that exists here."""
    found = end_inside(folder, entry)
    if found is None or not found.is_file():
        raise FormatError(
            f"{list_file} line {number} must name a file in {folder}. Got {entry}, which is not "
            "found there, even without its leading folders. Fix the list or add the file"
        )
    return found


def end_inside(folder: Path, entry: str) -> Path | None:
    """Return the file or folder at the longest trailing part of a path that exists in a folder.

    Args:
        folder: The data set.
        entry: A path from another machine; it cannot refer to files outside the folder.
    """
    path = PurePosixPath(entry.replace("\\", "/"))
    parts = path.parts[1:] if path.is_absolute() else path.parts
    for start in range(max(0, len(parts) - MAX_DEPTH), len(parts)):
        end = parts[start:]
        candidate = folder.joinpath(*end)
        # A trailing part that begins with a drive, such as C:, is not inside the folder.
        if ".." not in end and candidate.is_relative_to(folder) and _exists(candidate):
            return candidate
    return None if parts else folder


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long for the file system
        return False
