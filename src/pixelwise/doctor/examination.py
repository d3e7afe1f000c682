"""Checks every image and mask of a folder and summarizes the findings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from pixelwise.classes import (
    ClassMap,
)
from pixelwise.data.cache.memory_cache import MemoryCache
from pixelwise.data.card import find_card
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.detection import detect_format
from pixelwise.data.problems import ProblemLog, collect_problems
from pixelwise.data.sample import Record, Sample
from pixelwise.data.split_assignment import SPLITS
from pixelwise.doctor.file_checks import alpha_in_mask, colors_in_mask, diagnose, left_out
from pixelwise.doctor.findings import Finding, Observation, Tally, by_harm, make_finding
from pixelwise.doctor.guesses import guess_class_map
from pixelwise.doctor.image_checks import ImageFacts, almost_black, look_at_image, mixed_kinds
from pixelwise.doctor.mask_checks import (
    ClassRow,
    MaskFacts,
    class_table,
    look_at_classes,
    look_at_mask,
    small_regions,
)
from pixelwise.doctor.polygon_checks import look_at_polygons
from pixelwise.doctor.shape_checks import (
    ShapeCounts,
    bad_annotations,
    count_shapes,
    hidden_classes,
    look_at_shapes,
)
from pixelwise.doctor.split_checks import look_across_splits
from pixelwise.doctor.unexpected_values import find_unexpected
from pixelwise.doctor.value_checks import look_at_values, mixed_storage
from pixelwise.errors import DataError, FormatError, MaskError, PixelwiseError
from pixelwise.files import as_path, readable
from pixelwise.io.arrays import Array
from pixelwise.io.image_windows import in_window
from pixelwise.io.images import is_exact, read_image, read_mask_colors, read_mask_values
from pixelwise.label_options import LabelArguments
from pixelwise.text import amount

_UNKNOWN = "(unknown)"
_NO_CLASSES = ClassMap.build((_UNKNOWN,), values=(-1,), ignore=())
"""Placeholder for unknown classes; nothing is loaded with it."""


@dataclass(frozen=True)
class Examination:
    """The result of a data check.

    Attributes:
        path: The checked folder or card.
        findings: The most harmful first.
        dataset: The data set; its classes are a guess if ``is_guessed``. ``None`` if its layout or
            its classes are unknown.
        is_guessed: Whether the classes are a guess from the values in the masks.
        num_images: Number of images that could be decoded, by split.
        classes: One row per class.
        ignored_share: Share of ignored pixels, by split.
        usable: Records that can be used for training as they are.
    """

    path: Path
    findings: tuple[Finding, ...]
    dataset: Dataset | None
    is_guessed: bool
    num_images: dict[str, int]
    classes: tuple[ClassRow, ...]
    ignored_share: dict[str, float]
    usable: tuple[Record, ...] = field(repr=False)

    @property
    def is_refused(self) -> bool:
        """Whether something must be fixed before training."""
        return any(finding.severity == "refused" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-compatible objects."""
        dataset = self.dataset
        return {
            "path": str(self.path),
            "format": dataset.format.name if dataset else None,
            "label_mode": dataset.label_mode if dataset else None,
            "is_refused": self.is_refused,
            "classes_are_guessed": self.is_guessed,
            "images": self.num_images,
            "ignored_share": self.ignored_share,
            "classes": [dataclasses.asdict(row) for row in self.classes],
            "findings": [finding.to_json() for finding in self.findings],
        }


@dataclass(frozen=True)
class _Look:
    """What is kept of one record after it was decoded."""

    record: Record
    observations: list[Observation]
    image: ImageFacts | None
    mask: MaskFacts | None
    shapes: ShapeCounts
    is_usable: bool


