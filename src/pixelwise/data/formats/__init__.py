"""Label formats: the base class, and the detection of a folder's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pixelwise.classes import ClassMap, LabelMode, Unexpected
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import ConfigError, FormatError, PixelwiseError, in_one_line
from pixelwise.label_modes import mode_of
from pixelwise.registry import Builder, Registry
from pixelwise.text import listed

formats: Registry[Format] = Registry(
    "format", "pixelwise.data.formats", group="pixelwise.formats", is_open=True
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
        unexpected: What to do with values that are neither a class nor ignored.

    Raises:
        ConfigError: The format does not support the label mode.
    """

    name: ClassVar[str]
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass",)
    """Supported label modes, the usual one first."""
    layout: ClassVar[str]
    """The expected folder layout in one line, for messages."""
    is_seen_from_above: ClassVar[bool] = False
    """Whether images are maps, which have no preferred orientation."""
    decoder_version: ClassVar[int] = 1
    """For formats outside pixelwise: increase it when :meth:`load` changes, so that cached
    samples are not used."""

    def __init__(
        self, label_mode: LabelMode | None = None, unexpected: Unexpected = "error"
    ) -> None:
        if label_mode not in (None, *self.label_modes):
            raise ConfigError(
                f"label_mode of {self.name} must be {' or '.join(self.label_modes)}. "
                f"Got {label_mode}. Leave it out, or choose another format"
            )
        self.label_mode: LabelMode = label_mode or self.label_modes[0]
        self.unexpected: Unexpected = unexpected

    @abstractmethod
    def detect(self, folder: Path) -> Confidence:
        """Return how likely it is that the folder has this format."""

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

    @property
    def has_writer(self) -> bool:
        """Whether :meth:`write` can write the format."""
        return type(self)._write is not Format._write

    def stored(self, class_map: ClassMap) -> ClassMap:
        """Return the classes with the values by which this format stores them."""
        return class_map

    def refusal(self, content: MaskContent) -> str | None:
        """Return why the format cannot hold a mask, as part of a sentence; ``None`` if it can."""
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


def detect_format(folder: Path, name: str | None = None, **options: Any) -> tuple[Format, str]:
    """Detect the format of a folder.

    Args:
        folder: The data set.
        name: The format, if known; ``None`` detects it.
        options: Arguments of the format, see :class:`Format`; ``None`` stands for the default.

    Returns:
        The format and the reason as text.

    Raises:
        FormatError: No format fits, or two fit equally well.
        ConfigError: The format does not support an option.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if name is not None:
        return formats.create(name, **given), "as asked"
    answers = []
    for candidate in map(formats.create, formats.names()):
        with mistakes_named(candidate, "detect", folder):
            answers.append((candidate, candidate.detect(folder)))
    answers = sorted(
        (answer for answer in answers if answer[1].score > 0), key=lambda answer: -answer[1].score
    )
    if not answers:
        raise FormatError(_nothing_found(folder))
    if len(answers) > 1 and answers[0][1].score == answers[1][1].score:
        seen = "; ".join(f"{answer.name} ({sure.reason})" for answer, sure in answers)
        raise FormatError(f"{folder} fits several formats: {seen}. Choose one with `format`")
    best, sure = answers[0]
    return formats.create(best.name, **given), sure.reason


def _nothing_found(folder: Path) -> str:
    contents = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    got = listed(contents, 6) or "nothing"
    usual = formats.create("index-masks").layout
    return (
        f"{folder} must contain images with masks. Got {got}. Arrange them as {usual}, or as one "
        f"of: {', '.join(formats.names())}. Their layouts: pixelwise data formats"
    )
