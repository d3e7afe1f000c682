"""``train``: from a data set's path to a run folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pixelwise.classes import Unexpected
from pixelwise.config import Recipe, load_recipe, validated
from pixelwise.data.dataset import Dataset, open_as_in
from pixelwise.data.sample import spread
from pixelwise.devices import processor_for_training
from pixelwise.errors import ConfigError, DataError, ModelFileError, TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.files import make_folder, write_text
from pixelwise.models.base import FRESH_ONLY
from pixelwise.models.model_file import MODEL_NAME, load_model_file, save_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.plots import draw_class_grid, draw_segmentation
from pixelwise.reporting.report_page import REPORT_NAME
from pixelwise.text import NOTHING_YET, RUN_AS_BEFORE
from pixelwise.training.checkpoint import CHECKPOINT_NAME
from pixelwise.training.diagnostics.sanity_check import overfit_one_batch
from pixelwise.training.events import FilesWritten, Listener, Message, ignore_events
from pixelwise.training.loop import Outcome, Trainer
from pixelwise.training.run_folder import (
    CURVES_NAME,
    HISTORY_NAME,
    METRICS_NAME,
    NOTES_NAME,
    RECIPE_NAME,
    difference_from_run,
    other_data,
)
from pixelwise.training.run_report import write_run_report
from pixelwise.training.setup import Prepared, prepare

RUN_FILES = (RECIPE_NAME, CHECKPOINT_NAME, MODEL_NAME, HISTORY_NAME, METRICS_NAME, NOTES_NAME)
"""A folder that holds any of them is not written over."""

NUM_PICTURES = 3
"""Validation images that are drawn into the run folder."""


def train(
    data: Path | str | None = None,
    *,
    model: str | None = None,
    out: Path | str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    size: tuple[int, int] | None = None,
    split: str | None = None,
    ignore: Sequence[int] = (),
    unexpected: Unexpected | None = None,
    bands: Sequence[int] | None = None,
    format: str | None = None,  # noqa: A002  the word that the command line and the card use
    recipe: Path | str | Recipe | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    sanity_check: bool = False,
    seed: int | None = None,
    device: str | None = None,
    listener: Listener = ignore_events,
) -> Outcome:
    """Train a model on a folder of labeled images.

    What is left open is chosen from the data and the machine, and said with its reason.

    Args:
        data: A folder or a dataset card. May be left out where the recipe names it, or with
            ``resume``.
        model: A registered name.
        out: The run's folder; ``None`` makes ``runs/MODEL-DATA``, numbered where it exists.
        epochs: Passes over the training images. Either this or ``minutes``.
        minutes: Wall-clock budget from the first step on, last validation included.
        batch_size: Images per step.
        size: Height and width in pixels of the crops.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares for a folder without splits.
        ignore: Further stored mask values that are ignored.
        unexpected: What becomes of stored values that are neither a class nor ignored; they are
            refused where neither this nor the card says.
        bands: Bands of the images to train on, counted from 1, such as ``(4, 3, 2)``.
        format: The label format, where looking does not find it.
        recipe: A YAML file or a recipe to start from; the arguments here override it.
        overrides: ``section.key=value``, as ``--set`` on the command line.
        resume: Continue the run in ``out`` from its checkpoint, with its own recipe.
        sanity_check: Overfit one batch first as a sanity check, and stop where that fails.
        seed: Of weights, order, crops and dropout.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listener: Told of what happens; see :mod:`pixelwise.training.events`.

    Returns:
        The run's folder, with ``recipe.yaml``, ``model.safetensors``, ``last.ckpt``,
        ``history.csv``, ``metrics.json``, ``notes.json``, ``report.html``, ``curves.png`` and
        ``pictures/``.

    Raises:
        PixelwiseError: The data, the recipe or the folder cannot be used.
        KeyboardInterrupt: Training was stopped; everything reached is saved, ``resume`` continues.

    Example:
        >>> outcome = train("my-images", minutes=15)  # doctest: +SKIP
        >>> outcome.metrics.mean_iou  # doctest: +SKIP
        0.84
    """
    arguments: dict[str, dict[str, object]] = {
        "data": {"path": None if data is None else str(data), "split": split, "format": format,
                 "ignore": tuple(ignore) or None, "unexpected": unexpected,
                 "bands": None if bands is None else tuple(bands)},
        "model": {"name": model},
        "training": {"epochs": epochs, "minutes": minutes, "batch_size": batch_size, "size": size,
                     "seed": seed, "device": device},
    }  # fmt: skip
    given = {
        section: {key: value for key, value in entries.items() if value is not None}
        for section, entries in arguments.items()
    }
    if resume:
        folder = Path(out or "")
        if out is None or not (folder / RECIPE_NAME).is_file():
            raise ModelFileError(
                f"--resume needs --out with the folder of a run. {out} holds no {RECIPE_NAME}"
            )
        changed = {key for entries in given.values() for key in entries} - {"path", "device"}
        if changed or overrides or recipe:
            raise ConfigError(
                "a resumed run keeps its recipe, so that it ends as if it had never stopped. Got "
                f"{', '.join(sorted(changed)) or 'another recipe'} too. Leave it out, or start a "
                "new run"
            )
        chosen = _recipe_as_begun(folder / RECIPE_NAME)
    else:
        chosen = _base_recipe(recipe, overrides)
    chosen = _with(chosen, given)
    if chosen.data.path is None:
        raise ConfigError("train needs DATA: a folder of labeled images, or a dataset card")
    with processor_for_training():
        with _saying_what_is_kept(NOTHING_YET if not resume else RUN_AS_BEFORE):
            dataset = _data_of_run(chosen, folder) if resume else open_as_in(chosen.data)
            if not resume:
                folder = _new_folder(out, chosen.model.name, dataset.path.resolve().name)
            listener(Message("data", dataset.notes))
            prepared = prepare(chosen, dataset, listener)
            if sanity_check:
                _require_self_test(prepared, listener)
            trainer = Trainer(prepared, folder, listener)
            if resume:
                trainer.resume()
        if not resume:  # the first that is written, when nothing is left that takes long
            make_folder(folder)
            prepared.recipe.data.format = dataset.format.name
            prepared.recipe.data.split = dataset.drawn_split
            write_text(folder / RECIPE_NAME, prepared.recipe.to_yaml())
        trainer.run()
        return _finish(prepared, trainer, listener)


def _data_of_run(recipe: Recipe, folder: Path) -> Dataset:
    """The data set of a run that is resumed.

    Raises:
        DataError: It cannot be opened as it was when the run began.
        ModelFileError: It is not the one that the run was trained on.
    """
    try:
        dataset = open_as_in(recipe.data)
    except DataError as error:
        raise type(error)(
            f"{recipe.data.path} is not the data set that the run in {folder} was trained on, as "
            f"data.path of its {RECIPE_NAME} or DATA says: {error}"
        ) from error
    try:
        _, card = load_model_file(folder / MODEL_NAME)
    except ModelFileError:  # none yet, or damaged: the checkpoint is what is resumed
        return dataset
    difference = difference_from_run(dataset, card)
    if difference:
        raise other_data(dataset, folder, difference)
    return dataset


@contextmanager
def _saying_what_is_kept(text: str) -> Iterator[None]:
    """Give Ctrl-C a text inside the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