def check_data(
    path: Path | str,
    *,
    split: str | None = None,
    split_seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
    **labels: Unpack[LabelArguments],
) -> Examination:
    """Read every image and mask of a folder and report their problems.

    A damaged file does not stop the check. Only a few images are in memory at a time.

    Args:
        path: As for :func:`pixelwise.open_dataset`.
        split: Shares, for a folder without splits.
        split_seed: Seed of that split.
        on_progress: Called with the number of checked images and the total number.
        labels: The options of :class:`~pixelwise.label_options.LabelOptions`.

    Raises:
        DataError: The path does not exist.
        ConfigError: The card or an option is wrong.
    """
    options: dict[str, Any] = {**labels, "split": split, "split_seed": split_seed}
    path = as_path(path, "data")
    with collect_problems() as log:
        dataset, is_guessed, complaints = _open(path, options, log)
    tally = Tally(dataset.path if dataset else path)
    tally.add(left_out(log.problems))
    if dataset is None:
        found = by_harm([*complaints, *tally.findings()])
        return Examination(path, found, None, False, {}, (), {}, ())
    tally.add(bad_annotations(dataset))
    records = dataset.records
    first = {record.image: record for record in reversed(records)}

    def look_at(index: int) -> _Look:
        record = records[index]
        return _look(dataset, record, with_files=first[record.image] is record)

    looks = MemoryCache(look_at, len(records), size_of=lambda _: 1, budget_bytes=0)
    seen = []
    for look in looks.in_parallel(on_progress):
        tally.add(look.observations)
        seen.append(dataclasses.replace(look, observations=[]))
    return _conclude(path, dataset, is_guessed, seen, tally, complaints)


def _open(
    path: Path, options: dict[str, Any], log: ProblemLog
) -> tuple[Dataset | None, bool, list[Finding]]:
    """Open the data set; also return whether its classes are a guess, and why opening failed."""
    try:
        return open_dataset(path, **options), False, []
    except DataError as error:
        with readable(path, DataError):
            if not path.exists():
                raise
        reason = error
    log.problems.clear()  # the second attempt reports them again
    try:
        dataset = open_dataset(path, class_map=_NO_CLASSES, **options)
    except DataError:
        kind = "unreadable-labels" if _is_known_layout(path, options) else "unknown-layout"
        # Files that were left out explain why it could not be opened, if there are any.
        return None, False, [] if log.problems else [make_finding(kind, [str(reason)])]
    class_map, is_guessed = _classes_of_readable(dataset, options)
    notes = tuple(note for note in dataset.notes if _UNKNOWN not in note)
    dataset = dataclasses.replace(dataset, class_map=class_map, notes=notes)
    if class_map is not _NO_CLASSES or any(map(colors_in_mask, _picture_masks(dataset.records))):
        return dataset, is_guessed, []  # each file is reported later
    is_gray = isinstance(reason, MaskError) and _picture_masks(dataset.records)
    kind = "gray-levels" if is_gray else "unreadable-labels"
    return dataset, False, [make_finding(kind, [str(reason)])]


def _is_known_layout(path: Path, options: dict[str, Any]) -> bool:
    try:
        with readable(path, FormatError):
            detect_format(path if path.is_dir() else path.parent, options.get("format"))
    except FormatError:
        return False
    return True


def _is_in_color(dataset: Dataset) -> bool:
    return dataset.format.name == "color-masks"


def _picture_masks(records: Sequence[Record]) -> list[Path]:
    return [path for record in records for path in record.masks if is_exact(path)]


def _classes_of_readable(dataset: Dataset, options: dict[str, Any]) -> tuple[ClassMap, bool]:
    """Return the classes of the readable masks, or a guess, and whether it is a guess."""
    in_color = _is_in_color(dataset)

    def is_readable(record: Record) -> bool:
        try:
            for path in _picture_masks([record]):
                (read_mask_colors if in_color else read_mask_values)(path)
        except DataError:
            return False
        return True

    readable = [record for record in dataset.records if is_readable(record)]
    if not readable:
        return _NO_CLASSES, False
    try:
        return dataset.format.class_map(dataset.path, readable, options.get("ignore") or ()), False
    except PixelwiseError:
        guess = guess_class_map(readable, in_color=in_color)
        return guess or _NO_CLASSES, guess is not None


