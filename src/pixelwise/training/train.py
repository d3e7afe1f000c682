"""``train``: trains a model on a data set and writes a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pixelwise.classes import Unexpected
from pixelwise.config import Recipe, load_recipe, with_values
from pixelwise.data.dataset import Dataset, open_as_in
from pixelwise.devices import Machine, is_out_of_memory, processor_for_training
from pixelwise.errors import ConfigError, DataError, ModelFileError, PixelwiseError, TrainingError
from pixelwise.files import write_text
from pixelwise.models.base import FRESH_ONLY
from pixelwise.models.model_file import MODEL_NAME, load_model_file
from pixelwise.text import NOTHING_YET, RUN_AS_BEFORE
from pixelwise.training.budget import start_of_budget
from pixelwise.training.diagnostics.sanity_check import overfit_one_batch
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.finish import Outcome, finish
from pixelwise.training.loop import Trainer
from pixelwise.training.plan import Plan, check_names, plan
from pixelwise.training.run_folder import (
    RECIPE_NAME,
    claim_run_folder,
    difference_from_run,
    give_back_run_folder,
    new_run_folder,
    other_data,
)


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
    dry_run: bool = False,
    seed: int | None = None,
    device: str | None = None,
    listener: Listener = ignore_events,
) -> Outcome:
    """Train a model on a folder of labeled images.

    Arguments that are not given are chosen from the data and the machine; each choice is reported
    with its reason.

    Args:
        data: A folder or a dataset card. Optional if the recipe contains it, or with ``resume``.
        model: A registered name.
        out: The run folder; ``None`` means ``runs/MODEL-DATA``, numbered if it exists.
        epochs: Number of passes over the training images; give either this or ``minutes``.
        minutes: Wall-clock budget, from this call (on the command line: from the start of the
            command) to the written report.
        batch_size: Number of images per step.
        size: Height and width in pixels of the crops.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares for a folder without splits.
        ignore: Additional stored mask values that are ignored.
        unexpected: What to do with stored values that are neither a class nor ignored; the default
            is that of the card, else ``error``.
        bands: Bands of the images to train on, counted from 1, such as ``(4, 3, 2)``.
        format: The label format, if it is not detected.
        recipe: A YAML file or a recipe to start from; the arguments here override it.
        overrides: ``section.key=value``, as ``--set`` on the command line.
        resume: Resume the run in ``out`` from its checkpoint, with its own recipe.
        sanity_check: Overfit one batch first as a sanity check, and stop if that fails.
        dry_run: Stop before the first step, with the plan in the outcome; nothing is written.
        seed: Random seed of weights, order, crops and dropout.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listener: Called with each event; see :mod:`pixelwise.training.events`.

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
    given = {
        "data.path": None if data is None else str(data),
        "data.split": split,
        "data.format": format,
        "data.ignore": tuple(ignore) or None,
        "data.unexpected": unexpected,
        "data.bands": None if bands is None else tuple(bands),
        "model.name": model,
        "training.epochs": epochs,
        "training.minutes": minutes,
        "training.batch_size": batch_size,
        "training.size": size,
        "training.seed": seed,
        "training.device": device,
    }
    if resume:
        run = _run_to_resume(out, given, is_changed=bool(overrides or recipe))
        wanted = with_values(_recipe_as_begun(run / RECIPE_NAME), given, "train")
    else:
        wanted = with_values(_base_recipe(recipe, overrides), given, "train")
        run = None
    if wanted.data.path is None:
        raise ConfigError("train needs DATA: a folder of labeled images, or a dataset card")
    check_names(wanted)
    with processor_for_training():
        with _interrupted_with(RUN_AS_BEFORE if resume else NOTHING_YET):
            dataset = _data_of_run(wanted, run) if run else open_as_in(wanted.data)
            names = (wanted.model.name, dataset.path.resolve().name)
            folder = run or new_run_folder(out, *names)
            listener(Message("data", dataset.notes))
            machine = Machine.here(wanted.training.device)
            ready = plan(wanted, dataset, machine, started=started, listener=listener)
            if dry_run:
                listener(Message("plan", ready.summary()))
                return Outcome(folder, ready)
            if sanity_check:
                with _fitting_into_memory(ready):
                    _require_sanity(ready, listener)
            if run:
                trainer = Trainer(ready, run, listener)
                trainer.resume()
            else:  # the first files of the run are written after all checks
                trainer = _begun(ready, claim_run_folder(out, *names), listener)
        with _fitting_into_memory(ready):
            trainer.run()
            return finish(ready, trainer, machine, listener)


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
        raise TrainingError(
            f"the training must fit into the memory of the device ({ready.device.type}). It ran "
            f"out of memory with {ready.recipe.training.batch_size} crops of {height} x {width}. "
            "End other programs that use this memory and resume the run with --resume, or start a "
            "new run with a smaller --batch-size or --size"
        ) from error


def _begun(ready: Plan, folder: Path, listener: Listener) -> Trainer:
    """Return the trainer of a new run, whose recipe is written into its claimed folder."""
    try:
        trainer = Trainer(ready, folder, listener)
        write_text(folder / RECIPE_NAME, ready.recipe.to_yaml())
    except BaseException:
        give_back_run_folder(folder)
        raise
    return trainer


def _run_to_resume(
    out: Path | str | None, given: Mapping[str, object], *, is_changed: bool
) -> Path:
    """Return the folder of the run to resume.

    Raises:
        ModelFileError: The folder is not a run.
        ConfigError: Other settings are given as well.
    """
    if out is None or not (Path(out) / RECIPE_NAME).is_file():
        raise ModelFileError(
            f"--resume needs --out with the folder of a run. {out} contains no {RECIPE_NAME}"
        )
    free = {"data.path", "training.device"}
    changed = [key for key, value in given.items() if value is not None and key not in free]
    if changed or is_changed:
        names = ", ".join(sorted(key.partition(".")[2] for key in changed))
        raise ConfigError(
            "a resumed run must keep its recipe, so that the result is the same as without the "
            f"interruption. Got {names or 'another recipe'} as well. Remove it, or start a new run"
        )
    return Path(out)


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
            f"(data.path of its {RECIPE_NAME}, or DATA): {error}"
        ) from error
    try:
        _, card = load_model_file(folder / MODEL_NAME)
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
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


def _recipe_as_begun(path: Path) -> Recipe:
    """Return the recipe of the run to resume."""
    recipe = load_recipe(path)
    if (
        recipe.training.freeze_batchnorm_from is None
    ):  # the run was started by a version without this entry
        recipe.training.freeze_batchnorm_from = 1.0
    for argument in FRESH_ONLY:  # the weights come from the checkpoint
        recipe.model.arguments.pop(argument, None)
    return recipe


def _require_sanity(ready: Plan, listener: Listener) -> None:
    """Check that the model can overfit one batch."""
    result = overfit_one_batch(ready)
    if not result.is_passed:
        raise TrainingError(result.text)
    listener(Message("sanity check", (result.text,)))


def _base_recipe(recipe: Path | str | Recipe | None, overrides: Sequence[str]) -> Recipe:
    if isinstance(recipe, Recipe):
        if overrides:
            raise ConfigError(
                "overrides need a recipe file. Got a recipe object. Change that object instead"
            )
        return recipe
    return load_recipe(recipe, overrides)
