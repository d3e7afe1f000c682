"""Predicts images that fit into memory, with prefetching, batching and background writing."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.cache.memory_cache import free_bytes
from pixelwise.devices import is_out_of_memory
from pixelwise.errors import DataError
from pixelwise.io.arrays import Array, Float32Array
from pixelwise.io.images import read_image
from pixelwise.io.parallel import in_parallel
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.writers import SaveKind, write_prediction

SMALLER = "Save it as TIFF, which is predicted row by row, or cut it"

NUM_WRITERS = 4
"""Number of results written at the same time; writers mostly wait for the disk."""

MAX_WAITING_BYTES = 2**26
"""Maximum memory of results waiting to be written; before larger images, all results are
written."""


@dataclass(frozen=True)
class _Job:
    """An image to predict.

    Attributes:
        stem: File name of its results, without suffix; may contain folders.
        path: Path of the image.
        image: Image (H, W, C), or an error message if it cannot be read. The exception itself is
            not stored, because its traceback would keep large objects in memory.
    """

    stem: str
    path: Path
    image: Array | str


@dataclass(frozen=True)
class _Waiting:
    """A result that is being written, or the reason why there is none.

    Attributes:
        num_bytes: Memory used until the result is written.
        result: Files written, or the error message.
    """

    num_bytes: int
    result: Future[list[Path] | str] | str

    @property
    def is_done(self) -> bool:
        """Whether the result is complete."""
        return isinstance(self.result, str) or self.result.done()

    def ended(self) -> list[Path] | str:
        """Wait for the result and return the files or the error message."""
        return self.result if isinstance(self.result, str) else self.result.result()


def predict_whole(
    predictor: Predictor, jobs: Sequence[tuple[str, Path]], folders: Mapping[SaveKind, Path]
) -> Generator[list[Path] | str]:
    """Predict images that fit into memory and write the results.

    Args:
        predictor: Model.
        jobs: File stem of the results and path of each image.
        folders: Output folder of each kind of result.

    Yields:
        For each image, in order: the files written, or an error message of one line.

    Raises:
        OutputError: A result cannot be written.
    """
    waiting: deque[_Waiting] = deque()
    threads = ThreadPoolExecutor(NUM_WRITERS)
    try:
        for group in _groups(predictor, _read(jobs)):
            room = MAX_WAITING_BYTES - sum(_bytes_of(predictor, job) for job in group)
            while waiting and (waiting[0].is_done or sum(one.num_bytes for one in waiting) > room):
                yield waiting.popleft().ended()
            waiting.extend(_computed_and_sent(predictor, group, folders, threads))
        while waiting:
            yield waiting.popleft().ended()
    finally:
        threads.shutdown(cancel_futures=True)


def _read(jobs: Sequence[tuple[str, Path]]) -> Iterator[_Job]:
    """Read the images in parallel; only one per core is read ahead, as images may be large."""

    def read(index: int) -> _Job:
        stem, path = jobs[index]
        try:
            return _Job(stem, path, read_image(path))
        except DataError as error:
            return _Job(stem, path, str(error))

    return in_parallel(read, len(jobs), ahead_per_thread=1)


def _groups(predictor: Predictor, jobs: Iterable[_Job]) -> Iterator[list[_Job]]:
    """Group successive images of one shape into batches; failed images are groups of their own."""
    group: list[_Job] = []
    for job in jobs:
        if group and not _go_together(predictor, group, job):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _go_together(predictor: Predictor, group: Sequence[_Job], job: _Job) -> bool:
    first, image = group[0].image, job.image
    if isinstance(first, str) or isinstance(image, str):
        return False
    height, width = image.shape[:2]
    pixels = max(height * width, predictor.computed_pixels(height, width))
    is_alike = first.shape == image.shape and first.dtype == image.dtype
    return is_alike and (len(group) + 1) * pixels <= predictor.max_batch_pixels


def _bytes_of(predictor: Predictor, job: _Job) -> int:
    """Return the memory of an image and its probabilities in bytes."""
    if isinstance(job.image, str):
        return 0
    height, width = job.image.shape[:2]
    num_bytes: int = job.image.nbytes + 4 * predictor.card.class_map.num_classes * height * width
    return num_bytes


def _computed_and_sent(
    predictor: Predictor,
    group: Sequence[_Job],
    folders: Mapping[SaveKind, Path],
    threads: ThreadPoolExecutor,
) -> list[_Waiting]:
    """Compute a batch and pass its results to the writers."""
    return [
        _Waiting(0, found)
        if isinstance(found, str)
        else _Waiting(
            _bytes_of(predictor, job), threads.submit(_write, predictor, folders, job, found)
        )
        for job, found in zip(group, _computed(predictor, group), strict=True)
    ]


def _computed(predictor: Predictor, group: Sequence[_Job]) -> list[Float32Array | str]:
    """Compute the probabilities of a batch; if that fails, compute each image alone."""
    try:
        images = [(str(job.path), _readable(predictor, job)) for job in group]
        # Not in the writers: torch starts a thread pool for every thread that calls it.
        return [predictor.to_probabilities(logits) for logits in predictor.logits_of(images)]
    except DataError as error:
        reason = str(error)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = too_large(group[0].path)
    # Outside the except blocks: a handled exception keeps the failed batch in memory.
    if len(group) == 1:
        return [reason]
    return [result for job in group for result in _computed(predictor, [job])]


def _readable(predictor: Predictor, job: _Job) -> Array:
    """Return the image of a job.

    Raises:
        DataError: The image could not be read, or its logits and probabilities, both float32, do
            not fit into memory together. Other memory use is small in comparison.
    """
    if isinstance(job.image, str):
        raise DataError(job.image)
    height, width = job.image.shape[:2]
    num_classes = predictor.card.class_map.num_classes
    needed, free = 2 * 4 * num_classes * height * width, free_bytes()
    if needed > free:
        raise DataError(
            f"{job.path} must fit into memory, with the logits of {num_classes} classes at "
            f"{height} x {width} pixels: {needed / 2**30:.1f} GiB. {free / 2**30:.1f} GiB are "
            f"free. {SMALLER}"
        )
    return job.image


def too_large(path: Path) -> str:
    """Return the error message for an image that did not fit into memory."""
    return f"{path} does not fit into memory. {SMALLER}"


def _write(
    predictor: Predictor, folders: Mapping[SaveKind, Path], job: _Job, probabilities: Float32Array
) -> list[Path] | str:
    assert not isinstance(job.image, str)
    try:
        return [
            written
            for kind, folder in folders.items()
            for written in write_prediction(
                folder,
                job.stem,
                kind,
                image=job.image,
                probabilities=probabilities,
                class_map=predictor.card.class_map,
                label_mode=predictor.card.label_mode,
            )
        ]
    except MemoryError:
        return too_large(job.path)
