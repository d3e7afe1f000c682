"""Finds likely label errors: connected regions where a confident model disagrees with the label.

This is confident learning applied to pixels. A model is confident in a class if its probability is
at least its mean probability over the pixels labeled as this class, which corrects for under- and
overconfidence per class. Reference: Northcutt et al., Confident Learning (2021), arXiv:1911.00068.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from pixelwise.classes import IGNORE_INDEX, ClassMap, LabelMode
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.io.arrays import BoolArray, Float32Array, UInt8Array
from pixelwise.label_modes import Mode, mode_of
from pixelwise.metrics.boundary import distance_to

BORDER_PX = 5
"""Label borders are imprecise: nearer to them, disagreements have quadratically lower weight."""

WHOLE_POWER = 4
"""Exponent for the weight of regions that cover a labeled part: a region that covers 90 % of the
part has weight 2/3, one that covers 60 % only 1/8, as it may be the fringe of a small object."""

MIN_AREA_PX = 8
"""Minimum area of a region in pixels; smaller ones are not worth correcting."""

MIN_KNOWN = 0.1
"""Minimum mean probability of a class over its labels. Below it, the model has not learned the
class: disagreements are errors of the model and are not reported."""

Answer = tuple[Sample, Float32Array]
"""A sample and the probabilities of a model not trained on it, float32 (K, H, W)."""


@dataclass(frozen=True)
class Suspect:
    """A connected region with a likely label error.

    Attributes:
        name: Record name of its image.
        box: Bounding box: top row, left column, height and width.
        given: The labeled class; ``None`` for no class in multilabel masks.
        suggested: The class that the model is confident in; ``None`` likewise.
        area_px: Area in pixels.
        confidence: Mean probability of the suggestion, 0 to 1.
        score: Ranking score: mean times square root of the sum of the probability differences
            between suggested and given class, weighted down near label borders. A missing object
            ranks before a much longer fringe.
        region: bool (height, width), the pixels of the box that belong to it.
    """

    name: str
    box: tuple[int, int, int, int]
    given: str | None
    suggested: str | None
    area_px: int
    confidence: float
    score: float
    region: BoolArray = field(repr=False, compare=False)

    @property
    def change(self) -> str:
        """The change as text, ``given -> suggested``."""
        return " -> ".join(self.answers)

    @property
    def answers(self) -> tuple[str, str]:
        """The labeled and the suggested class as text; without a class it is ``not CLASS``."""
        # The pixels of multilabel masks may have other labels, which are not in question here.
        return self.given or f"not {self.suggested}", self.suggested or f"not {self.given}"

    @property
    def place(self) -> tuple[slice, slice]:
        """Slices of the rows and columns of its box."""
        top, left, height, width = self.box
        return slice(top, top + height), slice(left, left + width)

    def inside(self, shape: tuple[int, int]) -> BoolArray:
        """Return its pixels in an image of the given size, bool (H, W)."""
        found = np.zeros(shape, np.bool_)
        found[self.place] = self.region
        return found


@dataclass(frozen=True)
class _Question:
    """A labeling decision at every pixel: which class it is, or whether it belongs to one class.

    Attributes:
        names: The alternatives; ``None`` means that it does not belong to the class.
        probabilities: float32 (J, H, W).
        chosen: uint8 (H, W), the labeled alternative, 0 to J - 1, or 255 for ignored pixels.
    """

    names: tuple[str | None, ...]
    probabilities: Float32Array
    chosen: UInt8Array
    _distances: dict[int, npt.NDArray[np.floating]] = field(default_factory=dict)
    _parts: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]] = field(
        default_factory=dict
    )

    def distance_from(self, choice: int) -> npt.NDArray[np.floating]:
        """Return the distance of each pixel, in px, to pixels with this label; cached per label."""
        if choice not in self._distances:
            self._distances[choice] = distance_to(self.chosen == choice)
        return self._distances[choice]

    def parts_of(self, choice: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the connected components of this label, numbered from 1, and their areas."""
        if choice not in self._parts:
            parts, _ = label(self.chosen == choice)
            self._parts[choice] = parts, np.bincount(parts.ravel())
        return self._parts[choice]


def _questions(
    class_map: ClassMap, mode: Mode, probabilities: Float32Array, mask: UInt8Array
) -> Iterator[_Question]:
    parts = zip(
        mode.choice_names(class_map.names),
        mode.choice_probabilities(probabilities),
        mode.choices(mask),
        strict=True,
    )
    return (_Question(*part) for part in parts)


