"""``object-masks``: a folder per image with one mask PNG per object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from pixelwise.classes import ClassMap
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.masks.coding import to_class_ids
from pixelwise.data.masks.kinds import MAX_UNNAMED, look_at_masks
from pixelwise.data.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    image_files,
    mask_files,
    named_folder,
    split_folders,
    subfolders,
)
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.data.writing import stem_of, write_image, write_mask
from pixelwise.errors import FormatError
from pixelwise.io.arrays import Array
from pixelwise.io.counting import spread
from pixelwise.io.images import MASK_SUFFIXES, read_image, read_mask_values
from pixelwise.io.sparse_png import read_object_rows

NUM_LOOKED_AT = 5
"""Masks by which a folder of class masks is told from one of object masks."""


@formats.register("object-masks")
class ObjectMasks(Format):
    """``NAME/images/NAME.png`` and ``NAME/masks/*.png``, also inside ``train/`` and ``test/``.

    The objects of an image are merged: a pixel that is not black in any mask is foreground. Folders
    without ``masks`` are images to predict, and only allowed in ``test``.
    """

    name: ClassVar[str] = "object-masks"
    layout: ClassVar[str] = "NAME/images/NAME.png + NAME/masks/*.png"

    def detect(self, folder: Path) -> Confidence:
        """Certain if the first folders each contain an image folder with one image."""
        for root in split_folders(folder).values():
            examples = [path for path in subfolders(root) if named_folder(path, IMAGE_FOLDERS)][:20]
            if not examples:
                continue
            masked = [path for path in examples if named_folder(path, MASK_FOLDERS)]
            images = [image_files(_image_folder(path)) for path in masked]
            if masked and all(len(found) == 1 for found in images) and not _holds_ids(masked):
                return Confidence(
                    0.9, f"a folder per image, its objects, in {masked[0].name}/masks/, are merged"
                )
        return NO

    def records(self, folder: Path) -> list[Record]:
        """Return one record per labeled folder."""
        records = []
        for split, root in split_folders(folder).items():
            for path in subfolders(root):
                images, masks = named_folder(path, IMAGE_FOLDERS), named_folder(path, MASK_FOLDERS)
                if images is None:
                    error = FormatError(
                        f"{path} must contain images/ and masks/. Got no images/. "
                        "Add it, or move the folder elsewhere"
                    )
                    report_problem("mask-without-image", error, path)
                    continue
                found = image_files(images)
                if len(found) != 1:
                    error = FormatError(
                        f"{images} must contain one image. Got {len(found)}. Remove the others"
                    )
                    report_problem("paired-twice", error, *(found or [images]))
                    continue
                if masks is None:
                    if split == "test":
                        continue
                    error = FormatError(
                        f"{found[0]} must have its objects in {path / 'masks'}. There is no such "
                        "folder. Add it (empty if there is no object), or move the image"
                    )
                    report_problem("image-without-mask", error, found[0])
                    continue
                name = path.relative_to(folder).as_posix()
                records.append(Record(name, found[0], tuple(mask_files(masks)), split))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,  # noqa: ARG002
        records: Sequence[Record],  # noqa: ARG002
        ignore: Sequence[int] = (),  # noqa: ARG002
    ) -> ClassMap:
        """Return background and foreground."""
        return ClassMap.build(("background", "foreground"))

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and merge its objects."""
        image = read_image(record.image)
        # Black has the stored value 0, all other values that of the class of objects.
        value = next(filter(None, class_map.values), 1)
        stored = np.where(_merged(record, image), np.min_scalar_type(value).type(value), 0)
        ids = to_class_ids(stored, class_map, record.image.parent.parent, self.unexpected)
        return Sample(record.name, image, ids, "multiclass")

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse more than background and one class, and ignored pixels."""
        if content.class_map.num_classes != 2:
            return (
                f"it can only store background and one class, not {content.class_map.num_classes}"
            )
        if content.has_ignored:
            return "it cannot represent ignored pixels"
        return super().refusal(content)

    def _write(
        self,
        folder: Path,
        samples: Iterator[tuple[Record, Sample]],
        class_map: ClassMap,  # noqa: ARG002
    ) -> None:
        """Write one mask per connected region, as a mask does not separate touching objects."""
        for record, sample in samples:
            home = folder / (record.split or "") / stem_of(record)
            write_image(home / IMAGE_FOLDERS[0], record, sample)
            (home / MASK_FOLDERS[0]).mkdir()
            objects, count = label(sample.mask == 1)
            for number in range(1, count + 1):
                name = f"{stem_of(record)}_mask_{number}"
                pixels = np.where(objects == number, 255, 0).astype(np.uint8)
                write_mask(home / MASK_FOLDERS[0] / name, pixels)


def _merged(record: Record, image: Array) -> npt.NDArray[np.bool_]:
    """Return bool (H, W), True where any mask of a record is not black."""
    height, width = image.shape[:2]
    merged = np.zeros((height, width), np.uint8)
    rows = np.empty((height, width + 1), np.uint8)  # one buffer for all masks
    for path in record.masks:
        part = read_object_rows(path, rows)
        if part is None:
            mask = read_mask_values(path)
            check_same_size(record.image, image, path, mask)
            part = 0, (mask > 0).view(np.uint8)
        first, pixels = part
        below = merged[first : first + len(pixels)]
        np.maximum(below, pixels, out=below)
    return merged > 0


def _holds_ids(folders: Sequence[Path]) -> bool:
    """Whether some masks hold several values beside black, so that they are classes."""
    folders = spread(folders, NUM_LOOKED_AT)
    masks = [image_files(path) for one in folders if (path := named_folder(one, MASK_FOLDERS))]
    lossless = [[path for path in files if path.suffix.lower() in MASK_SUFFIXES] for files in masks]
    looks = [look_at_masks(files[:1]) for files in lossless]
    return any(look is not None and 1 < len(look.values - {0}) <= MAX_UNNAMED for look in looks)


def _image_folder(path: Path) -> Path:
    folder = named_folder(path, IMAGE_FOLDERS)
    assert folder is not None
    return folder
