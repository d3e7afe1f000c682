"""``predict``: segments image files and folders and writes the predictions to files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pixelwise.data.pairing import image_files
from pixelwise.devices import is_out_of_memory
from pixelwise.errors import ConfigError, DataError
from pixelwise.files import make_folder
from pixelwise.io.image_rows import LayoutError
from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.prediction.large_images import num_steps, predict_large
from pixelwise.prediction.parity import Note
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.whole_images import predict_whole, too_large
from pixelwise.prediction.writers import SaveKind, save_kind


@dataclass(frozen=True)
class Predictions:
    """The result of a prediction of files.

    Attributes:
        written: Every file written.
        failed: The message of every image that could not be predicted.
    """

    written: tuple[Path, ...]
    failed: tuple[str, ...]


def predict(
    predictor: Predictor,
    inputs: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    save: Sequence[str] = ("index",),
    engine: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    note: Note | None = None,
) -> Predictions:
    """Segment files and folders of images and write the results.

    An image that cannot be read is reported, and the others are still done. A TIFF or ``.npy`` of
    more than :data:`pixelwise.prediction.large_images.LARGE_PIXELS` may be larger than memory: its
    results are TIFF files, and the same call continues after a kill where it stopped.

    Args:
        predictor: The model.
        inputs: Image files and folders, one or several; folders are searched with all that is
            inside them.
        out: Where to write; what lay below an input folder lies alike below this one.
        save: What to write; see :data:`pixelwise.prediction.writers.SAVE_KINDS`.
        engine: What computes; see :class:`Predictor`. ``None`` takes the one that the predictor was
            made with, and ``auto`` where it was made with none. Less than some ten seconds of work
            are the same with ``auto`` and ``torch``.
        on_progress: Called with the number of finished images and the total number; for large
            images, each row of tiles counts.
        note: Told in a line which engine was chosen, and which has failed.

    Raises:
        DataError: An input does not exist, or there is no image in any of them.
        ConfigError: Two inputs would be written to one file, or an input would be overwritten; or
            the device rules the engine out.
        MissingExtraError: The engine is not installed.
        OutputError: A result cannot be written.
    """
    kinds = dict.fromkeys(save_kind(kind) for kind in save)
    out = Path(out)
    folders = {kind: out / kind if len(kinds) > 1 else out for kind in kinds}
    entries = [inputs] if isinstance(inputs, Path | str) else inputs
    jobs = _jobs([Path(entry) for entry in entries], out, (out, *folders.values()))
    own = predictor.engine if predictor.has_engine_of_choice else "auto"
    with predictor.using_engine(engine or own, note):
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
        with closing(results):  # what waits to be written is not, where the listener raises
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
    """Predict row of tiles by row of tiles, or at once where that alone can be done."""
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


def _jobs(inputs: Sequence[Path], out: Path, folders: Sequence[Path]) -> dict[str, Path]:
    """Every image by the stem of its result, below each of the folders, which ``out`` holds.

    Images of one folder that differ in their suffix alone keep it: ``a.jpg.png``, ``a.png.png``.
    """
    jobs: dict[str, Path] = {}
    for entry in inputs:
        if entry.is_dir():
            found = [(path.relative_to(entry), path) for path in _images_below(entry, out)]
        elif entry.is_file():
            if entry.suffix.lower() not in IMAGE_SUFFIXES:
                raise DataError(
                    f"{entry} must be an image ({', '.join(sorted(IMAGE_SUFFIXES))}). "
                    f"Got {entry.suffix or 'no suffix'}. Leave it out"
                )
            found = [(Path(entry.name), entry)]
        else:
            raise DataError(f"{entry} must be an image or a folder. It does not exist")
        alike = Counter(relative.with_suffix("") for relative, _ in found)
        for relative, path in found:
            bare = relative.with_suffix("")
            stem = (relative if alike[bare] > 1 else bare).as_posix()
            if stem in jobs:
                raise ConfigError(
                    f"results must not overwrite each other. {jobs[stem]} and {path} would both be "
                    f"written to {folders[0] / stem}.png. Predict them into two folders"
                )
            if path.resolve().parent in [(folder / stem).parent.resolve() for folder in folders]:
                raise ConfigError(
                    f"--out must not hold the inputs. {path} lies in it and could be overwritten. "
                    "Choose another folder"
                )
            jobs[stem] = path
    if not jobs:
        seen = ", ".join(map(str, inputs))
        raise DataError(f"INPUT must hold at least one image. Got none in {seen}. Check the path")
    return jobs


def _images_below(folder: Path, out: Path) -> list[Path]:
    """The images in a folder and the folders in it, but not those of earlier results."""
    found = image_files(folder)
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not inner.name.startswith(".") and inner.resolve() != out.resolve():
            found += _images_below(inner, out)
    return found
