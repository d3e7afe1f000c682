"""``train``: trains a model on a data set and writes a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, Unpack

from pixelwise.config import Recipe, load_recipe, with_values
from pixelwise.data.dataset import Dataset, open_as_in, open_unwritten, require_drawn
from pixelwise.devices import Machine, is_out_of_memory, processor_for_training
from pixelwise.errors import ConfigError, DataError, ModelFileError, PixelwiseError, TrainingError
from pixelwise.files import as_path, readable, require_outside, write_text
from pixelwise.imports import import_modules
from pixelwise.label_options import LabelArguments, label_options
from pixelwise.losses.base import Loss
from pixelwise.losses.expression import name_of_loss
from pixelwise.metrics.extra import MetricSource, registered_names
from pixelwise.models.creation import Architecture, GivenModel, given_name, without_pretrained
from pixelwise.models.model_file import MODEL_NAME, load_card
from pixelwise.text import NOTHING_YET, RUN_AS_BEFORE, amount, several
from pixelwise.training.budget import start_of_budget
from pixelwise.training.check_names import check_names
from pixelwise.training.diagnostics.sanity_check import overfit_one_batch
from pixelwise.training.events import Listener, Message, RunEnded, RunStarted, ignore_events
from pixelwise.training.finish import Outcome, evaluate_again, finish, is_finished
from pixelwise.training.loggers.base import LoggerSource, create_loggers, with_loggers
from pixelwise.training.loop import Trainer
from pixelwise.training.own_parts import OwnParts
from pixelwise.training.plan import Plan, plan
from pixelwise.training.run_folder import (
    RECIPE_NAME,
    claimed_run_folder,
    difference_from_run,
    has_saved,
    new_run_folder,
    other_data,
)
from pixelwise.training.run_lock import remove_lock, run_lock
from pixelwise.training.warm_start import model_in
from pixelwise.transforms.own_transform import OwnTransform, check_transform, transform_name

FREE_IN_RESUMING = ("data.path", "training.device", "training.loggers", "augmentation.transform")
"""Entries that a resumed run may change; data and augmentation are compared in other ways."""


def train(
    data: Path | str | None = None,
    *,
    model: Architecture | None = None,
    start_from: Path | str | None = None,
    freeze: str | None = None,
    loss: str | Loss | None = None,
    out: Path | str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    size: tuple[int, int] | None = None,
    split: str | None = None,
    bands: Sequence[int] | None = None,
    recipe: Path | str | Recipe | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    imports: Sequence[str] = (),
    resume: bool = False,
    sanity_check: bool = False,
    dry_run: bool = False,
    seed: int | None = None,
    device: str | None = None,
    augmentation: OwnTransform | None = None,
    metrics: Sequence[MetricSource] = (),
    loggers: Sequence[LoggerSource] = (),
    listener: Listener = ignore_events,
    **labels: Unpack[LabelArguments],
) -> Outcome:
    """Train a model on a folder of labeled images.

    Arguments that are not given are chosen from the data and the machine; each choice is reported
    with its reason.

    Args:
        data: A folder or a dataset card. Optional if the recipe contains it, or with ``resume``.
        model: A registered name; or ``module:QualName`` of a class in an imported module; or a
            class derived from ``torch.nn.Module``, which is built for the classes and channels of
            the data (see :func:`pixelwise.register_model`); or an instance, which is copied, and
            from whose weights the training starts.
        start_from: A run, model file or file of weights (``.safetensors``, ``.pth``) to start from.
            What matches in name and shape is loaded; a head for other classes is new. A run or
            model file also gives the model and its arguments, unless ``model`` names one.
        freeze: ``encoder`` excludes the encoder from training.
        loss: A loss expression such as ``ce + 0.5 * dice``, or a function of logits and target; see
            :data:`pixelwise.losses.base.Loss`.
        out: The run folder; ``None`` means ``runs/MODEL-DATA``, numbered if it exists.
        epochs: Number of passes over the training images; give either this or ``minutes``.
        minutes: Wall-clock budget, from this call (on the command line: from the start of the
            command) to the written report.
        batch_size: Number of images per step.
        size: Height and width in pixels of the crops.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares for a folder without splits.
        bands: Bands of the images to train on, counted from 1, such as ``(4, 3, 2)``.
        recipe: A YAML file, a recipe or its content as a mapping to start from; the arguments here
            override it.
        overrides: ``section.key=value``, as ``--set`` on the command line.
        imports: Modules to import first, as ``--import`` on the command line; the recipe of the run
            lists them. In Python, ``import`` before this call does the same for this process.
        resume: Resume the run in ``out`` from its checkpoint, with its own recipe. A class or an
            instance that was given as ``model`` must be given again if its module is not imported.
        sanity_check: Overfit one batch first as a sanity check, and stop if that fails.
        dry_run: Stop before the first step, with the plan in the outcome; nothing is written.
        seed: Random seed of weights, order, crops and dropout.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        augmentation: A callable that augments each crop in place of the recipe, which keeps crop
            and ``scale``: ``v2.Compose([...])`` of torchvision, a transform of albumentations, or
            a function; see :data:`pixelwise.transforms.own_transform.OwnTransform`. A resumed run
            needs it again.
        metrics: Additional validation metrics: registered names, classes or functions that make
            an :class:`~pixelwise.metrics.extra.ExtraMetric`, or such objects.
        loggers: ``tensorboard``, ``mlflow``, ``wandb`` or another registered name; a callable that
            takes each event; or a class of such callables.
        listener: Called with each event; see :mod:`pixelwise.training.events`.
        labels: ``format``, ``ignore``, ``images``, ``masks`` and the other options of
            :class:`~pixelwise.label_options.LabelOptions`.

    Returns:
        The run's folder, with ``recipe.yaml``, ``model.safetensors``, ``last.ckpt``,
        ``history.csv``, ``metrics.json``, ``notes.json``, ``report.html``, ``curves.png`` and
        ``pictures/``.

    Raises:
        PixelwiseError: The data, the recipe or the folder cannot be used.
        KeyboardInterrupt: Training was interrupted; all progress is saved for ``resume``.

    Example:
        >>> outcome = train("my-images", minutes=15)  # doctest: +SKIP
        >>> outcome.metrics.mean_iou  # doctest: +SKIP
        0.84
    """
    started = start_of_budget()
    check_transform(None, augmentation)
    name, given_model = given_name(model)
    given = {
        "data.path": None if data is None else str(as_path(data, "data")),
        "data.split": split,
        **{f"data.{key}": value for key, value in label_options(**labels).options()},
        "data.bands": None if bands is None else several(bands),
        "model.name": name,
        "model.start_from": None if start_from is None else str(as_path(start_from, "start_from")),
        "training.freeze": freeze,
        "training.loss": name_of_loss(loss) if callable(loss) else loss,
        "training.epochs": epochs,
        "training.minutes": minutes,
        "training.batch_size": batch_size,
        "training.size": size,
        "training.seed": seed,
        "training.device": device,
        "augmentation.transform": None if augmentation is None else transform_name(augmentation),
        "training.metrics": registered_names(metrics) or None,
        "training.loggers": tuple(one for one in several(loggers) if isinstance(one, str)) or None,
    }
    run = _run_to_resume(out) if resume else None
    if run:
        more = {"recipe": recipe, "overrides": overrides}
        wanted = _recipe_to_resume(run, given, [name for name, value in more.items() if value])
    else:
        wanted = _new_recipe(load_recipe(recipe, overrides), given)
    wanted.imports = tuple(dict.fromkeys((*wanted.imports, *several(imports))))
    import_modules(wanted.imports)
    if run and has_saved(run):
        _set_as_begun(wanted, given_model)
    if wanted.data.path is None:
        raise ConfigError("train needs `data`: a folder of labeled images, or a dataset card")
    own = OwnParts(
        model=given_model, loss=loss if callable(loss) else None, augmentation=augmentation
    )
    check_names(wanted, own)
    unnamed = [logger for logger in several(loggers) if not isinstance(logger, str)]
    listener = with_loggers(listener, create_loggers((*wanted.training.loggers, *unnamed)))
    with processor_for_training(), ExitStack() as held:
        if run and not dry_run:
            held.enter_context(run_lock(run))
        with (
            _interrupted_with(RUN_AS_BEFORE if resume else NOTHING_YET),
            open_unwritten(wanted.data) if dry_run and not run else nullcontext() as unwritten,
        ):
            dataset = unwritten or (_data_of_run(wanted, run) if run else open_as_in(wanted.data))
            names = (wanted.model.name, dataset.path.resolve().name)
            require_drawn(dataset, split)
            folder = run or new_run_folder(out, *names)
            require_outside(folder, dataset.path, "the data set")
            listener(Message("data", dataset.notes))
            machine = Machine.here(wanted.training.device)
            ready = plan(wanted, dataset, machine, started=started, own=own, listener=listener)
            listener(Message("plan", ready.summary()))
            if dry_run:
                return Outcome(folder, ready)
            if sanity_check:
                with _fitting_into_memory(ready):
                    _require_sanity(ready, listener)
            # The first files of a new run are written after all checks.
            folder = run or held.enter_context(claimed_run_folder(out, *names))
            trainer = Trainer(ready, folder, listener)
            if not run:
                write_text(folder / RECIPE_NAME, ready.recipe.to_yaml())
            elif has_saved(run):
                trainer.resume()
            else:
                listener(Message("nothing was saved yet, so the run starts over", (str(run),)))
            if run and is_finished(trainer):
                lines = (f"{run} has all its files; they stay as they are",)
                listener(Message("the run is finished, so there is nothing to resume", lines))
                remove_lock(run)
                return evaluate_again(ready, trainer)
        started_run = RunStarted(trainer.folder, ready.recipe.to_yaml(), resume)
        with _telling_of(started_run, listener), _fitting_into_memory(ready):
            trainer.run()
            outcome = finish(ready, trainer, machine, listener)
        remove_lock(trainer.folder)  # nothing is written any more
        return outcome


@contextmanager
def _fitting_into_memory(ready: Plan) -> Iterator[None]:
    """Turn an error for want of memory after the trial of a batch into one that says what to do.

    Raises:
        TrainingError: The device has too little memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, PixelwiseError) or not is_out_of_memory(error):
            raise
        height, width = ready.card.training_size
        crops = amount(ready.recipe.training.batch_size or 1, "crop")
        raise TrainingError(
            f"the training must fit into the memory of the device ({ready.device.type}). It ran "
            f"out of memory with {crops} of {height} x {width}. "
            "End other programs that use this memory and resume the run with `resume=True`, or "
            "start a new run with a smaller `batch_size` or `size`"
        ) from error


