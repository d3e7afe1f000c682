"""How labels lie on disk: one file per format; the right one is found by looking at the folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pixelwise.classes import ClassMap, LabelMode, Unexpected
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import ConfigError, FormatError
from pixelwise.label_modes import mode_of
from pixelwise.registry import Registry

formats: Registry[Format] = Registry("format", "pixelwise.data.formats")


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


@dataclass(frozen=True)
class MaskContent:
    """What a format must be able to hold, for :meth:`Format.refusal`.

    Attributes:
        class_map: The classes.
        label_mode: Multiclass or multilabel.
        has_ignored: Some pixels are ignored.
        is_soft: Multilabel masks hold more than 0 and 255.
    """

    class_map: ClassMap
    label_mode: LabelMode
    has_ignored: bool
    is_soft: bool

    @classmethod
    def of(cls, sample: Sample, class_map: ClassMap) -> Self:
        """What one sample asks of a format."""
        mode = mode_of(sample.label_mode)
        return cls(
            class_map,
            sample.label_mode,
            has_ignored=bool(mode.ignored(sample.mask).any()),
            is_soft=mode.is_soft(sample.mask),
        )


class Format(ABC):
    """One way in which labels lie on disk.

    Args:
        label_mode: How masks are given, where the format can do both; ``None`` takes its first.
        unexpected: What becomes of values that are neither a class nor ignored.

    Raises:
        ConfigError: The format has no such label mode.
    """

    name: ClassVar[str]
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass",)
    """What it can be read as, the usual one first."""
    layout: ClassVar[str]
    """The folder that it expects, in one line, for messages."""
    is_seen_from_above: ClassVar[bool] = False
    """Its images are maps, which have no up and down."""
    decoder_version: ClassVar[int] = 1
    """For formats outside pixelwise: raise it when :meth:`load` gives other samples for the same
    files, so that no older one is taken from the cache."""

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
        """Say how sure it is that the folder is of this format."""

    @abstractmethod
    def records(self, folder: Path) -> list[Record]:
        """Every labeled image of the folder, sorted by name.

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
        """Decode one image and its mask.

        Raises:
            DataError: A file cannot be read.
            MaskError: The mask does not fit the image or the class map.
        """

    def stored(self, class_map: ClassMap) -> ClassMap:
        """The same classes with the values by which it would store them; as they are by default."""
        return class_map

    def refusal(self, content: MaskContent) -> str | None:
        """Why it cannot hold such a mask, as the end of a sentence; ``None`` where it can."""
        if content.label_mode not in self.label_modes:
            return f"{self.name} holds {' or '.join(self.label_modes)} labels alone"
        return None

    def write(
        self, folder: Path, samples: Iterable[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write a data set so that :meth:`records` and :meth:`load` give the same masks again.

        Args:
            folder: An empty folder.
            samples: Each with its record, which says the split and where the image file lies; the
                last part of a record's name is the stem of what is written, and no two are alike.
            class_map: The classes; a card beside the data keeps their names and colors.

        Raises:
            FormatError: The format cannot hold a sample; the message says why.
            OutputError: The folder cannot be written.
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

    @abstractmethod
    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write samples that the format can hold."""


def detect_format(folder: Path, name: str | None = None, **options: Any) -> tuple[Format, str]:
    """Find the format of a folder.

    Args:
        folder: The data set.
        name: The format, where it is known; ``None`` looks.
        options: Arguments of the format, as of :class:`Format`; ``None`` stands for its default.

    Returns:
        The format and the reason in words.

    Raises:
        FormatError: None fits, or two fit equally well.
        ConfigError: The format does not take such an option.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if name is not None:
        return formats.create(name, **given), "as asked"
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
    return formats.create(best.name, **given), sure.reason


def _nothing_found(folder: Path) -> str:
    contents = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    got = (
        ", ".join(contents[:6]) + (", ..." if len(contents) > 6 else "") if contents else "nothing"
    )
    usual = formats.create("index-masks").layout
    return (
        f"{folder} must hold images with masks. Got {got}. Lay them as {usual}, or as one of: "
        f"{', '.join(formats.names())}. How those lie: pixelwise data formats"
    )
