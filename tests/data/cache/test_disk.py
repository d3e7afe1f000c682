import dataclasses
import errno
import logging
import os
import pickle
import shutil
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelwise
from pixelwise.classes import ClassMap
from pixelwise.data.cache import cache_folder, cache_keys
from pixelwise.data.cache import disk as disk_cache
from pixelwise.data.cache.cache_folder import CacheFolder
from pixelwise.data.cache.disk import DiskCache, open_cache
from pixelwise.data.cache.packing import pack, unpack
from pixelwise.data.convert import convert_data
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.object_masks import ObjectMasks
from pixelwise.data.problems import collect_problems
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError
from pixelwise.io import file_state


@pytest.fixture(autouse=True)
def everything_is_slow_and_settled(monkeypatch):
    """What is decoded is kept however fast it was, and files count as old at once."""
    monkeypatch.setattr(disk_cache, "SLOW_S", 0)
    monkeypatch.setattr(disk_cache, "SLOW_S_PER_BYTE", 0)
    monkeypatch.setattr(file_state, "SETTLED_S", -1)
    cache_folder._say_once.cache_clear()


@pytest.fixture
def folder(tmp_path, make_object_dataset):
    made = make_object_dataset(tmp_path / "data", num_images=3, size=(20, 31))
    for path in made.glob("*/masks/*.png"):  # uncompressed, so that an edit keeps the size
        Image.open(path).save(path, compress_level=0)
    return made


@pytest.fixture
def kept_in(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


CLASS_NAMES = (
    "background, thing",
    "road, sidewalk",
    "sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist",
)
"""Classes of which every format can hold one list or another."""


def decodes(monkeypatch, dataset):
    """The names that a data set decodes from now on, in order."""
    names, load = [], type(dataset.format).load

    def counted(self, record, class_map):
        names.append(record.name)
        return load(self, record, class_map)

    monkeypatch.setattr(type(dataset.format), "load", counted)
    return names


def load_all(folder, **options):
    dataset = open_dataset(folder, **options)
    return [dataset.load(record) for record in dataset.records]


def is_equal(first, second):
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.mask, second.mask)
        and first.image.dtype == second.image.dtype
        and first.mask.dtype == second.mask.dtype
        and (first.name, first.label_mode) == (second.name, second.label_mode)
    )


@pytest.mark.parametrize("name", formats.names())
def test_of_every_format_the_second_opening_decodes_nothing_and_gives_the_same(
    tmp_path, kept_in, monkeypatch, make_index_dataset, name
):
    sources = [_multilabel(tmp_path / "one", 1), _multilabel(tmp_path / "two", 2)]
    for number, names in enumerate(CLASS_NAMES):
        folder = make_index_dataset(tmp_path / f"in-{number}", num_images=3, num_classes=2)
        (folder / "dataset.yaml").write_text(f"classes: [{names}]\n")
        sources.append(folder)
    sources.append(_gray(make_index_dataset(tmp_path / "grayscale", num_images=3, num_classes=2)))
    source = next((each for each in map(open_dataset, sources) if _holds(name, each)), None)
    if source is None:
        pytest.skip(f"{name} is not written")
    convert_data(source, tmp_path / "out", name)
    if source.label_mode == "multilabel":  # whose card says what is ignored, which nothing is
        (tmp_path / "out" / "dataset.yaml").unlink()
    plain = load_all(tmp_path / "out", cache=False)
    first = load_all(tmp_path / "out")
    names = decodes(monkeypatch, open_dataset(tmp_path / "out"))
    second = load_all(tmp_path / "out")
    assert not names
    assert all(map(is_equal, plain, first))
    assert all(map(is_equal, plain, second))
    assert len(second) == 3
    for sample in second:
        assert sample.image.flags.writeable
        assert sample.image.flags.c_contiguous
        assert sample.mask.flags.writeable


def _holds(name, dataset):
    target = formats.create(name)
    content = MaskContent.of(dataset.load(dataset.records[0]), dataset.class_map)
    return content.label_mode in target.label_modes and not target.refusal(content)


