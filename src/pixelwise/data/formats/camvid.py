"""``camvid``: the CamVid road scenes, in SegNet's version or the original one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import ClassMap
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.masks.coding import (
    colors_to_class_ids,
    to_class_ids,
    to_colors,
    to_stored_values,
    with_ignored_value,
)
from pixelwise.data.masks.color_tables import find_color_table, read_color_table
from pixelwise.data.masks.kinds import look_at_folder
from pixelwise.data.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    folder_pairs,
    image_files,
    list_files,
    listed_entries,
    listed_records,
    named_folder,
    pair_by_stem,
)
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.data.writing import stem_of, write_image, write_mask, write_pixels
from pixelwise.io.images import read_image, read_mask_colors, read_mask_values

IGNORED = 11
"""Value of ignored pixels in SegNet's masks."""

CAMVID = ClassMap.build(
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
     "bicyclist"),
    colors=((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
             (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
             (0, 128, 192)),
    ignore=(IGNORED,),
)  # fmt: skip
"""The 11 classes of SegNet's version of CamVid."""

IGNORE_COLOR = (0, 0, 0)
"""Color of unlabeled pixels in the original masks, where it is called Void."""

_COLORS = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64), "Building": (128, 0, 0), "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192), "Child": (192, 128, 64), "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64), "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64), "ParkingBlock": (64, 192, 128), "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128), "RoadShoulder": (128, 128, 192), "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128), "Sky": (128, 128, 128), "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64), "TrafficLight": (0, 64, 64), "Train": (192, 64, 128),
    "Tree": (128, 128, 0), "Truck_Bus": (192, 128, 192), "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0), "Wall": (64, 192, 0),
}  # fmt: skip

CAMVID_ORIGINAL = ClassMap.build(
    tuple(_COLORS), colors=tuple(_COLORS.values()), ignore_colors=(IGNORE_COLOR,)
)
"""The 31 classes of the original masks."""

CAMVID_NAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_")
STILLS = ("701_StillsRaw_full", *IMAGE_FOLDERS)
LABELS = ("LabeledApproved_full", *MASK_FOLDERS)
ENDING = "_L"
"""What the name of an original mask has more than its image's."""


@formats.register("camvid")
class CamVid(Format):
    """Class ids in ``train`` + ``trainannot`` (SegNet), or masks ``NAME_L.png`` in 32 colors.

    The latter are in ``701_StillsRaw_full`` + ``LabeledApproved_full``, or in ``train`` +
    ``train_labels``. The format is detected by the names of the images.
    """

    name: ClassVar[str] = "camvid"
    layout: ClassVar[str] = "train/ + trainannot/, or train/ + train_labels/NAME_L.png, of CamVid"

    def detect(self, folder: Path) -> Confidence:
        """Certain if all images have CamVid's names and the masks have the expected values."""
        pairs = _pairs(folder)
        names = [path.name for images, _, _ in pairs for path in image_files(images)]
        names += [
            re.split(r"[/\\]", image)[-1]
            for path in (list_files(folder) if not pairs else [])
            for image, _ in listed_entries(path)
        ]
        if not names or not all(map(CAMVID_NAME.match, names)):
            return NO
        if any(_ending(images, masks) for images, masks, _ in pairs):
            return Confidence(0.9, f"CamVid's image names, and masks NAME{ENDING} in colors")
        look = look_at_folder(folder)
        if look is None or look.kind != "index" or not look.values <= {*CAMVID.values, IGNORED}:
            return NO
        return Confidence(0.9, f"CamVid's image names, and class ids up to {IGNORED} as in SegNet")

    def records(self, folder: Path) -> list[Record]:
        """Pair the images and masks of folders or list files."""
        pairs = _pairs(folder)
        records = [
            Record(image.relative_to(folder).with_suffix("").as_posix(), image, (mask,), split)
            for images, masks, split in pairs
            for image, mask in pair_by_stem(images, masks, mask_ending=_ending(images, masks))
        ]
        for path in list_files(folder) if not pairs else []:
            records += listed_records(folder, path)
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  the values in SegNet's masks are known
    ) -> ClassMap:
        """Return SegNet's 11 classes; for original masks those of a color table, else all 31."""
        if not _is_original(records[0]):
            return CAMVID
        table = find_color_table(folder)
        return CAMVID_ORIGINAL if table is None else read_color_table(table)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode image and mask."""
        image = read_image(record.image)
        (path,) = record.masks
        if _is_original(record):
            codes = read_mask_colors(path)
            ids = colors_to_class_ids(codes, class_map, path, self.unexpected, IGNORE_COLOR)
        else:
            known = with_ignored_value(class_map, IGNORED)
            ids = to_class_ids(read_mask_values(path), known, path, self.unexpected)
        check_same_size(record.image, image, path, ids)
        return Sample(record.name, image, ids, "multiclass")

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse other classes than the 11 or 31 of CamVid."""
        if not _is_prepared(content.class_map) and not _is_complete(content.class_map):
            return "it can only store the 11 or the 31 classes of CamVid"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write the 11 classes as SegNet's masks, or the 31 classes in their colors."""
        for record, sample in samples:
            write_image(folder / (record.split or IMAGE_FOLDERS[0]), record, sample)
            if _is_prepared(class_map):
                masks = folder / (f"{record.split}annot" if record.split else "labels")
                values = to_stored_values(sample.mask, class_map, IGNORED)
                write_mask(masks / stem_of(record), values)
            else:
                masks = folder / (f"{record.split}_labels" if record.split else "labels")
                masks.mkdir(exist_ok=True)
                colors = to_colors(sample.mask, class_map, IGNORE_COLOR)
                write_pixels(masks / f"{stem_of(record)}{ENDING}", colors)


def _pairs(folder: Path) -> list[tuple[Path, Path, str | None]]:
    images, masks = named_folder(folder, STILLS), named_folder(folder, LABELS)
    return folder_pairs(folder) or ([(images, masks, None)] if images and masks else [])


def _ending(image_folder: Path, mask_folder: Path) -> str:
    """Return the suffix of the masks' names after the images' names."""
    images = {path.stem for path in image_files(image_folder)}
    masks = {path.stem for path in image_files(mask_folder)}
    return ENDING if any(f"{stem}{ENDING}" in masks for stem in images) else ""


def _is_original(record: Record) -> bool:
    return record.masks[0].stem == f"{record.image.stem}{ENDING}"


def _is_prepared(class_map: ClassMap) -> bool:
    return (class_map.names, class_map.values) == (CAMVID.names, CAMVID.values)


def _is_complete(class_map: ClassMap) -> bool:
    complete = CAMVID_ORIGINAL
    return (class_map.names, class_map.colors) == (complete.names, complete.colors)
