"""What a decoded sample follows from, as keys: where any of it changes, so does the key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

from pixelwise.classes import ClassMap
from pixelwise.data.formats import Format
from pixelwise.data.sample import Record
from pixelwise.io.file_state import content_hash, state_of
from pixelwise.io.images import TIFF_SUFFIXES

HASHED_BYTES = 64 * 1024**2
"""Files above this size are known by their path, size and time alone: to read a scene of gigabytes
for its hash would take longer than to decode a window of it."""

DECODER_VERSION = 1
"""Part of every key. Raise it with a change after which the same files and options give another
image or mask, or are refused: in a reader of ``io/``, in ``data/masks``, in a format or the shapes
of ``data/formats``. A rename, a comment or a faster way to the same needs no new version."""

_DECODERS = ("imagecodecs", "numpy", "pillow", "rasterio", "tifffile", "torchvision")
_BESIDE_NAME = (".aux.xml", ".msk", ".ovr", ".aux")  # what GDAL takes with NAME.tif
_BESIDE_STEM = (".tfw", ".tifw", ".wld", ".tab", ".aux", ".rpb", "_rpc.txt")
_BESIDE_STEM_ANY_CASE = (*_BESIDE_STEM, *map(str.upper, _BESIDE_STEM))
_NOT_DECODED = frozenset({"image", "masks", "split"})  # the files are hashed, the split is no input


@dataclass(frozen=True)
class Stamp:
    """The files of a record as the file system describes them.

    Attributes:
        key: A hash of paths, sizes, times and of what is done with the files, as hexadecimals.
        num_bytes: What the files take together.
        is_settled: None changed so recently that a further change could leave the same times.
    """

    key: str
    num_bytes: int
    is_settled: bool


def method_of(found: Format, class_map: ClassMap) -> str:
    """How files become samples: the format, its options, the classes and who decodes."""
    options = sorted(vars(found).items())
    return f"{found.name} {options} {class_map.model_dump_json()} {_decoder_of(found)}"


def stamp(record: Record, method: str) -> Stamp:
    """Look at the files of a record without reading them.

    Raises:
        OSError: A file is missing.
    """
    states = {path: state_of(path) for path in _files(record)}
    parts = (f"{path.absolute()} {tuple(state)}" for path, state in states.items())
    return Stamp(
        _hash([method, _described(record), *parts]),
        sum(state.num_bytes for state in states.values()),
        all(state.is_settled for state in states.values()),
    )


def content_key(record: Record, method: str, data_folder: Path) -> str:
    """A hash of the names and the content of a record's files, wherever the data set lies.

    Raises:
        OSError: A file cannot be read.
    """
    files = (f"{_name(path, data_folder)} {content_of(path)}" for path in _files(record))
    return _hash([method, _described(record), *files])


def _files(record: Record) -> Iterator[Path]:
    """The files of a record, and those beside a TIFF by which it is placed or masked."""
    yield record.image
    yield from record.masks
    if record.image.suffix.lower() in TIFF_SUFFIXES:
        beside = (record.image.with_name(record.image.name + ending) for ending in _BESIDE_NAME)
        bare = record.image.with_suffix("").name
        also = (record.image.with_name(bare + ending) for ending in _BESIDE_STEM_ANY_CASE)
        yield from (path for path in (*beside, *also) if path.exists())


def _name(path: Path, data_folder: Path) -> str:
    """A file's path inside its data set, for a folder may name a class."""
    return (path.relative_to(data_folder) if path.is_relative_to(data_folder) else path).as_posix()


def _described(record: Record) -> str:
    """Everything else that a format may go by: all fields, so that a new one is not forgotten."""
    return repr(
        [getattr(record, field.name) for field in fields(record) if field.name not in _NOT_DECODED]
    )


def content_of(path: Path) -> str:
    """A hash of a file's content; of a file too large to be read for it, its place and state.

    Raises:
        OSError: It cannot be read.
    """
    state = state_of(path)
    if state.num_bytes > HASHED_BYTES:
        return f"{path.absolute()} {tuple(state)}"
    return content_hash(path)


def _decoder_of(found: Format) -> str:
    """Whose code decodes, in which version, with which versions of the libraries."""
    decoder = type(found)
    name = f"{decoder.__module__}.{decoder.__qualname__}"
    versions = (DECODER_VERSION, decoder.decoder_version, *map(_version, _DECODERS))
    return f"{name} {versions}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _hash(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)} {part}".encode())
    return digest.hexdigest()