def _gray(folder):
    """Masks of 0 and 1 as black and white."""
    for path in folder.glob("masks/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(255)).save(path)
    classes = "[{name: background, value: 0}, {name: thing, value: 255}]"
    (folder / "dataset.yaml").write_text(f"classes: {classes}\nignore: []\n")
    return folder


def _multilabel(folder, num_classes):
    for number in range(3):
        for part in ("images", "masks/one", "masks/two")[: 1 + num_classes]:
            path = folder / part / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = np.arange(12, dtype=np.uint8)[:, None] * np.ones(9, np.uint8)
            pixels = np.where(rows > 3 * number, 255, 0).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    return folder


def edit_mask(folder):
    path = sorted(folder.glob("*/masks/*.png"))[0]
    pixels = 255 - np.asarray(Image.open(path))
    Image.fromarray(pixels).save(path)


def edit_mask_with_its_size_and_time_kept(folder):
    """Only the time of the entry's last change tells, which nothing but the system sets."""
    path = sorted(folder.glob("*/masks/*.png"))[0]
    before = path.stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    Image.fromarray(np.asarray(Image.open(path))[::-1, ::-1]).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def edit_image(folder):
    path = sorted(folder.glob("*/images/*.png"))[0]
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] += 1
    Image.fromarray(pixels).save(path)


def add_mask(folder):
    home = sorted(folder.glob("*/masks"))[0]
    Image.fromarray(np.full((20, 31), 255, np.uint8)).save(home / "z.png")


def remove_mask(folder):
    sorted(folder.glob("*/masks/*.png"))[0].unlink()


@pytest.mark.parametrize(
    "change",
    [edit_mask, edit_mask_with_its_size_and_time_kept, edit_image, add_mask, remove_mask],
    ids=lambda change: change.__name__,
)
def test_a_changed_file_is_decoded_again_and_no_other(folder, kept_in, monkeypatch, change):
    load_all(folder)
    change(folder)
    fresh = load_all(folder, cache=False)
    names = decodes(monkeypatch, open_dataset(folder))
    again = load_all(folder)
    assert names == ["cell-000"]
    assert all(map(is_equal, fresh, again))


