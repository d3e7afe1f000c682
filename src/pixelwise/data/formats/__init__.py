"""How labels lie on disk: one file per format; the right one is found by looking at the folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.data.reading import IMAGE_SUFFIXES, MASK_SUFFIXES
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, FormatError
from pixelwise.registry import Registry

formats: Registry[Format] = Registry("format", "pixelwise.data.formats")

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Folder names that say which split is inside, and the split."""

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages")
"""Names of a folder of images, the likeliest first."""

MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annot", "SegmentationClass")
"""Names of a folder of masks, the likeliest first."""


@dataclass(frozen=True)
class Confidence:
    """How sure a format is that a folder is of its kind.

    Attributes:
        score: 0 to 1; 0 is no.
        reason: What was seen, in words for the user.
    """

    score: float
    reason: str


NO = Confidence(0.0, "")


class Format(ABC):
    """One way in which labels lie on disk."""

    name: ClassVar[str]
    label_mode: ClassVar[LabelMode]
    layout: ClassVar[str]
    """The folder that it expects, in one line, for messages."""

    @abstractmethod
    def detect(self, folder: Path) -> Confidence:
        """Say how sure it is that the folder is of this format."""

    @abstractmethod
    def records(self, folder: Path) -> list[Record]:
        """Every labelled image of the folder, sorted by name.

        Raises:
            FormatError: An image has no mask or several, or a mask no image.
        """

    @abstractmethod
    def class_map(
        self, folder: Path, records: Sequence[Record], ignore: Sequence[int] = ()
    ) -> ClassMap:
        """The classes, where no dataset card gives them; values in ``ignore`` make no class."""

    @abstractmethod
    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode one image and its truth.

        Raises:
            DataError: A file cannot be read.
            MaskError: The mask does not fit the image or the class map.
        """


def detect_format(folder: Path, name: str | None = None) -> tuple[Format, str]:
    """Find the format of a folder.

    Args:
        folder: The data set.
        name: The format, where it is known; ``None`` looks.

    Returns:
        The format and the reason in words.

    Raises:
        FormatError: None fits, or two fit equally well.
    """
    if name is not None:
        return formats.create(name), "as asked"
    answers = [
        (candidate, candidate.detect(folder)) for candidate in map(formats.create, formats.names())
    ]
    answers = sorted(
        (answer for answer in answers if answer[1].score > 0), key=lambda answer: -answer[1].score
    )
    if not answers:
        raise FormatError(_nothing_found(folder))
    if len(answers) > 1 and answers[0][1].score == answers[1][1].score:
        seen = "; ".join(f"{answer.name} ({sure.reason})" for answer, sure in answers)
        raise FormatError(f"{folder} fits several formats: {seen}. Choose one with --format")
    best, sure = answers[0]
    return best, sure.reason


def _nothing_found(folder: Path) -> str:
    contents = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    got = (
        ", ".join(contents[:6]) + (", ..." if len(contents) > 6 else "") if contents else "nothing"
    )
    layouts = "; ".join(f"{name}: {formats.create(name).layout}" for name in formats.names())
    return f"{folder} must hold images with masks. Got {got}. Known layouts: {layouts}"


def image_files(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The image files right inside a folder, sorted by name whatever the file system's order."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def mask_files(folder: Path) -> list[Path]:
    """The mask files right inside a folder, sorted by name.

    Raises:
        DataError: One is of a format that alters values.
    """
    found = image_files(folder)
    for path in found:
        if path.suffix.lower() not in MASK_SUFFIXES:
            raise DataError(
                f"{path} must be a lossless mask ({', '.join(sorted(MASK_SUFFIXES))}). "
                f"Got {path.suffix}, which alters values. Export the masks as PNG"
            )
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders right inside a folder, sorted by name; hidden ones are left out."""
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def split_folders(folder: Path) -> dict[str | None, Path]:
    """The split folders inside a folder by split, or the folder itself under ``None``.

    Raises:
        FormatError: Two folders name the same split.
    """
    found: dict[str | None, Path] = {}
    for path in subfolders(folder):
        split = SPLIT_FOLDERS.get(path.name.lower())
        if split is None:
            continue
        if split in found:
            raise FormatError(
                f"{folder} must hold one folder per split. Got {found[split].name} and "
                f"{path.name}, both {split}. Rename or remove one"
            )
        found[split] = path
    return found or {None: folder}


def named_folder(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the named folders that is inside a folder."""
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    return None


def require_masks(unmasked: Mapping[str, Path]) -> None:
    """Refuse image folders without masks, but for test images, which are there to be predicted.

    Args:
        unmasked: The image folders that have no masks, by split.

    Raises:
        FormatError: There is one for training or validation.
    """
    for split, images in sorted(unmasked.items()):
        if split != "test":
            first = next(iter(image_files(images)), images)
            raise FormatError(
                f"{first} must have a mask. There is no folder of masks for {images}. "
                "Add the masks, or move the images elsewhere"
            )


def by_stem(files: Sequence[Path], what: str) -> dict[str, Path]:
    """Files by their exact stem.

    Raises:
        FormatError: Two files have the same stem.
    """
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise FormatError(
                f"{path.parent} must hold one {what} per name. Got {found[path.stem].name} and "
                f"{path.name}. Remove one"
            )
        found[path.stem] = path
    return found


def pair_by_stem(image_folder: Path, mask_folder: Path) -> list[tuple[Path, Path]]:
    """Pair the images of one folder with the masks of another, by exact stem.

    Raises:
        FormatError: An image has no mask, a mask no image, or a name stands twice.
        DataError: A mask is of a format that alters class ids.
    """
    images = by_stem(image_files(image_folder), "image")
    masks = by_stem(mask_files(mask_folder), "mask")
    if not images and not masks:
        raise FormatError(f"{image_folder} must hold images. It holds none. Check the path")
    for stem, path in images.items():
        if stem not in masks:
            near = f" (the nearest is {_nearest(stem, masks)})" if masks else ""
            raise FormatError(
                f"{path} must have a mask {mask_folder / stem}.png. There is none{near}. "
                "Add the mask, or move the image elsewhere"
            )
    for stem, path in masks.items():
        if stem not in images:
            raise FormatError(
                f"{path} must have an image of the same name in {image_folder}. There is none. "
                "Add the image, or move the mask elsewhere"
            )
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def _nearest(stem: str, masks: dict[str, Path]) -> str:
    import difflib

    close = difflib.get_close_matches(stem, list(masks), n=1, cutoff=0.0)
    return masks[close[0]].name