@contextmanager
def _telling_of(run: RunStarted, listener: Listener) -> Iterator[None]:
    """Tell a listener that a run starts, and how it ended."""
    listener(run)
    status: Literal["finished", "interrupted", "failed"] = "failed"
    try:
        yield
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        listener(RunEnded(run.folder, status))


def _new_recipe(base: Recipe, given: Mapping[str, object]) -> Recipe:
    """Return the recipe of a new run."""
    wanted = with_values(base, dict(given), "train")
    is_named = given["model.name"] is not None or "name" in base.model.model_fields_set
    if wanted.model.start_from is None or is_named:
        return wanted
    return with_values(wanted, model_in(wanted.model.start_from), "train")


def _recipe_to_resume(run: Path, given: Mapping[str, object], more: Sequence[str]) -> Recipe:
    """Return the recipe of the run to resume, which others may not change.

    Raises:
        ConfigError: Other settings are given as well.
    """
    begun = load_recipe(run / RECIPE_NAME)
    _require_same_recipe(begun, given, more)
    wanted = with_values(begun, dict(given), "train")
    _require_same_transform(begun, wanted)
    return wanted


def _run_to_resume(out: Path | str | None) -> Path:
    """Return the folder of the run to resume.

    Raises:
        ConfigError: No folder is given.
        ModelFileError: The folder is not a run.
    """
    if out is None:
        raise ConfigError("`resume=True` needs `out`, the folder of the run to resume. Got none")
    folder = as_path(out, "out")
    with readable(folder, ModelFileError):
        if not (folder / RECIPE_NAME).is_file():
            raise ModelFileError(
                f"`out` must be the folder of a run to resume. {folder} contains no {RECIPE_NAME}"
            )
    return folder


