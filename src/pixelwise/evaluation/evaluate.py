"""Evaluates a model on a data set at original image size, over all labeled pixels of a split."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

import torch

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.found_classes import with_ignored
from pixelwise.data.sample import Sample
from pixelwise.data.seen_images import SeenImages
from pixelwise.data.split_assignment import check_part
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.details_counting import DetailsCounting
from pixelwise.evaluation.headline_counts import COUNTING
from pixelwise.evaluation.image_details import Image
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.io.parallel import in_parallel
from pixelwise.label_options import LabelArguments, label_options
from pixelwise.metrics.extra import ExtraMetric, MetricSource, create_metrics, figures_of, update
from pixelwise.metrics.metrics import Metrics, summarize
from pixelwise.prediction.loading import as_predictor, imports_named
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount, listed

MAX_NAMES = 8
"""Maximum number of class names in a message."""


def fit_to_model(predictor: Predictor, dataset: Dataset) -> Dataset:
    """Return the data set with the model's classes, after checking that its labels agree.

    Index masks without a card do not define the number of classes: a test set without the last
    class would seem to have one class fewer. Such a set is read with the model's class map, and
    larger values raise an error when the mask is read.

    Raises:
        DataError: Label mode or classes differ, or a class of the model is ignored.
    """
    card = predictor.card
    if dataset.label_mode != card.label_mode:
        raise DataError(
            f"{dataset.path} must have {card.label_mode} masks, like the model. "
            f"Got {dataset.label_mode} masks ({dataset.format.name}). Choose another data set"
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
        notes = (*dataset.notes, *_assumed(class_map, predictor, dataset))
        return dataclasses.replace(dataset, class_map=class_map, notes=notes)
    named = dataset.class_map
    ignored = tuple(value for value in named.values if value in card.class_map.ignore)
    if ignored and named.names != card.class_map.names:
        # The model was trained with --ignore on this class, so it is ignored here too.
        named = with_ignored(named, ignored)
    if named.names != card.class_map.names:
        ours, theirs = named.names, card.class_map.names
        got, wanted = listed(ours, MAX_NAMES), listed(theirs, MAX_NAMES)
        raise DataError(
            f"{dataset.path} must have the model's {amount(len(theirs), 'class')} {wanted}. "
            f"Got {len(ours)}: {got}. Use the same names in dataset.yaml, or train again"
        )
    return dataclasses.replace(dataset, class_map=named)


def _assumed(class_map: ClassMap, predictor: Predictor, dataset: Dataset) -> Iterator[str]:
    """Say how the values of masks without class names are read, if the model saw other data."""
    if dataset.fingerprint != predictor.card.data.fingerprint:
        pairs = [f"{v} {name}" for v, name in zip(class_map.values, class_map.names, strict=True)]
        yield (
            "these masks name no classes, and the model was trained on other data: their values "
            f"are read as its classes, {listed(pairs, MAX_NAMES)}. Check that they mean the same, "
            "or name the classes in a dataset.yaml"
        )


def _require_classes_kept(class_map: ClassMap, dataset: Dataset) -> None:
    """Check that no ignored value is a class of the model, which would be evaluated anyway."""
    for name, value in zip(class_map.names, class_map.values, strict=True):
        # 255 is ignored in every data set without class names, even if binary masks store it.
        if value in dataset.class_map.ignore and value != IGNORE_INDEX:
            raise DataError(
                f"{dataset.path} must have all classes of the model. Got {value} as ignored, "
                f"which is its class {name!r}. Remove it from `ignore`, or train again without it"
            )


def open_for_model(
    predictor: Predictor,
    data: Path | str,
    *,
    split: str | None = None,
    **labels: Unpack[LabelArguments],
) -> tuple[Dataset, str]:
    """Open a data set for the evaluation of a model, and choose the split.

    On the model's own training data, the split is drawn as in training, so that no training image
    is used as a test image.

    Args:
        predictor: The model.
        data: A folder, a dataset card, or ``digits``.
        split: ``train``, ``val``, ``test`` or ``all``. ``None`` means the test images if there are
            any, otherwise the validation images; for a folder of new images, all of them.
        labels: The options of :class:`~pixelwise.label_options.LabelOptions`. The default of
            ``label_mode`` is that of the model.

    Returns:
        The data set, read with the model's classes, and the split.

    Raises:
        DataError: It cannot be opened or does not fit the model.
    """
    check_part(split)
    trained = predictor.card.data
    open_as = partial(open_dataset, data, split_seed=trained.split_seed, **labels)
    dataset = open_as()
    if trained.split and dataset.drawn_split not in (None, trained.split):
        open_as = partial(open_as, split=trained.split)
        dataset = open_as()
    wanted = predictor.card.label_mode
    if dataset.label_mode != wanted and wanted in dataset.format.label_modes:
        dataset = open_as(label_mode=wanted)
    dataset = fit_to_model(predictor, dataset)
    return dataset, split or _default_split(predictor, dataset)


def _default_split(predictor: Predictor, dataset: Dataset) -> str:
    """Return the test split, else the validation split; all images if they are new."""
    is_drawn = dataset.drawn_split is not None or dataset.is_val_set_aside
    if predictor.card.data.images is None:
        is_drawn = False  # the network may have been trained on the training images of this split
    if is_drawn and dataset.fingerprint != predictor.card.data.fingerprint:
        return "all"
    there = {record.split for record in dataset.records}
    return next((name for name in ("test", "val") if name in there), "all")


def open_as_given(
    predictor: Predictor,
    data: Dataset | Path | str,
    split: str | None = None,
    **labels: Unpack[LabelArguments],
) -> tuple[Dataset, str]:
    """Return a data set that is given by its path or opened, and the split to evaluate.

    Args:
        predictor: The model.
        data: A folder, a dataset card, or an opened data set.
        split: As for :func:`evaluate`.
        labels: As for :func:`open_for_model`, for a path.

    Raises:
        ConfigError: Label options are given for an opened data set.
        DataError: It cannot be opened, does not fit the model, or is split differently than in
            training.
    """
    if not isinstance(data, Dataset):
        return open_for_model(predictor, data, split=split, **labels)
    unused = [key for key, value in label_options(**labels).options() if value is not None]
    if unused:
        raise ConfigError(
            f"`{unused[0]}` must be left out for a data set that is open, whose labels are read as "
            "it was opened. Give it to `open_dataset`, or give the path of the data set"
        )
    dataset = fit_to_model(predictor, data)
    _require_same_draw(predictor, dataset)
    return dataset, split or _default_split(predictor, dataset)


def evaluate(
    model: Predictor | Path | str,
    data: Dataset | Path | str,
    split: str | None = None,
    *,
    detailed: bool = False,
    metrics: Sequence[MetricSource] = (),
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    **labels: Unpack[LabelArguments],
) -> Metrics:
    """Evaluate a model on one split of a data set.

    Args:
        model: A run folder, a model file, or a :class:`Predictor`, also of a network of your own;
            see :meth:`Predictor.from_model`.
        data: A folder, a dataset card, or an opened data set. Prefer a path: on the model's own
            training data, the split is then drawn as in training.
        split: ``train``, ``val``, ``test`` or ``all``; ``None`` chooses as :func:`open_for_model`.
        detailed: Also measure borders, objects and calibration, as shown in a report; large
            evaluations use worker processes.
        metrics: Additional metrics; their values become ``Metrics.extra``. Each is a registered
            name, a class or function that makes an
            :class:`~pixelwise.metrics.extra.ExtraMetric`, or such an object, not yet updated.
        device: The device of a model that is given by its path.
        on_progress: Called with the number of evaluated images and the total number.
        labels: How the labels of a path are read; see
            :class:`~pixelwise.label_options.LabelOptions`.

    Returns:
        The metrics with their 95 % intervals; ``seen_in_training`` is the number of images
        that the model was trained on.

    Raises:
        DataError: The data set does not fit the model or is split differently than in training, the
        split is empty, or a file is invalid.
    """
    with imports_named(model):
        extra = create_metrics(metrics)
        predictor = as_predictor(model, device)
        dataset, chosen = open_as_given(predictor, data, split, **labels)
    records = dataset.split(chosen)
    found = _evaluated(
        predictor,
        in_parallel(lambda index: dataset.load(records[index]), len(records), ahead_per_thread=1),
        len(records),
        detailed=detailed,
        extra=extra,
        with_intervals=True,
        on_progress=on_progress,
    )
    seen = trained_on(predictor)
    num_seen: int | None = sum(record in seen for record in records)
    if predictor.card.data.images is None:
        num_seen = None
    selected_by = predictor.card.data.selected_by
    num_selected_on = None
    if selected_by is not None:
        chosen_by = SeenImages(selected_by)
        num_selected_on = len({record.key for record in records if record in chosen_by})
    return dataclasses.replace(found, seen_in_training=num_seen, selected_on=num_selected_on)


def trained_on(predictor: Predictor) -> SeenImages:
    """Return the images that a model was trained on, even if they were renamed.

    Empty if they are unknown.
    """
    return SeenImages(predictor.card.data.images or ())


def _require_same_draw(predictor: Predictor, dataset: Dataset) -> None:
    """Check that training data is split as in training, so that test images were not seen."""
    trained = predictor.card.data
    is_same_data = dataset.fingerprint == trained.fingerprint
    draw = (dataset.drawn_split, dataset.split_seed)
    if is_same_data and dataset.drawn_split and draw != (trained.split, trained.split_seed):
        raise DataError(
            f"{dataset.path} must be split as in the training of the model, "
            f"{_words_of_draw(trained.split, trained.split_seed)}. Got {_words_of_draw(*draw)}. "
            "Pass the path to evaluate, or open it with those splits"
        )


def _words_of_draw(shares: str | None, seed: int) -> str:
    return f"{shares} with seed {seed}" if shares else "as defined by a card or the folder"


def evaluate_samples(
    predictor: Predictor,
    samples: Iterable[Sample],
    num_samples: int,
    *,
    detailed: bool = False,
    extra: Sequence[ExtraMetric] = (),
    on_logits: Callable[[torch.Tensor, UInt8Array], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Evaluate a model on decoded samples.

    Args:
        predictor: The model.
        samples: The samples; iterated once.
        num_samples: Number of samples, for the progress.
        detailed: Compute the 95 % intervals, and measure borders, objects and calibration, as shown
            in a report; large evaluations use worker processes.
        extra: Additional metrics, not yet updated; their values become ``Metrics.extra``.
        on_logits: Called with the logits (K, H, W) and the mask of each sample.
        on_progress: Called with the number of evaluated samples and the total number.

    Raises:
        DataError: No pixel is labeled.
    """
    return _evaluated(
        predictor,
        samples,
        num_samples,
        detailed=detailed,
        extra=extra,
        with_intervals=detailed,
        on_logits=on_logits,
        on_progress=on_progress,
    )


