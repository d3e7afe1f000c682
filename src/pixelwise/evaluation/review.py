"""Finds likely label errors in a data set with a trained model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Record, Sample
from pixelwise.data.split_assignment import check_part
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.evaluate import fit_to_model, open_for_model, trained_on
from pixelwise.io.arrays import Array
from pixelwise.metrics.label_quality import MIN_AREA_PX, Answer, Suspect, find_suspects
from pixelwise.prediction.loading import as_predictor
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount

NUM_LOOKS = 2
"""Passes over the images: one to estimate confidence thresholds, one to find the regions."""


def review_labels(
    model: Predictor | Path | str,
    data: Dataset | Path | str,
    *,
    split: str | None = None,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> list[Suspect]:
    """Find regions where a model is confident and the label disagrees.

    Args:
        model: A run folder, a model file, or a predictor.
        data: A folder, a dataset card, or an opened data set.
        split: ``train``, ``val``, ``test`` or ``all``; ``None`` means the images that the model was
            not trained on, because it may have memorized the label errors of its training images.
        top: Maximum number of regions.
        min_area_px: Smaller regions are left out.
        device: The device of a model that is given by its path.
        on_progress: Called with the number of finished predictions and the total number.
        note: Called with what could not be reviewed, because the model has not learned it.

    Returns:
        The regions, most likely label errors first, independent of the order of the images.

    Raises:
        DataError: The data set does not fit the model, no image is left, or a file is invalid.
        ConfigError: ``top`` or the split is invalid.

    Example:
        >>> suspects = review_labels("runs/first", "my-images")  # doctest: +SKIP
        >>> suspects[0].name, suspects[0].change  # doctest: +SKIP
        ('0012', 'background -> nucleus')
    """
    check_top(top)
    check_part(split)
    predictor = as_predictor(model, device)
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
        note=note,
    )


def check_top(top: int) -> None:
    """Check the number of regions.

    Raises:
        ConfigError: It is below 1.
    """
    if top < 1:
        raise ConfigError(f"top must be 1 or more. Got {top}")


def records_to_review(
    predictor: Predictor, dataset: Dataset, split: str | None
) -> tuple[Record, ...]:
    """Return the images of a split, or those that the model was not trained on.

    Returns:
        The records sorted by name, independent of the order of the files.

    Raises:
        DataError: There are no such images.
        ConfigError: The split does not exist.
    """
    records = sorted(dataset.split(split or "all"), key=lambda record: record.name)
    if split is None:
        seen = trained_on(predictor)
        records = [record for record in records if record not in seen]
    if not records:
        raise DataError(
            f"{dataset.path} must contain images that the model was not trained on. It was trained "
            f"on all {amount(len(dataset.records), 'image')}. Use `folds` to train models for the "
            "review, or `split='all'` to review the training images"
        )
    return tuple(records)


def answers(predictor: Predictor, samples: Iterable[Sample]) -> Iterator[Answer]:
    """Yield samples with a model's probabilities, in order.

    Args:
        predictor: The model.
        samples: The samples; iterated once, a few at a time.

    Raises:
        DataError: Type or channels differ from the training images.
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
    """Wrap ``look`` to report the progress.

    Args:
        look: As for :func:`~pixelwise.metrics.label_quality.find_suspects`.
        num_images: Number of images of one call.
        on_progress: Called with the number of finished predictions and the total number.
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