def _look(dataset: Dataset, record: Record, *, with_files: bool) -> _Look:
    """Decode one record and collect its observations, and those of its files if asked."""
    found = alpha_in_mask(record) if with_files else []
    sample, image = None, None
    shapes: ShapeCounts = {}
    is_usable = False
    if dataset.class_map is _NO_CLASSES:
        image = _image_of(record, found)
        masks, in_color = _picture_masks([record]), _is_in_color(dataset)
        found += [seen for path in masks for seen in colors_in_mask(path, in_color=in_color)]
    else:
        with collect_problems() as log:
            sample, image, is_usable = _load(dataset, record, found)
        # Shapes on a map continue beyond the edge of its tiles and are cut there on purpose.
        is_map = dataset.format.is_seen_from_above
        found += look_at_polygons(record, log.polygons, may_leave=is_map)
        found += look_at_shapes(record, log.shapes)
        shapes = count_shapes(log.shapes)
    image_facts = mask_facts = None
    if image is not None:
        image_facts, seen = look_at_image(record.image, image, with_file=with_files)
        found += seen
    if sample is not None:
        mask_facts, seen = look_at_mask(record, sample, dataset.class_map)
        found += seen
    placed = [dataclasses.replace(seen, window=record.window) for seen in found]
    return _Look(record, placed, image_facts, mask_facts, shapes, is_usable)


def _load(
    dataset: Dataset, record: Record, found: list[Observation]
) -> tuple[Sample | None, Array | None, bool]:
    """Return the sample and the image if they can be read, and whether training can use them."""
    try:
        sample = dataset.load(record)
    except PixelwiseError as error:
        unexpected = find_unexpected(dataset, record)
        if unexpected and unexpected[1]:
            found.append(unexpected[1])
            return unexpected[0], unexpected[0].image, False
        image = _image_of(record, [])
        found += diagnose(record, error, image, in_color=_is_in_color(dataset))
        return None, image, False
    if dataset.format.unexpected != "error":
        unexpected = find_unexpected(dataset, record)
        found += [unexpected[1]] if unexpected and unexpected[1] else []
    return sample, sample.image, True


def _image_of(record: Record, found: list[Observation]) -> Array | None:
    try:
        return read_image(record.image, in_window(record.window))
    except DataError as error:
        found += diagnose(record, error, None)
        return None


def _not_trainable(
    dataset: Dataset, pictures: Sequence[tuple[Record, ImageFacts]]
) -> Iterator[Finding]:
    """Find problems that stop training although every file is intact."""
    there = {record.split for record in dataset.records}
    lacking = [split for split in ("train", "val") if split not in there]
    if lacking:
        detail = f"none for {' and '.join(lacking)} of {amount(len(dataset.records), 'image')}"
        yield make_finding("no-images-to-compare", [detail])
    most = max(dataset.bands or (0,))
    few = [(record.image, facts.channels) for record, facts in pictures if facts.channels < most]
    if few:
        lines = [
            f"{path.name}: {amount(count, 'band')}, but the card asks for {most}"
            for path, count in few
        ]
        yield make_finding("too-few-bands", lines, [path for path, _ in few])


def _conclude(
    path: Path,
    dataset: Dataset,
    is_guessed: bool,
    looks: Sequence[_Look],
    tally: Tally,
    complaints: list[Finding],
) -> Examination:
    """Derive findings from all images together."""
    images = [(look.record, look.image, look.mask) for look in looks if look.image]
    masks = [(look.record, look.mask) for look in looks if look.mask]
    pictures = [(record, facts) for record, facts, _ in images]
    tally.add(almost_black(pictures))
    is_explained = is_guessed or bool(find_card(path)[0].classes)
    rows, ignored_shares = class_table(masks, dataset.class_map) if masks else ([], {})
    counted = Counter(record.split or "" for record, _ in masks)
    num_images = {split: counted[split] for split in (*SPLITS, "") if counted[split]}
    found = [
        *complaints,
        *mixed_kinds(pictures),
        *_not_trainable(dataset, pictures),
        *mixed_storage(dataset, tally),
        *look_across_splits(images, tally),
        *(look_at_classes(rows, num_images, dataset.label_mode) if masks else []),
        *look_at_values(dataset, masks, rows, is_explained=is_explained),
    ]
    # These two list the classes as a whole before the single files.
    by_class = {
        "regions-below-stride": small_regions(rows),
        "hidden-shapes": hidden_classes([look.shapes for look in looks]),
    }
    for finding in tally.findings():
        lines = by_class.get(finding.kind, [])
        if lines or finding.kind != "regions-below-stride":
            found.append(dataclasses.replace(finding, details=(*lines, *finding.details)))
    has_classes = dataset.class_map is not _NO_CLASSES
    return Examination(
        path,
        by_harm(found),
        dataset if has_classes else None,
        is_guessed,
        num_images,
        tuple(rows) if has_classes else (),
        ignored_shares,
        tuple(look.record for look in looks if look.is_usable),
    )