def _recipe_as_begun(path: Path) -> Recipe:
    """The recipe of a run that is continued."""
    recipe = load_recipe(path)
    if recipe.training.freeze_batchnorm_from is None:  # begun before there was this choice
        recipe.training.freeze_batchnorm_from = 1.0
    for argument in FRESH_ONLY:  # the checkpoint has the weights
        recipe.model.arguments.pop(argument, None)
    return recipe


def _require_self_test(prepared: Prepared, listener: Listener) -> None:
    """Refuse to train where one batch cannot even be overfitted."""
    result = overfit_one_batch(prepared)
    if not result.is_passed:
        raise TrainingError(result.text)
    listener(Message("sanity check", (result.text,)))


def _base_recipe(recipe: Path | str | Recipe | None, overrides: Sequence[str]) -> Recipe:
    if isinstance(recipe, Recipe):
        if overrides:
            raise ConfigError("overrides go with a recipe file. Change the recipe itself instead")
        return recipe
    return load_recipe(recipe, overrides)


def _with(recipe: Recipe, given: dict[str, dict[str, object]]) -> Recipe:
    """The recipe with what was given beside it; checked as a recipe file is."""
    content = recipe.model_dump()
    for section, entries in given.items():
        content[section].update(entries)
    length = given["training"].keys() & {"epochs", "minutes"}
    if len(length) == 1:  # the one given replaces the other in the recipe
        (other,) = {"epochs", "minutes"} - length
        content["training"][other] = None
    return validated(Recipe, content, "train")


def _new_folder(out: Path | str | None, model: str, data: str) -> Path:
    """The folder of a new run; one that holds a run is never written over."""
    if out is None:
        base = Path("runs") / f"{model}-{data}"
        number = 1
        folder = base
        while folder.exists():
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
        return folder
    folder = Path(out)
    held = [name for name in RUN_FILES if (folder / name).exists()]
    if held:
        raise ConfigError(
            f"--out must be a new folder. {folder} holds a run ({', '.join(held)}). "
            "Choose another, or continue that run: --resume"
        )
    return folder


def _finish(prepared: Prepared, trainer: Trainer, listener: Listener) -> Outcome:
    """Evaluate the kept epoch from its file; calibrate, draw images, write the report."""
    folder, cache = trainer.folder, prepared.validation
    model, card = load_model_file(folder / MODEL_NAME)
    predictor = Predictor(
        model,
        prepared.validation_card,
        device=prepared.device,
    )
    metrics = evaluate_samples(predictor, iter(cache), len(cache), detailed=True)
    metrics = dataclasses.replace(metrics, selected_on=len(cache))
    assert metrics.detail is not None
    save_model_file(
        folder / MODEL_NAME,
        model,
        card.model_copy(update={"temperature": metrics.detail.temperature}),
    )
    write_text(
        folder / METRICS_NAME, json.dumps({"split": "val", **metrics.to_json()}, indent=2) + "\n"
    )
    progress = trainer.progress
    assert progress.best_epoch is not None
    outcome = Outcome(folder, metrics, progress.best_epoch + 1, progress.epoch, progress.elapsed_s)
    places = {record.name: place for place, record in enumerate(prepared.dataset.split("val"))}
    write_run_report(
        folder,
        metrics,
        predictor,
        prepared.dataset,
        prepared.recipe,
        lambda name: cache[places[name]],
    )
    listener(
        FilesWritten(
            (
                folder / REPORT_NAME,
                folder / CURVES_NAME,
                *_draw_pictures(prepared, predictor, folder),
            )
        )
    )
    return outcome


def _draw_pictures(prepared: Prepared, predictor: Predictor, folder: Path) -> list[Path]:
    """Draw some validation images into a run's folder."""
    pictures = []
    for sample in spread(prepared.validation, NUM_PICTURES):
        probabilities = predictor.probabilities(sample.image)
        stem = sample.name.replace("/", "-")
        for draw, kind in ((draw_segmentation, "segmentation"), (draw_class_grid, "classes")):
            path = folder / "pictures" / f"{stem}-{kind}.png"
            draw(sample, probabilities, prepared.dataset.class_map, path)
            pictures.append(path)
    return pictures
