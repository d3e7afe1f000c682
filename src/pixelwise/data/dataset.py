"""Opens a data set: detects its format, reads its classes and assigns its splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.config import DEFAULT_SPLIT, AugmentationRecipe, DataRecipe
from pixelwise.data.bad_annotations import require_few
from pixelwise.data.cache.cache_keys import content_of
from pixelwise.data.cache.disk import DiskCache, open_cache
from pixelwise.data.card import DatasetCard, find_card, split_as_named
from pixelwise.data.detection import detect_format
from pixelwise.data.digits import write_digits
from pixelwise.data.formats import Format, mistakes_named
from pixelwise.data.found_classes import classes_of
from pixelwise.data.ignore_masks import with_ignore_masks
from pixelwise.data.own_format import checked_sample
from pixelwise.data.problems import is_collecting, raise_together
from pixelwise.data.sample import Record, Sample
from pixelwise.data.scene_assignment import assign
from pixelwise.data.split import Split
from pixelwise.data.split_assignment import (
    SPLITS,
    check_part,
    parse_split,
    require_different_names,
)
from pixelwise.data.split_lists import splits_of_lists
from pixelwise.errors import ConfigError, DataError, FormatError
from pixelwise.files import as_path, readable
from pixelwise.io.counting import spread
from pixelwise.io.file_state import state_of
from pixelwise.io.members import name_of
from pixelwise.label_modes import mode_of
from pixelwise.label_options import LabelArguments, LabelOptions, label_options
from pixelwise.scenes.window_rule import WindowRule
from pixelwise.text import amount, listed

BUILT_IN = Path("digits")
"""The data set that needs no files: it is generated locally."""

MAX_COUNTED = 2000
"""Annotations of at most this many images are counted when a data set is opened; a data check
counts all."""

NAMELESS = "named after the stored values; pixelwise data check --write drafts a card to name them"
"""Note on classes without names."""


@dataclass(frozen=True)
class Dataset:
    """An open folder of labeled images; images are decoded when they are loaded.

    ``train``, ``val`` and ``test`` are sequences of samples for a loop of the reader's own, and
    :meth:`split` and :meth:`load` the records behind them. A data set can be pickled, so that
    worker processes can load from it.

    Attributes:
        path: The folder.
        format: Its label format.
        class_map: Names, colors and stored values of its classes.
        records: Every labeled image with its split, sorted by name.
        drawn_split: The shares that splits were drawn with; ``None`` if the folder has splits.
        split_seed: The seed of that draw.
        is_val_set_aside: Whether the validation images were drawn from the training images.
        notes: What was found and decided, as text for the user.
        augmentation: The augmentation that its card allows.
        bands: The bands that its card selects, counted from 1; :meth:`load` returns all bands.
        cache: The cache on disk for decoded samples; ``None`` decodes every time.
        max_bad_annotations: The share of annotations that may be left out, if it was given.
        ignore_mask: The template of the ignore masks, if it was given.
        window_rule: How large images are read in windows, from its card.
    """

    path: Path
    format: Format = field(repr=False)
    class_map: ClassMap
    records: tuple[Record, ...] = field(repr=False)
    drawn_split: str | None
    split_seed: int
    is_val_set_aside: bool
    notes: tuple[str, ...] = field(repr=False)
    augmentation: AugmentationRecipe = field(repr=False)
    bands: tuple[int, ...] | None = None
    cache: DiskCache | None = field(default=None, repr=False, compare=False)
    max_bad_annotations: float | None = field(default=None, repr=False)
    ignore_mask: str | None = field(default=None, repr=False)
    window_rule: WindowRule = field(default=WindowRule(), repr=False)

    @property
    def label_mode(self) -> LabelMode:
        """``multiclass`` or ``multilabel``."""
        return self.format.label_mode

    def split(self, name: str) -> tuple[Record, ...]:
        """Return the records of one split.

        Args:
            name: ``train``, ``val``, ``test`` or ``all``.

        Raises:
            ConfigError: The split is unknown.
            DataError: The split has no images.
        """
        check_part(name)
        chosen = tuple(record for record in self.records if name in ("all", record.split))
        if not chosen:
            there = sorted({record.split or "" for record in self.records})
            raise DataError(
                f"{self.path} must contain images of the split {name!r}. "
                f"It contains only {', '.join(there)}. Choose {' or '.join(there)}, or all"
            )
        return chosen

    def samples(self, name: str) -> Split:
        """Return the samples of one split as a sequence, which decodes an image when it is indexed.

        Args:
            name: ``train``, ``val``, ``test`` or ``all``.

        Raises:
            ConfigError: The split is unknown.
            DataError: The split has no images.
        """
        return Split(self.split(name), self.load)

    @property
    def train(self) -> Split:
        """The training samples; see :meth:`samples`."""
        return self.samples("train")

    @property
    def val(self) -> Split:
        """The validation samples; see :meth:`samples`."""
        return self.samples("val")

    @property
    def test(self) -> Split:
        """The test samples; see :meth:`samples`."""
        return self.samples("test")

    def load(self, record: Record) -> Sample:
        """Decode one image and its mask, or read them from the cache; its arrays are writable.

        Raises:
            DataError: A file cannot be read, or the mask does not match the image.
        """
        # A data check must decode the files, as cached samples had no problems.
        if self.cache is None or is_collecting():
            return checked_sample(record, self.format, self.class_map)
        return self.cache.load(record, self.format, self.class_map)

    @property
    def state(self) -> str:
        """A hash of everything that determines what is learned: files, splits and classes.

        All files are read, but only once while they are unchanged. Files above the size limit are
        identified by path and time stamp.
        """
        digest = hashlib.sha256(self.class_map.model_dump_json().encode())
        for record in self.records:
            parts = (record.name, record.split, record.window, record.entry)
            files = [content_of(path) for path in record.files]
            digest.update(f"{parts}{files}\0".encode(errors="surrogatepass"))
        return digest.hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """A hash of the names and file sizes, to recognize the data set in another place.

        No file is read, and edited labels can keep their size. See :attr:`state`.
        """
        digest = hashlib.sha256()
        for record in self.records:
            digest.update(f"{record.name}\0".encode())
            for path in record.files:
                described = f"{name_of(path)}\0{state_of(path).num_bytes}\0"
                digest.update(described.encode(errors="surrogatepass"))
        return digest.hexdigest()[:16]


def open_dataset(
    path: Path | str,
    *,
    split: str | None = None,
    split_seed: int = 0,
    class_map: ClassMap | None = None,
    cache: bool = True,
    **labels: Unpack[LabelArguments],
) -> Dataset:
    """Open a folder of labeled images.

    Args:
        path: A folder, a dataset card (``dataset.yaml``), or ``digits``: pictures of handwritten
            digits, which are generated in the folder ``digits`` if it does not exist.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares for a folder without splits; ``None``
            uses those of the card, else 70/15/15.
        split_seed: Seed of that split.
        class_map: The classes, which take precedence over the card; ``None`` if unknown.
        cache: Cache samples that are slow to decode on disk, see ``PIXELWISE_CACHE``.
        labels: ``format``, ``ignore``, ``label_mode``, ``images``, ``masks`` and the other options
            of :class:`~pixelwise.label_options.LabelOptions`, which take precedence over the card.

    Raises:
        DataError: The folder does not exist, or contains no labeled images.
        FormatError: Its layout is unknown or ambiguous, or images and masks do not match.
        ConfigError: The card or an option is invalid.
    """
    given_options = label_options(**labels)
    parse_split(split or DEFAULT_SPLIT)  # raised now instead of after the files are listed
    path = as_path(path, "data")
    made = []
    if path == BUILT_IN and not path.exists():
        made = [f"made {path}/ from {write_digits(path)}"]
    with readable(path, DataError):
        if not path.exists():
            raise DataError(f"`data` must be a folder or a dataset card. {path} does not exist")
        card, card_file, folder = find_card(path)
    options = given_options.completed_by(card)
    with readable(folder, DataError), raise_together():
        found, reason, records = records_in(folder, options)
        require_different_names(folder, records)
        count = found.annotations(spread(records, MAX_COUNTED))
        require_few(count, folder, options.max_bad_annotations)
    if not records:
        raise FormatError(f"{folder} must contain labeled images. Got none. Check the path")
    if class_map is None and card_file:
        class_map = card.class_map(card_file)
    _require_ids(found, folder, "ignore", list(options.ignore or ()))
    with mistakes_named(found, "class_map", folder):
        class_map, smoothed_notes = classes_of(found, folder, records, class_map, options)
    shares = split or card.split or DEFAULT_SPLIT
    records, origin = split_as_named(records, card, card_file)
    if split is None and card.split is None:
        records, origin = splits_of_lists(folder, records) or (records, origin)
    rule = card.window_rule
    assigned, split_notes = assign(records, found, class_map, rule, shares, split_seed, origin)
    given = {record.split for record in records}
    has_own = given != {None}
    notes = [
        *([f"dataset card {card_file}"] if card_file else []),
        *made,
        f"format {found.name}: {reason}",
        f"{amount(len({record.image for record in assigned}), 'image')}, "
        f"{amount(class_map.num_classes, f'{found.label_mode} class')}: "
        + listed(class_map.names, 12)
        + (f"; {NAMELESS}" if class_map.is_unnamed else ""),
        *smoothed_notes,
        *found.remarks(records),
        *([count.note()] if count.bad else []),
        *split_notes,
        *_unused_shares(split if has_own else None, origin),
    ]
    if class_map.values != tuple(range(class_map.num_classes)):
        pairs = zip(class_map.values, class_map.names, strict=True)
        notes.append("stored values: " + ", ".join(f"{value} {name}" for value, name in pairs))
    kept = open_cache(folder) if cache else None
    notes += [kept.note] if kept else []
    return Dataset(
        folder,
        found,
        class_map,
        assigned,
        None if has_own else shares,
        split_seed,
        "train" in given and "val" not in given,
        tuple(notes),
        _augmentation(card, found),
        card.bands,
        kept,
        options.max_bad_annotations,
        options.ignore_mask,
        rule,
    )


def records_in(folder: Path, options: LabelOptions) -> tuple[Format, str, list[Record]]:
    """Return the format of a folder, how it was found, and its records; nothing is decoded.

    Args:
        folder: The data set.
        options: How its labels are read, completed by its card.

    Raises:
        PixelwiseError: As :func:`open_dataset`.
    """
    # The other options concern the data set as a whole.
    of_format = options.model_dump(include=LabelOptions.model_fields.keys() - _OF_DATA_SET)
    found, reason = detect_format(folder, options.format, **of_format)
    _require_ids(found, folder, "ignore_mask", options.ignore_mask)
    with mistakes_named(found, "records", folder):
        records = found.records(folder)
    if options.ignore_mask is not None:
        records = with_ignore_masks(folder, records, options.ignore_mask)
    return found, reason, records


_OF_DATA_SET = {"format", "ignore", "max_bad_annotations"}


def _require_ids(found: Format, folder: Path, argument: str, value: object) -> None:
    """Check that masks store ids, so that pixels can be ignored, if an argument asks for that."""
    if value and not mode_of(found.label_mode).holds_ids:
        raise ConfigError(
            f"`{argument}` must be left out for {found.label_mode} masks ({found.name}), which "
            f"have no ignore value. Got {value} for {folder}"
        )


def _unused_shares(split: str | None, origin: str) -> list[str]:
    unused = f"the shares {split} are not used, as {origin} gives the splits"
    return [] if split is None else [unused]


def _augmentation(card: DatasetCard, found: Format) -> AugmentationRecipe:
    """Return the augmentation from the card, completed by what the format knows."""
    said = card.augmentation or AugmentationRecipe()
    if said.orientation is None and found.is_seen_from_above:
        return said.model_copy(update={"orientation": "free"})
    return said


def open_as_in(recipe: DataRecipe, *, cache: bool = True) -> Dataset:
    """Open the data set of a recipe, with the splits of the recipe.

    Args:
        recipe: The recipe.
        cache: As for :func:`open_dataset`.

    Raises:
        PixelwiseError: As :func:`open_dataset`, or the recipe has no data.
    """
    if recipe.path is None:
        raise ConfigError("`data` must be a folder of labeled images, or a dataset card. Got none")
    return open_dataset(
        recipe.path,
        split=recipe.split,
        split_seed=recipe.split_seed,
        cache=cache,
        **recipe.arguments(),
    )


@contextmanager
def open_unwritten(recipe: DataRecipe) -> Iterator[Dataset]:
    """Open the data set of a recipe without writing into the current folder.

    Digits that do not exist yet are made in a temporary folder, which is gone after the context.

    Raises:
        PixelwiseError: As :func:`open_as_in`.
    """
    if recipe.path is None or Path(recipe.path) != BUILT_IN or BUILT_IN.exists():
        yield open_as_in(recipe)
        return
    with TemporaryDirectory() as scratch:
        aside = Path(scratch) / BUILT_IN
        origin = write_digits(aside)
        dataset = open_as_in(recipe.model_copy(update={"path": str(aside)}), cache=False)
        made = f"{BUILT_IN}/ will be made from {origin}"
        notes = (note.replace(f"{scratch}/", "") for note in dataset.notes)
        yield replace(dataset, notes=(made, *notes))


def require_drawn(dataset: Dataset, shares: str | None) -> None:
    """Check that a data set is split by the shares that were asked for.

    Args:
        dataset: The data set.
        shares: The requested shares; ``None`` accepts every split.

    Raises:
        ConfigError: The folder or its card gives the splits.
    """
    if shares is not None and dataset.drawn_split is None:
        numbers = Counter(record.split for record in dataset.records)
        found = ", ".join(f"{numbers[name]} {name}" for name in SPLITS if numbers[name])
        raise ConfigError(
            f"`split` must be left out for {dataset.path}, which gives its own splits: {found}. "
            f"Got {shares}. To draw others, make a split file with `pixelwise data split`"
        )