class Confidence:
    """Estimates the confidence thresholds of a model, from which labels are questioned.

    Args:
        class_map: The classes.
        label_mode: Label mode of the labels.
    """

    def __init__(self, class_map: ClassMap, label_mode: LabelMode) -> None:
        self._class_map, self._mode = class_map, mode_of(label_mode)
        shape = self._mode.choice_shape(class_map.num_classes)
        self._sums, self._pixels = np.zeros(shape), np.zeros(shape, np.int64)

    def add(self, probabilities: Float32Array, mask: UInt8Array) -> None:
        """Count one image.

        Args:
            probabilities: float32 (K, H, W).
            mask: As in a sample; ignored pixels are not counted.
        """
        questions = _questions(self._class_map, self._mode, probabilities, mask)
        for sums, pixels, question in zip(self._sums, self._pixels, questions, strict=True):
            is_labeled = question.chosen != IGNORE_INDEX
            chosen = question.chosen[is_labeled]
            own = np.take_along_axis(question.probabilities[:, is_labeled], chosen[None], axis=0)
            sums += np.bincount(chosen, own[0], len(sums))
            pixels += np.bincount(chosen, minlength=len(pixels))

    def merge(self, other: Confidence) -> None:
        """Add the counts of other images, such as from another process."""
        self._sums += other._sums
        self._pixels += other._pixels

    def disagreement(self, probabilities: Float32Array, mask: UInt8Array) -> float:
        """Score how strongly a model disagrees with the labels of an image, to rank images.

        Needs no threshold: it sums the probability differences of pixels where another class is
        more probable than the label, each multiplied by its distance in pixels to the nearest
        agreement. Thin fringes get little weight; a single missing object outweighs them.

        Args:
            probabilities: float32 (K, H, W).
            mask: As in a sample; ignored pixels are not counted.

        Returns:
            0 or more; for multilabel masks, the maximum over the classes.
        """
        found = 0.0
        for question in _questions(self._class_map, self._mode, probabilities, mask):
            chosen = question.chosen
            likeliest = question.probabilities.argmax(0)
            is_denied = (likeliest != chosen) & (chosen != IGNORE_INDEX)
            if not is_denied.any():
                continue
            depth = distance_to(~is_denied).clip(max=max(chosen.shape))[is_denied]
            best = question.probabilities.max(0)[is_denied]
            own = np.take_along_axis(
                question.probabilities[:, is_denied], chosen[is_denied][None], axis=0
            )[0]
            found = max(found, float(((best - own) * depth).sum(dtype=np.float64)))
        return found

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """Return the mean probability of each label over its pixels.

        Multiclass: (1, K). Multilabel: (K, 2), for not belonging and belonging to a class. Infinite
        for labels that never occur, for which no threshold can be estimated.
        """
        found = np.full(self._sums.shape, np.inf)
        np.divide(self._sums, self._pixels, out=found, where=self._pixels > 0)
        return found

    @property
    def unknown(self) -> list[str]:
        """Return the labeled classes that the model has not learned; see :data:`MIN_KNOWN`."""
        shown = self._mode.per_class(self.thresholds)
        pairs = zip(self._class_map.names, shown.tolist(), strict=True)
        return [name for name, threshold in pairs if threshold < MIN_KNOWN]

    def suspects(
        self, answer: Answer, *, min_area_px: int = MIN_AREA_PX, border_px: float = BORDER_PX
    ) -> Iterator[Suspect]:
        """Return the regions of one image with likely label errors, in arbitrary order.

        Args:
            answer: The sample and its probabilities.
            min_area_px: Smaller regions are left out.
            border_px: Distance to label borders below which pixels have a lower weight.
        """
        sample, probabilities = answer
        questions = _questions(self._class_map, self._mode, probabilities, sample.mask)
        for question, threshold in zip(questions, self.thresholds, strict=True):
            chosen, best = question.chosen, question.probabilities.argmax(0).astype(np.uint8)
            is_sure = question.probabilities.max(0) >= threshold[best]
            is_suspect = is_sure & (best != chosen) & (chosen != IGNORE_INDEX)
            pairs = np.unique(np.stack([chosen[is_suspect], best[is_suspect]]), axis=1)
            for given, suggested in pairs.T.tolist():
                if threshold[given] < MIN_KNOWN:
                    continue
                place = is_suspect & (chosen == given) & (best == suggested)
                yield from _regions(
                    sample.name, question, given, suggested, place, min_area_px, border_px
                )


