"""Labels that a sure model disagrees with: connected regions, those most likely wrong first.

Confident learning at the level of pixels: a model is sure of a class where its probability is at
least the mean of its probabilities over the pixels that are labeled so, which makes up for classes
that it is timid or rash about. Reference: Northcutt et al., Confident Learning (2021),
arXiv:1911.00068.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from pixelwise.classes import IGNORE_INDEX, ClassMap, LabelMode
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import Mode, mode_of
from pixelwise.metrics.boundary import BoolArray, distance_to

BORDER_PX = 5
"""A label's border is drawn roughly: nearer to it, a disagreement weighs less, by the square."""

WHOLE_POWER = 4
"""A region that takes 90 % of a labeled part doubts it as a whole for two thirds, one of 60 % for
an eighth: it may be the fringe around something small."""

MIN_AREA_PX = 8
"""Smaller regions are specks that nobody fixes."""

MIN_KNOWN = 0.1
"""A class to whose labels a model gives less probability than this, on average, it does not know:
what it says in their place is its own mistake, and nothing is doubted."""

Probabilities = npt.NDArray[np.float32]
Answer = tuple[Sample, Probabilities]
"""A labeled image and what a model that was not trained on it says, float32 (K, H, W)."""


@dataclass(frozen=True)
class Suspect:
    """A connected region whose label is likely wrong.

    Attributes:
        name: The record of its image.
        box: Row and column of its first pixel, its height and its width.
        given: The class that the label says; ``None``, of multilabel masks, is none.
        suggested: The class that the model is sure of; ``None`` as well.
        area_px: How many pixels it has.
        confidence: Mean probability of what is suggested, 0 to 1.
        score: What it is ranked by. The probabilities of the suggested class, less those of the
            given one and less near the border of the labels: their mean times the root of their
            sum. A missing object so stands before a fringe that is much longer.
        region: bool, the pixels of the box that belong to it.
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
        """``given -> suggested``, in words."""
        return f"{self.given or 'nothing'} -> {self.suggested or 'nothing'}"

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of its box."""
        top, left, height, width = self.box
        return slice(top, top + height), slice(left, left + width)

    def inside(self, shape: tuple[int, int]) -> BoolArray:
        """Its pixels in an image of a height and width, bool (H, W)."""
        found = np.zeros(shape, np.bool_)
        found[self.place] = self.region
        return found


