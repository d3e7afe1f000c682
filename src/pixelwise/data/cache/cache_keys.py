"""Computes cache keys from everything that determines a decoded sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

from pixelwise.classes import ClassMap
from pixelwise.data.formats import Format, formats
from pixelwise.data.sample import Record
from pixelwise.io.file_state import content_hash, state_of
from pixelwise.io.images import TIFF_SUFFIXES

HASHED_BYTES = 64 * 1024**2
"""Larger files are identified by path, size and time only: reading a scene of gigabytes to hash it
would take longer than decoding one of its windows."""

DECODER_VERSION = 3
"""Part of every key. Increase it with every change that alters or refuses images or masks that were
decoded before: in the readers of ``io/``, in ``data/masks`` and in ``data/formats``. Renaming,
comments and optimizations do not need a new version."""

_DECODERS = (
    "h5py", "imagecodecs", "nibabel", "numpy", "pillow", "pydicom", "rasterio", "scipy", "shapely",
    "tifffile", "torchvision",
)  # fmt: skip
_BESIDE_NAME = (".aux.xml", ".msk", ".ovr", ".aux")  # files that GDAL reads along with NAME.tif
_BESIDE_STEM = (".tfw", ".tifw", ".wld", ".tab", ".aux", ".rpb", "_rpc.txt")
_BESIDE_STEM_ANY_CASE = (*_BESIDE_STEM, *map(str.upper, _BESIDE_STEM))
_NOT_DECODED = frozenset(
    {"group", "image", "masks", "split"}
)  # hashed separately, or without influence


@dataclass(frozen=True)
class Stamp:
    """The state of a record's files in the file system.

    Attributes:
        key: A hash of paths, sizes, times and the decoding method, in hexadecimal.
        num_bytes: Total size of the files.
        is_settled: Whether any further change of the files would change their times.
    """

    key: str
    num_bytes: int
    is_settled: bool


def is_cacheable(found: Format) -> bool:
    """Whether samples of a format may be cached: a change of its decoder must change the keys."""
    return formats.is_own(type(found)) or found.decoder_version is not None


def method_of(found: Format, class_map: ClassMap) -> str:
    """Describe how files become samples: format, options, classes and decoder versions."""
    options = sorted(vars(found).items())
    return f"{found.name} {options} {class_map.model_dump_json()} {_decoder_of(found)}"


def stamp(record: Record, method: str) -> Stamp:
    """Return the state of a record's files without reading them.

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
    """Return a hash of the names and the content of a record's files, whatever their folder.

    Raises:
        OSError: A file cannot be read.
    """
    files = (f"{_name(path, data_folder)} {content_of(path)}" for path in _files(record))
    return _hash([method, _described(record), *files])


def _files(record: Record) -> Iterator[Path]:
    """Yield the files of a record, and files beside a TIFF with its georeference or mask."""
    yield from record.files
    if record.image.suffix.lower() in TIFF_SUFFIXES:
        beside = (record.image.with_name(record.image.name + ending) for ending in _BESIDE_NAME)
        bare = record.image.with_suffix("").name
        also = (record.image.with_name(bare + ending) for ending in _BESIDE_STEM_ANY_CASE)
        yield from (path for path in (*beside, *also) if path.exists())


def _name(path: Path, data_folder: Path) -> str:
    """Return a file's path inside the data set, as a folder can determine the class."""
    return (path.relative_to(data_folder) if path.is_relative_to(data_folder) else path).as_posix()


def _described(record: Record) -> str:
    """Describe all other fields of a record, including fields added in the future."""
    return repr(
        [getattr(record, field.name) for field in fields(record) if field.name not in _NOT_DECODED]
    )


def content_of(path: Path) -> str:
    """Return a hash of a file's content, or the path and state of a file above the limit.

    Raises:
        OSError: The file cannot be read.
    """
    state = state_of(path)
    if state.num_bytes > HASHED_BYTES:
        return f"{path.absolute()} {tuple(state)}"
    return content_hash(path)


def _decoder_of(found: Format) -> str:
    """Describe the decoder: the class, its version and the versions of the libraries."""
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
        digest.update(f"{len(part)} {part}".encode(errors="surrogatepass"))
    return digest.hexdigest()