def _regions(
    name: str,
    question: _Question,
    given: int,
    suggested: int,
    place: BoolArray,
    min_area_px: int,
    border_px: float,
) -> Iterator[Suspect]:
    """Return the connected regions labeled as one class and predicted as another."""
    numbered, _ = label(place)
    numbers = numbered.ravel()
    areas = np.bincount(numbers)
    if areas[1:].max() < min_area_px:
        return
    probability = question.probabilities[suggested]
    certainty = probability - question.probabilities[given]
    # Only a border to pixels labeled as the suggested class can be misplaced.
    away = question.distance_from(suggested)
    inner = certainty * np.square((away / border_px).clip(0, 1))
    whole, discounted = (np.bincount(numbers, each.ravel()) for each in (certainty, inner))
    # If a whole labeled part is questioned, border precision is irrelevant, however thin it is.
    is_whole = _coverage(numbered, areas, *question.parts_of(given)) ** WHOLE_POWER
    sums = (is_whole * whole + (1 - is_whole) * discounted).clip(0)
    scores = sums / areas.clip(1) * np.sqrt(sums)
    confidences = np.bincount(numbers, probability.ravel()) / areas.clip(1)
    for number, (rows, columns) in enumerate(find_objects(numbered), start=1):
        if areas[number] >= min_area_px:
            height, width = rows.stop - rows.start, columns.stop - columns.start
            yield Suspect(
                name,
                (rows.start, columns.start, height, width),
                question.names[given],
                question.names[suggested],
                int(areas[number]),
                float(confidences[number]),
                float(scores[number]),
                numbered[rows, columns] == number,
            )


def _coverage(
    numbered: npt.NDArray[np.int32],
    areas: npt.NDArray[np.int64],
    parts: npt.NDArray[np.int32],
    part_areas: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the fraction of its connected labeled part that each region covers, 0 to 1."""
    part_of = np.zeros(len(areas), np.int64)
    inside = numbered > 0
    part_of[numbered[inside]] = parts[
        inside
    ]  # a region lies in a single part, so any of its pixels identifies it
    return np.asarray((areas / part_areas[part_of].clip(1)).clip(0, 1))


def find_suspects(
    look: Callable[[], Iterable[Answer]],
    class_map: ClassMap,
    label_mode: LabelMode,
    *,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
    note: Callable[[str], None] | None = None,
) -> list[Suspect]:
    """Find the most likely label errors, with only one image in memory at a time.

    Args:
        look: Returns an iterable over all samples with their probabilities; called twice, first to
            estimate the confidence thresholds.
        class_map: The classes.
        label_mode: Label mode of the labels.
        top: Maximum number of regions.
        min_area_px: Smaller regions are left out.
        note: Called with what could not be reviewed, because the model has not learned it.

    Returns:
        The suspects, likeliest first; ties are ordered by name and position.

    Raises:
        DataError: No pixel is labeled.
    """
    confidence = Confidence(class_map, label_mode)
    for sample, probabilities in look():
        confidence.add(probabilities, sample.mask)
    if np.isinf(confidence.thresholds).all():
        raise DataError(
            "the masks must contain labeled pixels to review. All are ignored. "
            "Check the ignore value, or choose another split with `split`"
        )
    if note is not None:
        for line in unknown_words(confidence.unknown):
            note(line)
    return likeliest_suspects(confidence, look(), top=top, min_area_px=min_area_px)


def unknown_words(names: Sequence[str]) -> list[str]:
    """Name the classes that the model does not predict reliably, if any."""
    if not names:
        return []
    return [f"The model is not confident enough about {', '.join(names)} to question their labels."]


def likeliest_suspects(
    confidence: Confidence,
    answers: Iterable[Answer],
    *,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
) -> list[Suspect]:
    """Find the most likely label errors in some images.

    Args:
        confidence: Confidence thresholds of the model.
        answers: Samples with probabilities; iterated once.
        top: Maximum number of regions.
        min_area_px: Smaller regions are left out.

    Returns:
        As :func:`find_suspects`.
    """
    found = (
        suspect
        for answer in answers
        for suspect in confidence.suspects(answer, min_area_px=min_area_px)
    )
    return nsmallest(top, found, key=_rank)


def _rank(suspect: Suspect) -> tuple[float, str, tuple[int, ...], str]:
    return -suspect.score, suspect.name, suspect.box, suspect.change
