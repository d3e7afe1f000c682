"""A model and a data set to labels that a person should look at again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.evaluate import fit_to_model, open_for_model, trained_on
from pixelwise.io.arrays import Array
from pixelwise.metrics.label_quality import MIN_AREA_PX, Answer, Suspect, find_suspects
from pixelwise.prediction.predictor import Predictor

NUM_LOOKS = 2
"""Every image is predicted twice: to learn how sure the model is, then to find the regions."""


def review_labels(
    predictor: Predictor,
    data: Dataset | Path | str,
    *,
    split: str | None = None,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Suspect]:
    """Find regions where a model is sure and the label says something else.

    Args:
        predictor: The model.
        data: A folder, a dataset card, or an opened data set.
        split: ``train``, ``val``, ``test`` or ``all``; ``None`` takes the images that the model was
            not trained on. What it was trained on it may have memorized, errors and all.
        top: How many regions are kept.
        min_area_px: Smaller regions are left out.
        on_progress: Called with how many looks at an image are done and how many there are.

    Returns:
        The regions, those most likely wrong first; the order of the images does not matter.

    Raises:
        DataError: The data set does not fit the model, no image is left, or a file is bad.
        ConfigError: ``top`` or the split is wrong.

    Example:
        >>> suspects = review_labels(load_model("runs/first"), "my-images")  # doctest: +SKIP
        >>> suspects[0].name, suspects[0].change  # doctest: +SKIP
        ('0012', 'background -> nucleus')
    """
    check_top(top)
    if isinstance(data, Dataset):
        dataset = fit_to_model(predictor, data)
    else:
        dataset, _ = open_for_model(predictor, data, split="all")
    records = records_to_review(predictor, dataset, split)

    def look() -> Iterator[Answer]:
        return answers(predictor, map(dataset.load, records))

    return find_suspects(
        counted(look, len(records), on_progress),
        dataset.class_map,
        dataset.label_mode,
        top=top,
        min_area_px=min_area_px,
    )


def check_top(top: int) -> None:
    """Refuse a number of regions that is none.

    Raises:
        ConfigError: It is below 1.
    """
    if top < 1:
        raise ConfigError(f"top must be 1 or more. Got {top}")


def records_to_review(
    predictor: Predictor, dataset: Dataset, split: str | None
) -> tuple[Record, ...]:
    """The images of a split; without one, those that the model was not trained on.

    Returns:
        Sorted by name, so that the order in which they are found does not matter.

    Raises:
        DataError: There are none.
        ConfigError: No such split.
    """
    records = sorted(dataset.split(split or "all"), key=lambda record: record.name)
    if split is None:
        seen = trained_on(predictor)
        records = [record for record in records if record.key not in seen]
    if not records:
        raise DataError(
            f"{dataset.path} must hold images that the model was not trained on. It was trained "
            f"on all {len(dataset.records)}. Review them with --folds, which trains models that "
            "have not seen them, or all the same with --split all"
        )
    return tuple(records)


def answers(predictor: Predictor, samples: Iterable[Sample]) -> Iterator[Answer]:
    """What a model says of samples, with them, in their order.

    Args:
        predictor: The model.
        samples: Consumed once, a few at a time.

    Raises:
        DataError: Type or channels are not those of the training images.
    """
    waiting: deque[Sample] = deque()

    def images() -> Iterator[tuple[str, Array]]:
        for sample in samples:
            waiting.append(sample)
            yield sample.name, sample.image

    for logits in predictor.logits_of(images()):
        yield waiting.popleft(), predictor.to_probabilities(logits)


def counted(
    look: Callable[[], Iterable[Answer]],
    num_images: int,
    on_progress: Callable[[int, int], None] | None,
) -> Callable[[], Iterator[Answer]]:
    """The same looks, each of them reported.

    Args:
        look: As of :func:`~pixelwise.metrics.label_quality.find_suspects`.
        num_images: That one call gives.
        on_progress: Called with how many looks at an image are done and how many there are.
    """
    done = 0

    def looked() -> Iterator[Answer]:
        nonlocal done
        for answer in look():
            done += 1
            if on_progress:
                on_progress(done, NUM_LOOKS * num_images)
            yield answer

    return looked