@pytest.mark.parametrize("name", ["coco", "cvat", "geojson", "labelme", "polygon-text", "yolo"])
def test_labels_that_are_replaced_with_size_and_time_kept_are_read_again(
    tmp_path, kept_in, make_index_dataset, name
):
    """As by ``cp -p`` or ``tar``; nothing stale is kept for later processes either."""
    folder = make_index_dataset(tmp_path / "in", num_images=3, num_classes=2)
    convert_data(open_dataset(folder), tmp_path / "old", name)
    for path in folder.glob("masks/*.png"):
        Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)
    convert_data(open_dataset(folder), tmp_path / "new", name)
    load_all(tmp_path / "old")
    labels = [path for path in (tmp_path / "old").rglob("*") if path.suffix in LABEL_SUFFIXES]
    for path in labels:
        content = (tmp_path / "new" / path.relative_to(tmp_path / "old")).read_bytes()
        length = max(len(content), path.stat().st_size)
        path.write_bytes(path.read_bytes().ljust(length))
    load_all(tmp_path / "old")
    for path in labels:
        before = path.stat()
        time.sleep(0.02)  # more than a tick of the file system's clock
        content = (tmp_path / "new" / path.relative_to(tmp_path / "old")).read_bytes()
        path.write_bytes(content.ljust(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
    fresh = load_all(tmp_path / "new", cache=False)
    assert all(map(is_equal, fresh, load_all(tmp_path / "old")))


LABEL_SUFFIXES = (".json", ".geojson", ".xml", ".txt")


def test_other_classes_options_windows_and_names_are_other_samples(
    folder, kept_in, monkeypatch, tmp_path
):
    dataset = open_dataset(folder)
    record = dataset.records[0]
    dataset.load(record)
    names = decodes(monkeypatch, dataset)
    dataset.load(record)
    assert not names
    swapped = ClassMap.build(("object", "ground"), values=(1, 0))
    others = [
        (dataclasses.replace(dataset, class_map=swapped), record),
        (
            dataclasses.replace(
                dataset, format=formats.create("object-masks", unexpected="ignore")
            ),
            record,
        ),
        (dataset, dataclasses.replace(record, window=(0, 0, 5, 5))),
        (dataset, dataclasses.replace(record, entry="other")),
        (dataset, dataclasses.replace(record, name="other")),
    ]
    for number, (opened, asked) in enumerate(others, start=1):
        opened.load(asked)
        assert len(names) == number
    assert dataclasses.replace(dataset, class_map=swapped).load(record).mask[0, 0] == 1
    dataset.load(dataclasses.replace(record, split="test"))  # a split changes no pixel
    assert len(names) == len(others)


def test_the_files_beside_a_tiff_that_place_or_mask_it_belong_to_it(tmp_path):
    image = tmp_path / "a.tif"
    image.write_bytes(b"pixels")
    record = Record("a", image)
    seen = {cache_keys.stamp(record, "").key}, {cache_keys.content_key(record, "", tmp_path)}
    beside = ("a.tif.aux.xml", "a.tif.msk", "a.tfw", "a.tab", "a.aux", "a.RPB", "a_RPC.TXT")
    for number, name in enumerate(beside, start=2):
        (tmp_path / name).write_text("placed")
        seen[0].add(cache_keys.stamp(record, "").key)
        seen[1].add(cache_keys.content_key(record, "", tmp_path))
        assert [len(keys) for keys in seen] == [number, number]


def test_a_mask_in_the_folder_of_another_class_is_another_sample(tmp_path):
    for place in ("car", "road"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.png").write_bytes(b"pixels")
    keys = {
        cache_keys.content_key(Record("a", tmp_path / place / "a.png"), "", tmp_path)
        for place in ("car", "road")
    }
    assert len(keys) == 2


def test_samples_of_an_own_format_are_kept_only_under_a_version(folder, kept_in):
    record = open_dataset(folder).records[0]
    class_map, loaded = ClassMap.build(("ground", "object")), []

    class Own(ObjectMasks):
        def load(self, record, class_map):
            loaded.append(record)
            return super().load(record, class_map)

    def load_twice():
        loaded.clear()
        for _ in range(2):
            open_cache(folder).load(record, Own(), class_map)
        return len(loaded)

    assert load_twice() == 2  # its code may have changed in between
    Own.decoder_version = 1
    assert load_twice() == 1
    Own.decoder_version = 2
    assert load_twice() == 1


@pytest.mark.parametrize(
    ("holder", "name", "value"),
    [
        (cache_keys, "DECODER_VERSION", cache_keys.DECODER_VERSION + 1),
        (ObjectMasks, "decoder_version", 2),
        (cache_keys, "_version", lambda _: "other"),
    ],
)
def test_another_version_of_a_decoder_decodes_again(
    folder, kept_in, monkeypatch, holder, name, value
):
    load_all(folder)
    names = decodes(monkeypatch, open_dataset(folder))
    load_all(folder)
    assert not names
    monkeypatch.setattr(holder, name, value)
    load_all(folder)
    assert len(names) == 3


PRINT_METHOD = """
from pixelwise.classes import ClassMap
from pixelwise.data.cache.cache_keys import method_of
from pixelwise.data.formats import formats
print(method_of(formats.create("object-masks"), ClassMap.build(("ground", "object"))))
"""


def test_keys_do_not_change_with_the_text_of_the_source(tmp_path):
    ours = shutil.copytree(Path(pixelwise.__file__).parent, tmp_path / "pixelwise")

    def method():
        return subprocess.run(
            [sys.executable, "-c", PRINT_METHOD],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout

    before = method()
    for name in ("io/images.py", "data/masks/coding.py", "data/formats/object_masks.py"):
        with (ours / name).open("a") as file:
            file.write("# touched\n")
    assert method() == before


def test_a_copied_moved_or_touched_data_set_is_found_by_its_content(folder, kept_in, monkeypatch):
    first = load_all(folder)
    names = decodes(monkeypatch, open_dataset(folder))
    copy = shutil.copytree(folder, folder.parent / "copy")
    moved = folder.rename(folder.parent / "moved")
    for path in moved.rglob("*.png"):
        path.touch()
    assert all(map(is_equal, first, load_all(copy)))
    assert all(map(is_equal, first, load_all(moved)))
    assert not names


def test_files_are_not_read_again_to_find_a_sample(folder, kept_in, monkeypatch):
    load_all(folder)
    monkeypatch.setattr(cache_keys, "content_of", lambda path: pytest.fail(f"{path} was read"))
    load_all(folder)


def test_a_recently_changed_file_is_identified_by_its_content(folder, kept_in, monkeypatch):
    monkeypatch.setattr(file_state, "SETTLED_S", 60)
    load_all(folder)
    assert not list(kept_in.glob("*.link"))
    names = decodes(monkeypatch, open_dataset(folder))
    load_all(folder)
    assert not names


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(folder, kept_in, monkeypatch):
    dataset = open_dataset(folder)
    load = type(dataset.format).load

    def edited(self, record, class_map):
        edit_image(folder)
        return load(self, record, class_map)

    monkeypatch.setattr(type(dataset.format), "load", edited)
    dataset.load(dataset.records[0])
    assert not list(kept_in.glob("*"))


def test_files_too_large_to_hash_are_known_by_their_place_and_time(folder, kept_in, monkeypatch):
    monkeypatch.setattr(cache_keys, "HASHED_BYTES", 10)
    load_all(folder)
    names = decodes(monkeypatch, open_dataset(folder))
    load_all(folder)
    assert not names
    load_all(shutil.copytree(folder, folder.parent / "copy"))
    assert len(names) == 3


def cut_short(content):
    return content[: len(content) // 2]


def flip_a_bit(content):
    middle = len(content) - 9
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [cut_short, flip_a_bit, lambda _: b"", lambda _: b"\x80\x04K\x01.", lambda c: c + b"more"],
    ids=["cut short", "a bit", "empty", "a pickle", "longer"],
)
def test_a_damaged_file_is_made_again(folder, kept_in, monkeypatch, damage):
    first = load_all(folder)
    names = decodes(monkeypatch, open_dataset(folder))
    files = list(kept_in.glob("*.sample"))
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    assert len(files) == 3
    assert all(map(is_equal, first, load_all(folder)))
    assert len(names) == 3
    assert all(map(is_equal, first, load_all(folder)))
    assert len(names) == 3


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"../../etc/passwd", b"0" * 64])
def test_a_damaged_link_is_made_again(folder, kept_in, monkeypatch, content):
    first = load_all(folder)
    links = {path: path.read_bytes() for path in kept_in.glob("*.link")}
    for path in links:
        path.write_bytes(content)
    names = decodes(monkeypatch, open_dataset(folder))
    assert all(map(is_equal, first, load_all(folder)))
    assert {path: path.read_bytes() for path in kept_in.glob("*.link")} == links
    assert not names


@pytest.mark.parametrize("suffix", [".sample", ".link"])
def test_swapped_files_are_noticed(folder, kept_in, suffix):
    first = load_all(folder)
    files = sorted(kept_in.glob(f"*{suffix}"))
    contents = [path.read_bytes() for path in files]
    assert len(set(contents)) == 3
    for path, content in zip(files, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)
    assert all(map(is_equal, first, load_all(folder)))
    assert [path.read_bytes() for path in files] == contents  # made again


def test_nothing_is_pickled(folder, kept_in, monkeypatch):
    for name in ("loads", "load", "Unpickler", "dumps"):
        monkeypatch.setattr(pickle, name, lambda *_: pytest.fail("pickle was used"))
    load_all(folder)
    load_all(folder)
    for path in kept_in.glob("*.sample"):
        assert path.read_bytes().startswith(b"pixelwise sample 2\n")


def test_two_writers_at_once_leave_whole_files(folder, kept_in, monkeypatch):
    plain = load_all(folder, cache=False)
    datasets = [open_dataset(folder) for _ in range(4)]
    start = threading.Barrier(4)

    def run(dataset):
        start.wait()
        return [dataset.load(record) for record in dataset.records]

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(run, datasets))
    assert all(is_equal(*pair) for result in results for pair in zip(plain, result, strict=True))
    names = decodes(monkeypatch, open_dataset(folder))
    load_all(folder)
    assert not names
    assert len(list(kept_in.glob("*.sample"))) == 3
    assert not list(kept_in.glob(".*"))


def test_on_a_full_disk_work_continues_and_it_is_said_once(folder, kept_in, monkeypatch, caplog):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    plain = load_all(folder, cache=False)
    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.WARNING):
        assert all(map(is_equal, plain, load_all(folder)))
        assert all(map(is_equal, plain, load_all(folder)))
    (line,) = caplog.messages
    assert str(kept_in) in line
    assert "No space left on device" in line
    assert "PIXELWISE_CACHE" in line
    assert not list(kept_in.glob("*"))
    assert not list(kept_in.glob(".*"))


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_where_the_cache_cannot_be_made_work_continues(
    folder, tmp_path, monkeypatch, caplog, place
):
    (tmp_path / "taken").write_text("mine")
    taken = tmp_path / "taken" if place == "a file" else tmp_path / "taken" / "below"
    monkeypatch.setenv("PIXELWISE_CACHE", str(taken))
    with caplog.at_level(logging.WARNING):
        assert len(load_all(folder)) == 3
    assert len(caplog.messages) == 1
    assert (tmp_path / "taken").read_text() == "mine"


