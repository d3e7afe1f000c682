"""``voc``: the folder layout of Pascal VOC, which many labeling tools export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import ClassVar, NamedTuple

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color, color_code
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.masks.coding import (
    IGNORE_COLOR,
    colors_to_class_ids,
    to_class_ids,
    to_stored_values,
    with_ignored_value,
)
from pixelwise.data.masks.color_tables import find_color_table, read_color_table
from pixelwise.data.masks.kinds import (
    colors_in,
    look_at_masks,
    mask_storage,
    numbered_class_map,
    read_palette,
    values_in,
)
from pixelwise.data.pairing import SPLIT_FOLDERS, by_stem, image_files, mask_files, named_folder
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.data.writing import stem_of, write_image, write_mask
from pixelwise.errors import FormatError
from pixelwise.files import text_lines
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.images import read_image, read_mask_colors, read_mask_values
from pixelwise.schemas import validated

IMAGES = "JPEGImages"
MASKS = ("SegmentationClassPNG", "SegmentationClass")
"""labelme puts arrays into the second folder and PNGs into the first."""
LISTS = Path("ImageSets/Segmentation")
TRAIN_AND_VAL = "trainval"
"""List of training and validation images; it replaces a missing ``train`` list."""
CLASS_NAMES = ("class_names.txt", "labels.txt")
"""Lists of class names: that of LabelMe's export, and the one that the export was made with."""
OF_LABELME = ("SegmentationClassPNG", "SegmentationClassNpy", "SegmentationClassVisualization")
"""Folders that only LabelMe's export has; its palette is VOC's, but its classes are the user's."""

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
"""VOC's classes in the order of their ids; 255 is the border of objects and ignored."""


def _palette_color(number: int) -> Color:
    """VOC distributes the bits of a number over the upper bits of red, green and blue."""
    levels = [
        sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(3))
        for channel in range(3)
    ]
    return levels[0], levels[1], levels[2]


PALETTE = tuple(map(_palette_color, range(IGNORE_INDEX + 1)))
"""VOC's colors for the numbers 0 to 255; that of 255 is ``IGNORE_COLOR``."""