@dataclass(frozen=True)
class _Question:
    """One of the choices that a mask makes at every pixel: a class, or whether it is of one.

    Attributes:
        names: What can be chosen; ``None`` is that it is not of the class.
        probabilities: float32 (J, H, W).
        chosen: uint8 (H, W) from 0 to J - 1, or 255 for ignored pixels.
    """

    names: tuple[str | None, ...]
    probabilities: Probabilities
    chosen: UInt8Array
    _distances: dict[int, npt.NDArray[np.floating]] = field(default_factory=dict)
    _parts: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]] = field(
        default_factory=dict
    )

    def distance_from(self, choice: int) -> npt.NDArray[np.floating]:
        """Of each pixel, in px, from what is labeled so; worked out once for each choice."""
        if choice not in self._distances:
            self._distances[choice] = distance_to(self.chosen == choice)
        return self._distances[choice]

    def parts_of(self, choice: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """What is labeled so in connected parts, numbered from 1, and the area of each."""
        if choice not in self._parts:
            parts, _ = label(self.chosen == choice)
            self._parts[choice] = parts, np.bincount(parts.ravel())
        return self._parts[choice]


def _questions(
    class_map: ClassMap, mode: Mode, probabilities: Probabilities, mask: UInt8Array
) -> Iterator[_Question]:
    parts = zip(
        mode.choice_names(class_map.names),
        mode.choice_probabilities(probabilities),
        mode.choices(mask),
        strict=True,
    )
    return (_Question(*part) for part in parts)


class Confidence:
    """How sure a model is where it agrees with the labels: what it takes to doubt a label.

    Args:
        class_map: The classes.
        label_mode: Of the labels.
    """

    def __init__(self, class_map: ClassMap, label_mode: LabelMode) -> None:
        self._class_map, self._mode = class_map, mode_of(label_mode)
        shape = self._mode.choice_shape(class_map.num_classes)
        self._sums, self._pixels = np.zeros(shape), np.zeros(shape, np.int64)

    def add(self, probabilities: Probabilities, mask: UInt8Array) -> None:
        """Count one image.

        Args:
            probabilities: float32 (K, H, W).
            mask: As in a sample; ignored pixels count nowhere.
        """
        questions = _questions(self._class_map, self._mode, probabilities, mask)
        for sums, pixels, question in zip(self._sums, self._pixels, questions, strict=True):
            is_labeled = question.chosen != IGNORE_INDEX
            chosen = question.chosen[is_labeled]
            own = np.take_along_axis(question.probabilities[:, is_labeled], chosen[None], axis=0)
            sums += np.bincount(chosen, own[0], len(sums))
            pixels += np.bincount(chosen, minlength=len(pixels))

    def doubt(self, probabilities: Probabilities, mask: UInt8Array) -> float:
        """How much of an image a model denies, to tell which images are worth a second look.

        No threshold is needed: where another choice is likelier than what is labeled, their
        probabilities' differences are added up, each times its distance in pixels from what is not
        denied. A fringe is thin and weighs little; one missed thing outweighs it.

        Args:
            probabilities: float32 (K, H, W).
            mask: As in a sample; ignored pixels count nowhere.

        Returns:
            0 or more, the most over the classes where labels overlap.
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
        """Mean probability of what the labels say.

        Multiclass: (1, K). Multilabel: (K, 2), of not being of a class and of being of it. What
        no label says is infinite: nothing tells how sure the model would have to be.
        """
        found = np.full(self._sums.shape, np.inf)
        np.divide(self._sums, self._pixels, out=found, where=self._pixels > 0)
        return found

    @property
    def unknown(self) -> list[str]:
        """The classes that labels show and that the model hardly knows: see :data:`MIN_KNOWN`."""
        shown = self._mode.per_class(self.thresholds)
        pairs = zip(self._class_map.names, shown.tolist(), strict=True)
        return [name for name, threshold in pairs if threshold < MIN_KNOWN]

    def suspects(
        self, answer: Answer, *, min_area_px: int = MIN_AREA_PX, border_px: float = BORDER_PX
    ) -> Iterator[Suspect]:
        """The regions of one image whose label the model doubts, in no order of note.

        Args:
            answer: The image, and probabilities of it.
            min_area_px: Smaller regions are left out.
            border_px: Nearer than this to a border of the labels, a pixel weighs less.
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
    """The connected regions of the pixels that are labeled as one class and look like another."""
    numbered, _ = label(place)
    numbers = numbered.ravel()
    areas = np.bincount(numbers)
    if areas[1:].max() < min_area_px:
        return
    probability = question.probabilities[suggested]
    certainty = probability - question.probabilities[given]
    # Only from what is labeled as the suggested class can a border be off by so much.
    away = question.distance_from(suggested)
    inner = certainty * np.square((away / border_px).clip(0, 1))
    whole, discounted = (np.bincount(numbers, each.ravel()) for each in (certainty, inner))
    # Where a labeled part is doubted as a whole, its border is not the matter, however thin it is.
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
    """How much of the connected labeled part that it lies in each region takes, 0 to 1."""
    part_of = np.zeros(len(areas), np.int64)
    inside = numbered > 0
    part_of[numbered[inside]] = parts[inside]  # a region lies in one part: all of it agrees
    return np.asarray((areas / part_areas[part_of].clip(1)).clip(0, 1))


def find_suspects(
    look: Callable[[], Iterable[Answer]],
    class_map: ClassMap,
    label_mode: LabelMode,
    *,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
) -> list[Suspect]:
    """The regions that are labeled wrong most likely, in memory for these and one image.

    Args:
        look: Gives every image with a model's answer; it is called twice, first to learn how sure
            the model is of every class.
        class_map: The classes.
        label_mode: Of the labels.
        top: How many are kept.
        min_area_px: Smaller regions are left out.

    Returns:
        The suspects, the likeliest first; at equal scores by name and place.

    Raises:
        DataError: No pixel is labeled.
    """
    confidence = Confidence(class_map, label_mode)
    for sample, probabilities in look():
        confidence.add(probabilities, sample.mask)
    if np.isinf(confidence.thresholds).all():
        raise DataError(
            "the masks must hold labeled pixels to look at again. All are ignored. "
            "Check the ignore value, or choose another split with --split"
        )
    return likeliest_suspects(confidence, look(), top=top, min_area_px=min_area_px)


def likeliest_suspects(
    confidence: Confidence,
    answers: Iterable[Answer],
    *,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
) -> list[Suspect]:
    """The regions of some images that are labeled wrong most likely.

    Args:
        confidence: How sure the model is of every class.
        answers: The images; consumed once.
        top: How many are kept.
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
