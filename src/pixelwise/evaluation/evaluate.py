"""A model and a data set to metrics: at original size, over all labeled pixels of the split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pixelwise.classes import IGNORE_INDEX, ClassMap, Unexpected
from pixelwise.data.dataset import Dataset, open_dataset, with_ignored
from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.metrics.confusion import ConfusionMatrix, MultilabelCounts
from pixelwise.metrics.details import DetailsCounts
from pixelwise.metrics.extra import ExtraMetric, figures_of
from pixelwise.metrics.metrics import Metrics, summarize
from pixelwise.prediction.predictor import Predictor


def fit_to_model(predictor: Predictor, dataset: Dataset) -> Dataset:
    """The data set, read with the model's classes; refused where its labels mean something else.

    Index masks without a card do not say how many classes there are: a test set that lacks the
    last class would seem to have one fewer. Such a set is read with the model's own class map, and
    a value beyond it is refused by name when its mask is read.

    Raises:
        DataError: Label mode or classes differ, or a class of the model is said to be ignored.
    """
    card = predictor.card
    if dataset.label_mode != card.label_mode:
        raise DataError(
            f"{dataset.path} must have {card.label_mode} masks, as the model. "
            f"Got {dataset.label_mode} ones ({dataset.format.name}). Choose another data set"
        )
    if dataset.class_map.is_numbered:
        _require_classes_kept(card.class_map, dataset)
        ignore_values = dict.fromkeys((*card.class_map.ignore, *dataset.class_map.ignore))
        class_map = card.class_map.model_copy(
            update={
                "ignore": tuple(
                    value for value in ignore_values if value not in card.class_map.values
                )
            }
        )
        return dataclasses.replace(dataset, class_map=class_map)
    named = dataset.class_map
    ignored = tuple(value for value in named.values if value in card.class_map.ignore)
    if ignored and named.names != card.class_map.names:
        # The model was trained with --ignore on this class: here it is ignored as well.
        named = with_ignored(named, ignored)
    if named.names != card.class_map.names:
        ours, theirs = named.names, card.class_map.names
        raise DataError(
            f"{dataset.path} must have the model's {len(theirs)} classes {_list(theirs)}. "
            f"Got {len(ours)}: {_list(ours)}. Name them alike in a dataset.yaml, or train again"
        )
    return dataclasses.replace(dataset, class_map=named)


def _require_classes_kept(class_map: ClassMap, dataset: Dataset) -> None:
    """Refuse ignored values by which the model knows a class: they would be evaluated anyway."""
    for name, value in zip(class_map.names, class_map.values, strict=True):
        # 255 is ignored in every unnamed data set, also where black and white masks store it.
        if value in dataset.class_map.ignore and value != IGNORE_INDEX:
            raise DataError(
                f"{dataset.path} must keep the model's classes. Got {value} as ignored, which is "
                f"{name!r} to the model. Leave it out of --ignore, or train again without it"
            )


def open_for_model(
    predictor: Predictor,
    data: Path | str,
    *,
    split: str | None = None,
    ignore: Sequence[int] = (),
    unexpected: Unexpected | None = None,
    format: str | None = None,  # noqa: A002  the word that the command line and the card use
) -> tuple[Dataset, str]:
    """Open a data set to evaluate a model on, and choose the split.

    On the very data that the model was trained on, the split is drawn as it was then, so that no
    training image is taken for a test image.

    Args:
        predictor: The model.
        data: A folder, a dataset card, or ``digits``.
        split: ``train``, ``val``, ``test`` or ``all``. ``None`` takes the test images, where there
            are none those of validation, and of a folder of new images all.
        ignore: Further stored mask values that are ignored.
        unexpected: What becomes of stored values that are neither a class nor ignored.
        format: The label format, where looking does not find it.

    Returns:
        The data set, read with the model's classes, and the split.

    Raises:
        DataError: It cannot be opened or does not fit the model.
    """
    trained = predictor.card.data
    open_as = partial(
        open_dataset,
        data,
        format=format,
        ignore=ignore,
        unexpected=unexpected,
        split=trained.split,
        split_seed=trained.split_seed,
    )
    dataset = open_as()
    wanted = predictor.card.label_mode
    if dataset.label_mode != wanted and wanted in dataset.format.label_modes:
        dataset = open_as(label_mode=wanted)
    dataset = fit_to_model(predictor, dataset)
    return dataset, split or _default_split(predictor, dataset)


def _default_split(predictor: Predictor, dataset: Dataset) -> str:
    """The test images, where there are none those of validation; of new images all."""
    is_drawn = dataset.drawn_split is not None or dataset.is_val_set_aside
    if is_drawn and dataset.fingerprint != predictor.card.data.fingerprint:
        return "all"
    there = {record.split for record in dataset.records}
    return next((name for name in ("test", "val") if name in there), "all")


def evaluate(
    predictor: Predictor,
    data: Dataset | Path | str,
    split: str | None = None,
    *,
    detailed: bool = False,
    extra: Sequence[ExtraMetric] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Evaluate a model on one split of a data set.

    Args:
        predictor: The model.
        data: A folder, a dataset card, or an opened data set. A path is the safer one: on the data
            that the model was trained on, the split is then drawn as it was in training.
        split: ``train``, ``val``, ``test`` or ``all``; ``None`` chooses as :func:`open_for_model`.
        detailed: Measure borders, objects and certainty too, and draw the 95 % intervals.
        extra: Further metrics with nothing counted yet; their figures become ``Metrics.extra``.
        on_progress: Called with how many images are done and how many there are.

    Returns:
        The metrics; ``seen_in_training`` says how many of the images the model was trained on.

    Raises:
        DataError: The data set does not fit the model, is split otherwise than in training, the
            split is empty, or a file is bad.
    """
    if isinstance(data, Dataset):
        dataset = fit_to_model(predictor, data)
        _require_same_draw(predictor, dataset)
        chosen = split or _default_split(predictor, dataset)
    else:
        dataset, chosen = open_for_model(predictor, data, split=split)
    records = dataset.split(chosen)
    metrics = evaluate_samples(
        predictor,
        map(dataset.load, records),
        len(records),
        detailed=detailed,
        extra=extra,
        on_progress=on_progress,
    )
    seen = trained_on(predictor)
    num_seen = sum(record.key in seen for record in records)
    selected_by = predictor.card.data.selected_by
    keys = [record.key for record in records]
    num_selected_on = None if selected_by is None else len(set(selected_by).intersection(keys))
    return dataclasses.replace(metrics, seen_in_training=num_seen, selected_on=num_selected_on)