def test_what_was_used_least_recently_goes_first(folder, tmp_path, monkeypatch):
    dataset = open_dataset(folder, cache=False)
    room = 2 * 3 * 4096 + 4096  # three samples and their links, and one file more

    def load(record):
        cache = DiskCache(CacheFolder(tmp_path / "cache", room), folder)
        return cache.load(record, dataset.format, dataset.class_map)

    def age(hours):
        for path in (tmp_path / "cache").iterdir():
            used_ns = path.stat().st_mtime_ns - hours * 3600 * 10**9
            os.utime(path, ns=(used_ns, used_ns))

    names = decodes(monkeypatch, dataset)
    first, second, third = dataset.records
    for record in (first, second, third):
        load(record)
        age(1)
    load(first)  # used again, so the second is the oldest now
    load(dataclasses.replace(first, name="fourth"))
    del names[:]
    load(first)
    load(third)
    assert not names
    load(second)
    assert names == [second.name]
    assert sum(4096 for _ in (tmp_path / "cache").iterdir()) <= room


def test_a_data_set_larger_than_the_bound_is_kept_in_part(folder, tmp_path, monkeypatch):
    dataset = open_dataset(folder, cache=False)
    cache = DiskCache(CacheFolder(tmp_path / "cache", 4 * 4096), folder)
    for _ in range(3):
        for record in dataset.records:
            cache.load(record, dataset.format, dataset.class_map)
    files = list((tmp_path / "cache").iterdir())
    assert 0 < len(files) <= 4
    names = decodes(monkeypatch, dataset)
    again = DiskCache(CacheFolder(tmp_path / "cache", 4 * 4096), folder)
    for record in dataset.records:
        again.load(record, dataset.format, dataset.class_map)
    assert len(names) == 1


