"""Caches decoded samples on disk, so that a data set is decoded only once."""

from __future__ import annotations

import re
import time
from pathlib import Path

from pixelwise.classes import ClassMap
from pixelwise.data.cache.cache_folder import CacheFolder
from pixelwise.data.cache.cache_keys import Stamp, content_key, is_cacheable, method_of, stamp
from pixelwise.data.cache.packing import pack, unpack
from pixelwise.data.formats import Format
from pixelwise.data.own_format import checked_sample
from pixelwise.data.sample import Record, Sample
from pixelwise.files import OFF, users_cache

SLOW_S, SLOW_S_PER_BYTE = 1e-3, 3e-9
"""Samples are kept if decoding takes longer than the sum of these, per sample and per byte."""

_SAMPLE, _LINK = ".sample", ".link"
_KEY = re.compile(rb"[0-9a-f]{64}")
_NOT_KEPT = b"not kept"  # content of a link if decoding is about as fast as reading back
_LINK_WORTH_BYTES = 1024**2  # smaller files are hashed in less than a millisecond


class DiskCache:
    """A cache of decoded samples, found by the content of the files they were made from.

    Files are not read if a *link* exists: it stores which sample was made from files of these
    paths, sizes and times. Otherwise, for example after copying the data set, their content is
    hashed and the sample is found by the hash. Both keys include everything else that determines
    the pixels: the format and its options, the classes, the window and the version of the decoder.
    They do not include files that a format reads without listing them in the record.

    A sample is kept if decoding takes longer than 1 ms plus 3 ms per megabyte of pixels. Measured
    on one core, with the files in the page cache: ms per megabyte to decode, to read back and to
    pack, and the size on disk as a share of the pixels' size:

    ====================================  ======  =========  ====  =====
    samples                               decode  read back  pack  share
    ====================================  ======  =========  ====  =====
    nuclei: PNG, a PNG for every object       18        0.6   1.4   0.29
    CamVid: PNG with an index mask            11        0.4   1.7   0.61
    photographs with polygons (LabelMe)      4.8        0.4   1.1   0.73
    a JPEG of 6 megapixels, index mask       5.3        0.3   1.4   0.49
    the same as TIFF without compression     3.4        0.1   0.6   0.14
    ====================================  ======  =========  ====  =====

    Several objects and processes can share a folder. Every sample is verified when it is read.
    Damaged ones, and files that were renamed or swapped, are decoded again.

    Args:
        files: The folder of the cache.
        data_folder: The data set. Keys contain the paths of files inside it, but not its own path.
    """

    def __init__(self, files: CacheFolder, data_folder: Path) -> None:
        self.files = files
        self._data_folder = data_folder

    @property
    def note(self) -> str:
        """The location of the cache and how to disable it, as text for the user."""
        return f"slow images are kept decoded in {self.files.path} ({OFF} keeps none)"

    def load(self, record: Record, found: Format, class_map: ClassMap) -> Sample:
        """Return the sample of a record: read back, or decoded and kept.

        Args:
            record: The record to load.
            found: The format that decodes it.
            class_map: The classes.

        Returns:
            A sample with its own arrays, which are writable if they were read back.

        Raises:
            DataError: Raised by the format; a sample that cannot be decoded is not kept.
        """
        if not is_cacheable(found):
            return checked_sample(record, found, class_map)
        method = method_of(found, class_map)
        try:
            before = stamp(record, method)
            known = self._read_link(before)
            if known == _NOT_KEPT:
                return checked_sample(record, found, class_map)
            sample = self._read_sample(known.decode(), record) if known else None
            if sample is not None:
                return sample
            key = content_key(record, method, self._data_folder)
        except OSError:
            return checked_sample(record, found, class_map)  # raises the error of the file
        sample = self._read_sample(key, record)
        if sample is not None:
            self._write_link(before, key.encode())
            return sample
        started = time.perf_counter()
        sample = checked_sample(record, found, class_map)
        took_s = time.perf_counter() - started
        if self._is_unchanged(record, method, before, key):
            self._keep(before, key, sample, took_s)
        return sample

    def _is_unchanged(self, record: Record, method: str, before: Stamp, key: str) -> bool:
        """Whether the files are unchanged since they were hashed, so that the key is right."""
        try:
            if stamp(record, method).key != before.key:
                return False
            return before.is_settled or content_key(record, method, self._data_folder) == key
        except OSError:
            return False

    def _keep(self, before: Stamp, key: str, sample: Sample, took_s: float) -> None:
        """Write a sample that was slow to decode, and the link to it."""
        num_bytes = sample.image.nbytes + sample.mask.nbytes
        if took_s < SLOW_S + num_bytes * SLOW_S_PER_BYTE:
            if before.num_bytes > _LINK_WORTH_BYTES:
                self._write_link(before, _NOT_KEPT)
            return
        packed = pack(sample, key)
        if packed is not None and self.files.write(key + _SAMPLE, packed):
            self._write_link(before, key.encode())

    def _read_sample(self, key: str, record: Record) -> Sample | None:
        packed = self.files.read(key + _SAMPLE)
        return None if packed is None else unpack(packed, record.name, key)

    def _read_link(self, files: Stamp) -> bytes | None:
        own, _, target = (self.files.read(files.key + _LINK) or b"").partition(b" ")
        is_sound = own == files.key.encode() and (target == _NOT_KEPT or _KEY.fullmatch(target))
        return target if is_sound else None

    def _write_link(self, files: Stamp, target: bytes) -> None:
        if files.is_settled:
            self.files.write(files.key + _LINK, files.key.encode() + b" " + target)


def open_cache(data_folder: Path) -> DiskCache | None:
    """Return the user's cache for a data set, as set in the environment.

    Args:
        data_folder: The data set; nothing is written there.

    Returns:
        The cache; ``None`` if it is disabled, if there is no home folder, or if it would be inside
        the data set.
    """
    folder = users_cache()
    if folder is None or folder.resolve().is_relative_to(data_folder.resolve()):
        return None
    return DiskCache(CacheFolder(folder), data_folder)