def _evaluated(
    predictor: Predictor,
    samples: Iterable[Sample],
    num_samples: int,
    *,
    detailed: bool,
    with_intervals: bool,
    extra: Sequence[ExtraMetric],
    on_logits: Callable[[torch.Tensor, UInt8Array], None] | None = None,
    on_progress: Callable[[int, int], None] | None,
) -> Metrics:
    card = predictor.card
    counting = COUNTING[card.label_mode](predictor)
    first, done = "", 0

    def tell(num_done: int) -> None:
        if on_progress:
            on_progress(num_done, num_samples)

    with DetailsCounting(
        card.class_map, card.label_mode, card.temperature, num_images=num_samples, on_done=tell
    ) as details:
        for sample, logits in _with_logits(predictor, samples):
            prediction = counting.add(logits, sample.mask)
            if on_logits:
                on_logits(logits, sample.mask)
            first = first or sample.name
            done += 1
            if not detailed:
                tell(done)
            if not (detailed or extra):
                continue
            prediction = predictor.decide(logits) if prediction is None else prediction
            probabilities = predictor.to_probabilities(logits)
            for metric in extra:
                update(metric, prediction, probabilities, sample.mask)
            if not detailed:
                continue
            details.draw_logits(sample.name, logits, sample.mask)
            details.add(Image(sample.name, probabilities, prediction, sample.mask))
        detail_counts = details.finished() if detailed else None
    counting.require_labels(first, done)
    metrics = summarize(counting.counts, card.class_map, with_intervals=with_intervals)
    detail = None
    if detail_counts:
        detail = detail_counts.detail(counting.counts.per_image, counting.confusion)
    return dataclasses.replace(
        metrics,
        loss=counting.loss,
        detail=detail,
        extra=figures_of(extra),
        undefined=tuple(metric.name for metric in extra if not metric.figures()),
        precision_of_model=predictor.precision,
    )


def _with_logits(
    predictor: Predictor, samples: Iterable[Sample]
) -> Iterator[tuple[Sample, torch.Tensor]]:
    """Yield samples with the model's logits, in order."""
    waiting: deque[Sample] = deque()

    def images() -> Iterator[tuple[str, Array]]:
        for sample in samples:
            waiting.append(sample)
            yield sample.name, sample.image

    for logits in predictor.logits_of(images()):
        yield waiting.popleft(), logits
