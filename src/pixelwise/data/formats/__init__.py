"""Label formats: the base class and the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pixelwise.classes import ClassMap, LabelMode, Unexpected
from pixelwise.data.bad_annotations import AnnotationCount
from pixelwise.data.ignore_masks import ignoring_outside
from pixelwise.data.masks.kinds import Look
from pixelwise.data.sample import Record, Sample
from pixelwise.data.whole_samples import part_of_sample, whole_sample
from pixelwise.errors import ConfigError, FormatError, PixelwiseError, in_one_line
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.image_windows import nodata_in
from pixelwise.label_modes import mode_of
from pixelwise.registry import Builder, Registry

formats: Registry[Format] = Registry(
    "format",
    "pixelwise.data.formats",
    hint="List them with: pixelwise data formats",
    group="pixelwise.formats",
    is_open=True,
)


@dataclass(frozen=True)
class Confidence:
    """How likely it is that a folder has a format.

    Attributes:
        score: 0 to 1; 0 means no.
        reason: What was found, as text for the user.
    """

    score: float
    reason: str


NO = Confidence(0.0, "")


@dataclass(frozen=True)
class MaskContent:
    """What a format must be able to represent, for :meth:`Format.refusal`.

    Attributes:
        class_map: The classes.
        label_mode: Multiclass or multilabel.
        has_ignored: Whether some pixels are ignored.
        is_soft: Whether multilabel masks hold more than 0 and 255.
    """

    class_map: ClassMap
    label_mode: LabelMode
    has_ignored: bool
    is_soft: bool

    @classmethod
    def of(cls, sample: Sample, class_map: ClassMap) -> Self:
        """Return what one sample requires of a format."""
        mode = mode_of(sample.label_mode)
        return cls(
            class_map,
            sample.label_mode,
            has_ignored=bool(mode.ignored(sample.mask).any()),
            is_soft=mode.is_soft(sample.mask),
        )


class Format(ABC):
    """Base class of label formats.

    Args:
        label_mode: The label mode to read, if the format supports both; ``None`` uses its first.
        unexpected: What to do with values that are neither a class nor ignored; ``None`` refuses
            them too, but lets a format of mask files read smoothed masks.
        class_property: The property that gives the class of a shape, with dots between levels;
            ``none`` makes all shapes one class, ``None`` lets the format find it.

    Raises:
        ConfigError: The format does not support the label mode, or shapes have no properties.
    """

    name: ClassVar[str]
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass",)
    """Supported label modes, the usual one first."""
    layout: ClassVar[str]
    """The expected folder layout in one line, for messages."""
    has_properties: ClassVar[bool] = False
    """Whether shapes have properties of any name, one of which gives the class."""
    is_seen_from_above: ClassVar[bool] = False
    """Whether images are maps, which have no preferred orientation."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Options of the label reading that only some formats take: ``images`` and ``masks`` if the
    format has one mask file per image, ``unlabeled``, ``resize_masks`` and ``buffer``."""
    stores_colors: ClassVar[bool] = False
    """Whether each class is a color of the masks, and not a number."""
    reads_windows: ClassVar[bool] = False
    """Whether :meth:`load` reads the windows of records. Otherwise, it reads the whole image."""
    ignores_nodata: ClassVar[bool] = False
    """Whether :meth:`load` itself ignores pixels without data."""
    decoder_version: ClassVar[int | None] = None
    """For formats outside pixelwise: a number lets decoded samples be cached on disk. Increase it
    when :meth:`load` changes, so that those cached before are not used."""

    def __init__(
        self,
        label_mode: LabelMode | None = None,
        unexpected: Unexpected | None = None,
        class_property: str | None = None,
    ) -> None:
        if label_mode not in (None, *self.label_modes):
            raise ConfigError(
                f"label_mode of {self.name} must be {' or '.join(self.label_modes)}. "
                f"Got {label_mode}. Leave it out, or choose another format"
            )
        if class_property is not None and not self.has_properties:
            raise ConfigError(
                f"`class_property` must be left out for {self.name}, in which the class of a shape "
                f"has a fixed place. Got {class_property!r}"
            )
        self.class_property = class_property
        self.label_mode: LabelMode = label_mode or self.label_modes[0]
        self.unexpected: Unexpected = unexpected or "error"
        self.is_strict = unexpected == "error"
        self.stored_classes: ClassMap | None = None
        """The classes of the mask files, where folders give those of the data set."""

    @abstractmethod
    def detect(self, folder: Path) -> Confidence:
        """Return how likely it is that the folder has this format."""

    def holds(self, look: Look) -> bool:  # noqa: ARG002  for the formats that take templates
        """Whether masks of this kind can be of this format, wherever they are."""
        return False

    def knows(self, folder: Path) -> bool:
        """Whether the folder has the layout of the format, whatever its masks hold."""
        return self.detect(folder).score > 0

    def has_other_names(self, folder: Path) -> bool:  # noqa: ARG002
        """Whether the format fits a folder but for the names of its files."""
        return False

    @abstractmethod
    def records(self, folder: Path) -> list[Record]:
        """Return every labeled image of the folder, sorted by name.

        Raises:
            FormatError: An image has no mask or several, or a mask has no image.
        """

    @abstractmethod
    def class_map(
        self, folder: Path, records: Sequence[Record], ignore: Sequence[int] = ()
    ) -> ClassMap:
        """Return the classes if no dataset card names them; values in ``ignore`` are no classes."""

    @abstractmethod
    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode one image and its mask.

        Returns:
            The sample, whose name is that of its record; see :class:`pixelwise.Sample` for the
            shapes and types of its arrays.

        Raises:
            DataError: A file cannot be read.
            MaskError: The mask does not match the image or the class map.
        """

    def card_entries(self) -> dict[str, Any]:
        """Return the entries of a card that give this format its options, but the label mode."""
        entries = {"unexpected": None if self.unexpected == "error" else self.unexpected,
                   "class_property": self.class_property}  # fmt: skip
        return {key: value for key, value in entries.items() if value is not None}

    def sample(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode as :meth:`load`, also a window, and ignore further pixels of multiclass masks.

        These are the pixels without data of a raster, and those outside of an ignore mask.
        """
        if record.window is not None and not self.reads_windows:
            return part_of_sample(record, self, class_map)
        sample = self.load(record, class_map)
        nothing = None if self.ignores_nodata else nodata_in(record.image, record.window)
        if nothing is not None and nothing.any():
            sample = replace(sample, mask=sample.mask.copy())
            mode_of(sample.label_mode).ignore(sample.mask, nothing)
        return ignoring_outside(sample, record)

    def shrunk_mask(self, record: Record, class_map: ClassMap, step: int) -> UInt8Array:
        """Return about ``mask[..., ::step, ::step]`` of a whole image; errors as :meth:`load`."""
        return whole_sample(record, self, class_map).mask[..., ::step, ::step]

    def annotations(self, records: Sequence[Record]) -> AnnotationCount:
        """Count the annotations of some records, and list those that :meth:`load` leaves out.

        A format of mask images has none, and refuses what it cannot use.
        """
        del records
        return AnnotationCount()

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Return what else was found and chosen in the files of some records, for the user."""
        del records
        return []

    @property
    def takes_templates(self) -> bool:
        """Whether the format has one mask file per image, so that templates can pair them."""
        return "images" in self.takes

    @property
    def has_writer(self) -> bool:
        """Whether :meth:`write` can write the format."""
        return type(self)._write is not Format._write

    def stored(self, class_map: ClassMap) -> ClassMap:
        """Return the classes with the values by which this format stores them."""
        return class_map

    def refusal(self, content: MaskContent) -> str | None:
        """Return why the format cannot hold a mask, as part of a sentence; ``None`` if it can."""
        if type(self)._write is Format._write:
            return f"pixelwise reads {self.name} and does not write it"
        if content.label_mode not in self.label_modes:
            return f"{self.name} can only store {' or '.join(self.label_modes)} labels"
        return None

    def write(
        self, folder: Path, samples: Iterable[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write a data set so that :meth:`records` and :meth:`load` return the same masks.

        Args:
            folder: An empty folder.
            samples: Samples with their records, which contain the split and the image file; the
                last parts of their names are distinct and become the stems of the written files.
            class_map: The classes; a card beside the data keeps their names and colors.

        Raises:
            FormatError: The format cannot represent a sample; the message gives the reason.
            OutputError: The folder is not writable.
        """

        def held() -> Iterator[tuple[Record, Sample]]:
            for record, sample in samples:
                reason = self.refusal(MaskContent.of(sample, class_map))
                if reason:
                    raise FormatError(
                        f"{record.name} cannot be written as {self.name}: {reason}. "
                        "Choose another format"
                    )
                yield record, sample

        self._write(folder, held(), class_map)

    def _write(
        self,
        folder: Path,
        samples: Iterator[tuple[Record, Sample]],  # noqa: ARG002  for the formats that write
        class_map: ClassMap,  # noqa: ARG002
    ) -> None:
        """Write samples that the format can represent; a format can do without.

        Raises:
            FormatError: The format has no writer.
        """
        raise FormatError(
            f"{folder} cannot be written as {self.name}, which has no writer. Choose another format"
        )


def register_format(name: str) -> Callable[[Builder], Builder]:
    """Register a subclass of :class:`Format` under its name, as a decorator."""
    return formats.register(name)


@contextmanager
def mistakes_named(found: Format, method: str, folder: Path) -> Iterator[None]:
    """Name the format if its code raises; what a format of pixelwise raises is left as it is.

    Args:
        found: The format.
        method: The method that is called.
        folder: The data set.

    Raises:
        FormatError: The format is not pixelwise's own, and raised anything but a PixelwiseError.
    """
    try:
        yield
    except (PixelwiseError, MemoryError):
        raise
    except Exception as error:  # whatever the code of a user raises
        if formats.is_own(type(found)):
            raise
        raise FormatError(
            f"{folder} must be readable as {found.name}. `{method}` of the format {found.name!r} "
            f"raised {in_one_line(error)}. Correct the format, or the files that it reads"
        ) from error