def test_a_file_larger_than_the_room_is_passed_over_and_smaller_ones_are_kept(tmp_path):
    for num_small in (0, 1):
        cache = CacheFolder(tmp_path / str(num_small), max_bytes=20 * 4096)
        for number in range(num_small):
            assert cache.write(f"{number:064}.sample", bytes(100))
        assert not cache.write(f"{'b' * 64}.sample", bytes(30 * 4096))
        assert cache.write(f"{'c' * 64}.sample", bytes(10 * 4096))
        assert not cache.write(f"{'d' * 64}.sample", bytes(12 * 4096))
        assert cache.write(f"{'e' * 64}.sample", bytes(100))


def test_foreign_files_in_the_cache_folder_are_kept(folder, tmp_path):
    (tmp_path / "cache").mkdir()
    mine = tmp_path / "cache" / "notes.sample"
    mine.write_bytes(bytes(50_000))
    os.utime(mine, (0, 0))
    dataset = open_dataset(folder, cache=False)
    for number in range(5):
        record = dataclasses.replace(dataset.records[0], name=f"name-{number}")
        cache = DiskCache(CacheFolder(tmp_path / "cache", 3 * 4096), folder)
        cache.load(record, dataset.format, dataset.class_map)
    assert mine.exists()


def test_the_bound_is_a_quarter_of_the_free_disk_and_at_most_20_gb(tmp_path, monkeypatch):
    free = {"bytes": 100 * 1024**3}
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free["bytes"])
    )
    cache = CacheFolder(tmp_path)
    assert cache._bound(0) == 20 * 1024**3
    free["bytes"] = 8 * 1024**3
    assert cache._bound(0) == 2 * 1024**3
    assert cache._bound(4 * 1024**3) == 3 * 1024**3