def _require_same_recipe(begun: Recipe, given: Mapping[str, Any], others: Sequence[str]) -> None:
    """Check that a resumed run gets no other settings than those it was started with.

    Args:
        begun: The recipe of the run.
        given: Arguments by their place in the recipe; those of objects are their names.
        others: Names of arguments that would change the recipe in other ways.

    Raises:
        ConfigError: An argument differs.
    """
    changed = [f"`{name}`" for name in others]
    for key, value in given.items():
        section, _, name = key.partition(".")
        before = getattr(getattr(begun, section), name)
        if value is not None and key not in FREE_IN_RESUMING and value != before:
            changed.append(f"`{section if name in ('name', 'path') else name}` {value}")
    if changed:
        raise ConfigError(
            "a resumed run must keep its recipe, so that it ends as if it was never stopped. Got "
            f"{', '.join(changed)}. Leave that out, or start a new run with another `out`"
        )


def _require_same_transform(begun: Recipe, wanted: Recipe) -> None:
    """Check that a resumed run gets the augmentation that it was started with.

    Raises:
        ConfigError: It gets another one.
    """
    before, now = begun.augmentation.transform, wanted.augmentation.transform
    if now != before:
        raise ConfigError(
            "a resumed run must keep its augmentation, so that it ends as if it was never stopped. "
            f"It was started with {before or 'none'}. Got {now}. Give the same one, or start a new "
            "run"
        )