def trained_on(predictor: Predictor) -> frozenset[str]:
    """The keys of the records that a model was trained on, under whatever name."""
    return frozenset(predictor.card.data.images)


def _require_same_draw(predictor: Predictor, dataset: Dataset) -> None:
    """Refuse the training data when it is split otherwise: test images would have been seen."""
    trained = predictor.card.data
    is_same_data = dataset.fingerprint == trained.fingerprint
    draw = (dataset.drawn_split, dataset.split_seed)
    if is_same_data and dataset.drawn_split and draw != (trained.split, trained.split_seed):
        raise DataError(
            f"{dataset.path} must be split as when the model was trained on it, "
            f"{_words_of_draw(trained.split, trained.split_seed)}. Got {_words_of_draw(*draw)}. "
            "Give evaluate the path instead, or open it with those splits"
        )


def _words_of_draw(shares: str | None, seed: int) -> str:
    return f"{shares} with seed {seed}" if shares else "as a card or the folder names the images"


def evaluate_samples(
    predictor: Predictor,
    samples: Iterable[Sample],
    num_samples: int,
    *,
    detailed: bool = False,
    extra: Sequence[ExtraMetric] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Evaluate a model on decoded samples.

    Args:
        predictor: The model.
        samples: The samples; consumed once.
        num_samples: How many there are, for the progress.
        detailed: Measure borders, objects and certainty too, and draw the 95 % intervals.
        extra: Further metrics with nothing counted yet; their figures become ``Metrics.extra``.
        on_progress: Called with how many are done and how many there are.

    Raises:
        DataError: Nothing is labeled, so nothing can be evaluated.
    """
    class_map = predictor.card.class_map
    multiclass = predictor.card.label_mode == "multiclass"
    confusion = ConfusionMatrix(class_map.num_classes)
    multilabel = MultilabelCounts(class_map.num_classes)
    loss, binary_loss = _MeanCrossEntropy(), _MeanBinaryCrossEntropy()
    card = predictor.card
    details = DetailsCounts(class_map, card.label_mode, card.temperature) if detailed else None
    waiting: list[Sample] = []
    first = ""

    def images() -> Iterable[tuple[str, np.ndarray]]:
        for sample in samples:
            waiting.append(sample)
            yield sample.name, sample.image

    done = 0
    for logits in predictor.logits_of(images()):
        sample = waiting.pop(0)
        prediction = predictor.decide(logits)
        if multiclass:
            confusion.add(np.asarray(prediction, np.uint8), sample.mask)
            loss.add(logits, sample.mask)
        else:
            multilabel.add(np.asarray(prediction, np.bool_), sample.mask)
            binary_loss.add(logits, sample.mask)
        if details or extra:
            probabilities = predictor.to_probabilities(logits)
            _look_closer(details, extra, sample, logits, probabilities, prediction)
        first = first or sample.name
        done += 1
        if on_progress:
            on_progress(done, num_samples)
    if multiclass:
        if not confusion.counts.sum():
            raise DataError(
                f"the masks ({first}{', ...' if done > 1 else ''}) must hold labeled pixels to "
                "evaluate against. All are ignored. "
                "Check the ignore value, or choose another split with --split"
            )
        metrics = summarize(confusion, class_map, with_intervals=detailed)
        detail = details.detail(confusion.per_image, confusion.counts) if details else None
        return dataclasses.replace(
            metrics,
            loss=loss.mean,
            detail=detail,
            extra=figures_of(extra),
            precision_of_model=predictor.precision,
        )
    metrics = summarize(multilabel, class_map, with_intervals=detailed)
    if len(metrics.absent_classes) == class_map.num_classes:
        raise DataError(
            f"the {done} masks from {first} on must show at least one class to evaluate against. "
            "All are black. Check the masks, or choose another split with --split"
        )
    detail = details.detail(multilabel.per_image, None) if details else None
    return dataclasses.replace(
        metrics,
        loss=binary_loss.mean,
        detail=detail,
        extra=figures_of(extra),
        precision_of_model=predictor.precision,
    )


def _look_closer(
    details: DetailsCounts | None,
    extra: Sequence[ExtraMetric],
    sample: Sample,
    logits: torch.Tensor,
    probabilities: npt.NDArray[np.float32],
    prediction: npt.NDArray[Any],
) -> None:
    """Count one image for what was asked for beside the usual metrics."""
    if details:
        details.add(sample.name, logits.numpy(), probabilities, prediction, sample.mask)
    for metric in extra:
        metric.add(prediction, probabilities, sample.mask)


class _MeanCrossEntropy:
    """Mean cross-entropy over labeled pixels."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._pixels = 0

    def add(self, logits: torch.Tensor, mask: np.ndarray) -> None:
        target = torch.from_numpy(mask).long()
        self._sum += nn.functional.cross_entropy(
            logits[None], target[None], ignore_index=IGNORE_INDEX, reduction="sum"
        ).item()
        self._pixels += int((mask != IGNORE_INDEX).sum())

    @property
    def mean(self) -> float:
        return self._sum / max(1, self._pixels)


class _MeanBinaryCrossEntropy:
    """Mean binary cross-entropy over pixels and classes, against soft masks."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._decisions = 0

    def add(self, logits: torch.Tensor, mask: np.ndarray) -> None:
        probabilities = np.asarray(logits.sigmoid().numpy(), np.float64)
        target = mask / 255
        clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)  # one wrong pixel is at most 16
        self._sum -= float((target * np.log(clipped) + (1 - target) * np.log1p(-clipped)).sum())
        self._decisions += mask.size

    @property
    def mean(self) -> float:
        return self._sum / max(1, self._decisions)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
