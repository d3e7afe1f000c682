"""What a decoded sample follows from, as keys: where any of it changes, so does the key."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

from pixelwise.classes import ClassMap
from pixelwise.data.formats import Format
from pixelwise.data.reading import TIFF_SUFFIXES
from pixelwise.data.sample import Record

HASHED_BYTES = 64 * 1024**2
"""Files above this size are known by their path, size and time alone: to read a scene of gigabytes
for its hash would take longer than to decode a window of it."""

REMEMBERED_BYTES = 1024**2
"""Files above this size may hold the labels or the pixels of many records: they are hashed once."""

SETTLED_S = 2.0
"""A file that changed more recently may change again within the same tick of its clock."""

_DECODERS = ("imagecodecs", "numpy", "pillow", "rasterio", "tifffile", "torchvision")
_BESIDE_NAME = (".aux.xml", ".msk", ".ovr")  # what GDAL takes with NAME.tif
_WORLD_FILES = (".tfw", ".TFW", ".tifw", ".TIFW", ".wld", ".WLD")
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
    """How files become samples: the format, its options, the classes and the code that does it."""
    options = sorted(vars(found).items())
    return f"{found.name} {options} {class_map.model_dump_json()} {_code_hash(type(found))}"


def stamp(record: Record, method: str) -> Stamp:
    """Look at the files of a record without reading them.

    Raises:
        OSError: A file is missing.
    """
    now_ns = time.time_ns()
    parts, num_bytes, newest_ns = [method, _described(record)], 0, 0
    for path in _files(record):
        status = path.stat()
        # The time of the last change of the entry tells of files that were replaced with their
        # time kept; nothing but the system sets it.
        times = (status.st_mtime_ns, status.st_ctime_ns)
        parts.append(f"{path.absolute()} {status.st_size} {times}")
        num_bytes += status.st_size
        newest_ns = max(newest_ns, *times)
    return Stamp(_hash(parts), num_bytes, now_ns - newest_ns > SETTLED_S * 1e9)


def content_key(record: Record, method: str, data_folder: Path) -> str:
    """A hash of the names and the content of a record's files, wherever the data set lies.

    Raises:
        OSError: A file cannot be read.
    """
    files = (f"{_name(path, data_folder)} {_content_hash(path)}" for path in _files(record))
    return _hash([method, _described(record), *files])


def _files(record: Record) -> Iterator[Path]:
    """The files of a record, and those beside a TIFF by which it is placed or masked."""
    yield record.image
    yield from record.masks
    if record.image.suffix.lower() in TIFF_SUFFIXES:
        beside = (record.image.with_name(record.image.name + ending) for ending in _BESIDE_NAME)
        world = (record.image.with_suffix(suffix) for suffix in _WORLD_FILES)
        yield from (path for path in (*beside, *world) if path.exists())


def _name(path: Path, data_folder: Path) -> str:
    """A file's path inside its data set, for a folder may name a class."""
    return (path.relative_to(data_folder) if path.is_relative_to(data_folder) else path).as_posix()


def _described(record: Record) -> str:
    """Everything else that a format may go by: all fields, so that a new one is not forgotten."""
    return repr(
        [getattr(record, field.name) for field in fields(record) if field.name not in _NOT_DECODED]
    )


def _content_hash(path: Path) -> str:
    now_ns = time.time_ns()
    status = path.stat()
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if status.st_size > HASHED_BYTES:
        return f"{path.absolute()} {state}"
    if status.st_size < REMEMBERED_BYTES or now_ns - max(state[1:]) < SETTLED_S * 1e9:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return _remembered_hash(path, *state)


@lru_cache(maxsize=64)
def _remembered_hash(path: Path, *state: int) -> str:  # noqa: ARG001  the state is part of the key
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _code_hash(format_class: type[Format]) -> str:
    """The code that decodes, ours and that of a format from elsewhere, and the decoders' versions.

    No number has to be raised by hand when a reader is mended, and none can be forgotten.
    """
    ours = Path(__file__).parents[1]  # all of data/
    files = {*ours.rglob("*.py"), ours.parent / "classes.py"}
    if origin := getattr(sys.modules.get(format_class.__module__), "__file__", None):
        files.add(Path(origin))
    code = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files))
    return _hash([format_class.__qualname__, *map(_version, _DECODERS), *code])


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