def _data_of_run(recipe: Recipe, folder: Path) -> Dataset:
    """Return the data set of the run to resume.

    Raises:
        DataError: It cannot be opened as at the start of the run.
        ModelFileError: It is not the data set of the run.
    """
    try:
        dataset = open_as_in(recipe.data)
    except DataError as error:
        raise type(error)(
            f"the data set of the run in {folder} cannot be opened at {recipe.data.path} "
            f"(data.path of its {RECIPE_NAME}, or `data`): {error}"
        ) from error
    try:
        card = load_card(folder / MODEL_NAME)
    except (
        ModelFileError
    ):  # the model file is missing or damaged; the run resumes from the checkpoint
        return dataset
    difference = difference_from_run(dataset, card)
    if difference:
        raise other_data(dataset, folder, difference)
    return dataset


@contextmanager
def _interrupted_with(text: str) -> Iterator[None]:
    """Add a message to Ctrl-C inside the context."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.args = (text,)
        raise


def _set_as_begun(recipe: Recipe, model: GivenModel | None) -> None:
    """Fill in what the recipe of the run to resume leaves open."""
    if (
        recipe.training.freeze_batchnorm_from is None
    ):  # the run was started by a version without this entry
        recipe.training.freeze_batchnorm_from = 1.0
    recipe.model.start_from = None  # the weights come from the checkpoint
    recipe.model.arguments |= without_pretrained(recipe.model.name if model is None else model)


def _require_sanity(ready: Plan, listener: Listener) -> None:
    """Check that the model can overfit one batch."""
    result = overfit_one_batch(ready)
    if not result.is_passed:
        raise TrainingError(result.text)
    listener(Message("sanity check", (result.text,)))
