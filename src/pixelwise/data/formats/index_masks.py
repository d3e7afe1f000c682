"""``index-masks``: a folder of images beside a folder of masks whose pixels are class ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.classes import IGNORE_INDEX, MAX_CLASSES, ClassMap, LabelMode, numbered_names
from pixelwise.data.formats import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    NO,
    SPLIT_FOLDERS,
    Confidence,
    Format,
    formats,
    image_files,
    named_folder,
    pair_by_stem,
    require_masks,
    split_folders,
    subfolders,
)
from pixelwise.data.reading import read_image, read_mask_values
from pixelwise.data.sample import Record, Sample, check_same_size, to_class_ids
from pixelwise.errors import FormatError, MaskError

ANNOTATION_SUFFIXES = ("annot", "_annot", "_labels", "_label", "_masks", "_mask")
"""``trainannot`` beside ``train``, and its relatives."""

MAX_UNNAMED = 64
"""More values than this, or more gaps between them, are grey levels unless a card names them: a
black and white mask that was scaled or saved as JPEG holds hundreds."""

CAMVID = ClassMap.build(
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
     "bicyclist"),
    colours=((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
             (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
             (0, 128, 192)),
    ignore=(11,),
)  # fmt: skip
"""The 11 classes of CamVid as SegNet's authors prepared it; 11 is void."""

CAMVID_NAME = re.compile(r"^(0001TP|0006R0|0016E5|Seq05VD)_")


@formats.register("index-masks")
class IndexMasks(Format):
    """Pairs of folders, split folders of pairs, ``train`` + ``trainannot``, or list files of pairs.

    A mask is read as the numbers that are stored: grey values, or the indices of a palette.
    """

    name: ClassVar[str] = "index-masks"
    label_mode: ClassVar[LabelMode] = "exclusive"
    layout: ClassVar[str] = "images/NAME.* + masks/NAME.png, or train/ + trainannot/"

    def detect(self, folder: Path) -> Confidence:
        """Sure when image and mask folders, or a list of pairs, are found."""
        pairs = _folder_pairs(folder)
        if pairs:
            seen = ", ".join(
                f"{images.relative_to(folder)}/ with {masks.relative_to(folder)}/"
                for images, masks, _ in pairs
            )
            return Confidence(0.8, f"image and mask files in {seen}")
        lists = _list_files(folder)
        if lists:
            return Confidence(0.7, f"pairs listed in {', '.join(path.name for path in lists)}")
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Pair images and masks by exact stem, or as the list files say."""
        pairs = _folder_pairs(folder)
        if not pairs:
            return [
                record for path in _list_files(folder) for record in _listed_records(folder, path)
            ]
        records = []
        for image_folder, mask_folder, split in pairs:
            for image, mask in pair_by_stem(image_folder, mask_folder):
                name = image.relative_to(folder).with_suffix("").as_posix()
                records.append(Record(name, image, (mask,), split))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,  # noqa: ARG002
        records: Sequence[Record],
        ignore: Sequence[int] = (),
    ) -> ClassMap:
        """CamVid's classes for CamVid's files, else one class per stored value.

        Raises:
            MaskError: The values do not look like class ids.
        """
        values = _stored_values(records) - set(ignore)
        if values <= {*CAMVID.values, *CAMVID.ignore} and all(
            CAMVID_NAME.match(record.image.name) for record in records
        ):
            return CAMVID
        classes = sorted(values - {IGNORE_INDEX})
        if classes == [0] and IGNORE_INDEX in values:
            # Were 255 void here, nothing but background would be left: it is black and white.
            return ClassMap.build(("background", "foreground"), values=(0, 255), ignore=())
        largest = max(classes, default=0)
        looks_grey = len(classes) > MAX_UNNAMED or largest - len(classes) > MAX_UNNAMED
        if largest >= MAX_CLASSES or looks_grey:
            raise MaskError(
                f"{records[0].masks[0].parent} must hold class ids counted from 0. "
                f"Got {len(classes)} values from {classes[0]} to {classes[-1]}, which look like "
                "grey levels, as of a mask that was smoothed, scaled or saved as JPEG. Export the "
                "masks without that, or say in a dataset.yaml what each value means (classes with "
                "values), or which are void with --ignore"
            )
        return ClassMap.build(numbered_names(largest + 1))

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode image and mask; values that are neither class nor void are refused by name."""
        image = read_image(record.image)
        (mask_path,) = record.masks
        values = read_mask_values(mask_path)
        check_same_size(record.image, image, mask_path, values)
        return Sample(record.name, image, to_class_ids(values, class_map, mask_path), "exclusive")


def _folder_pairs(folder: Path) -> list[tuple[Path, Path, str | None]]:
    """(image folder, mask folder, split) of each pair in the folder, however they are laid."""
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
    """Masks lie right in the folder; folders inside it are one per class, another format."""
    return bool(image_files(mask_folder)) or not subfolders(mask_folder)


def _list_files(folder: Path) -> list[Path]:
    """Text files named after a split that list an image and a mask per line."""
    return [
        path
        for path in sorted(folder.glob("*.txt"))
        if path.stem.lower() in SPLIT_FOLDERS and _first_pair(path)
    ]


def _first_pair(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return len(lines.readline().split()) == 2


def _listed_records(folder: Path, list_file: Path) -> list[Record]:
    """The records of a list file; a path prefix of another machine is dropped."""
    records = []
    lines = list_file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line.split()) != 2:
            raise FormatError(
                f"{list_file} line {number} must hold an image and a mask. Got {line.strip()!r}"
            )
        image, mask = (_resolve(folder, entry, list_file, number) for entry in line.split())
        name = image.relative_to(folder).with_suffix("").as_posix()
        records.append(Record(name, image, (mask,), SPLIT_FOLDERS[list_file.stem.lower()]))
    return sorted(records, key=lambda record: record.name)


def _resolve(folder: Path, entry: str, list_file: Path, number: int) -> Path:
    """The file of an entry: the longest end of its path that exists inside the folder."""
    parts = Path(entry).parts
    for start in range(len(parts)):
        candidate = folder.joinpath(*parts[start:]) if parts[start] != "/" else Path(entry)
        if candidate.is_relative_to(folder) and candidate.is_file():
            return candidate
    raise FormatError(
        f"{list_file} line {number} must name a file in {folder}. Got {entry}, and no end of that "
        "path is there. Mend the list or add the file"
    )


def _stored_values(records: Sequence[Record]) -> set[int]:
    """Every value in any of the masks."""

    def values_of(record: Record) -> set[int]:
        return set(np.unique(read_mask_values(record.masks[0])).tolist())

    with ThreadPoolExecutor() as threads:
        return set().union(*threads.map(values_of, records))
