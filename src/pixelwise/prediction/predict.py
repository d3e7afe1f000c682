"""``predict``: segments images; predictions are written to files or returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import overload

from pixelwise.devices import is_out_of_memory
from pixelwise.errors import ConfigError, DataError
from pixelwise.files import MAX_NAME_BYTES, as_path, make_folder, within
from pixelwise.io.images import IMAGE_SUFFIXES, is_inside
from pixelwise.io.members import ending_of, file_of, split_ending, split_member
from pixelwise.io.stored_pixels import LayoutError
from pixelwise.prediction.image_folders import images_to_predict, pictures_of
from pixelwise.prediction.images_in_memory import (
    Inputs,
    OneInput,
    Prediction,
    is_in_memory,
    predict_in_memory,
    write_in_memory,
    wrong_input,
)
from pixelwise.prediction.large_images import num_steps, predict_large
from pixelwise.prediction.loading import as_predictor
from pixelwise.prediction.parity import Note
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.whole_images import predict_whole, too_large
from pixelwise.prediction.writers import SaveKind, longest_ending, save_kind
from pixelwise.text import amount, several


@dataclass(frozen=True)
class Predictions:
    """Result of predicting files.

    Attributes:
        written: All files written.
        failed: One error message per image that could not be predicted.
    """

    written: tuple[Path, ...]
    failed: tuple[str, ...]

    def __repr__(self) -> str:
        written = amount(len(self.written), "file")
        return f"Predictions({written} written, {len(self.failed)} failed)"


@overload
def predict(
    model: Predictor | Path | str,
    inputs: Inputs,
    out: Path | str,
    *,
    save: Sequence[str] = ...,
    device: str = ...,
    engine: str | None = ...,
    on_progress: Callable[[int, int], None] | None = ...,
    note: Note | None = ...,
) -> Predictions: ...
@overload
def predict(  # type: ignore[overload-overlap]  # a path is a sequence of texts too
    model: Predictor | Path | str,
    inputs: OneInput,
    out: None = None,
    *,
    device: str = ...,
    engine: str | None = ...,
    on_progress: Callable[[int, int], None] | None = ...,
    note: Note | None = ...,
) -> Prediction: ...
@overload
def predict(
    model: Predictor | Path | str,
    inputs: Sequence[OneInput],
    out: None = None,
    *,
    device: str = ...,
    engine: str | None = ...,
    on_progress: Callable[[int, int], None] | None = ...,
    note: Note | None = ...,
) -> list[Prediction]: ...
def predict(
    model: Predictor | Path | str,
    inputs: Inputs,
    out: Path | str | None = None,
    *,
    save: Sequence[str] = ("index",),
    device: str = "auto",
    engine: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    note: Note | None = None,
) -> Predictions | Prediction | list[Prediction]:
    """Segment images, and write the results to files or return them.

    With ``out``, results are written. If an image cannot be read, it is reported and the remaining
    images are still predicted. TIFF and ``.npy`` files with more than
    :data:`pixelwise.prediction.large_images.LARGE_PIXELS` pixels may be larger than memory: their
    results are TIFF files, and if interrupted, the same call resumes where it stopped.

    Without ``out``, nothing is written, and images must fit into memory.

    Args:
        model: A run folder, a model file, or a :class:`Predictor`.
        inputs: An image file, a Pillow image, or an array (H, W) or (H, W, C); a folder of image
            files, which is searched recursively and needs ``out``; or a list of any of these. Of a
            data set, the masks are left out.
        out: Output folder; it reproduces the folder structure of each input folder. Results of
            images in memory are called ``image``, or ``image-0`` and so on in a list.
        save: Kinds of results to write; see :data:`pixelwise.prediction.writers.SAVE_KINDS`.
        device: The device of a model that is given by its path.
        engine: Inference engine; see :class:`Predictor`. ``None`` uses the engine of the predictor,
            or ``auto`` if the predictor was created without one. For less than about ten seconds of
            work, ``auto`` is the same as ``torch``.
        on_progress: Callback that receives the number of finished images and the total; for large
            images each row of tiles counts as one.
        note: Callback that receives a message about the chosen engine or a failed one.

    Returns:
        With ``out``, the files written and the images that failed. Without it, the result of the
        image, or a list of results.

    Raises:
        DataError: An input does not exist, or the inputs contain no image. Without ``out``, an
            image cannot be read or does not suit the model.
        ConfigError: Two results would have the same path, an input would be overwritten, a folder
            is given without ``out``, or the engine does not support the device.
        MissingExtraError: The engine is not installed.
        OutputError: A result cannot be written.

    Example:
        >>> result = predict("runs/first", Image.open("street.jpg"))  # doctest: +SKIP
        >>> result.class_ids.shape  # doctest: +SKIP
        (720, 960)
    """
    kinds = dict.fromkeys(save_kind(kind) for kind in several(save))
    predictor = as_predictor(model, device)
    own = predictor.engine if predictor.is_engine_given else "auto"
    is_single = isinstance(inputs, Path | str) or is_in_memory(inputs)
    if not (is_single or isinstance(inputs, Sequence)):
        raise wrong_input(inputs)
    entries: list[OneInput] = [inputs] if is_single else list(inputs)  # type: ignore[list-item, arg-type]
    with predictor.using_engine(engine or own, note):
        if out is None:
            results = predict_in_memory(predictor, entries, on_progress)
            return results[0] if is_single else results
        out = as_path(out, "out")
        folders = {kind: out / kind if len(kinds) > 1 else out for kind in kinds}
        in_memory = [entry for entry in entries if is_in_memory(entry)]
        if in_memory:
            if len(in_memory) < len(entries):
                raise ConfigError(
                    "`inputs` must all be files, or all be images in memory, if `out` is given. "
                    f"Got {len(in_memory)} of {len(entries)} in memory. Predict them separately"
                )
            written = write_in_memory(predictor, in_memory, folders, on_progress)
            return Predictions(tuple(written), ())
        wrong = [entry for entry in entries if not isinstance(entry, Path | str)]
        if wrong:
            raise wrong_input(wrong[0])
        paths = [as_path(entry, "inputs") for entry in entries]
        room = MAX_NAME_BYTES - longest_ending(kinds, predictor.card.class_map)
        jobs = _jobs(paths, out, (out, *folders.values()), room, note)
        make_folder(out)
        return _predict_all(predictor, jobs, out, folders, on_progress)


def _predict_all(
    predictor: Predictor,
    jobs: Mapping[str, Path],
    out: Path,
    folders: Mapping[SaveKind, Path],
    on_progress: Callable[[int, int], None] | None,
) -> Predictions:
    steps = {stem: num_steps(path) for stem, path in jobs.items()}
    total = sum(num or 1 for num in steps.values())
    done = 0
    written: list[Path] = []
    failed: list[str] = []

    def progress(further: int = 0) -> None:
        if on_progress:
            on_progress(done + further, total)

    for is_large, some in groupby(jobs.items(), key=lambda job: steps[job[0]] is not None):
        neighbors = list(some)
        if is_large:
            results = _predict_large(predictor, neighbors, out, folders, progress)
        else:
            results = predict_whole(predictor, neighbors, folders)
        with closing(results):  # if the callback raises, pending writes are canceled
            for (stem, _), result in zip(neighbors, results, strict=True):
                if isinstance(result, str):
                    failed.append(result)
                else:
                    written += result
                done += steps[stem] or 1
                progress()
    return Predictions(tuple(written), tuple(failed))


def _predict_large(
    predictor: Predictor,
    jobs: Sequence[tuple[str, Path]],
    out: Path,
    folders: Mapping[SaveKind, Path],
    on_step: Callable[[int], None],
) -> Generator[list[Path] | str]:
    """Predict images row by row, or at once if the file or the model requires it."""
    for stem, path in jobs:
        partial = (out / stem).with_name(f".{Path(stem).name}.partial")
        try:
            yield predict_large(predictor, path, folders, stem, partial=partial, on_step=on_step)
        except LayoutError as refusal:
            (result,) = predict_whole(predictor, [(stem, path)], folders)
            yield str(refusal) if isinstance(result, str) else result
        except DataError as error:
            yield str(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            yield too_large(path)


def _jobs(
    inputs: Sequence[Path], out: Path, folders: Sequence[Path], room: int, note: Note | None
) -> dict[str, Path]:
    """Map the stem of each result, relative to the output folders, to its image.

    Images in one folder whose names differ only in the suffix keep it: ``a.jpg.png``,
    ``a.png.png``. A name of more than ``room`` bytes is shortened, as results have longer names.
    """
    jobs: dict[str, Path] = {}
    for entry in inputs:
        if entry.is_dir():
            images = images_to_predict(entry, out, note)
            found = [(path.relative_to(entry), path) for path in images]
        elif file_of(entry).is_file():
            if ending_of(entry) not in IMAGE_SUFFIXES and not is_inside(entry):
                raise DataError(
                    f"{entry} must be an image ({', '.join(sorted(IMAGE_SUFFIXES))}). "
                    f"Got {entry.suffix or 'no suffix'}. Leave it out"
                )
            home = file_of(entry).parent
            found = [(path.relative_to(home), path) for path in pictures_of(entry)]
        else:
            raise DataError(f"{entry} must be an image or a folder. It does not exist")
        alike = Counter(_bare(relative, path) for relative, path in found)
        for relative, path in found:
            bare = _bare(relative, path)
            named = relative if alike[bare] > 1 else Path(bare)
            stem = named.with_name(within(named.name, room)).as_posix()
            if note and stem != named.as_posix():
                note(f"the name of {path} is too long for its results, which are called {stem}")
            if stem in jobs:
                raise ConfigError(
                    f"results must not overwrite each other. {jobs[stem]} and {path} would both be "
                    f"written to {folders[0] / stem}.png. Predict them into two folders"
                )
            if file_of(path).resolve().parent in [
                (folder / stem).parent.resolve() for folder in folders
            ]:
                raise ConfigError(
                    f"`out` must not contain the inputs. {path} is inside it and could be "
                    "overwritten. "
                    "Choose another folder"
                )
            jobs[stem] = path
    if not jobs:
        seen = ", ".join(map(str, inputs))
        raise DataError(
            f"`inputs` must contain at least one image. Got none in {seen}. Check the path"
        )
    return jobs


def _bare(relative: Path, path: Path) -> str:
    """Return the path of a picture without its ending; of one inside a file, with its place."""
    member = split_member(path)[1]
    whole = relative.as_posix().removesuffix(f"/{member}") if member else relative.as_posix()
    return "_".join([split_ending(whole)[0], *(member.split("/") if member else [])])