@pytest.mark.parametrize("value", ["off", "OFF", " off "])
def test_off_keeps_nothing(folder, monkeypatch, value, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIXELWISE_CACHE", value)
    before = sorted(tmp_path.rglob("*"))
    dataset = open_dataset(folder)
    assert dataset.cache is None
    dataset.load(dataset.records[0])
    assert sorted(tmp_path.rglob("*")) == before


def test_the_notes_say_where_images_are_kept_and_how_to_stop_it(folder, kept_in):
    (note,) = [note for note in open_dataset(folder).notes if "kept" in note]
    assert str(kept_in) in note
    assert "PIXELWISE_CACHE=off" in note
    assert not [note for note in open_dataset(folder, cache=False).notes if "kept" in note]


def test_nothing_is_written_into_the_data_set(folder, monkeypatch):
    before = sorted(folder.rglob("*"))
    load_all(folder)
    monkeypatch.setenv("PIXELWISE_CACHE", str(folder / "cache"))
    assert open_cache(folder) is None
    load_all(folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="rights are not modes there")
def test_only_the_owner_may_look_into_the_cache(folder, kept_in):
    load_all(folder)
    assert stat.S_IMODE(kept_in.stat().st_mode) == 0o700
    for path in kept_in.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own place")
def test_without_a_variable_the_place_is_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PIXELWISE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert open_cache(tmp_path / "data").files.path == tmp_path / "xdg" / "pixelwise"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_cache(tmp_path / "data").files.path == tmp_path / "home" / ".cache" / "pixelwise"


def test_what_is_read_as_fast_as_it_is_decoded_is_not_kept(folder, kept_in, monkeypatch):
    monkeypatch.setattr(disk_cache, "SLOW_S", 60)
    load_all(folder)
    assert not kept_in.exists()
    monkeypatch.setattr(disk_cache, "_LINK_WORTH_BYTES", 0)  # as of files that are long to hash
    load_all(folder)
    assert [path.suffix for path in kept_in.iterdir()] == [".link"] * 3
    monkeypatch.setattr(cache_keys, "content_of", lambda path: pytest.fail(f"{path} was read"))
    load_all(folder)


def test_a_file_that_cannot_be_decoded_is_refused_every_time(folder, kept_in):
    path = sorted(folder.glob("*/masks/*.png"))[0]
    path.write_bytes(path.read_bytes()[:40])
    dataset = open_dataset(folder)
    for _ in range(2):
        with pytest.raises(DataError, match=str(path)):
            dataset.load(dataset.records[0])
    path.unlink()
    with pytest.raises(DataError, match=str(path)):
        dataset.load(dataset.records[0])
    assert not kept_in.exists()


def test_whoever_watches_sees_the_files_decoded_and_leaves_nothing(folder, kept_in, monkeypatch):
    dataset = open_dataset(folder)
    names = decodes(monkeypatch, dataset)
    with collect_problems():
        dataset.load(dataset.records[0])
    assert not kept_in.exists()
    dataset.load(dataset.records[0])
    with collect_problems():
        dataset.load(dataset.records[0])
    assert len(names) == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_images_of_every_depth_come_back_bit_for_bit(tmp_path, kept_in, dtype, channels):
    rng = np.random.default_rng(0)
    image = (rng.random((13, 17, channels) if channels > 1 else (13, 17)) * 60000).astype(dtype)
    (tmp_path / "in/images").mkdir(parents=True)
    (tmp_path / "in/masks").mkdir()
    tifffile.imwrite(
        tmp_path / "in/images/a.tif",
        image,
        photometric="minisblack",
        planarconfig="contig" if channels > 1 else None,
    )
    Image.fromarray(rng.integers(0, 3, (13, 17), np.uint8)).save(tmp_path / "in/masks/a.png")
    options = {"split": None, "format": "index-masks"}
    (plain,) = load_all(tmp_path / "in", cache=False, **options)
    load_all(tmp_path / "in", **options)
    (again,) = load_all(tmp_path / "in", **options)
    assert len(list(kept_in.glob("*.sample"))) == 1
    assert is_equal(plain, again)


def test_every_field_of_a_sample_is_kept():
    """A field that is added to samples must be packed too."""
    assert {field.name for field in dataclasses.fields(Sample)} == {
        "name", "image", "mask", "label_mode",
    }  # fmt: skip


def test_arrays_that_cannot_be_packed_are_left():
    image, mask = np.zeros((2, 3, 1), np.float64), np.zeros((2, 3), np.uint8)
    assert pack(Sample("a", image, mask, "multiclass"), "k") is None
    assert pack(Sample("a", np.zeros((0, 3, 1), np.uint8), mask, "multiclass"), "k") is None


def test_a_packed_sample_takes_the_name_it_is_read_for():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (5, 4, 3), np.uint8)[::-1]  # not in one piece
    mask = rng.integers(0, 2, (2, 5, 4), np.uint8)
    packed = pack(Sample("a", image, mask, "multilabel"), "k")
    assert is_equal(unpack(packed, "b", "k"), Sample("b", image, mask, "multilabel"))
    assert unpack(packed, "b", "another") is None


def test_a_stamp_needs_every_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        cache_keys.stamp(Record("a", tmp_path / "a.png"), "method")