@formats.register("voc")
class Voc(Format):
    """``JPEGImages`` and ``SegmentationClass``; images without a mask are left out.

    ``ImageSets/Segmentation/train.txt`` etc. give the splits; images in no list are left out. Masks
    are numbers in palette PNGs, or RGB in the colors of the classes.
    """

    name: ClassVar[str] = "voc"
    layout: ClassVar[str] = "JPEGImages/NAME.jpg + SegmentationClass/NAME.png"

    def detect(self, folder: Path) -> Confidence:
        """Certain if both folders exist and the masks hold numbers or known colors."""
        masks = named_folder(folder, MASKS)
        look = look_at_masks(image_files(masks)) if masks else None
        if masks is None or look is None or not (folder / IMAGES).is_dir():
            return NO
        is_known = look.colors <= set(map(color_code, PALETTE)) or find_color_table(folder)
        if look.kind == "color" and not is_known:
            return NO
        return Confidence(0.9, f"Pascal VOC's {IMAGES}/ and {masks.name}/")

    def records(self, folder: Path) -> list[Record]:
        """Return one record per mask, or per listed mask."""
        mask_folder = named_folder(folder, MASKS) or folder / MASKS[-1]
        masks = by_stem(mask_files(mask_folder), "mask")
        images = by_stem(image_files(folder / IMAGES), "image")
        splits = _splits(folder, masks.keys() & images.keys())
        records = []
        for stem, mask in sorted(masks.items()):
            if stem not in images:
                error = FormatError(
                    f"{mask} must have an image of the same name in {folder / IMAGES}. There is "
                    "none. Add the image, or move the mask elsewhere"
                )
                report_problem("mask-without-image", error, mask)
            elif splits is None or stem in splits:
                split = splits[stem].split if splits else None
                records.append(Record(stem, images[stem], (mask,), split))
        for stem, (split, listing) in (splits or {}).items():
            if stem not in masks and split != "test":
                error = FormatError(
                    f"{listing} must list images with masks. Got {stem}, but there is no "
                    f"{mask_folder / stem}.png. Add the mask, or fix the list"
                )
                report_problem("listed-file-missing", error, listing, name=stem)
        return records

    def class_map(
        self, folder: Path, records: Sequence[Record], ignore: Sequence[int] = ()
    ) -> ClassMap:
        """Use a list of names or a color table, else VOC's classes, else numbered ones.

        LabelMe's export without its list has numbered classes, as its palette is VOC's.

        Raises:
            MaskError: The values do not look like class ids.
            ConfigError: The named classes are invalid, for example with a repeated name.
        """
        for name in CLASS_NAMES:
            if (folder / name).is_file():
                return _named_class_map(folder / name)
        table = find_color_table(folder)
        if table is not None:
            return read_color_table(table)
        painted: list[Record] = []
        numbered: list[Record] = []
        for record in records:
            is_painted = mask_storage(record.masks[0]) == "colors"
            (painted if is_painted else numbered).append(record)
        number = {color_code(color): index for index, color in enumerate(PALETTE)}
        values = values_in(numbered)
        values |= {number[code] for code in colors_in(painted) & number.keys()}
        values -= {IGNORE_INDEX, *ignore}
        is_voc = bool(painted) or (folder / LISTS).is_dir()
        is_voc = is_voc or _has_voc_palette(records[0])
        is_of_labelme = any((folder / name).is_dir() for name in OF_LABELME)
        if max(values, default=0) < len(NAMES) and is_voc and not is_of_labelme:
            return _class_map(NAMES)
        return _class_map(numbered_class_map(values, records[0].masks[0].parent).names)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode image and mask; the border of objects is ignored."""
        image = read_image(record.image)
        (path,) = record.masks
        if mask_storage(path) == "colors":
            ids = colors_to_class_ids(read_mask_colors(path), class_map, path, self.unexpected)
        else:
            known = with_ignored_value(class_map, IGNORE_INDEX)
            ids = to_class_ids(read_mask_values(path), known, path, self.unexpected)
        check_same_size(record.image, image, path, ids)
        return Sample(record.name, image, ids, "multiclass")

    def stored(self, class_map: ClassMap) -> ClassMap:
        """Number the classes from 0, with 255 for ignored pixels."""
        values = tuple(range(class_map.num_classes))
        return class_map.model_copy(update={"values": values, "ignore": (IGNORE_INDEX,)})

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse masks that are not multiclass, or not stored as 0, 1, 2 and so on."""
        if content.class_map.values != tuple(range(content.class_map.num_classes)):
            values = ", ".join(map(str, content.class_map.values[:5]))
            return f"it numbers classes from 0, but these are stored as {values}"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write palette PNGs, the lists of the splits, and the class names."""
        listed: dict[str, list[str]] = defaultdict(list)
        for record, sample in samples:
            write_image(folder / IMAGES, record, sample)
            values: UInt8Array = to_stored_values(sample.mask, class_map, IGNORE_INDEX)
            write_mask(folder / MASKS[-1] / stem_of(record), values, PALETTE)
            if record.split:
                listed[record.split].append(stem_of(record))
        for split, stems in listed.items():
            (folder / LISTS).mkdir(parents=True, exist_ok=True)
            lines = "".join(f"{stem}\n" for stem in stems)
            (folder / LISTS / f"{split}.txt").write_text(lines, encoding="utf-8")
        names = "".join(f"{name}\n" for name in class_map.names)
        (folder / CLASS_NAMES[0]).write_text(names, encoding="utf-8")


class _Listing(NamedTuple):
    split: str
    path: Path


def _splits(folder: Path, labeled: Set[str]) -> dict[str, _Listing] | None:
    """Return the split of each listed stem; ``None`` if no list gives one.

    A list with another name is skipped if its images are also in the other lists, such as
    ``trainval``, or if it contains all images, such as CVAT's ``default``.

    Raises:
        FormatError: An image is in the lists of two splits, or only in a list with another name.
    """
    lists = {path: _listed_stems(path) for path in sorted((folder / LISTS).glob("*.txt"))}
    split_of = {path: SPLIT_FOLDERS.get(path.stem.lower()) for path in lists}
    is_halved = "train" in split_of.values()
    found: dict[str, _Listing] = {}
    for path, split in split_of.items():
        for stem in lists[path] if split else ():
            assert split
            other = found.setdefault(stem, _Listing(split, path))
            if other.split != split:
                error = FormatError(
                    f"{folder / LISTS} must list every image once. Got {stem} in "
                    f"{other.path.name} and {path.name}. Remove it from one"
                )
                report_problem("listed-twice", error, path, name=stem)
    for path in (path for path, split in split_of.items() if split is None):
        unlisted = [stem for stem in lists[path] if stem not in found]
        if path.stem.lower() == TRAIN_AND_VAL and not is_halved:
            found |= dict.fromkeys(unlisted, _Listing("train", path))
        elif labeled & set(unlisted) and not labeled <= set(lists[path]):
            error = FormatError(
                f"{path} must be named after its split: train, val, test or {TRAIN_AND_VAL}. It "
                f"lists {min(labeled & set(unlisted))}, which no such list does. Rename or "
                "remove it"
            )
            report_problem("split-not-given", error, path)
    return found or None


def _listed_stems(path: Path) -> list[str]:
    lines = text_lines(path)
    return [stem for line in lines if (stem := line.strip().rsplit("/", 1)[-1])]


def _named_class_map(path: Path) -> ClassMap:
    lines = text_lines(path)
    names = [line.strip() for line in lines if line.strip() not in ("", "__ignore__")]
    content = {
        "names": names,
        "colors": PALETTE[: len(names)],
        "values": range(len(names)),
        "ignore_colors": [IGNORE_COLOR],
    }
    return validated(ClassMap, content, str(path))


def _class_map(names: Sequence[str]) -> ClassMap:
    return ClassMap.build(names, colors=PALETTE[: len(names)], ignore_colors=(IGNORE_COLOR,))


def _has_voc_palette(record: Record) -> bool:
    return read_palette(record.masks[0])[: len(NAMES)] == PALETTE[: len(NAMES)]
